"""The registered volume in its study, and out of it again: tags from the hierarchy as Slicer's DICOM import makes it,
through a real registration result, to files that pydicom reads."""

import numpy as np
import pydicom
import pytest
import slicer
from deepregister import Settings, Volume
from deepregister.errors import FileError, InputError
from DeepRegisterLib.scene.dicom import dicomTags, newSeriesFolder
from DeepRegisterLib.scene.logic import RegistrationLogic
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import PAIRS, addVolume, dump, hierarchyOf, registration, rigid, texture

PATIENT = {
    "PatientName": "Müller^Änne",
    "PatientID": "P7",
    "PatientBirthDate": "19500203",
    "PatientSex": "F",
    "PatientComments": "allergic",
}


def addToStudy(scene, node, patient=PATIENT, study="1.2.3", series="1.2.3.1", **values):
    """What Slicer's DICOM import does for a series, with the same logic; returns the series item."""
    hierarchy = hierarchyOf(scene)
    names = slicer.vtkMRMLSubjectHierarchyConstants
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemUID(item, names.GetDICOMUIDName(), series)
    insert = slicer.vtkSlicerSubjectHierarchyModuleLogic.InsertDicomSeriesInHierarchy
    insert(hierarchy, patient["PatientID"], study, series)
    owner = hierarchy.GetItemParent(item)
    tags = {
        "StudyInstanceUID": study,
        "StudyID": "S1",
        "StudyDate": "20200101",
        "StudyTime": "101112",
        "StudyDescription": f"Study {study}",
    }
    for where, content in ((hierarchy.GetItemParent(owner), patient), (owner, tags), (item, values)):
        for name, value in content.items():
            hierarchy.SetItemAttribute(where, f"DICOM.{name}", value)
    return item


@pytest.fixture
def volumes(scene):
    fixedGrid, movingGrid = PAIRS["oblique"]
    return addVolume(scene, texture(fixedGrid, 1), "CT"), addVolume(scene, texture(movingGrid, 2), "MR: T1/2")


def register(fixed, moving):
    request = requestFromNodes(fixed, moving, Settings(model="rigid", quality="fast"))
    result = registration(rigid(request.fixed.geometry), request.fixed, request.moving, settings=request.settings)
    return insertResult(request, result).registeredVolumeNode


def test_the_registered_volume_belongs_to_the_fixed_study_and_its_files_say_so(scene, volumes, tmp_path):
    fixed, moving = volumes
    item = addToStudy(scene, fixed, Modality="CT", FrameOfReferenceUID="1.2.9")
    addToStudy(scene, moving, study="1.2.4", series="1.2.4.1", Modality="MR", FrameOfReferenceUID="1.2.8")
    node = register(fixed, moving)
    hierarchy = hierarchyOf(scene)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == hierarchy.GetItemParent(item)

    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(350, 40)
    before = dump(scene)
    files = RegistrationLogic().exportDicom(node, tmp_path / "series")
    assert dump(scene) == before
    headers = [pydicom.dcmread(file) for file in files]
    expected = {
        **PATIENT,
        "StudyInstanceUID": "1.2.3",
        "StudyID": "S1",
        "StudyDate": "20200101",
        "StudyTime": "101112",
        "StudyDescription": "Study 1.2.3",
        "FrameOfReferenceUID": "1.2.9",
        "Modality": "MR",
        "SeriesDescription": "MR: T1/2 registered",
        "WindowWidth": "350",
    }
    for header in headers:
        assert {name: str(header[name].value) for name in expected} == expected
        assert header.SeriesInstanceUID not in ("1.2.3.1", "1.2.4.1")
        assert header.ImageType[0] == "DERIVED"
        assert "MR: T1/2 registered to and resampled onto CT by DeepRegister" in header.DerivationDescription
        assert header.DerivationDescription.endswith("model rigid, quality fast")
    back, shown = Volume.read(tmp_path / "series"), volumeFromNode(node)[0]
    assert back.geometry.same_grid(shown.geometry, 1e-3)
    assert np.abs(back.data - shown.data).max() <= 0.51 * np.ptp(shown.data) / 65535
    assert back.geometry.same_grid(PAIRS["oblique"][0], 1e-3)


def test_the_worker_writes_the_same_series(scene, volumes, logic, tmp_path):
    addToStudy(scene, volumes[0], Modality="CT")
    node = register(*volumes)
    files = logic.startDicomExport(node, tmp_path / "worker").finish()
    here = logic.exportDicom(node, tmp_path / "here")
    assert [file.name for file in files] == [file.name for file in here]
    for ours, theirs in zip(map(pydicom.dcmread, files), map(pydicom.dcmread, here), strict=True):
        assert ours.PatientID == theirs.PatientID == "P7" and ours.PixelData == theirs.PixelData


def test_an_image_of_one_patient_does_not_get_the_name_of_another(scene, volumes):
    fixed, moving = volumes
    addToStudy(scene, fixed, {**PATIENT, "PatientID": "atlas", "PatientName": "Atlas"})
    item = addToStudy(scene, moving, study="1.2.4", series="1.2.4.1", Modality="MR")
    node = register(fixed, moving)
    hierarchy = hierarchyOf(scene)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == hierarchy.GetItemParent(item)
    tags = dicomTags(node)
    assert (tags["PatientID"], tags["StudyInstanceUID"]) == ("P7", "1.2.4") and "FrameOfReferenceUID" not in tags


@pytest.mark.parametrize("where", ["no hierarchy", "hierarchy without studies"])
def test_without_a_study_the_tags_are_those_of_the_series_alone(scene, volumes, tmp_path, where):
    if where != "no hierarchy":
        for node in volumes:
            hierarchyOf(scene).CreateItem(hierarchyOf(scene).GetSceneItemID(), node)
    node = register(*volumes)
    assert set(dicomTags(node)) == {"SeriesDescription", "DerivationDescription"}
    header = pydicom.dcmread(RegistrationLogic().exportDicom(node, tmp_path / "series")[0])
    assert header.PatientName == "" and header.Modality == "OT"


def test_what_slicer_fills_in_for_missing_tags_is_not_written(scene, volumes):
    fixed, moving = volumes
    anonymous = {"PatientName": "No name", "PatientID": "Patient-1.2.3"}
    item = addToStudy(scene, fixed, anonymous)
    hierarchy = hierarchyOf(scene)
    hierarchy.SetItemAttribute(hierarchy.GetItemParent(item), "DICOM.StudyDescription", "No study description")
    tags = dicomTags(register(fixed, moving))
    assert tags["StudyInstanceUID"] == "1.2.3"
    assert not {"PatientName", "PatientID", "StudyDescription"} & set(tags)


def test_each_series_gets_a_folder_of_its_own(scene, volumes, tmp_path):
    node = register(*volumes)
    first = newSeriesFolder(tmp_path, node)
    assert first == tmp_path / "MR_ T1_2 registered"
    RegistrationLogic().exportDicom(node, first)
    assert newSeriesFolder(tmp_path, node) == tmp_path / "MR_ T1_2 registered 2"
    with pytest.raises(FileError, match="holds files already"):
        RegistrationLogic().exportDicom(node, first)
    with pytest.raises(InputError, match="no volume to export"):
        RegistrationLogic().exportDicom(None, tmp_path / "none")
