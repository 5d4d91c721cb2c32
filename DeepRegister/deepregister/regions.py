"""Regions of the fixed image that may slide along each other. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

from .errors import InputError
from .volume import Geometry, Volume

# Each region costs a field of its own; a full anatomical segmentation is no statement about sliding.
MOST_REGIONS = 8


@dataclass(frozen=True, eq=False)
class Regions:
    """A label map in fixed space; each value, 0 too, is a region within which motion is smooth.

    Attributes:
        labels: whole numbers, on any grid.

    Raises:
        InputError: the map has only one value, more than `MOST_REGIONS`, or values that are not whole numbers.
    """

    labels: Volume

    def __post_init__(self) -> None:
        data = np.asarray(self.labels.data)
        if not np.all(np.isfinite(data)) or np.any(data != np.round(data)):
            raise InputError(
                f"The region map {self.labels.name} holds values that are not whole numbers. Give a label map."
            )
        values = np.unique(data).astype(int)
        if len(values) == 1:
            raise InputError(
                f"Every voxel of the region map {self.labels.name} has the value {values[0]}: it needs two regions at "
                "least that slide along each other. Paint one, or leave the map out."
            )
        if len(values) > MOST_REGIONS:
            raise InputError(
                f"The region map {self.labels.name} has {len(values)} values; at most {MOST_REGIONS} regions can move "
                "on their own. Merge what does not slide, for instance all organs of the abdomen into one label."
            )
        object.__setattr__(self, "labels", Volume(data.astype(np.int16), self.labels.geometry, self.labels.name))

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(int(value) for value in np.unique(self.labels.data))

    def on(self, geometry: Geometry) -> np.ndarray:
        """The label (k, j, i) at each voxel of a grid; beyond the map that of its nearest voxel."""
        return self.at(geometry.points())

    def at(self, points: np.ndarray) -> np.ndarray:
        """The label (...) at points (..., 3), LPS mm; beyond the map that of its nearest voxel."""
        index = np.rint(self.labels.geometry.point_to_index(points)).astype(np.intp)
        i, j, k = np.moveaxis(np.clip(index, 0, np.subtract(self.labels.geometry.size, 1)), -1, 0)
        return self.labels.data[k, j, i]

    def check_overlap(self, fixed: Geometry) -> None:
        """Raise `InputError` where the grid of the fixed image lies within one region: then nothing could slide."""
        coarse = fixed.with_spacing(np.maximum(fixed.spacing, fixed.extent_mm / 64))
        if len(np.unique(self.on(coarse))) == 1:
            raise InputError(
                f"All of the fixed image lies in one region of the map {self.labels.name}, so nothing could slide. "
                "Check that the map was made on this image."
            )

    def interface(self, geometry: Geometry) -> np.ndarray:
        """Voxels (k, j, i) of a grid with another region within two voxels: there a field may jump, and fold."""
        found = self.on(geometry)
        differs = maximum_filter(found, 3) != minimum_filter(found, 3)
        return binary_dilation(differs)
