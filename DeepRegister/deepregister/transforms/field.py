"""`DisplacementField`: a dense transform, one displacement in mm at every voxel of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from ..errors import TransformError
from ..volume import Geometry, set_geometry
from .base import Transform, checked_points


@dataclass(frozen=True, eq=False)
class DisplacementField(Transform):
    """x -> x + u(x), with u interpolated linearly on its grid and zero outside it, as ITK has it.

    Attributes:
        displacement: (k, j, i, 3), LPS mm, float32; not copied, treat it as read-only.
        geometry: the grid, in fixed space.
    """

    displacement: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        displacement = np.asarray(self.displacement, dtype=np.float32)
        if displacement.shape != (*self.geometry.shape, 3):
            raise TransformError(
                f"A displacement field on this grid needs an array of shape {(*self.geometry.shape, 3)}, "
                f"not {displacement.shape}."
            )
        if not np.all(np.isfinite(displacement)):
            raise TransformError("The displacement field holds values that are not finite numbers.")
        object.__setattr__(self, "displacement", displacement)

    @classmethod
    def zero(cls, geometry: Geometry) -> DisplacementField:
        """The field that moves nothing."""
        return cls(np.zeros((*geometry.shape, 3), dtype=np.float32), geometry)

    def displacement_at(self, points: np.ndarray) -> np.ndarray:
        """Displacement in mm at points (..., 3) in LPS mm; zero outside the grid."""
        points = checked_points(points)
        index = self.geometry.point_to_index(points)
        size = np.asarray(self.geometry.size)
        # ITK counts the outer half voxel as inside and takes the border's value there.
        inside = np.all((index >= -0.5) & (index < size - 0.5), axis=-1)
        coordinates = np.moveaxis(np.clip(index, 0, size - 1)[..., ::-1], -1, 0)
        result = np.empty(points.shape)
        for axis in range(3):
            result[..., axis] = map_coordinates(
                self.displacement[..., axis], coordinates, output=np.float64, order=1, mode="nearest"
            )
        result[~inside] = 0
        return result

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        return checked_points(points) + self.displacement_at(points)

    def inverse(self, iterations: int = 50, tolerance_mm: float = 1e-3) -> DisplacementField:
        """The inverse on the same grid, by fixed point: v <- -u(y + v(y)) (Chen et al., Med. Phys. 2008).

        It exists where the field does not fold and, since the grid is the same, inside what the field maps onto it.
        """
        points = self.geometry.points()
        inverse = np.zeros_like(points)
        for _ in range(iterations):
            updated = -self.displacement_at(points + inverse)
            change = float(np.abs(updated - inverse).max())
            inverse = updated
            if change < tolerance_mm:
                break
        return DisplacementField(inverse.astype(np.float32), self.geometry)

    def to_sitk(self) -> sitk.Transform:
        return sitk.DisplacementFieldTransform(sitk.Cast(self.to_image(), sitk.sitkVectorFloat64))

    def to_image(self) -> sitk.Image:
        """The field as a SimpleITK vector image of float32, LPS mm."""
        return set_geometry(sitk.GetImageFromArray(self.displacement, isVector=True), self.geometry)

    def jacobian_determinant(self, onto: Geometry | None = None) -> np.ndarray:
        if onto is not None and not self.geometry.same_grid(onto, 1e-6):
            return super().jacobian_determinant(onto)
        return np.linalg.det(self.jacobian()).astype(np.float32)

    def jacobian(self) -> np.ndarray:
        """d(x + u)/dx at every voxel, shape (k, j, i, 3, 3): row = component, column = direction of change."""
        by_index = [
            np.gradient(self.displacement, axis=axis) if self.displacement.shape[axis] > 1 else 0 * self.displacement
            for axis in (2, 1, 0)
        ]
        return np.eye(3) + np.stack(by_index, axis=-1) @ self._index_per_mm()

    def corner_jacobian_determinants(self) -> np.ndarray:
        """The smallest determinant over the eight corners of one-sided differences, shape (k, j, i).

        Central differences skip a voxel's own value and miss folds of one voxel; a field is free of folds on the
        grid only where all eight are positive (Liu et al., "On finite difference Jacobian computation in deformable
        image registration", IJCV 2024). At the border the side that exists is used.
        """
        sides = [_one_sided(self.displacement, axis) for axis in (2, 1, 0)]
        to_mm = self._index_per_mm()
        smallest = np.full(self.geometry.shape, np.inf, dtype=np.float32)
        for a in sides[0]:
            for b in sides[1]:
                for c in sides[2]:
                    jacobian = np.eye(3) + np.stack([a, b, c], axis=-1) @ to_mm
                    np.minimum(smallest, np.linalg.det(jacobian), out=smallest)
        return smallest

    def _index_per_mm(self) -> np.ndarray:
        return np.linalg.inv(self.geometry.matrix[:3, :3])

    def __repr__(self) -> str:
        longest = float(np.linalg.norm(self.displacement, axis=-1).max())
        return f"DisplacementField({self.geometry.describe()}, up to {longest:.2f} mm)"


def _one_sided(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    if array.shape[axis] < 2:
        return (np.zeros_like(array),) * 2
    step = np.diff(array, axis=axis)
    first = np.take(step, [0], axis=axis)
    last = np.take(step, [-1], axis=axis)
    return np.concatenate([step, last], axis=axis), np.concatenate([first, step], axis=axis)
