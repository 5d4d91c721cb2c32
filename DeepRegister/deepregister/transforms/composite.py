"""`Composite`: transforms one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import TransformError
from ..geometry import Geometry
from .base import Transform, checked_points
from .linear import LinearTransform


@dataclass(frozen=True, eq=False)
class Composite(Transform):
    """Applies `parts[0]` first, then `parts[1]`, and so on.

    ITK applies the queue of a composite from its back; this class does not, and `to_sitk` reverses the order.
    """

    parts: tuple[Transform, ...]

    def __post_init__(self) -> None:
        flat: list[Transform] = []
        for part in self.parts:
            if not isinstance(part, Transform):
                raise TransformError(f"A composite is made of transforms, not of {type(part).__name__}.")
            flat.extend(part.parts if isinstance(part, Composite) else [part])
        if not flat:
            raise TransformError("A composite needs at least one transform.")
        object.__setattr__(self, "parts", tuple(flat))

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        points = checked_points(points)
        for part in self.parts:
            points = part.apply_to_points(points)
        return points

    def inverse(self) -> Composite:
        return Composite(tuple(part.inverse() for part in reversed(self.parts)))

    def jacobian_determinant(self, onto: Geometry) -> np.ndarray:
        *before, last = self.parts
        if not before:
            return last.jacobian_determinant(onto)
        if isinstance(last, LinearTransform):
            # A constant factor, known exactly; only what comes before it needs differences.
            return np.float32(np.linalg.det(last.linear)) * Composite(tuple(before)).jacobian_determinant(onto)
        return super().jacobian_determinant(onto)

    def to_sitk(self) -> sitk.Transform:
        composite = sitk.CompositeTransform(3)
        for part in reversed(self.parts):
            composite.AddTransform(part.to_sitk())
        return composite

    def __repr__(self) -> str:
        return f"Composite({', then '.join(map(repr, self.parts))})"
