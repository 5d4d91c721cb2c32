"""Transforms in files: ITK's own (.h5, .tfm, .txt, .mat) and dense fields as images (.nii.gz, .nrrd, .mha)."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..connection import worker_command, worker_environment
from ..errors import FileError, TransformError, WorkerError
from ..geometry import Geometry
from ..imagefiles import require_complete_nifti, write_image
from ..writing import itk_reason, replacing, require_room
from .base import Transform
from .composite import Composite
from .field import DisplacementField
from .linear import Affine, LinearTransform, Rigid

TRANSFORM_ENDINGS = (".h5", ".hdf5", ".tfm", ".txt")
HDF5_ENDINGS = (".h5", ".hdf5")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Read in another process before: exit statuses of a Python that has not crashed.
ENDED_BY_ITSELF = (0, 1)
FIELD_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def write_transform(transform: Transform, path: str | os.PathLike, onto: Geometry | None = None) -> None:
    """Write a transform for ITK, ANTs and Slicer to read; the map in the file is fixed to moving.

    Args:
        transform: any transform.
        path: .h5 or .tfm keep every kind as it is, .mat a linear one; .nii.gz, .nrrd and .mha hold one dense field,
            LPS mm.
        onto: grid of that dense field; None takes the grid of the transform's own displacement field.

    Raises:
        FileError: an ending that names no format, or a place that cannot be written.
        TransformError: the format cannot hold it: a linear transform as a dense field without `onto`, another as .mat,
            a field of one slice as NIfTI.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(FIELD_ENDINGS):
        field = _flattened(transform, onto)
        if field.geometry.size[2] == 1 and name.endswith((".nii", ".nii.gz")):
            raise TransformError(
                f"{path.name}: ITK cannot read a NIfTI field back that is one voxel thick along its third axis. "
                "Use .nrrd or .mha."
            )
        write_image(field.to_image(), path)
    elif name.endswith(TRANSFORM_ENDINGS):
        native = transform.to_sitk()
        with replacing(path) as aside:
            if name.endswith(HDF5_ENDINGS):
                require_room(aside.parent, _hdf5_bytes(transform))
            sitk.WriteTransform(native, str(aside))
            if name.endswith((".tfm", ".txt")):
                _require_whole_text(aside, native)
    elif name.endswith(".mat"):
        # ITK writes anything else into a .mat file, too, but cannot read it back.
        if not isinstance(transform, LinearTransform):
            raise TransformError(f"{path.name}: a .mat file holds one linear transform only. Use .h5 or .tfm.")
        with replacing(path) as aside:
            sitk.WriteTransform(transform.to_sitk(), str(aside))
            # As for text, ITK says nothing where it does not fit on the disk.
            sitk.ReadTransform(str(aside))
    else:
        raise FileError(
            f"{path.name}: no transform format has this ending. Use .h5 or .tfm for any transform, "
            ".nii.gz or .nrrd for a dense displacement field."
        )


