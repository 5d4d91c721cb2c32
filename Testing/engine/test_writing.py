"""Files appear whole or not at all."""

import os

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Volume
from deepregister.errors import FileError
from deepregister.writing import itk_reason, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_name_appears_only_at_the_end(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with replacing(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["result.txt"]


@pytest.mark.parametrize("error", [RuntimeError("ITK ERROR: X(0x1): no space"), OSError(28, "No space left")])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(FileError, match=r"result\.txt: .*[Nn]o space"), replacing(path) as aside:
        aside.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["result.txt"]


def test_an_interruption_passes_and_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "result.txt") as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_data_beside_a_header_moves_with_it(tmp_path):
    volume = Volume.from_array(np.arange(60.0).reshape(3, 4, 5))
    for name in ("a.mhd", "b.nhdr"):
        volume.write(tmp_path / name)
        assert np.array_equal(Volume.read(tmp_path / name).data, volume.data)
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("name", ["head.xyz", "head", "head.png"])
def test_formats_that_cannot_hold_the_volume_are_refused(tmp_path, name):
    with pytest.raises(FileError) as error:
        Volume.from_array(np.zeros((3, 4, 5))).write(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert ".nii.gz" in str(error.value)
    assert ".unfinished" not in str(error.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("write", [Volume.from_array(np.zeros((3, 4, 5))).write, Affine.identity().write])
def test_places_that_cannot_be_written_are_refused(tmp_path, write):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.nrrd").mkdir()
    (tmp_path / "folder.h5").mkdir()
    ending = "nrrd" if write.__self__.__class__ is Volume else "h5"
    for folder in ("nowhere", "file"):
        with pytest.raises(FileError, match=f"folder .*{folder} does not exist"):
            write(tmp_path / folder / f"x.{ending}")
    with pytest.raises(FileError, match=rf"folder\.{ending} is a folder"):
        write(tmp_path / f"folder.{ending}")
    assert names(tmp_path) == ["file", "folder.h5", "folder.nrrd"]


def test_a_read_only_folder_is_refused(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(FileError, match="Cannot write into"):
        Volume.from_array(np.zeros((3, 4, 5))).write(folder / "x.nrrd")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "Exception thrown in SimpleITK ImageFileReader_Execute: /src/itkMetaImageIO.cxx:490:\n"
            "ITK ERROR: MetaImageIO(0x55): File cannot be read: x.mha for reading.\nReason: No such file or directory",
            "File cannot be read: x.mha for reading",
        ),
        (
            "Exception thrown\nITK ERROR: NrrdImageIO(0x5): Write: Error writing x.nrrd:\n[nrrd] could not open: no\n",
            "Write: Error writing x.nrrd: [nrrd] could not open: no",
        ),
        ("sitk::ERROR: Unable to determine ImageIO reader for x", "Unable to determine ImageIO reader for x"),
        ("something else.", "something else"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_is_found_in_what_itk_says(text, reason):
    assert itk_reason(RuntimeError(text)) == reason


def test_the_reason_is_found_in_a_real_itk_error(tmp_path):
    with pytest.raises(RuntimeError) as error:
        sitk.ReadTransform(str(tmp_path / "nowhere.h5"))
    assert "\n" not in itk_reason(error.value)
    assert "nowhere.h5" in itk_reason(error.value)
