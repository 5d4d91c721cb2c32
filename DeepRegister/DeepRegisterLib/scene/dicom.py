"""A volume of the scene as a DICOM series on disk, with the patient and study that it belongs to."""

from __future__ import annotations

import os
from pathlib import Path

from deepregister import __version__
from deepregister.dicomseries import PATIENT_TAGS, STUDY_TAGS, check_pydicom, write_dicom_series
from deepregister.errors import InputError
from slicer import vtkMRMLSubjectHierarchyConstants as Names

from .frame import nodesOfClass
from .hierarchy import itemOf, patientOf, studyOf
from .provenance import REGISTERED, recordedSettings
from .volumes import volumeFromNode

# What Slicer's DICOM import writes into the hierarchy where the files said nothing.
_FILLED_IN = {"PatientName": "No name", "StudyDescription": "No study description"}


def dicomTags(volumeNode) -> dict[str, str]:
    """What the subject hierarchy knows of a volume's patient, study and series, by DICOM's names for the tags."""
    tags = {"SeriesDescription": volumeNode.GetName(), "DerivationDescription": _derivation(volumeNode)}
    hierarchy, item = itemOf(volumeNode)
    if hierarchy is not None:
        study, patient = studyOf(hierarchy, item), patientOf(hierarchy, item)
        series = ("Modality", "SeriesDescription", "SeriesNumber", "FrameOfReferenceUID")
        for owner, names in ((patient, PATIENT_TAGS), (study, STUDY_TAGS), (item, series)):
            for name in names:
                value = "" if owner is None else hierarchy.GetItemAttribute(owner, _attribute(name))
                if value and value != _FILLED_IN.get(name):
                    tags[name] = value
        if study is not None:
            uid = tags.get("StudyInstanceUID") or hierarchy.GetItemUID(study, Names.GetDICOMUIDName())
            tags["StudyInstanceUID"] = uid
            # Also filled in by Slicer, where the files had no patient ID.
            if tags.get("PatientID") == f"Patient-{uid}":
                del tags["PatientID"]
    return {name: value for name, value in tags.items() if value}


def exportDicom(volumeNode, folder: str | os.PathLike) -> list[Path]:
    """Write a volume, as it lies in the world, as a DICOM series with its patient and study tags.

    The series is new and marked as derived; with the study of the volume's place in the subject hierarchy it goes
    back to where the fixed volume came from. Slicer is not asked to write it: its own exporter casts values to whole
    numbers and calls what it writes original images.

    Args:
        volumeNode: a scalar volume, as a rule a registered one.
        folder: made if missing; must hold nothing.

    Returns:
        The files.

    Raises:
        MissingPackageError: pydicom is not there.
        InputError: the node is no scalar volume, or a tag cannot be written.
        FileError: the folder holds files, or cannot be written.
    """
    volume, tags, window = dicomRequest(volumeNode)
    return write_dicom_series(volume, folder, tags, window)


def dicomRequest(volumeNode):
    """The volume, tags and window of a series that `write_dicom_series` is to write."""
    check_pydicom()
    if volumeNode is None:
        raise InputError("There is no volume to export. Choose one.")
    volume, _ = volumeFromNode(volumeNode)
    display = volumeNode.GetDisplayNode()
    window = None
    if display is not None and display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        window = (display.GetWindow(), display.GetLevel())
    return volume, dicomTags(volumeNode), window


def newSeriesFolder(parent: str | os.PathLike, volumeNode) -> Path:
    """A folder for the series inside `parent`, named like the volume, that does not exist yet."""
    name = "".join(letter if letter.isalnum() or letter in "-_ " else "_" for letter in volumeNode.GetName()).strip()
    folder = Path(parent) / (name or "series")
    number = 1
    while folder.exists():
        number += 1
        folder = Path(parent) / f"{name or 'series'} {number}"
    return folder


def _attribute(name: str) -> str:
    return Names.GetDICOMAttributePrefix() + name


def _derivation(volumeNode) -> str:
    """How a registered volume came to be, for people who find it in an archive; empty for any other."""
    for transform in nodesOfClass(volumeNode.GetScene(), "vtkMRMLTransformNode"):
        if transform.GetNodeReference(REGISTERED) is volumeNode:
            fixed = transform.GetNodeReference(transform.GetFixedNodeReferenceRole())
            moving = transform.GetNodeReference(transform.GetMovingNodeReferenceRole())
            settings = recordedSettings(transform)
            if fixed is not None and moving is not None and settings is not None:
                return (
                    f"{moving.GetName()} registered to and resampled onto {fixed.GetName()} by DeepRegister "
                    f"{__version__}, model {settings.model}, quality {settings.quality}"
                )
    return ""
