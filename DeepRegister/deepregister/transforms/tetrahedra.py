"""Space that a dense transform turns inside out, exactly as its voxels are joined to tetrahedra.

Between eight voxels the transform is taken to be linear on five tetrahedra: one at every second corner and one in the
middle. There are two such divisions, and each counts half. Determinants of differences say where a field folds, this
says how much space it folds: the non-diffeomorphic volume (Liu et al., "On finite difference Jacobian computation in
deformable image registration", IJCV 2024). Numpy alone, no torch.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from .field import DisplacementField

# Corners of a cell by the sum of their indices along i, j and k: the even ones, and the odd ones, span its two middle
# tetrahedra. From the first of each to the others:
MIDDLES = {
    (0, 0, 0): ((1, 1, 0), (1, 0, 1), (0, 1, 1)),
    (1, 1, 1): ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
}
# Cells are looked at in slabs of about so many, which fit into the processor's caches.
SLAB_CELLS = 1 << 17


def non_diffeomorphic_volume(field: DisplacementField) -> np.ndarray:
    """How much space a field turns inside out at each of its voxels.

    Args:
        field: the field; where it is one voxel thick there is no space between voxels.

    Returns:
        (k, j, i) of float32: volume of the inverted tetrahedra at this voxel after the transform, as a share of the
        voxel's own; 0 where nothing is inverted, and more than 1 where a voxel lands far beyond its neighbours. The
        tetrahedra of a cell belong to the voxels of their corners, its middle ones to its first and last voxel.
    """
    result = np.zeros(field.geometry.shape, dtype=np.float32)
    if min(field.geometry.shape) < 2:
        return result
    layers = field.geometry.shape[0] - 1
    step = max(1, SLAB_CELLS // (field.geometry.size[0] * field.geometry.size[1]))
    for first in range(0, layers, step):
        last = min(first + step, layers)
        _add(field, first, last, result)
    return result


def _add(field: DisplacementField, first: int, last: int, result: np.ndarray) -> None:
    """Add what the layers of cells from `first` up to `last` hold."""
    moved = field.displacement[first : last + 1]
    edges = field.geometry.matrix[:3, :3]
    whole = np.linalg.det(edges)

    @cache
    def vector(start: tuple[int, int, int], end: tuple[int, int, int]) -> np.ndarray:
        """From one corner of each cell to another after the transform, corners as (i, j, k)."""
        straight = edges @ np.subtract(end, start)
        return moved[_corner(end)] - moved[_corner(start)] + straight.astype(np.float32)

    def add(corner: tuple[int, int, int], others: tuple[tuple[int, int, int], ...]) -> None:
        # An edge is the same both ways; which way it was taken is in the sign.
        ways = [(corner, other) if corner < other else (other, corner) for other in others]
        sign = np.sign(np.linalg.det([np.subtract(end, start) for start, end in ways]))
        volume = _determinant(*(vector(*way) for way in ways)) * np.float32(sign / (6 * whole))
        inverted = np.minimum(volume, 0)
        if inverted.any():
            result[first : last + 1][_corner(corner)] -= 0.5 * inverted

    for corner in product((0, 1), repeat=3):
        add(corner, tuple(tuple(c ^ (axis == n) for n, c in enumerate(corner)) for axis in range(3)))
    for corner, others in MIDDLES.items():
        add(corner, others)


def _corner(corner: tuple[int, int, int]) -> tuple[slice, ...]:
    """Of an array (k, j, i, ...), this corner (i, j, k) of every cell."""
    return tuple(slice(1, None) if side else slice(None, -1) for side in corner[::-1])


def _determinant(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    volume = a[..., 0] * (b[..., 1] * c[..., 2] - b[..., 2] * c[..., 1])
    volume += a[..., 1] * (b[..., 2] * c[..., 0] - b[..., 0] * c[..., 2])
    volume += a[..., 2] * (b[..., 0] * c[..., 1] - b[..., 1] * c[..., 0])
    return volume
