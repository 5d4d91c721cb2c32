"""What a transform does to space, in two parts that a person can judge: the linear one in numbers, the bending in maps.

A transform T is taken as T = L after B, L being its linear parts one after the other, B what bends. A global turn,
shift and scale then hide nothing of the bending, and the bending says nothing about where the scanner's origin was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import polar

from ..geometry import Geometry
from ..transforms import Composite, DisplacementField, LinearTransform, Transform
from ..volume import Volume

# A field that is not first in the composite, or not the only one, is looked at on a grid of at most so many voxels.
MOST_VOXELS = 2e6


@dataclass(frozen=True)
class LinearMotion:
    """How the moving volume was carried as a whole.

    Attributes:
        turn_degrees: the angle of its turn.
        shift_mm: LPS mm, of what came to lie in the middle of the fixed volume.
        stretches: factors along three axes at right angles, the smallest first.
        volume_factor: their product; negative where it was mirrored.
    """

    turn_degrees: float
    shift_mm: tuple[float, float, float]
    stretches: tuple[float, float, float]
    volume_factor: float


def parts_of(transform: Transform) -> tuple[Transform, ...]:
    """The transforms that are applied one after the other."""
    return transform.parts if isinstance(transform, Composite) else (transform,)


def linear_part(transform: Transform) -> LinearTransform:
    """L: the linear parts of a transform, one after the other."""
    matrix = np.eye(4)
    for part in parts_of(transform):
        if isinstance(part, LinearTransform):
            matrix = part.matrix @ matrix
    return LinearTransform(matrix)


def bends(transform: Transform) -> bool:
    """Whether there is more to a transform than its linear part."""
    return not all(isinstance(part, LinearTransform) for part in parts_of(transform))


def linear_motion(transform: Transform, fixed: Geometry) -> LinearMotion:
    """The linear part as what it did to the moving volume: the other way than the transform maps points."""
    linear = linear_part(transform)
    carried = linear.inverse().linear
    turn, stretch = polar(carried)
    volume = float(np.linalg.det(carried))
    if volume < 0:
        turn = -turn
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    shift = fixed.centre - linear.apply_to_points(fixed.centre)
    stretches = np.sort(np.linalg.eigvalsh(stretch))
    return LinearMotion(float(angle), tuple(map(float, shift)), tuple(map(float, stretches)), volume)


def bending_at(transform: Transform, points: np.ndarray) -> np.ndarray:
    """How far B moves points (..., 3), LPS mm: where they land, taken back through L, less where they were."""
    return linear_part(transform).inverse().apply_to_points(transform.apply_to_points(points)) - points


@dataclass(frozen=True, eq=False)
class Bending:
    """The part of a transform that bends, on a grid.

    Attributes:
        determinant: Jacobian determinant of B, as a volume in fixed space.
        folded: bool array on the same grid, True where B folds.
        outside: the determinant beyond the grid: 1 where B is known to end there, NaN where nothing is known.
        length_mean_mm, length_max_mm: how far B moves the voxels of the fixed volume.
    """

    determinant: Volume
    folded: np.ndarray
    outside: float
    length_mean_mm: float
    length_max_mm: float

    @property
    def deepest_fold(self) -> np.ndarray | None:
        """LPS mm of the folded voxel with the smallest determinant; None where nothing folds."""
        if not self.folded.any():
            return None
        values = np.where(self.folded, self.determinant.data, np.inf)
        k, j, i = np.unravel_index(int(np.argmin(values)), values.shape)
        return self.determinant.geometry.index_to_point((i, j, k))


def bending(transform: Transform, fixed: Geometry, folded: bool) -> Bending:
    """Measure the bending part of a transform.

    Args:
        transform: fixed to moving.
        fixed: the grid of the fixed volume.
        folded: whether voxels fold, as measured before; looking where they lie takes time that others are spared.
    """
    parts = parts_of(transform)
    dense = [part for part in parts if isinstance(part, DisplacementField)]
    if len(dense) == 1 and dense[0] is parts[0]:
        # The grid, the differences and so the numbers are those of `quality.folding`.
        field, outside = dense[0], 1.0
    else:
        outside = np.nan
        grid = _at_most(fixed, MOST_VOXELS)
        field = DisplacementField(bending_at(transform, grid.points()), grid)
    determinant = field.jacobian_determinant()
    marks = determinant <= 0
    if folded:
        marks |= field.corner_jacobian_determinants() <= 0
    sample = _at_most(fixed, 2e5)
    length = np.linalg.norm(bending_at(transform, sample.points()), axis=-1)
    volume = Volume(determinant, field.geometry, "determinant")
    return Bending(volume, marks, outside, float(length.mean()), float(length.max()))


def _at_most(geometry: Geometry, voxels: float) -> Geometry:
    """The same box with voxels so large that there are not many more than `voxels` of them."""
    factor = (np.prod(geometry.size, dtype=float) / voxels) ** (1 / 3)
    return geometry if factor <= 1 else geometry.with_spacing(factor * np.asarray(geometry.spacing))
