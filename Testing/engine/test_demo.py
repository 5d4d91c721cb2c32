"""The demo fetches what it names and nothing else, and shows a run whole. Here its images are small and lie nearby."""

import hashlib
import io
import json
import os
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from deepregister import demo
from deepregister.cli import main
from deepregister.demo import PAIRS, Archive, DemoPair, Item, Structure, fetch
from deepregister.errors import Cancelled, FileError
from deepregister.report import RESULTS
from deepregister.volume import Geometry, Volume

CENTRE = np.array([10.0, -20.0, 30.0])
SHIFT = np.array([3.0, -4.0, 2.0])


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def volume_bytes(volume, folder, name):
    volume.write(folder / name)
    return (folder / name).read_bytes()


def ball(grid, place, radius):
    return 1 / (1 + np.exp(np.linalg.norm(grid.points() - place, axis=-1) - radius))


@pytest.fixture
def pair(tmp_path):
    """A pair like `chest`: the fixed image in a source archive, the moving one in a wheel, both made here."""
    store = tmp_path / "store"
    store.mkdir()
    fixed_grid = Geometry((26, 26, 26), (2, 2, 2), tuple(CENTRE - 25))
    moving_grid = Geometry((30, 30, 30), (2, 2, 2), tuple(CENTRE + SHIFT - 29))
    contents, labels = [], []
    for grid, shift in ((fixed_grid, 0), (moving_grid, SHIFT)):
        organ = ball(grid, CENTRE + shift + (6, 2, -4), 8)
        image = 200 * ball(grid, CENTRE + shift, 18) + 300 * organ + 150 * ball(grid, CENTRE + shift - (7, 5, 1), 5)
        contents.append(volume_bytes(Volume(image.astype(np.int16), grid), store, "image.nii.gz"))
        labels.append(volume_bytes(Volume((4 * (organ > 0.5)).astype(np.uint8), grid), store, "labels.nii.gz"))
    wheel = store / "demopictures-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr("demopictures/moving.nii.gz", contents[1])
        package.writestr("demopictures/labels.nii.gz", labels[1])
        about = "demopictures-1.0.dist-info"
        package.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: demopictures\nVersion: 1.0\n")
        package.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        package.writestr(f"{about}/RECORD", "")
    source = store / "demoscans-2.0.tar.gz"
    with tarfile.open(source, "w:gz") as package:
        for name, content in (("tests/fixed.nii.gz", contents[0]), ("tests/labels.nii.gz", labels[0])):
            member = tarfile.TarInfo(f"demoscans-2.0/{name}")
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
    scans = Archive("demoscans==2.0", source.name, sha256(source.read_bytes()), 1, ("--no-binary", "demoscans"))
    pictures = Archive("demopictures==1.0", wheel.name, sha256(wheel.read_bytes()), 1)
    fixed_labels = Item("fixed-labels.nii.gz", sha256(labels[0]), scans, "demoscans-2.0/tests/labels.nii.gz")
    moving_labels = Item("moving-labels.nii.gz", sha256(labels[1]), pictures, "demopictures/labels.nii.gz")
    return DemoPair(
        title="two balls",
        fixed=Item("fixed-ct.nii.gz", sha256(contents[0]), scans, "demoscans-2.0/tests/fixed.nii.gz"),
        moving=Item("moving-ct.nii.gz", sha256(contents[1]), pictures, "demopictures/moving.nii.gz"),
        structures=(Structure("Organ", fixed_labels, moving_labels, (4,)),),
        credit="Made by a test.\n",
    )


def names(folder):
    return {path.name for path in folder.iterdir()}


FILES = {"fixed-ct.nii.gz", "moving-ct.nii.gz", "fixed-labels.nii.gz", "moving-labels.nii.gz"}


def test_the_whole_demo(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PAIRS, "chest", pair)
    output = tmp_path / "out"
    options = ["--output", str(output), "--model", "deformable", "--quality", "fast", "--threads", "1"]
    assert main(["demo", *options, "--data", str(tmp_path / "store")]) == 0
    told = capsys.readouterr()
    assert names(output) >= set(RESULTS)
    assert names(output / "images") == FILES | {"CREDITS.txt"}
    result = json.loads((output / "result.json").read_text())
    assert [result["inputs"]["files"][side]["relative"] for side in ("fixed", "moving")] == [
        "images/fixed-ct.nii.gz",
        "images/moving-ct.nii.gz",
    ]
    overlap = result["measures"]["overlap_dice"]["Organ"]
    assert overlap["before"] < 0.75
    assert overlap["after"] > 0.9
    row = next(line for line in told.out.splitlines() if line.startswith("Organ")).split()
    assert row[1:] == [f"{overlap[stage]:.3f}" for stage in ("before", "affine part", "after")]
    assert "Made by a test." in told.out
    # All that the scene names lies in the folder, so that the folder can be moved.
    assert str(tmp_path) not in (output / "scene.mrml").read_text()
    assert 'fileName="images/moving-ct.nii.gz"' in (output / "scene.mrml").read_text()


