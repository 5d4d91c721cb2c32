"""Images in files: what ITK reads and writes, DICOM folders, and the checks that ITK leaves out.

ITK fills a truncated NIfTI file with zeros, drops the tilt of a CT gantry and spreads the slices of an incomplete
DICOM series evenly, all without an error. Here these are errors.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import FileError, GeometryError, InputError
from .geometry import ORTHONORMAL_TOLERANCE, TILT_REMEDY
from .writing import itk_reason, replacing

# How far a DICOM slice may lie from where even spacing puts it, as a share of that spacing: scanners round positions.
SLICE_POSITION_TOLERANCE = 0.05


def read_image(path: str | os.PathLike, frame: int | None = None) -> sitk.Image:
    """One scalar three-dimensional image from a file of any kind ITK knows, or from a folder with one DICOM series.

    Args:
        path: the file or folder.
        frame: which frame (from 0) of a four-dimensional file to take.

    Raises:
        FileError: the path is missing, or ITK cannot read it, or it is incomplete.
        GeometryError: its axes are not at right angles, or the slices of a DICOM series are tilted or unevenly spaced.
        InputError: it is not one scalar three-dimensional image.
    """
    path = Path(path)
    if not path.exists():
        raise FileError(f"{path} does not exist. Check the path.")
    if path.is_dir():
        if frame not in (None, 0):
            raise InputError(f"The DICOM folder {path} is read as a single volume; there is no frame {frame}.")
        return _read_dicom_folder(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        require_scalar_3d(reader.GetDimension(), reader.GetNumberOfComponents(), reader.GetSize(), path.name, frame)
        if reader.HasMetaDataKey("0008|0016") and reader.GetSize()[2] == 1:
            raise InputError(_two_dimensional(path.name, reader.GetSize()[:2]))
        require_complete_nifti(path)
        if reader.GetDimension() == 4:
            reader.SetExtractIndex([0, 0, 0, frame or 0])
            reader.SetExtractSize([*reader.GetSize()[:3], 0])
        return reader.Execute()
    # UnicodeDecodeError: ITK quotes what it found in the file, whatever that is.
    except (RuntimeError, UnicodeDecodeError) as error:
        raise _reading_failed(path, error) from error


def write_image(image: sitk.Image, path: str | os.PathLike) -> None:
    """Write a SimpleITK image in the format that the name's ending asks for; a failure leaves nothing behind."""
    with replacing(path) as aside:
        sitk.WriteImage(image, str(aside), useCompression=True)
        _require_written(image, aside)


def _require_written(image: sitk.Image, path: Path) -> None:
    """Raise `OSError` where a file did not fit on the disk and ITK says nothing of it, as in these formats."""
    missing = _missing_bytes(path)
    if path.name.lower().endswith((".img", ".hdr", ".gipl")):
        wanted = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * image.GetSizeOfPixelComponent()
        found = sum(part.stat().st_size for part in path.parent.iterdir())
        missing = (found, wanted) if found < wanted else None
    if missing is not None:
        raise OSError(f"only {missing[0]} of its {missing[1] or 'many'} bytes could be written")


def require_scalar_3d(
    dimension: int, components: int, size: Sequence[int], name: str, frame: int | None = None
) -> None:
    """Raise `InputError` unless this is one scalar volume, or a series of which `frame` is one."""
    if components != 1:
        raise InputError(
            f"{name} has {components} components in each voxel (a colour or vector image). "
            "Registration needs one number per voxel: convert it to grey, or choose one component."
        )
    if dimension == 2:
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


def require_complete_nifti(path: Path) -> None:
    """Raise `FileError` if a NIfTI file is cut off: ITK would fill what is missing with zeros."""
    missing = _missing_bytes(path)
    if missing is not None and missing[1] is not None:
        found, expected = missing
        raise FileError(
            f"Cannot read {path}: the file is cut off, it holds {found} of {expected} bytes. Copy or download it again."
        )


