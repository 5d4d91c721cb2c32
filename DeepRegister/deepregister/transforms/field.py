"""`DisplacementField`: a dense transform, one displacement in mm at every voxel of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from ..errors import TransformError
from ..volume import Geometry, set_geometry
from .base import Transform, checked_points

# Voxels whose determinants are taken at a time: what is made on the way stays in a core's cache.
DETERMINANT_VOXELS = 1 << 16


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
        # One row of points, since scipy takes no single one.
        coordinates = np.clip(index, 0, size - 1)[..., ::-1].reshape(-1, 3).T
        result = np.empty(points.shape)
        for axis in range(3):
            values = map_coordinates(
                self.displacement[..., axis], coordinates, output=np.float64, order=1, mode="nearest"
            )
            result[..., axis] = values.reshape(points.shape[:-1])
        result[~inside] = 0
        return result

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        return checked_points(points) + self.displacement_at(points)

    def inverse(self, iterations: int = 200, tolerance_mm: float = 1e-3) -> DisplacementField:
        """The inverse on the same grid, by fixed point: v <- -u(y + v(y)) (Chen et al., Med. Phys. 2008).

        It exists where the field does not fold and, since the grid is the same, inside what the field maps onto it.
        """
        inverse = np.empty_like(self.displacement)
        for slab in _slabs(self.geometry):
            points = self.geometry.index_to_point(_indices(self.geometry, slab))
            found = self.preimage(points.reshape(-1, 3), iterations=iterations, tolerance_mm=tolerance_mm)
            inverse[slab] = found.reshape(points.shape) - points
        return DisplacementField(inverse, self.geometry)

    def preimage(
        self,
        points: np.ndarray,
        start: np.ndarray | None = None,
        towards: np.ndarray | None = None,
        iterations: int = 200,
        tolerance_mm: float = 1e-3,
    ) -> np.ndarray:
        """The points that the field maps onto `points`, by fixed-point iteration; guesses where there are none.

        Args:
            points: (n, 3), LPS mm.
            start: (n, 3), first guesses; None takes `points`.
            towards: (3, 3), takes an error to the step against it: the inverse of the field's average derivative, for
                a field with an affine part; None takes the identity.
            iterations: at most.
            tolerance_mm: of `points`, at which a point is found.
        """
        found = np.array(points if start is None else start)
        # The plain iteration diverges, or jumps to and fro for ever, where the field more than doubles lengths: halve
        # the step there. It grows again while that helps, or a few kinks between voxels would leave a point stuck.
        step = np.ones(len(points))
        last = np.zeros_like(found)
        sought = np.arange(len(points))
        for _ in range(iterations):
            error = self.apply_to_points(found[sought]) - points[sought]
            length = np.linalg.norm(error, axis=-1)
            overshot = np.sum(error * last[sought], axis=-1) < -0.5 * np.sum(last[sought] ** 2, axis=-1)
            step[sought] = np.minimum(step[sought] * np.where(overshot, 0.5, 1.2), 1.0)
            last[sought] = error
            found[sought] -= step[sought, None] * (error if towards is None else error @ towards.T)
            sought = sought[length > tolerance_mm]
            if not len(sought):
                break
        return found

    def to_sitk(self) -> sitk.Transform:
        return sitk.DisplacementFieldTransform(sitk.Cast(self.to_image(), sitk.sitkVectorFloat64))

    def to_image(self) -> sitk.Image:
        """The field as a SimpleITK vector image of float32, LPS mm."""
        return set_geometry(sitk.GetImageFromArray(self.displacement, isVector=True), self.geometry)

    def jacobian_determinant(self, onto: Geometry | None = None) -> np.ndarray:
        """As `Transform.jacobian_determinant`; without `onto` at the field's own voxels."""
        if onto is not None and not self.geometry.same_grid(onto, 1e-6):
            return super().jacobian_determinant(onto)
        determinant = np.empty(self.geometry.shape, dtype=np.float32)
        for slab in _slabs(self.geometry, DETERMINANT_VOXELS):
            along_i, along_j, along_k = (edges[0] for edges in self._moved_edges(slab, (_central,)))
            determinant[slab] = _dot(along_i, _cross(along_j, along_k))
        determinant /= np.float32(np.linalg.det(self.geometry.matrix[:3, :3]))
        return determinant

    def corner_jacobian_determinants(self) -> np.ndarray:
        """The smallest determinant over the eight corners of one-sided differences, shape (k, j, i).

        Central differences skip a voxel's own value and miss folds of one voxel; a field is free of folds on the
        grid only where all eight are positive (Liu et al., "On finite difference Jacobian computation in deformable
        image registration", IJCV 2024). At the border the side that exists is used.
        """
        smallest = np.empty(self.geometry.shape, dtype=np.float32)
        volume = np.float32(np.linalg.det(self.geometry.matrix[:3, :3]))
        for slab in _slabs(self.geometry, DETERMINANT_VOXELS):
            along_i, along_j, along_k = self._moved_edges(slab, (_forward, _backward))
            least = np.inf
            for edge_j, edge_k in product(along_j, along_k):
                face = _cross(edge_j, edge_k)
                for edge_i in along_i:
                    least = np.minimum(least, _dot(edge_i, face) / volume)
            smallest[slab] = least
        return smallest

    def _moved_edges(self, slab: slice, differences: Sequence[Callable]) -> Iterator[list[np.ndarray]]:
        """The edges of a slab's voxels after the field has moved them: for i, j, k by each kind of difference.

        Each is (3, k, j, i), mm; through spacing and direction, so that their triple product over that of the edges
        before is the determinant in physical space.
        """
        first = max(slab.start - 1, 0)
        inner = slice(slab.start - first, slab.stop - first)
        # The components apart, each in one piece: numpy is several times as fast on these.
        field = np.ascontiguousarray(np.moveaxis(self.displacement[first : slab.stop + 1], -1, 0))
        edges = self.geometry.matrix[:3, :3].astype(np.float32)
        for number, axis in enumerate((3, 2, 1)):
            edge = edges[:, number, None, None, None]
            if field.shape[axis] < 2:
                yield [np.broadcast_to(edge, field[:, inner].shape)] * len(differences)
            elif axis == 1:
                yield [difference(field, axis)[:, inner] + edge for difference in differences]
            else:
                yield [difference(field[:, inner], axis) + edge for difference in differences]

    def __repr__(self) -> str:
        longest = float(np.linalg.norm(self.displacement, axis=-1).max())
        return f"DisplacementField({self.geometry.describe()}, up to {longest:.2f} mm)"