def read_transform(path: str | os.PathLike) -> Transform:
    """Read an ITK transform file or a dense displacement field (LPS mm; NIfTI intents 1006 and 1007).

    Raises:
        FileError: the file is missing or not a transform.
        TransformError: it is a transform of another dimension or of a kind that cannot be held.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"The transform file {path} does not exist. Check the path.")
    try:
        if path.name.lower().endswith((".tfm", ".txt", ".xfm")):
            _require_one_transform(path)
        if path.name.lower().endswith(FIELD_ENDINGS):
            require_complete_nifti(path)
            return _field_from_image(_read_field(path), path.name)
        if path.name.lower().endswith(HDF5_ENDINGS) or _begins_with(path, HDF5_SIGNATURE):
            _require_harmless(path)
        return from_sitk(sitk.ReadTransform(str(path)))
    # UnicodeDecodeError: ITK quotes what it found in the file, whatever that is.
    except (RuntimeError, OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"Cannot read {path} as a transform. Known are ITK transform files (.h5, .tfm, .txt, .mat) and dense "
            f"displacement fields (.nii.gz, .nrrd, .mha). ITK says: {itk_reason(error)}."
        ) from error


def from_sitk(transform: sitk.Transform) -> Transform:
    """The value type for a SimpleITK transform: linear, dense, B-spline (sampled densely) or a composite of these.

    Raises:
        TransformError: not three-dimensional, or neither linear nor dense.
    """
    if transform.GetDimension() != 3:
        raise TransformError(
            f"The transform is {transform.GetDimension()}-dimensional; a three-dimensional one is needed."
        )
    specific = transform.Downcast()
    if isinstance(specific, sitk.CompositeTransform):
        count = specific.GetNumberOfTransforms()
        if count == 0:
            return Rigid.identity()
        parts = tuple(from_sitk(specific.GetNthTransform(n)) for n in reversed(range(count)))
        return parts[0] if count == 1 else Composite(parts)
    if isinstance(specific, sitk.DisplacementFieldTransform):
        return _field_from_image(specific.GetDisplacementField(), "displacement field")
    if isinstance(specific, sitk.BSplineTransform):
        return _sampled_bspline(specific)
    if specific.IsLinear():
        return _linear(specific)
    raise TransformError(
        f"A transform of kind {specific.GetName()} cannot be used here. "
        "Convert it to a displacement field first, for example in 3D Slicer's Transforms module."
    )


def _hdf5_bytes(transform: Transform) -> int:
    # ITK writes doubles; a group of HDF5 takes some kilobytes.
    parts = transform.parts if isinstance(transform, Composite) else (transform,)
    values = sum(part.displacement.size for part in parts if isinstance(part, DisplacementField))
    return 8 * values + 16384 * len(parts)


def _begins_with(path: Path, signature: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(signature)) == signature


def _require_harmless(path: Path) -> None:
    """Raise `FileError` where reading the file ends the process.

    The HDF5 library follows addresses that no checksum covers wherever a damaged file leads, and takes the process with
    it: Slicer's, with the user's scene. So another process goes first, which takes a third of a second.
    """
    script = "import sys, SimpleITK; SimpleITK.ReadTransform(sys.argv[1])"
    # A program that embeds Python and has no interpreter beside it takes the risk.
    with contextlib.suppress(WorkerError):
        interpreter = worker_command()[0]
        tried = subprocess.run(
            [interpreter, "-c", script, str(path.absolute())],
            env=worker_environment({}),
            capture_output=True,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        if tried.returncode not in ENDED_BY_ITSELF:
            raise FileError(
                f"Cannot read {path} as a transform: it is damaged, so that ITK's HDF5 library crashes on it. Copy or "
                "save it again."
            )


def _require_whole_text(path: Path, native: sitk.Transform) -> None:
    # ITK says nothing where it does not fit on the disk. The fixed parameters are the last line of each transform.
    specific = native.Downcast()
    count = specific.GetNumberOfTransforms() if isinstance(specific, sitk.CompositeTransform) else 1
    with path.open("rb") as file:
        ends = [line for line in file if line.startswith(b"FixedParameters:")]
    if len(ends) != count or not ends[-1].endswith(b"\n"):
        raise OSError(f"only {path.stat().st_size} of its bytes could be written")


def _require_one_transform(path: Path) -> None:
    # SimpleITK takes the first of several and only prints a warning: the map would be a wrong one.
    kinds = re.findall(
        r"^\s*(?:Transform:|Transform_Type\s*=)\s*(\w+)",
        path.read_text(encoding="utf-8", errors="replace"),
        re.MULTILINE,
    )
    if len(kinds) > 1 and not kinds[0].startswith("Composite"):
        raise TransformError(
            f"{path.name} holds {len(kinds)} transforms that are not joined into one. Load it in 3D Slicer or with "
            "ITK, combine them into a composite transform in the order you mean, and save that as .h5."
        )


def _linear(transform: sitk.Transform) -> LinearTransform:
    corners = np.array([transform.TransformPoint(point) for point in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]])
    matrix = np.eye(4)
    matrix[:3, 3] = corners[0]
    matrix[:3, :3] = (corners[1:] - corners[0]).T
    try:
        return Rigid(matrix)
    except TransformError:
        return Affine(matrix)


def _read_field(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    # A damaged header may claim more voxels than the machine has memory for: it is read no further.
    _require_field(reader.GetDimension(), reader.GetNumberOfComponents(), path.name)
    return reader.Execute()


def _require_field(dimension: int, components: int, name: str) -> None:
    if (dimension, components) != (3, 3):
        raise TransformError(
            f"{name} is not a displacement field: it needs three dimensions and three components in each voxel, "
            f"and has {dimension} and {components}."
        )


def _field_from_image(image: sitk.Image, name: str) -> DisplacementField:
    _require_field(image.GetDimension(), image.GetNumberOfComponentsPerPixel(), name)
    return DisplacementField(sitk.GetArrayFromImage(image).astype(np.float32), Geometry.from_sitk(image))


def _sampled_bspline(transform: sitk.BSplineTransform) -> DisplacementField:
    mesh = np.asarray(transform.GetTransformDomainMeshSize())
    extent = np.asarray(transform.GetTransformDomainPhysicalDimensions())
    # Eight samples to a cubic piece leave an error below a hundredth of its amplitude.
    size = mesh * 8 + 1
    direction = np.asarray(transform.GetTransformDomainDirection()).reshape(3, 3)
    geometry = Geometry(
        tuple(size), tuple(extent / (size - 1)), transform.GetTransformDomainOrigin(), tuple(map(tuple, direction))
    )
    # ITK takes points on the far faces of the domain for outside, where nothing moves: sample a hair inside.
    hair = 1e-6 * extent
    image = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        geometry.size,
        (np.asarray(geometry.origin) + direction @ hair).tolist(),
        ((extent - 2 * hair) / (size - 1)).tolist(),
        direction.ravel().tolist(),
    )
    return DisplacementField(sitk.GetArrayFromImage(image).astype(np.float32), geometry)


def _flattened(transform: Transform, onto: Geometry | None) -> DisplacementField:
    if onto is not None:
        return transform.sampled_on(onto)
    if isinstance(transform, DisplacementField):
        return transform
    for part in transform.parts if isinstance(transform, Composite) else ():
        if isinstance(part, DisplacementField):
            return transform.sampled_on(part.geometry)
    raise TransformError(
        "A linear transform has no grid of its own, so it cannot be written as a dense field. Write it as .h5 or "
        ".tfm, or give the grid."
    )
