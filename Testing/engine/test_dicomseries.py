"""DICOM series: what is written is read back by pydicom, tag by tag, and by ITK, voxel by voxel and in its place."""

import sys

import numpy as np
import pydicom
import pytest
from deepregister import Geometry, Volume
from deepregister.dicomseries import write_dicom_series
from deepregister.errors import FileError, InputError, MissingPackageError
from scipy.spatial.transform import Rotation

TAGS = {
    "PatientName": "Müller^Änne",
    "PatientID": "P7",
    "PatientBirthDate": "19500203",
    "PatientSex": "F",
    "PatientComments": "allergic",
    "StudyInstanceUID": "1.2.3",
    "StudyID": "S1",
    "StudyDate": "20200101",
    "StudyTime": "101112",
    "StudyDescription": "Planning",
    "Modality": "CT",
    "SeriesDescription": "MR registered to CT",
    "SeriesNumber": "301",
    "FrameOfReferenceUID": "1.2.9",
    "DerivationDescription": "Resampled",
}


def volume(kind=np.int16, scale=1.0):
    direction = Rotation.from_euler("xyz", (20, -10, 35), degrees=True).as_matrix()
    geometry = Geometry((7, 6, 5), (0.7, 0.8123, 2.5), (-100.123, 20, 3.5), tuple(map(tuple, direction)))
    noise = np.random.default_rng(0).normal(0, 500, geometry.shape) * scale
    return Volume(noise.astype(kind), geometry, "MR registered")


def test_every_tag_is_read_back(tmp_path):
    files = write_dicom_series(volume(), tmp_path / "series", TAGS, window=(350, 40))
    assert [file.name for file in files] == sorted(file.name for file in (tmp_path / "series").iterdir())
    headers = [pydicom.dcmread(file) for file in files]
    for header in headers:
        assert {name: str(header[name].value) for name in TAGS} == TAGS
        assert header.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert (header.WindowWidth, header.WindowCenter) == (350, 40)
        assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    assert len({header.SOPInstanceUID for header in headers}) == len(headers)
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    assert [header.InstanceNumber for header in headers] == list(range(1, len(headers) + 1))


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "OT"])
@pytest.mark.parametrize(("kind", "scale"), [(np.int16, 1), (np.uint16, 0), (np.float32, 1e-6), (np.float64, 1e7)])
def test_voxels_and_place_are_read_back(tmp_path, modality, kind, scale):
    written = volume(kind, scale)
    files = write_dicom_series(written, tmp_path / "series", {"Modality": modality})
    kinds = {"CT": "CT Image Storage", "MR": "MR Image Storage"}
    header = pydicom.dcmread(files[0])
    assert header.SOPClassUID.name == kinds.get(modality, "Secondary Capture Image Storage")
    assert header.Modality == modality
    back = Volume.read(tmp_path / "series")
    assert back.geometry.same_grid(written.geometry, 1e-3)
    allowed = 0 if np.dtype(kind).kind in "iu" else 0.51 * np.ptp(written.data) / 65535
    assert np.abs(back.data - written.data.astype(float)).max() <= allowed


def test_values_that_are_none_become_the_lowest(tmp_path):
    data = np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 4, 5)
    data[1, 1, 1] = np.nan
    write_dicom_series(Volume.from_array(data), tmp_path / "series")
    assert Volume.read(tmp_path / "series").data[1, 1, 1] == pytest.approx(-1, abs=1e-4)
    with pytest.raises(InputError, match="no finite value"):
        write_dicom_series(Volume.from_array(np.full((2, 2, 2), np.nan)), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_without_tags_it_is_a_study_of_its_own(tmp_path):
    first, second = (pydicom.dcmread(write_dicom_series(volume(), tmp_path / name)[0]) for name in ("a", "b"))
    assert first.PatientName == "" and first.Modality == "OT"
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert first[name].value != second[name].value and pydicom.uid.UID(first[name].value).is_valid


def test_what_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.dcm").write_bytes(b"")
    with pytest.raises(FileError, match="holds files already"):
        write_dicom_series(volume(), tmp_path / "full")
    with pytest.raises(InputError, match="KVP: not a tag that can be given"):
        write_dicom_series(volume(), tmp_path / "series", {"KVP": "120"})
    with pytest.raises(InputError, match="StudyInstanceUID: 'one' is no DICOM identifier"):
        write_dicom_series(volume(), tmp_path / "series", {"StudyInstanceUID": "one"})
    with pytest.raises(InputError, match="cannot be written"):
        write_dicom_series(volume(), tmp_path / "series", {"SeriesNumber": "third"})
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"needs pydicom(.|\n)*pip install"):
        write_dicom_series(volume(), tmp_path / "series")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
