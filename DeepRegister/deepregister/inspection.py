"""A closer look at a transform, place by place: where it folds, how each structure overlaps and changes its volume.

`evaluation` gives the numbers of a whole; this says where they come from, for a person who has to judge a result.
Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import find_objects

from .evaluation import inverse_consistency
from .labelmaps import Structures, whole_numbers
from .labelscores import STAGES, LabelScore, label_scores
from .progress import Monitor, Progress
from .quality import over_volume, sample_points
from .transforms import Composite, DisplacementField, Transform
from .volume import Geometry

# The grids on which a whole volume is looked at: for its deformation, and for what moves beyond a label map's border.
MOST_VOXELS, COARSE_VOXELS = 2**21, 2**19
# Of places that are folded, so many are named.
MOST_PLACES = 200
SHARES = {"prepare": 0.5, "measure": 0.5}


def inspect(
    transform: Transform,
    fixed: Geometry,
    inverse: Transform | None = None,
    structures: Sequence[Structures] = (),
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Look at a transform over a fixed volume and over structures in it.

    Args:
        transform: fixed to moving.
        fixed: the fixed volume's grid.
        inverse: moving to fixed, as it was saved; None solves for the inverse point by point.
        structures: label maps.
        progress: called with each `Progress`.
        cancelled: asked between the steps; True ends with `Cancelled`.

    Returns:
        JSON-ready: "deformation" (see `quality.over_volume`, on a grid of at most `MOST_VOXELS`); "folded_at", up to
        `MOST_PLACES` points (LPS mm) where it folds; "inverse" (see `evaluation.inverse_consistency`); "structures",
        a list with for each its "name", "volume_ml" in the fixed volume, "volume_change" (the factor to the volume
        that it takes in the moving one), "folded_voxels", and, where the moving volume has it too, "before" and "after"
        with "dice", "surface_mean_mm", "hausdorff95_mm" and "hausdorff_mm"; "warnings", sentences.

    Raises:
        InputError: a label map that holds no labels.
        Cancelled: as `cancelled` says.
    """
    monitor = Monitor(progress, cancelled, SHARES)
    monitor.report("prepare", 0.0, "Looking for folds")
    over = _grid(transform, fixed)
    measured = over_volume(transform, over)
    places = _folded_places(transform, over) if measured["folded_voxels"] else []
    monitor.report("prepare", 0.6, "Following points there and back")
    consistency = inverse_consistency(transform, sample_points(over), inverse)
    warnings: list[str] = []
    found = []
    for number, group in enumerate(structures):
        monitor.report("measure", number / len(structures), "Comparing the structures")
        found += _structures(transform, group, fixed, warnings, monitor)
    monitor.report("measure", 1.0, "Done")
    return {
        "deformation": measured,
        "folded_at": places,
        "inverse": consistency,
        "structures": found,
        "warnings": warnings,
    }


def _structures(
    transform: Transform, group: Structures, fixed: Geometry, warnings: list[str], monitor: Monitor
) -> list[dict[str, Any]]:
    labels = whole_numbers(group.fixed)
    boxes = find_objects(labels.data.astype(np.int32))
    scores: dict[int, LabelScore] = {}
    if group.moving is not None:
        present = {int(value) for value in np.unique(labels.data)}
        common = sorted(present & {int(value) for value in np.unique(group.moving.data)} & set(group.names))
        if common:
            coarse = _at_most(COARSE_VOXELS, fixed)
            each = label_scores(transform, group.fixed, group.moving, coarse, common, group.names, warnings)
            scores = {score.label: score for score in each}
    found = []
    for label, name in group.names.items():
        monitor.check()
        box = boxes[label - 1] if label <= len(boxes) else None
        if box is None:
            warnings.append(f"{name} is empty in the fixed volume: it was left out.")
            continue
        # One voxel more on each side that has one, for differences across the border of the structure.
        low = [max(side.start - 1, 0) for side in box]
        high = [min(side.stop + 1, size) for side, size in zip(box, labels.data.shape, strict=True)]
        inside = labels.data[tuple(map(slice, low, high))] == label
        geometry = labels.geometry.cropped(low[::-1], high[::-1])
        if min(geometry.size) < 2:
            warnings.append(f"{name} is a single slice: its change of volume cannot be measured.")
            continue
        measured = over_volume(transform, geometry, inside)
        entry = {
            "name": name,
            "volume_ml": float(inside.sum() * np.prod(geometry.spacing) / 1000),
            "volume_change": measured["jacobian_mean"],
            "folded_voxels": measured["folded_voxels"],
            "centre_mm": geometry.index_to_point(np.argwhere(inside).mean(0)[::-1]).tolist(),
        }
        if label in scores:
            entry.update({stage: scores[label].measures(stage) for stage in STAGES})
        found.append(entry)
    return found


def _folded_places(transform: Transform, over: Geometry) -> list[list[float]]:
    """Where the transform folds, points spread evenly over the folded voxels of a grid."""
    least = transform.sampled_on(over).corner_jacobian_determinants()
    index = np.argwhere(least <= 0)[:, ::-1]
    chosen = index[:: max(1, -(-len(index) // MOST_PLACES))]
    return over.index_to_point(chosen).tolist()


def _grid(transform: Transform, fixed: Geometry) -> Geometry:
    """A grid over the fixed volume, as fine as the transform's own fields if that is not too many voxels."""
    parts = transform.parts if isinstance(transform, Composite) else (transform,)
    spacings = [min(part.geometry.spacing) for part in parts if isinstance(part, DisplacementField)]
    finest = min(spacings, default=max(fixed.spacing))
    return _at_most(MOST_VOXELS, fixed.with_spacing(np.maximum(fixed.spacing, finest)))


def _at_most(voxels: int, geometry: Geometry) -> Geometry:
    excess = float(np.prod(geometry.size, dtype=float)) / voxels
    return geometry if excess <= 1 else geometry.with_spacing(np.asarray(geometry.spacing) * excess ** (1 / 3))
