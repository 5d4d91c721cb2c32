"""What a result came from is known by its content, and found again where the result has moved with its files."""

import hashlib
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Geometry, Rigid, Settings, Volume
from deepregister.errors import FileError
from deepregister.result import Registration
from deepregister.sources import SourceFile, content_sha256, engine_sha256, with_files
from dicom import write_ct


def plain(path, content=b"voxels"):
    path.write_bytes(content)
    return path


def test_a_file_is_known_by_its_sha256(tmp_path):
    source = SourceFile.of(plain(tmp_path / "a.nii.gz"), 3)
    assert source.path == tmp_path / "a.nii.gz"
    assert source.sha256 == hashlib.sha256(b"voxels").hexdigest()
    assert source.to_dict() == {"path": str(source.path), "frame": 3, "sha256": source.sha256, "relative": None}
    assert SourceFile.from_dict(source.to_dict()) == source
    with pytest.raises(FileError, match=r"Cannot read .*none\.nii"):
        SourceFile.of(tmp_path / "none.nii")


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.hdr"])
def test_the_data_file_of_a_header_counts(tmp_path, name):
    Volume.from_array(np.zeros((3, 4, 5), np.int16)).write(tmp_path / name)
    before = content_sha256(tmp_path / name)
    (data,) = (path for path in tmp_path.iterdir() if path.name != name)
    data.write_bytes(data.read_bytes() + b"more")
    assert content_sha256(tmp_path / name) != before


def test_a_header_that_lists_its_slices(tmp_path):
    for k in range(2):
        plain(tmp_path / f"slice{k}.raw", bytes(20))
    lines = ["NDims = 3", "DimSize = 5 4 2", "ElementType = MET_UCHAR", "ElementDataFile = LIST"]
    (tmp_path / "a.mhd").write_text("\n".join([*lines, "slice0.raw", "slice1.raw"]))
    assert sitk.ReadImage(str(tmp_path / "a.mhd")).GetSize() == (5, 4, 2)
    before = content_sha256(tmp_path / "a.mhd")
    plain(tmp_path / "slice1.raw", bytes(19) + b"1")
    assert content_sha256(tmp_path / "a.mhd") != before


def test_a_dicom_folder_is_its_slices_and_nothing_else(tmp_path):
    folder = tmp_path / "series"
    write_ct(folder, np.zeros((4, 5, 6), np.int16), Geometry((6, 5, 4)))
    before = content_sha256(folder)
    (folder / ".DS_Store").write_bytes(b"a system's note")
    assert content_sha256(folder) == before
    slices = sorted(path for path in folder.iterdir() if path.name != ".DS_Store")
    slices[1].write_bytes(slices[1].read_bytes()[:-1] + b"x")
    assert content_sha256(folder) != before


def test_a_model_folder_is_all_that_lies_in_it(tmp_path):
    plain(tmp_path / "card.toml", b"name")
    plain(tmp_path / "w.safetensors", b"weights")
    before = content_sha256(tmp_path)
    plain(tmp_path / "w.safetensors", b"other weights")
    assert content_sha256(tmp_path) != before


def test_a_source_is_found_where_it_was_and_then_beside_the_result(tmp_path):
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    source = SourceFile.of(plain(home / "images" / "a.nii.gz")).seen_from(home / "result")
    assert source.relative == "../images/a.nii.gz"
    assert source.find(home / "result") == home / "images" / "a.nii.gz"
    moved = tmp_path / "moved"
    shutil.copytree(home, moved)
    # Another file has taken the old name: the one that moved with the result is meant.
    plain(home / "images" / "a.nii.gz", b"of another patient")
    assert source.find(moved / "result") == moved / "images" / "a.nii.gz"
    with pytest.raises(FileError, match=r"The fixed volume .*a\.nii\.gz has changed.*was [0-9a-f]{12}… and is"):
        source.find(tmp_path / "elsewhere" / "result", "fixed volume")
    shutil.rmtree(home)
    with pytest.raises(FileError, match=r"The moving volume .*a\.nii\.gz is gone"):
        source.find(tmp_path / "elsewhere" / "result", "moving volume")


def test_a_registration_takes_its_sources_along(tmp_path):
    bare = Registration(Rigid.identity(), Rigid.identity(), None, Settings(), {}, {}, "CPU", inputs={"threads": 2})
    source = SourceFile.of(plain(tmp_path / "a.nrrd"))
    named = with_files(bare, {"fixed": source, "fixed_mask": None}, tmp_path / "result")
    named.save(tmp_path / "result")
    inputs = Registration.load(tmp_path / "result").inputs
    assert inputs["threads"] == 2
    assert list(inputs["files"]) == ["fixed"]
    assert inputs["engine_sha256"] == engine_sha256()
    assert SourceFile.from_dict(inputs["files"]["fixed"]) == source.seen_from(tmp_path / "result")
