"""How well the structures of two label maps agree, before and after a transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InputError
from .labelmaps import whole_numbers
from .quality import dice
from .surfaces import SurfaceDistance, surface_distances
from .transforms import Rigid, Transform
from .volume import Geometry, Volume

STAGES = ("before", "after")


@dataclass(frozen=True)
class LabelScore:
    """How well one structure agrees.

    Attributes:
        label: its value in the label maps.
        name: what it is called; empty where nobody says.
        dice_before, dice_after: overlap, 0 to 1.
        surface_before, surface_after: distances; None where the structure is missing on a side.
    """

    label: int
    name: str
    dice_before: float
    dice_after: float
    surface_before: SurfaceDistance | None
    surface_after: SurfaceDistance | None

    @property
    def title(self) -> str:
        return f"{self.label} {self.name}".rstrip()

    def measures(self, stage: str) -> dict[str, float | None]:
        """By name, for "before" or "after"; None where a measure does not exist."""
        surface = getattr(self, f"surface_{stage}")
        return {
            "dice": getattr(self, f"dice_{stage}"),
            "surface_mean_mm": surface and surface.mean_mm,
            "hausdorff95_mm": surface and surface.hausdorff95_mm,
            "hausdorff_mm": surface and surface.hausdorff_mm,
        }

    def to_dict(self) -> dict[str, Any]:
        return {"label": self.label, "name": self.name, **{stage: self.measures(stage) for stage in STAGES}}


def label_scores(
    transform: Transform,
    fixed_labels: Volume,
    moving_labels: Volume,
    fixed: Geometry | None,
    labels: Sequence[int] | None,
    names: Mapping[int, str] | None,
    warnings: list[str],
) -> tuple[LabelScore, ...]:
    """Overlap and surface distances of each structure, on the fixed map's grid.

    Args:
        transform: fixed to moving.
        fixed_labels, moving_labels: on any grids.
        fixed: the fixed volume's grid, if it is known: what is carried anywhere onto it counts.
        labels: which to compare; None takes all but 0 that both maps hold.
        names: of labels.
        warnings: receives what the user should know.

    Raises:
        InputError: a map that holds no labels, none in common, or one that was asked for is missing.
    """
    here, there = whole_numbers(fixed_labels), whole_numbers(moving_labels)
    wanted = _common_labels(here, there, labels, warnings)
    paths = {"before": Rigid.identity(), "after": transform}
    if fixed is not None:
        here = _covering(here, there, fixed, paths.values())
    overlaps, distances = {}, {}
    for stage, path in paths.items():
        carried = path.resample(there, here.geometry, "nearest").data
        overlaps[stage] = dice(here.data, carried, wanted)
        distances[stage] = surface_distances(here.data, carried, here.geometry.spacing, wanted)
    return tuple(
        LabelScore(
            label,
            (names or {}).get(label, ""),
            *(overlaps[stage].get(label, 0.0) for stage in STAGES),
            *(distances[stage].get(label) for stage in STAGES),
        )
        for label in wanted
    )


def _common_labels(here: Volume, there: Volume, asked: Sequence[int] | None, warnings: list[str]) -> list[int]:
    first, second = ({int(value) for value in np.unique(volume.data)} - {0} for volume in (here, there))
    for name, labels in ((here.name, first), (there.name, second)):
        missing = set(asked or ()) - labels
        if missing:
            raise InputError(f"{name} does not hold the label {_listed(missing)}. It holds {_listed(labels)}.")
    common = first & second
    if not common:
        raise InputError(
            f"The label maps have no label in common: {here.name} holds {_listed(first)}, {there.name} holds "
            f"{_listed(second)}. Equal structures need equal labels."
        )
    if asked is not None:
        return sorted(set(asked))
    for name, only in ((here.name, first - second), (there.name, second - first)):
        if only:
            warnings.append(f"Only {name} holds the label {_listed(only)}: not compared.")
    return sorted(common)


def _covering(here: Volume, there: Volume, fixed: Geometry, paths: Sequence[Transform]) -> Volume:
    """The fixed label map, wide enough for what is carried onto it.

    A segmentation is often saved as the box around its segments alone: what the transform puts beside them would not
    count, and the overlap would look too good.
    """
    reach = []
    for path in paths:
        index = np.argwhere(path.resample(there, fixed, "nearest").data)[:, ::-1]
        if len(index):
            # A voxel more, for what lies between the voxels of a coarser grid.
            low, high = index.min(0) - 1, index.max(0) + 1
            corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
            reach.append(here.geometry.point_to_index(fixed.index_to_point(corners)))
    if not reach:
        return here
    size = np.asarray(here.geometry.size)
    low = np.minimum(np.floor(np.concatenate(reach).min(0)), 0).astype(int)
    high = np.maximum(np.ceil(np.concatenate(reach).max(0)) + 1, size).astype(int)
    if not low.any() and np.array_equal(high, size):
        return here
    data = np.pad(here.data, list(zip(-low[::-1], (high - size)[::-1], strict=True)))
    return Volume(data, here.geometry.cropped(low, high), here.name)


def _listed(labels: set[int]) -> str:
    ordered = sorted(labels)
    return ", ".join(map(str, ordered[:10])) + (f" and {len(ordered) - 10} more" if len(ordered) > 10 else "") or "none"
