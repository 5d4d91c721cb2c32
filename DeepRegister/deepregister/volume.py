"""`Volume`: voxels together with the grid they lie on, in physical space (LPS, millimetres, as ITK has it).

Reads and writes through SimpleITK. Arrays are ordered (k, j, i), as numpy, SimpleITK and Slicer hand them over;
sizes, spacings and points are ordered (i, j, k) and (x, y, z).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import FileError, GeometryError, InputError

# Header files keep direction cosines in six or so digits; ITK itself repairs up to 1e-4 or refuses.
ORTHONORMAL_TOLERANCE = 1e-3


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
        if len(size) != 3 or min(size) < 1:
            raise GeometryError(f"A volume needs three sizes of at least 1 voxel, not {size}.")
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


@dataclass(frozen=True)
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
        _require_scalar_3d(image.GetDimension(), image.GetNumberOfComponentsPerPixel(), image.GetSize(), name)
        return cls(sitk.GetArrayFromImage(image), Geometry.from_sitk(image), name)

    @classmethod
    def read(cls, path: str | os.PathLike, frame: int | None = None) -> Volume:
        """Read an image file of any kind ITK knows, or a folder that holds one DICOM series.

        Args:
            path: the file or folder.
            frame: which frame (from 0) of a four-dimensional file to take.

        Raises:
            FileError: the path is missing or ITK cannot read it.
            InputError: it is not one scalar three-dimensional image.
        """
        path = Path(path)
        if not path.exists():
            raise FileError(f"{path} does not exist. Check the path.")
        if path.is_dir():
            return cls.from_sitk(_read_dicom_folder(path), path.name)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
            _require_scalar_3d(
                reader.GetDimension(), reader.GetNumberOfComponents(), reader.GetSize(), path.name, frame
            )
            if reader.GetDimension() == 4:
                size = list(reader.GetSize())
                reader.SetExtractIndex([0, 0, 0, frame or 0])
                reader.SetExtractSize([*size[:3], 0])
            image = reader.Execute()
        except RuntimeError as error:
            raise FileError(_reading_failed(path, error)) from error
        if image.GetDimension() == 2:
            raise InputError(_two_dimensional(path.name, image.GetSize()))
        return cls.from_sitk(image, path.name)

    def to_sitk(self) -> sitk.Image:
        """A SimpleITK image with a copy of the voxels."""
        data = self.data
        if data.dtype == bool:
            data = data.astype(np.uint8)
        elif data.dtype == np.float16:
            data = data.astype(np.float32)
        return set_geometry(sitk.GetImageFromArray(data), self.geometry)

    def write(self, path: str | os.PathLike) -> None:
        """Write in the format that the file name asks for; a failure leaves no partial file of that name.

        Raises:
            FileError: the folder is missing or not writable, or ITK knows no such format.
        """
        write_image(self.to_sitk(), path)

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


def set_geometry(image: sitk.Image, geometry: Geometry) -> sitk.Image:
    """Place a SimpleITK image on `geometry`, in place, and return it."""
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection([cosine for row in geometry.direction for cosine in row])
    return image


def write_image(image: sitk.Image, path: str | os.PathLike) -> None:
    """Write a SimpleITK image through a temporary neighbour, so that the name never holds half a file."""
    path = Path(path)
    with replacing(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)


class replacing:
    """Context manager: a temporary name beside `path` that replaces it on success and is removed on failure."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        # The suffixes stay last, since ITK chooses the format by them.
        self.temporary = self.path.with_name(f".{os.getpid()}-{self.path.name}")

    def __enter__(self) -> Path:
        if not self.path.parent.is_dir():
            raise FileError(f"The folder {self.path.parent} does not exist. Create it or choose another.")
        return self.temporary

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            try:
                os.replace(self.temporary, self.path)
                return
            except OSError as reason:
                error = reason
        self.temporary.unlink(missing_ok=True)
        if isinstance(error, (RuntimeError, OSError)):
            raise FileError(
                f"Cannot write {self.path}: {_last_line(error)}. Check that the folder can be written, that the disk "
                "is not full and that the file's ending names a known format (for images .nii.gz, .nrrd or .mha; "
                "for transforms .h5, .tfm, .nii.gz or .nrrd)."
            ) from error


