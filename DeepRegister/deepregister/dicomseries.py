"""A volume as a DICOM series on disk: what a registered volume needs to go back to where its study lies.

pydicom writes the files. ITK's own writer turns an MR series into another kind of object that has lost its geometry,
and takes values for stored numbers. The images are marked as derived: somebody who finds them in an archive must not
take them for what the scanner measured.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .doctor.installing import recipe
from .doctor.requirements import DICOM
from .errors import FileError, InputError, MissingPackageError
from .folders import filling, settle
from .volume import Volume

# What a caller may say, as DICOM names it; everything else is the writer's own.
PATIENT_TAGS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientComments")
STUDY_TAGS = ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription")
SERIES_TAGS = ("Modality", "SeriesDescription", "SeriesNumber", "FrameOfReferenceUID", "DerivationDescription")
TAGS = PATIENT_TAGS + STUDY_TAGS + SERIES_TAGS

_CT, _MR, _SECONDARY_CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in (2, 4, 7))
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
# Required of each kind, though a resampled volume cannot know them; the standard lets the empty ones be empty.
_OF_KIND = {
    _CT: {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"], "KVP": None, "AcquisitionNumber": None, "RescaleType": "HU"},
    _MR: {
        "ImageType": ["DERIVED", "SECONDARY", "OTHER"],
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "",
        "EchoTime": None,
        "EchoTrainLength": None,
    },
    _SECONDARY_CAPTURE: {"ImageType": ["DERIVED", "SECONDARY"], "ConversionType": "WSD"},
}
# DICOM holds text of a number in 16 characters.
_NUMBER_LENGTH = 16
_IDENTIFIER = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def check_pydicom() -> None:
    """Raise `MissingPackageError` where a series cannot be written. Slicer's Python has pydicom."""
    if importlib.util.find_spec("pydicom") is None:
        command = "\n".join(recipe([DICOM]).online)
        raise MissingPackageError(
            f"Writing DICOM needs {DICOM.name}, which this Python does not have. Install it with\n{command}"
        )


def write_dicom_series(
    volume: Volume,
    folder: str | os.PathLike,
    tags: Mapping[str, str] | None = None,
    window: tuple[float, float] | None = None,
) -> list[Path]:
    """Write a volume as a new DICOM series, one file for each slice along its third axis.

    The series is a CT or MR Image where `tags` say so, and for every other modality a Secondary Capture: the other
    kinds demand facts of the acquisition that nobody knows here. Voxels are stored in 16 bits: whole numbers that fit
    unchanged, everything else in 65535 steps over its range, with slope and intercept in the files.

    Args:
        volume: LPS mm.
        folder: made if missing; must hold nothing.
        tags: of `TAGS`, as text. Without a StudyInstanceUID the series is a study of its own; without a
            FrameOfReferenceUID it claims to lie in no other series' frame.
        window: width and level to show it with.

    Returns:
        The files, in the order of the slices.

    Raises:
        MissingPackageError: pydicom is not installed.
        InputError: an unknown tag, a tag that DICOM cannot hold, or a volume without a finite value.
        FileError: the folder holds files already, or cannot be written.
    """
    check_pydicom()
    folder = Path(folder)
    settle(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise FileError(
            f"{folder} holds files already, and a series mixed with others cannot be told from them. Choose a new or "
            "an empty folder."
        )
    common = _common(dict(tags or {}), window)
    stored, slope, intercept = _stored(volume)
    names = [f"IMG{number:04d}.dcm" for number in range(1, len(stored) + 1)]
    with filling(folder) as aside:
        for number, (name, slice_) in enumerate(zip(names, stored, strict=True)):
            _write_slice(aside / name, common, number, slice_, volume, slope, intercept)
    return [folder / name for name in names]


def _common(tags: dict[str, str], window: tuple[float, float] | None) -> dict[str, Any]:
    """What all files of the series say, by DICOM's names."""
    from pydicom.uid import generate_uid

    unknown = sorted(set(tags) - set(TAGS))
    if unknown:
        raise InputError(f"{', '.join(unknown)}: not a tag that can be given. Known are {', '.join(TAGS)}.")
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if tags.get(name) and (len(tags[name]) > 64 or not _IDENTIFIER.fullmatch(tags[name])):
            raise InputError(f"{name}: {tags[name]!r} is no DICOM identifier (numbers and dots). Leave it out.")
    modality = tags.get("Modality") or "OT"
    kind = {"CT": _CT, "MR": _MR}.get(modality, _SECONDARY_CAPTURE)
    now = datetime.now()
    date, time = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    common = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": kind,
        **{name: tags.get(name, "") for name in PATIENT_TAGS + STUDY_TAGS + SERIES_TAGS if name != "PatientComments"},
        "StudyInstanceUID": tags.get("StudyInstanceUID") or generate_uid(prefix=None),
        "FrameOfReferenceUID": tags.get("FrameOfReferenceUID") or generate_uid(prefix=None),
        "SeriesInstanceUID": generate_uid(prefix=None),
        "Modality": modality,
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "PatientPosition": "",
        "PositionReferenceIndicator": "",
        "Manufacturer": "DeepRegister",
        "ManufacturerModelName": "DeepRegister",
        "SoftwareVersions": __version__,
        "SeriesDate": date,
        "SeriesTime": time,
        "ContentDate": date,
        "ContentTime": time,
        "InstanceCreationDate": date,
        "InstanceCreationTime": time,
        **_OF_KIND[kind],
    }
    if tags.get("PatientComments"):
        common["PatientComments"] = tags["PatientComments"]
    if window is not None:
        common["WindowWidth"], common["WindowCenter"] = (_number(value) for value in window)
    return common