def _slabs(geometry: Geometry, voxels: int = 1 << 20) -> list[slice]:
    """Ranges of k that hold about `voxels` each, so that temporary arrays stay small beside the field."""
    count = geometry.size[2]
    step = max(1, voxels // (geometry.size[0] * geometry.size[1]))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def _indices(geometry: Geometry, slab: slice) -> np.ndarray:
    """Indices (i, j, k) of the voxels of a slab, shape (k, j, i, 3)."""
    k, j, i = np.meshgrid(np.arange(slab.start, slab.stop), *map(np.arange, geometry.shape[1:]), indexing="ij")
    return np.stack([i, j, k], axis=-1)


def _central(array: np.ndarray, axis: int) -> np.ndarray:
    step = np.diff(array, axis=axis)
    inner = np.delete(step, 0, axis) + np.delete(step, -1, axis)
    return np.concatenate([np.take(step, [0], axis), inner / 2, np.take(step, [-1], axis)], axis)


def _forward(array: np.ndarray, axis: int) -> np.ndarray:
    step = np.diff(array, axis=axis)
    return np.concatenate([step, np.take(step, [-1], axis=axis)], axis=axis)


def _backward(array: np.ndarray, axis: int) -> np.ndarray:
    step = np.diff(array, axis=axis)
    return np.concatenate([np.take(step, [0], axis=axis), step], axis=axis)


def _cross(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: np.ndarray, b: Sequence[np.ndarray]) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
