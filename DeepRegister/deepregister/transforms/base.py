"""What every transform can do; the parts that need only `to_sitk` are done here, once, by ITK."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..volume import Geometry, Volume, set_geometry

if TYPE_CHECKING:
    from .field import DisplacementField

INTERPOLATIONS = {
    "linear": sitk.sitkLinear,
    "nearest": sitk.sitkNearestNeighbor,
    "cubic": sitk.sitkBSpline3,
    # For label maps with more than a few labels: each label is resampled linearly and the largest wins.
    "label": sitk.sitkLabelLinear,
}


class Transform(ABC):
    """A map from points of fixed space to points of moving space (LPS mm): the resampling map."""

    @abstractmethod
    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 3), LPS mm, from fixed to moving space."""

    @abstractmethod
    def inverse(self) -> Transform:
        """The transform that takes moving space back to fixed space."""

    @abstractmethod
    def to_sitk(self) -> sitk.Transform:
        """The same map as a SimpleITK transform."""

    def then(self, after: Transform) -> Transform:
        """The transform that applies this one first and `after` to its result."""
        from .composite import Composite

        return Composite((self, after))

    def resample(
        self, volume: Volume, onto: Geometry, interpolation: str = "linear", fill: float | None = None
    ) -> Volume:
        """`volume`, which lies in moving space, resampled onto the grid `onto` in fixed space.

        Args:
            volume: in moving space.
            onto: the grid of the result.
            interpolation: "linear", "nearest", "cubic" (B-spline; linear where the volume is two voxels thick), or
                "label" for label maps.
            fill: value outside the volume; None takes the volume's smallest value (air in CT), with
                "nearest" and "label" 0.

        Returns:
            A volume of the same voxel type as `volume`.
        """
        if interpolation not in INTERPOLATIONS:
            raise InputError(f"No interpolation {interpolation!r}. Choose one of: {', '.join(INTERPOLATIONS)}.")
        if fill is None:
            fill = 0 if interpolation in ("nearest", "label") else float(np.fmin.reduce(volume.data, axis=None))
        if interpolation == "cubic" and 2 in volume.geometry.size:
            # ITK's B-spline reads beyond the memory of an image that is two voxels thick.
            interpolation = "linear"
        image = volume.to_sitk()
        between_values = volume.data.dtype.kind in "iub" and interpolation in ("linear", "cubic")
        if between_values:
            # ITK cuts the fraction off integers instead of rounding: a linearly resampled CT would lose half a unit.
            image = sitk.Cast(image, sitk.sitkFloat32 if volume.data.dtype.itemsize <= 2 else sitk.sitkFloat64)
        reference = set_geometry(sitk.Image(onto.size, sitk.sitkUInt8), onto)
        resampled = sitk.Resample(
            image, reference, self.to_sitk(), INTERPOLATIONS[interpolation], fill, image.GetPixelID()
        )
        values = sitk.GetArrayFromImage(resampled)
        if between_values:
            values = _rounded(values, volume.data.dtype)
        return Volume(values.astype(volume.data.dtype, copy=False), onto, volume.name)

    def sampled_on(self, geometry: Geometry) -> DisplacementField:
        """The displacement of this transform at every voxel of `geometry`, as one dense field."""
        from .field import DisplacementField

        direction = [cosine for row in geometry.direction for cosine in row]
        image = sitk.TransformToDisplacementField(
            self.to_sitk(), sitk.sitkVectorFloat64, geometry.size, geometry.origin, geometry.spacing, direction
        )
        return DisplacementField(sitk.GetArrayFromImage(image).astype(np.float32), geometry)

    def jacobian_determinant(self, onto: Geometry) -> np.ndarray:
        """Determinant of the spatial derivative at every voxel of `onto`, shape (k, j, i).

        Central differences through spacing and direction, so that flipped and oblique grids measure the same.
        1 keeps volume; above 1 tissue takes more room in the moving volume and is shrunk to fit, below 1 it is
        enlarged; at 0 or less space folds.
        """
        # Across a grid of one voxel there is no difference to take: take it with its neighbours outside.
        margin = [1 if n == 1 else 0 for n in onto.size]
        determinant = self.sampled_on(onto.padded(margin)).jacobian_determinant()
        return determinant[tuple(slice(m, m + n) for m, n in zip(margin[::-1], onto.shape, strict=True))]

    def write(self, path: str | os.PathLike) -> None:
        """Write as .h5 or .tfm (ITK transform files), or .nii.gz or .nrrd (a dense field); see `write_transform`."""
        from .files import write_transform

        write_transform(self, path)


def _rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Whole numbers within the range of an integer type (in place)."""
    lowest, highest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if dtype.itemsize == 8:
        # As a float the largest 64-bit integer is one too large for it.
        highest = np.nextafter(float(highest), 0)
    np.rint(values, out=values)
    return np.clip(values, lowest, highest, out=values)


def checked_points(points: np.ndarray) -> np.ndarray:
    """Points as a float array (..., 3), or an `InputError`."""
    try:
        points = np.asarray(points, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"Points must be rows of three numbers (LPS mm): {error}.") from None
    if points.ndim == 0 or points.shape[-1] != 3:
        raise InputError(f"Points need three coordinates each (LPS mm); this array has shape {points.shape}.")
    return points