def _missing_bytes(path: Path) -> tuple[int, int | None] | None:
    """Bytes that a NIfTI file holds, before compression, and should hold; None if it is whole, or no such file.

    Where not even the header is there, nobody knows how many there should be.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    with path.open("rb") as file:
        start = file.read(4096)
        compressed = start.startswith(b"\x1f\x8b")
        try:
            header = zlib.decompressobj(wbits=31).decompress(start, 348) if compressed else start
        except zlib.error:
            header = b""
        expected = _nifti_bytes(header)
        if expected is None:
            return len(header), None
        found = file.seek(0, os.SEEK_END)
        if compressed:
            # The last four bytes of a whole gzip file are the size of its content, modulo 2^32.
            file.seek(-4, os.SEEK_END)
            if int.from_bytes(file.read(), "little") == expected % 2**32:
                return None
            found = _gzip_bytes(path)
    return (found, expected) if found < expected else None


def _two_dimensional(name: str, size: Sequence[int]) -> str:
    return (
        f"{name} is a two-dimensional image ({'x'.join(map(str, size))}). Registration needs a volume: "
        "for a DICOM series give the folder that holds all its slices."
    )


def _read_dicom_folder(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.MetaDataDictionaryArrayUpdateOn()
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
        raise _reading_failed(folder, error) from error
    require_scalar_3d(image.GetDimension(), image.GetNumberOfComponentsPerPixel(), image.GetSize(), folder.name)
    if image.GetSize()[2] == 1:
        raise InputError(_two_dimensional(folder.name, image.GetSize()[:2]))
    _require_straight_even_slices(reader, image, folder)
    return image


def _require_straight_even_slices(reader: sitk.ImageSeriesReader, image: sitk.Image, folder: Path) -> None:
    count = image.GetSize()[2]
    position = "0020|0032"
    if not all(reader.HasMetaDataKey(slice, position) for slice in range(count)):
        return
    found = np.array([[float(x) for x in reader.GetMetaData(slice, position).split("\\")] for slice in range(count)])
    step = (found[-1] - found[0]) / (count - 1)
    spacing = np.linalg.norm(step)
    off = np.linalg.norm(found - found[0] - np.arange(count)[:, None] * step, axis=1).max()
    if off > SLICE_POSITION_TOLERANCE * spacing:
        steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
        raise GeometryError(
            f"The {count} slices in {folder} are not evenly spaced: neighbours are {steps.min():.3g} to "
            f"{steps.max():.3g} mm apart. Slices are missing, or several volumes share one series. Complete the "
            "series, or load it in 3D Slicer, which resamples it, and save it as .nrrd."
        )
    normal = np.asarray(image.GetDirection()).reshape(3, 3)[:, 2]
    sideways = np.linalg.norm(step - (step @ normal) * normal) / spacing
    if sideways > ORTHONORMAL_TOLERANCE:
        tilt = np.degrees(np.arcsin(min(sideways, 1.0)))
        raise GeometryError(f"The slices in {folder} are tilted by {tilt:.1f} degrees, {TILT_REMEDY}")


def _nifti_bytes(header: bytes) -> int | None:
    """Bytes that the header says a single-file NIfTI has before compression; None for anything else."""
    if header[344:347] != b"n+1":
        return None
    # As the NIfTI library tells it: the number of dimensions is 1 to 7 in the right order.
    order = "<" if 1 <= struct.unpack_from("<h", header, 40)[0] <= 7 else ">"
    dimensions = struct.unpack_from(f"{order}8h", header, 40)
    bits = struct.unpack_from(f"{order}h", header, 72)[0]
    start = struct.unpack_from(f"{order}f", header, 108)[0]
    # Some programs leave it 0; the header has 348 bytes and four that say whether more of it follows.
    return (int(start) if 352 <= start < math.inf else 352) + math.prod(dimensions[1 : 1 + dimensions[0]]) * bits // 8


def _gzip_bytes(path: Path) -> int:
    found = 0
    try:
        with gzip.open(path) as file:
            while block := file.read1(1 << 16):
                found += len(block)
    except (OSError, EOFError, zlib.error):
        pass
    return found


def _reading_failed(path: Path, error: Exception) -> InputError:
    if "orthonormal" in str(error):
        return GeometryError(f"Cannot read {path}: its axes are not at right angles, {TILT_REMEDY}")
    return FileError(f"Cannot read {path}: {itk_reason(error)}. Check that it is a complete image file ITK can read.")
