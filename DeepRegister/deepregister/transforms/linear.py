"""Linear transforms: one (4, 4) matrix in LPS mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import TransformError
from ..volume import Geometry
from .base import Transform, checked_points


@dataclass(frozen=True, eq=False)
class LinearTransform(Transform):
    """x -> matrix @ (x, 1), fixed to moving.

    Attributes:
        matrix: (4, 4), last row (0, 0, 0, 1), invertible.
    """

    matrix: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=float)
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)):
            raise TransformError(f"A linear transform needs a finite 4x4 matrix, not one of shape {matrix.shape}.")
        if not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise TransformError(f"The last row of the matrix must be 0 0 0 1, not {matrix[3].tolist()}.")
        if abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise TransformError("The linear transform flattens space (determinant 0), so it cannot be inverted.")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> LinearTransform:
        """The transform that moves nothing."""
        return cls(np.eye(4))

    @property
    def linear(self) -> np.ndarray:
        """The (3, 3) part that turns, scales and shears."""
        return self.matrix[:3, :3]

    @property
    def translation(self) -> np.ndarray:
        """The (3,) part that shifts, mm."""
        return self.matrix[:3, 3]

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        return checked_points(points) @ self.linear.T + self.translation

    def inverse(self) -> LinearTransform:
        return type(self)(np.linalg.inv(self.matrix))

    def then(self, after: Transform) -> Transform:
        if isinstance(after, LinearTransform):
            both_rigid = isinstance(self, Rigid) and isinstance(after, Rigid)
            return (Rigid if both_rigid else Affine)(after.matrix @ self.matrix)
        return super().then(after)

    def to_sitk(self) -> sitk.Transform:
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(self.linear.ravel().tolist())
        transform.SetTranslation(self.translation.tolist())
        return transform

    def jacobian_determinant(self, onto: Geometry) -> np.ndarray:
        return np.full(onto.shape, np.linalg.det(self.linear), dtype=np.float32)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({np.round(self.matrix, 4).tolist()})"


class Affine(LinearTransform):
    """A linear transform of twelve parameters: rotation, shift, scale and shear."""


class Rigid(LinearTransform):
    """A linear transform that only turns and shifts.

    Raises:
        TransformError: the matrix scales, shears or mirrors.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        linear = self.linear
        if not np.allclose(linear.T @ linear, np.eye(3), atol=1e-5) or np.linalg.det(linear) < 0:
            raise TransformError("The matrix is not rigid: it scales, shears or mirrors. Use Affine for it.")
        # The nearest rotation, so that rounding cannot add up over products and inverses until they are refused.
        left, _, right = np.linalg.svd(linear)
        matrix = self.matrix.copy()
        matrix[:3, :3] = left @ right
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)