def _orthonormal(axes: np.ndarray) -> np.ndarray:
    if axes.shape != (3, 3) or not np.all(np.isfinite(axes)):
        raise GeometryError(f"The direction must be a 3x3 matrix of finite numbers, not {axes.tolist()}.")
    left, singular, right = np.linalg.svd(axes)
    if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise GeometryError(
            f"The image axes are not at right angles (direction {np.round(axes, 4).tolist()}), as after a tilted CT "
            "gantry or a sheared header. Resample it onto a straight grid first: in 3D Slicer load it with the "
            "acquisition geometry regularised and harden that transform, or use `dcm2niix`, which corrects the tilt."
        )
    # The nearest rotation: rounding in headers must not accumulate into points.
    return axes if np.allclose(singular, 1, atol=1e-12) else left @ right


def _require_scalar_3d(
    dimension: int, components: int, size: Sequence[int], name: str, frame: int | None = None
) -> None:
    if components != 1:
        raise InputError(
            f"{name} has {components} components in each voxel (a colour or vector image). "
            "Registration needs one number per voxel: convert it to grey, or choose one component."
        )
    if dimension == 2 or (dimension == 3 and min(size) < 1):
        raise InputError(_two_dimensional(name, size))
    if dimension == 4:
        frames = size[3]
        if frame is None and frames > 1:
            raise InputError(
                f"{name} is a series of {frames} volumes ({'x'.join(map(str, size))}). Pick one frame: "
                "Volume.read(path, frame=0) in Python, --fixed-frame or --moving-frame on the command line."
            )
        if frame is not None and not 0 <= frame < frames:
            raise InputError(f"{name} has frames 0 to {frames - 1}; there is no frame {frame}.")
    elif dimension != 3:
        raise InputError(f"{name} has {dimension} dimensions; registration needs a three-dimensional volume.")
    elif frame not in (None, 0):
        raise InputError(f"{name} is a single volume; there is no frame {frame}.")


def _two_dimensional(name: str, size: Sequence[int]) -> str:
    return (
        f"{name} is a two-dimensional image ({'x'.join(map(str, size))}). Registration needs a volume: "
        "for a DICOM series give the folder that holds all its slices."
    )


def _read_dicom_folder(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    series = {name: reader.GetGDCMSeriesFileNames(str(folder), name) for name in reader.GetGDCMSeriesIDs(str(folder))}
    if not series:
        raise FileError(f"The folder {folder} holds no DICOM series. Give the folder that has the .dcm files.")
    if len(series) > 1:
        found = "; ".join(f"{len(files)} slices, first {Path(files[0]).name}" for files in series.values())
        raise FileError(
            f"The folder {folder} holds {len(series)} DICOM series ({found}). Put one series in a folder of its own."
        )
    reader.SetFileNames(next(iter(series.values())))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise FileError(_reading_failed(folder, error)) from error
    if image.GetSize()[2] == 1:
        raise InputError(_two_dimensional(folder.name, image.GetSize()[:2]))
    return image


def _reading_failed(path: Path, error: Exception) -> str:
    reason = _last_line(error)
    if "orthonormal" in str(error):
        return (
            f"Cannot read {path}: its axes are not at right angles (a tilted CT gantry or a sheared header). "
            "Resample it onto a straight grid first, for example by hardening its acquisition transform in 3D Slicer."
        )
    return f"Cannot read {path}: {reason}. Check that it is a complete image file of a kind ITK knows."


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    # ITK puts the class and address before what matters.
    return text.split("): ", 1)[-1].rstrip(".")
