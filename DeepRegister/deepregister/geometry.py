"""`Geometry`: the regular grid that the voxels of a volume lie on, in physical space (LPS, millimetres, as ITK has it).

Indices, sizes, spacings and points are ordered (i, j, k) and (x, y, z); array shapes (k, j, i).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import SimpleITK as sitk

from .errors import GeometryError

# Header files keep direction cosines in six or so digits; ITK itself repairs up to 1e-4 or refuses.
ORTHONORMAL_TOLERANCE = 1e-3

TILT_REMEDY = (
    "as after a tilted CT gantry or a sheared header. Resample it onto a straight grid first: in 3D Slicer load it "
    "with the acquisition geometry regularised and harden that transform, or use `dcm2niix`, which corrects the tilt."
)


@dataclass(frozen=True)
class Geometry:
    """A regular grid of voxels in space.

    Attributes:
        size: voxels along i, j, k.
        spacing: mm between voxel centres along i, j, k.
        origin: centre of voxel (0, 0, 0), LPS mm.
        direction: rows of the 3x3 matrix whose columns are the unit vectors of the i, j and k axes.

    Raises:
        GeometryError: for a size or spacing that is not positive, or axes that are not orthogonal unit vectors.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def __post_init__(self) -> None:
        size = tuple(int(n) for n in self.size)
        spacing = tuple(float(s) for s in self.spacing)
        origin = tuple(float(o) for o in self.origin)
        if len(size) != 3 or min(size) < 1 or size != tuple(self.size):
            raise GeometryError(f"A volume needs three whole sizes of at least 1 voxel, not {tuple(self.size)}.")
        if len(spacing) != 3 or not all(np.isfinite(spacing)) or min(spacing) <= 0:
            raise GeometryError(
                f"Voxel spacing must be three positive numbers in mm, not {spacing}. Correct the image's header."
            )
        if len(origin) != 3 or not all(np.isfinite(origin)):
            raise GeometryError(f"The origin must be three finite numbers in mm, not {origin}.")
        axes = _orthonormal(np.asarray(self.direction, dtype=float))
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "spacing", spacing)
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "direction", tuple(tuple(float(c) for c in row) for row in axes))

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Geometry:
        """The grid of a three-dimensional SimpleITK image."""
        direction = np.asarray(image.GetDirection()).reshape(3, 3)
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), tuple(map(tuple, direction)))

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, size: Sequence[int]) -> Geometry:
        """The grid whose (4, 4) `matrix` takes voxel indices (i, j, k) to LPS mm."""
        matrix = np.asarray(matrix, dtype=float)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if not np.all(spacing > 0):
            raise GeometryError(f"The index-to-space matrix has an axis of length 0: {matrix.tolist()}.")
        return cls(tuple(size), tuple(spacing), tuple(matrix[:3, 3]), tuple(map(tuple, matrix[:3, :3] / spacing)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (k, j, i)."""
        return self.size[::-1]

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) matrix from voxel indices (i, j, k, 1) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def centre(self) -> np.ndarray:
        """The middle of the grid, LPS mm."""
        return self.index_to_point((np.asarray(self.size) - 1) / 2)

    @property
    def extent_mm(self) -> np.ndarray:
        """Length of the volume along i, j and k, outer voxel face to outer voxel face, mm."""
        return np.asarray(self.size) * np.asarray(self.spacing)

    def index_to_point(self, index: np.ndarray) -> np.ndarray:
        """LPS mm of continuous voxel indices (..., 3) in the order i, j, k."""
        matrix = self.matrix
        return np.asarray(index, dtype=float) @ matrix[:3, :3].T + matrix[:3, 3]

    def point_to_index(self, point: np.ndarray) -> np.ndarray:
        """Continuous voxel indices (..., 3) in the order i, j, k of LPS points in mm."""
        matrix = self.matrix
        return (np.asarray(point, dtype=float) - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T

    def points(self) -> np.ndarray:
        """LPS mm of every voxel centre, shape (k, j, i, 3)."""
        k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in self.shape), indexing="ij")
        return self.index_to_point(np.stack([i, j, k], axis=-1))

    def with_spacing(self, spacing: Sequence[float]) -> Geometry:
        """The same box of space, outer faces kept, cut into voxels as near to `spacing` mm as divides it evenly."""
        size = np.maximum(1, np.round(self.extent_mm / np.asarray(spacing, dtype=float))).astype(int)
        new = self.extent_mm / size
        first = (new - np.asarray(self.spacing)) / 2
        origin = np.asarray(self.origin) + np.asarray(self.direction) @ first
        return Geometry(tuple(size), tuple(new), tuple(origin), self.direction)

    def cropped(self, start: Sequence[int], stop: Sequence[int]) -> Geometry:
        """The voxels from index `start` up to, not including, `stop` (i, j, k); negative or larger ones extend."""
        start, stop = np.asarray(start, dtype=int), np.asarray(stop, dtype=int)
        return replace(self, size=tuple(stop - start), origin=tuple(self.index_to_point(start)))

    def canonical_axes(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """For each of x, y, z (LPS) the axis that runs nearest to it, no axis twice, and whether against it."""
        cosines = np.asarray(self.direction)
        order = max(permutations(range(3)), key=lambda axes: sum(abs(cosines[n, axis]) for n, axis in enumerate(axes)))
        return order, tuple(bool(cosines[n, axis] < 0) for n, axis in enumerate(order))

    def canonical(self) -> Geometry:
        """The same voxels, with axes taken in the order and sense in which i, j, k run nearest to x, y, z (LPS)."""
        order, flipped = self.canonical_axes()
        size = np.asarray(self.size)[list(order)]
        matrix = self.matrix
        changed = np.eye(4)
        changed[:3, :3] = matrix[:3, order] * np.where(flipped, -1, 1)
        changed[:3, 3] = matrix[:3, 3] + matrix[:3, order] @ np.where(flipped, size - 1, 0)
        return Geometry.from_matrix(changed, tuple(int(n) for n in size))

    def padded(self, voxels: int | Sequence[int]) -> Geometry:
        """The grid with `voxels` more on each side (one number, or one for each of i, j, k)."""
        voxels = np.broadcast_to(np.asarray(voxels, dtype=int), 3)
        return self.cropped(-voxels, np.asarray(self.size) + voxels)

    def same_grid(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same size and every voxel of one lies within `tolerance_mm` of the other's."""
        if self.size != other.size:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.size])).reshape(3, -1).T
        return float(np.abs(self.index_to_point(corners) - other.index_to_point(corners)).max()) <= tolerance_mm

    def describe(self) -> str:
        """Size and spacing in words, for messages."""
        return f"{'x'.join(map(str, self.size))} voxels of {'x'.join(f'{s:.3g}' for s in self.spacing)} mm"


def set_geometry(image: sitk.Image, geometry: Geometry) -> sitk.Image:
    """Place a SimpleITK image on `geometry`, in place, and return it."""
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection([cosine for row in geometry.direction for cosine in row])
    return image


def _orthonormal(axes: np.ndarray) -> np.ndarray:
    if axes.shape != (3, 3) or not np.all(np.isfinite(axes)):
        raise GeometryError(f"The direction must be a 3x3 matrix of finite numbers, not {axes.tolist()}.")
    left, singular, right = np.linalg.svd(axes)
    if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise GeometryError(
            f"The image axes are not at right angles (direction {np.round(axes, 4).tolist()}), {TILT_REMEDY}"
        )
    # The nearest rotation: rounding in headers must not accumulate into points.
    straight = axes if np.allclose(singular, 1, rtol=0, atol=1e-12) else left @ right
    # ITK inverts directions wrongly where a cosine is next to nothing (1e-300), as 1 - cos of a tiny angle is.
    return np.where(np.abs(straight) < 1e-14, 0.0, straight)
