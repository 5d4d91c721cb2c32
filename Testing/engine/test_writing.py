"""Files appear whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Volume
from deepregister.connection import worker_environment
from deepregister.errors import FileError
from deepregister.writing import itk_reason, replacing
from processes import PATIENCE_SECONDS


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


def test_a_header_never_stands_there_before_its_data(tmp_path, monkeypatch):
    moved, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: moved.append(self.name) or replace(self, target))
    for name in ("a.mhd", "z.nhdr"):
        Volume.from_array(np.zeros((3, 4, 5))).write(tmp_path / name)
        assert len(moved) == 2 and moved.pop() == name and moved.pop() != name


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


# Writes a volume, a field and linear transforms where nothing larger than the second argument fits, under an old name.
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from deepregister import Affine, Composite, DisplacementField, Geometry, Volume
from deepregister.errors import FileError

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
field = DisplacementField(random.normal(size=(12, 12, 12, 3)).astype(np.float32), Geometry((12, 12, 12)))
volume = Volume.from_array(random.integers(0, 30000, (20, 20, 20)).astype(np.int16))
endings = ("nii.gz", "nii", "nrrd", "nhdr", "mha", "mhd", "img", "hdr", "gipl")
images = {f"volume.{ending}": volume for ending in endings}
fields = {f"field.{ending}": field for ending in ("nii.gz", "nrrd", "mha", "tfm", "h5")}
linear = {f"affine.{ending}": Affine.identity() for ending in ("tfm", "mat", "h5")}
values = {**images, **fields, "composite.tfm": Composite((field, Affine.identity())), **linear}
for name in sys.argv[3:]:
    (folder / name).write_text("old")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for name, value in values.items():
    try:
        value.write(folder / name)
    except FileError as error:
        assert str(folder / name) in str(error) and "disk" in str(error), error
        print("refused")
    else:
        print("written")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("limit", [0, 40, 600, 5000])
def test_what_does_not_fit_on_the_disk_is_refused_whatever_the_format(tmp_path, limit):
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path, str(limit), "volume.nii.gz", "field.tfm"],
        capture_output=True,
        text=True,
        env=worker_environment({}),
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # But for linear transforms, which have about a hundred bytes as text and in .mat.
    small = "written" if limit > 500 else "refused"
    assert done.stdout.split() == ["refused"] * 15 + [small, small, "refused"]
    for name in ("volume.nii.gz", "field.tfm"):
        assert (tmp_path / name).read_text() == "old"
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_the_reason_is_found_in_a_real_itk_error(tmp_path):
    with pytest.raises(RuntimeError) as error:
        sitk.ReadTransform(str(tmp_path / "nowhere.h5"))
    assert "\n" not in itk_reason(error.value)
    assert "nowhere.h5" in itk_reason(error.value)
