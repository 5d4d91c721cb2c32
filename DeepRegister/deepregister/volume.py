"""`Volume`: voxels together with the grid they lie on, in physical space (LPS, millimetres, as ITK has it).

Arrays are ordered (k, j, i), as numpy, SimpleITK and Slicer hand them over. Reads and writes through SimpleITK.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import GeometryError, InputError
from .geometry import Geometry, set_geometry
from .imagefiles import read_image, require_scalar_3d, write_image
from .writing import replacing

__all__ = ["Geometry", "Volume", "as_volume", "replacing", "set_geometry", "write_image"]


@dataclass(frozen=True, eq=False)
class Volume:
    """One scalar three-dimensional image.

    Attributes:
        data: (k, j, i) array of any real type; not copied, treat it as read-only.
        geometry: the grid; its size is `data`'s shape reversed.
        name: for messages: a file name, a node name.

    Raises:
        InputError: for an array that is not three-dimensional, not real, or not of the geometry's size.
    """

    data: np.ndarray
    geometry: Geometry
    name: str = "volume"

    def __post_init__(self) -> None:
        data = np.asarray(self.data)
        if data.ndim != 3:
            raise InputError(
                f"{self.name}: an array of shape {data.shape} is not one three-dimensional image. "
                "Give a single volume: for a series pick one frame, for colour convert to grey."
            )
        if data.dtype.kind not in "iufb":
            raise InputError(f"{self.name}: voxels must be real numbers, not {data.dtype}.")
        if data.shape != self.geometry.shape:
            raise InputError(
                f"{self.name}: the array (k, j, i) has shape {data.shape}, its geometry {self.geometry.shape}."
            )
        object.__setattr__(self, "data", data)

    @classmethod
    def from_array(
        cls,
        data: np.ndarray,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        direction: Sequence[Sequence[float]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        name: str = "array",
    ) -> Volume:
        """A volume from a (k, j, i) array and its geometry (i, j, k; LPS mm)."""
        data = np.asarray(data)
        if data.ndim != 3:
            raise InputError(f"{name}: expected a (k, j, i) array, got shape {data.shape}.")
        rows = tuple(map(tuple, np.asarray(direction, dtype=float).reshape(3, 3)))
        return cls(data, Geometry(data.shape[::-1], tuple(spacing), tuple(origin), rows), name)

    @classmethod
    def from_sitk(cls, image: sitk.Image, name: str = "image") -> Volume:
        """A volume from a scalar three-dimensional SimpleITK image."""
        if image.GetDimension() == 4 and image.GetSize()[3] == 1:
            image = image[..., 0]
        require_scalar_3d(image.GetDimension(), image.GetNumberOfComponentsPerPixel(), image.GetSize(), name)
        try:
            geometry = Geometry.from_sitk(image)
        except GeometryError as error:
            raise GeometryError(f"{name}: {error}") from None
        return cls(sitk.GetArrayFromImage(image), geometry, name)

    @classmethod
    def read(cls, path: str | os.PathLike, frame: int | None = None) -> Volume:
        """Read an image file of any kind ITK knows, or a folder that holds one DICOM series.

        Args:
            path: the file or folder.
            frame: which frame (from 0) of a four-dimensional file to take.

        Raises:
            FileError: the path is missing, or ITK cannot read it, or it is incomplete.
            GeometryError: its axes are not at right angles, or the slices of a DICOM series are not evenly spaced.
            InputError: it is not one scalar three-dimensional image.
        """
        return cls.from_sitk(read_image(path, frame), Path(path).name)

    def to_sitk(self) -> sitk.Image:
        """A SimpleITK image with a copy of the voxels."""
        data = self.data
        if data.dtype == bool:
            data = data.astype(np.uint8)
        elif data.dtype == np.float16:
            data = data.astype(np.float32)
        elif data.dtype == np.longdouble:
            data = data.astype(np.float64)
        elif not data.dtype.isnative:
            data = data.astype(data.dtype.newbyteorder("="))
        return set_geometry(sitk.GetImageFromArray(data), self.geometry)

    def write(self, path: str | os.PathLike) -> None:
        """Write in the format that the file name asks for; a failure leaves no partial file of that name.

        Raises:
            FileError: the folder is missing or not writable, or ITK knows no such format.
        """
        write_image(self.to_sitk(), path)

    def canonical(self) -> Volume:
        """The same voxels at the same places on the geometry's canonical axes; a view, not a copy."""
        order, flipped = self.geometry.canonical_axes()
        data = np.transpose(self.data, [2 - axis for axis in order[::-1]])
        data = data[tuple(slice(None, None, -1 if flip else 1) for flip in flipped[::-1])]
        return replace(self, data=data, geometry=self.geometry.canonical())

    def astype(self, dtype: np.dtype | type) -> Volume:
        """The same image with voxels of another type."""
        return replace(self, data=self.data.astype(dtype))

    def __repr__(self) -> str:
        return f"Volume({self.name!r}, {self.geometry.describe()}, {self.data.dtype})"


def as_volume(image: Volume | sitk.Image | str | os.PathLike, name: str = "image") -> Volume:
    """A `Volume` from whatever a caller has: a volume, a SimpleITK image, a file or a DICOM folder."""
    if isinstance(image, Volume):
        return image
    if isinstance(image, sitk.Image):
        return Volume.from_sitk(image, name)
    if isinstance(image, (str, os.PathLike)):
        return Volume.read(image)
    raise InputError(
        f"The {name} is a {type(image).__name__}. Give a file name, a SimpleITK image, or "
        "deepregister.Volume.from_array(array, spacing, origin, direction): an array alone does not say where it lies."
    )