def _stored(volume: Volume) -> tuple[np.ndarray, str, str]:
    """The voxels in 16 bits, and slope and intercept, as text, that give their values back."""
    data = volume.data.astype(np.float64) if volume.data.dtype.kind == "f" else volume.data.astype(np.int64)
    finite = np.isfinite(data)
    if not finite.any():
        raise InputError(f"{volume.name} has no finite value, so there is nothing to write. Choose another volume.")
    low, high = data[finite].min(), data[finite].max()
    data = np.where(finite, data, low)
    for kind in (np.int16, np.uint16):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max and not np.any(data % 1):
            return data.astype(kind), "1", "0"
    slope, intercept = _number((float(high) - float(low)) / 65535), _number(float(low))
    steps = np.rint((data - float(intercept)) / float(slope))
    return np.clip(steps, 0, 65535).astype(np.uint16), slope, intercept


def _number(value: float) -> str:
    """A number as DICOM can hold it."""
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= _NUMBER_LENGTH:
            return text
    raise InputError(f"DICOM cannot hold the number {value!r}. Scale the volume's values to a usual range.")


def _write_slice(
    path: Path, common: Mapping[str, Any], number: int, voxels: np.ndarray, volume: Volume, slope: str, intercept: str
) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, generate_uid

    identifier = generate_uid(prefix=None)
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = common["SOPClassUID"]
    meta.MediaStorageSOPInstanceUID = identifier
    meta.TransferSyntaxUID = _EXPLICIT_LITTLE_ENDIAN
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    file = FileDataset(str(path), {}, b"\0" * 128, meta, is_implicit_VR=False, is_little_endian=True)
    axes = np.asarray(volume.geometry.direction)
    spacing = volume.geometry.spacing
    # DICOM says the distance between rows first.
    in_plane = [_number(spacing[1]), _number(spacing[0])]
    content = {
        **common,
        "SOPInstanceUID": identifier,
        "InstanceNumber": str(number + 1),
        "ImagePositionPatient": [_number(x) for x in volume.geometry.index_to_point([0, 0, number])],
        "ImageOrientationPatient": [_number(x) for x in (*axes[:, 0], *axes[:, 1])],
        "PixelSpacing": in_plane,
        "SliceThickness": _number(spacing[2]),
        "SpacingBetweenSlices": _number(spacing[2]),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": voxels.shape[0],
        "Columns": voxels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(voxels.dtype == np.int16),
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
    }
    if common["SOPClassUID"] == _SECONDARY_CAPTURE:
        # Some readers look for the spacing of a secondary capture here alone.
        content["NominalScannedPixelSpacing"] = in_plane
        content["RescaleType"] = "US"
    try:
        for name, value in content.items():
            setattr(file, name, value)
        file.PixelData = voxels.astype("<i2" if voxels.dtype == np.int16 else "<u2").tobytes()
        file.save_as(str(path))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"The series cannot be written: {error}. Correct that tag of the patient or study in Slicer's Data module."
        ) from error