def test_a_demo_that_cannot_fetch_leaves_nothing(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PAIRS, "chest", pair)
    output = tmp_path / "new" / "out"
    output.parent.mkdir()
    assert main(["demo", "--output", str(output), "--data", str(tmp_path)]) == 2
    assert "is missing or not the file that was published" in capsys.readouterr().err
    assert main(["demo", "--output", str(output), "--model", "magic"]) == 2
    assert "magic" in capsys.readouterr().err
    assert names(output.parent) == set()


def test_pip_downloads_a_package_without_installing_it(pair, tmp_path, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "store"))
    # A source archive would need its build tools, which are not here.
    images = replace(pair, fixed=pair.moving, structures=())
    folder = tmp_path / "images"
    folder.mkdir()
    said = []
    fetch(images, folder, say=said.append)
    assert names(folder) == {"moving-ct.nii.gz"}
    assert ["demopictures==1.0" in line for line in said] == [True]
    fetch(images, folder, say=said.append)
    assert len(said) == 1, "what is there already is not fetched again"

    (folder / "moving-ct.nii.gz").unlink()
    other = replace(pair.moving, source=replace(pair.moving.source, sha256="0" * 64))
    with pytest.raises(FileError, match=r"demopictures==1.0.*--data"):
        fetch(replace(images, fixed=other, moving=other), folder)
    with pytest.raises(Cancelled):
        fetch(images, folder, cancelled=lambda: True)
    assert names(folder) == set()


def test_a_damaged_file_is_fetched_again(pair, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    fetch(pair, folder, tmp_path / "store")
    assert names(folder) == FILES
    whole = (folder / "moving-ct.nii.gz").read_bytes()
    (folder / "moving-ct.nii.gz").write_bytes(whole[:-1])
    fetch(pair, folder, tmp_path / "store")
    assert (folder / "moving-ct.nii.gz").read_bytes() == whole


def test_what_is_not_what_was_published_is_refused(pair, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "store" / pair.moving.source.file).write_bytes(b"something else")
    with pytest.raises(FileError, match=r"demopictures.*not the file that was published.*pip download"):
        fetch(replace(pair, fixed=pair.moving, structures=()), folder, tmp_path / "store")
    with pytest.raises(FileError, match="missing"):
        fetch(pair, folder, tmp_path / "elsewhere")
    other = replace(pair.fixed, sha256="0" * 64)
    with pytest.raises(FileError, match=r"tests/fixed.nii.gz.*not the file that was published"):
        fetch(replace(pair, fixed=other, moving=other, structures=()), folder, tmp_path / "store")
    absent = replace(pair.fixed, member="nothing")
    with pytest.raises(FileError, match="does not hold nothing"):
        fetch(replace(pair, fixed=absent, moving=absent, structures=()), folder, tmp_path / "store")
    assert names(folder) == set()


def test_a_download_is_checked_and_leaves_nothing_half(pair, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "there.nrrd").write_bytes(b"an image")
    item = Item("here.nrrd", sha256(b"an image"), (tmp_path / "there.nrrd").as_uri())

    def images(item):
        return replace(pair, fixed=item, moving=item, structures=())

    with pytest.raises(Cancelled):
        fetch(images(item), folder, cancelled=lambda: True)
    with pytest.raises(FileError, match="not the file that was published"):
        fetch(images(replace(item, sha256="0" * 64)), folder)
    with pytest.raises(FileError, match=r"none\.nrrd.*network"):
        fetch(images(replace(item, source=(tmp_path / "none.nrrd").as_uri())), folder)
    assert names(folder) == set()
    fetch(images(item), folder)
    assert (folder / "here.nrrd").read_bytes() == b"an image"


def test_the_pairs_name_each_file_once():
    for pair in PAIRS.values():
        files = [item.file for item in pair.items]
        assert len(set(files)) == len(files) >= 2
        assert all(len(item.sha256) == 64 for item in pair.items)
        assert pair.credit
    assert demo.PAIRS["slicer"].fixed.source.endswith(demo.PAIRS["slicer"].fixed.sha256)
