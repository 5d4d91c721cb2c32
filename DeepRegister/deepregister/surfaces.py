"""Distances between the surfaces of labelled structures, mm.

A surface is the voxels of a structure with a face at its outside or at the border of the map; distances run between
voxel centres. This is what MONAI's `get_surface_distance` measures, for all labels in one pass over the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, find_objects
from scipy.spatial import KDTree

from .errors import InputError


@dataclass(frozen=True)
class SurfaceDistance:
    """How far two surfaces lie apart, mm.

    Attributes:
        mean_mm: over the voxels of both surfaces, each to the nearest of the other (average symmetric distance).
        hausdorff95_mm: the 95th percentile of each surface to the other, the larger of both.
        hausdorff_mm: the largest distance.
    """

    mean_mm: float
    hausdorff95_mm: float
    hausdorff_mm: float

    @classmethod
    def between(cls, a: np.ndarray, b: np.ndarray) -> SurfaceDistance:
        """Of two surfaces as points, (n, 3) and (m, 3), mm; neither is empty."""
        there, back = KDTree(b).query(a)[0], KDTree(a).query(b)[0]
        return cls(
            float(np.concatenate([there, back]).mean()),
            float(max(np.percentile(there, 95), np.percentile(back, 95))),
            float(max(there.max(), back.max())),
        )


def surface_distances(
    a: np.ndarray, b: np.ndarray, spacing: Sequence[float], labels: Sequence[int] | None = None
) -> dict[int, SurfaceDistance]:
    """Distances between the surfaces of each label in two label maps on one grid.

    Args:
        a, b: integer arrays (k, j, i) of one shape.
        spacing: of the grid, mm, along i, j, k; the axes are at right angles, so that their direction changes nothing.
        labels: which to compare; None takes all but 0 that occur in either.

    Returns:
        By label; a label that is missing on a side has no distance and is left out.

    Raises:
        InputError: the shapes differ.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise InputError(
            f"Label maps of shapes {a.shape} and {b.shape} cannot be compared: resample one onto the other."
        )
    surfaces_a, surfaces_b = (_surfaces(x, np.asarray(spacing, dtype=float)[::-1], labels) for x in (a, b))
    return {
        label: SurfaceDistance.between(points, surfaces_b[label])
        for label, points in surfaces_a.items()
        if label in surfaces_b
    }


def _surfaces(labels: np.ndarray, spacing: np.ndarray, wanted: Sequence[int] | None) -> dict[int, np.ndarray]:
    """The voxels on the surface of each label that occurs, (n, 3) in mm along the array axes."""
    values, places = np.unique(labels, return_inverse=True)
    places = places.reshape(labels.shape) + 1
    found = {}
    for place, (value, box) in enumerate(zip(values, find_objects(places), strict=True), start=1):
        if value == 0 if wanted is None else int(value) not in wanted:
            continue
        structure = places[box] == place
        # Beyond the box is nothing of the structure, so the border of the box is a surface as it is of the whole.
        on_surface = np.argwhere(structure & ~binary_erosion(structure))
        first = np.array([side.start for side in box])
        found[int(value)] = (on_surface + first) * spacing
    return found
