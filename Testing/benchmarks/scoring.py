"""One scoring for every method: overlap and surface distance, landmark error, folds and smoothness of the map from
fixed to moving, and how well the inverse undoes it. All are the engine's own measures, which its tests hold against
other programs.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from datasets import BenchmarkPair, labels
from deepregister import Composite, DisplacementField, Geometry, Rigid, Transform, Volume, quality
from deepregister.evaluation import error_statistics, inverse_consistency
from deepregister.surfaces import surface_distances
from deepregister.transforms.tetrahedra import non_diffeomorphic_volume


def score(transform: Transform | None, pair: BenchmarkPair, inverse: Transform | None = None) -> dict[str, Any]:
    """Figures of one result.

    Args:
        transform: fixed to moving; None scores what the headers alone give.
        pair: what it was found for, and the truth.
        inverse: moving to fixed, where the method gives one.

    Returns:
        By name, as far as there is a truth for them: "dice", "hd95_mm" (means over the labels that both images have;
        "dice_by_label", "hd95_by_label" by label), "tre_mean_mm", "tre_median_mm", "tre_robust_mm" (three tenths of the
        landmarks lie farther away; "tre_by_landmark" for each), of a dense transform "folded_percent", "ndv_percent"
        (non-diffeomorphic volume) and "sdlogj" at its own voxels, and "inverse_mm", the mean of how far there and back
        misses the start; these four within the mask, else the labels, else everywhere.
    """
    through = transform or Rigid.identity()
    result: dict[str, Any] = {}
    if pair.fixed_labels is not None:
        result |= _overlap(through, pair)
    if pair.landmarks is not None:
        result |= _landmark_errors(through, pair)
    if transform is None:
        return result
    inside = _inside(pair)
    parts = transform.parts if isinstance(transform, Composite) else (transform,)
    fields = [_deformation(part, inside) for part in parts if isinstance(part, DisplacementField)]
    # Of several fields one after the other the worst of each measure, as in the engine.
    result |= {name: max(field[name] for field in fields) for name in (fields[0] if fields else ())}
    if inverse is not None:
        grid, mask = inside or (Volume.read(pair.fixed).geometry, None)
        points = quality.sample_points(grid, mask=mask)
        result["inverse_mm"] = inverse_consistency(transform, points, inverse)["error_mean_mm"]
    return result


def _overlap(through: Transform, pair: BenchmarkPair) -> dict[str, Any]:
    fixed, moving = _labels(pair.fixed_labels), _labels(pair.moving_labels)
    # Nearest neighbour: with a hundred labels there is no in-between.
    moved = through.resample(moving, fixed.geometry, "nearest")
    common = _common(pair)
    overlap = quality.dice(moved.data, fixed.data, common)
    surfaces = surface_distances(moved.data, fixed.data, fixed.geometry.spacing, common)
    # What was moved out of the fixed volume altogether is as far away as can be, as the BraTS challenge has it.
    farthest = float(np.linalg.norm(fixed.geometry.extent_mm))
    distance = {n: surfaces[n].hausdorff95_mm if n in surfaces else farthest for n in common}
    return {
        "dice": float(np.mean(list(overlap.values()))),
        "hd95_mm": float(np.mean(list(distance.values()))),
        "dice_by_label": {_title(pair, n): round(value, 4) for n, value in overlap.items()},
        "hd95_by_label": {_title(pair, n): round(value, 3) for n, value in distance.items()},
    }


def _landmark_errors(through: Transform, pair: BenchmarkPair) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, landmarks in pair.landmarks().items():
        prefix = "" if name == "all" else f"{name.replace(' ', '_')}_"
        errors = quality.landmark_errors(landmarks, through)
        statistics = error_statistics(errors)
        result[f"{prefix}tre_mean_mm"] = statistics["mean_mm"]
        result[f"{prefix}tre_median_mm"] = statistics["median_mm"]
        result[f"{prefix}tre_robust_mm"] = statistics["p70_mm"]
        apart = (through.apply_to_points(landmarks.fixed) - landmarks.moving)[:, :2]
        result[f"{prefix}tre_in_plane_mean_mm"] = float(np.linalg.norm(apart, axis=1).mean())
        if not prefix:
            result["tre_by_landmark"] = np.round(errors, 3).tolist()
    return result


def _deformation(field: DisplacementField, inside: tuple[Geometry, np.ndarray] | None) -> dict[str, float]:
    """Folds and volume change of a dense part at its own voxels, as far as these lie inside."""
    determinant = field.jacobian_determinant()
    folded = (determinant <= 0) | (field.corner_jacobian_determinants() <= 0)
    inverted = non_diffeomorphic_volume(field)
    within = np.ones(determinant.shape, dtype=bool)
    if inside is not None:
        grid, mask = inside
        index = np.rint(grid.point_to_index(field.geometry.points())).astype(int)
        within = np.all((index >= 0) & (index < grid.size), axis=-1)
        clipped = np.clip(index, 0, np.subtract(grid.size, 1))
        within &= mask[clipped[..., 2], clipped[..., 1], clipped[..., 0]]
    return {
        "folded_percent": 100 * float(folded[within].mean()),
        "ndv_percent": 100 * float(inverted[within].mean(dtype=float)),
        "sdlogj": float(np.log(np.clip(determinant[within], 1e-3, None)).std()),
    }


def _inside(pair: BenchmarkPair) -> tuple[Geometry, np.ndarray] | None:
    """A grid in fixed space and where on it to look; None for everywhere."""
    path = pair.mask or pair.fixed_labels
    if path is None:
        return None
    volume = _labels(path)
    return volume.geometry, volume.data > 0


@lru_cache(maxsize=4)
def _labels(path: Path) -> Volume:
    return labels(path)


def _common(pair: BenchmarkPair) -> list[int]:
    # A structure that one of the two does not have cannot overlap.
    found = [set(np.unique(_labels(path).data).tolist()) for path in (pair.fixed_labels, pair.moving_labels)]
    return sorted((found[0] & found[1]) - {0})


def _title(pair: BenchmarkPair, label: int) -> str:
    return f"{label} {pair.label_names.get(label, '')}".rstrip()
