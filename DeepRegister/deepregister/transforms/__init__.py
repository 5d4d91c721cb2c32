"""Transforms as values: each maps points of fixed space to points of moving space, LPS mm.

`Rigid`, `Affine`, `DisplacementField` and `Composite` all know `apply_to_points`, `then`, `inverse`, `resample`,
`jacobian_determinant` and how to be written as an ITK file; `read_transform` reads one back.
"""

from .base import Transform
from .composite import Composite
from .field import DisplacementField
from .files import from_sitk, read_transform, write_transform
from .linear import Affine, LinearTransform, Rigid

__all__ = [
    "Affine",
    "Composite",
    "DisplacementField",
    "LinearTransform",
    "Rigid",
    "Transform",
    "from_sitk",
    "read_transform",
    "write_transform",
]
