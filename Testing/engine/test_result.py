"""The outcome of a run: written as a whole, read back as it was, or not there at all."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid, Settings, Volume
from deepregister.errors import FileError
from deepregister.folders import check_writable, filling
from deepregister.result import Registration

GRID = Geometry((6, 5, 4), (1, 2, 3), (7, 8, 9), ((0, -1, 0), (1, 0, 0), (0, 0, 1)))
POINTS = GRID.points()[1:-1, 1:-1, 1:-1]


def some_registration():
    field = DisplacementField(np.random.default_rng(0).normal(size=(*GRID.shape, 3)) * 0.2, GRID)
    affine = Affine(np.array([[1, 0.1, 0, 2], [0, 1, 0, 3], [0, 0, 1.1, 4], [0, 0, 0, 1]]))
    return Registration(
        transform=Composite((field, affine)),
        inverse=Composite((affine.inverse(), field.inverse())),
        registered=Volume(np.arange(120, dtype=np.int16).reshape(4, 5, 6), GRID),
        settings=Settings(model="deformable", quality="fast", seed=3),
        measures={"folded_fraction": 0.0, "similarity_after": 0.8},
        seconds={"align": 1.23456, "deform": 2.0},
        device="CPU, 2 threads",
        warnings=("12 voxels were not finite and became 0.",),
        versions={"deepregister": "0.1.0"},
        inputs={"fixed": "a.nii.gz"},
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_load_reads_back_what_save_wrote(tmp_path):
    registration = some_registration()
    folder = tmp_path / "new" / "result"
    assert registration.save(folder) == folder
    assert names(folder) == ["inverse.h5", "registered.nii.gz", "result.json", "transform.h5"]
    back = Registration.load(folder)
    for side in ("transform", "inverse"):
        expected = getattr(registration, side).apply_to_points(POINTS)
        assert getattr(back, side).apply_to_points(POINTS) == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(back.registered.data, registration.registered.data)
    assert back.registered.geometry.same_grid(GRID)
    assert back.seconds == {"align": 1.235, "deform": 2.0}
    for name in ("settings", "measures", "device", "warnings", "versions", "inputs"):
        assert getattr(back, name) == getattr(registration, name)


def test_result_json_says_direction_and_format(tmp_path):
    some_registration().save(tmp_path)
    summary = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert summary["direction"] == "fixed to moving, LPS, mm"
    assert summary["format"] == 1


def test_result_json_stands_there_last(tmp_path, monkeypatch):
    moved, move = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: moved.append(Path(target)) or move(self, target))
    some_registration().save(tmp_path)
    into = [path.name for path in moved if path.parent == tmp_path]
    assert sorted(into) == names(tmp_path) and into[-1] == "result.json"


def test_save_replaces_an_older_result(tmp_path):
    some_registration().save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    replace(some_registration(), registered=None, transform=Rigid.identity()).save(tmp_path)
    back = Registration.load(tmp_path)
    assert isinstance(back.transform, Rigid)
    assert back.registered is None
    assert names(tmp_path) == ["inverse.h5", "notes.txt", "result.json", "transform.h5"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "result.json").unlink(),
        lambda folder: (folder / "result.json").write_text("{"),
        lambda folder: (folder / "result.json").write_text("[]"),
        lambda folder: (folder / "result.json").write_text("{}"),
        lambda folder: (folder / "transform.h5").unlink(),
        lambda folder: (folder / "inverse.h5").write_bytes(b"no transform"),
        lambda folder: (folder / "registered.nii.gz").write_bytes(b"no image"),
    ],
)
def test_load_refuses_a_damaged_folder(tmp_path, damage):
    some_registration().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(FileError) as error:
        Registration.load(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_load_refuses_a_newer_format_and_an_unknown_setting(tmp_path):
    some_registration().save(tmp_path)
    summary = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**summary, "format": 2}))
    with pytest.raises(FileError, match="format 2; this version reads up to 1"):
        Registration.load(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps({**summary, "settings": {"sharpness": 11}}))
    with pytest.raises(FileError, match="sharpness"):
        Registration.load(tmp_path)


def test_load_refuses_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="nowhere does not hold a whole result"):
        Registration.load(tmp_path / "nowhere")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), FileError("no"), KeyboardInterrupt()])
def test_a_failed_filling_leaves_nothing(tmp_path, error):
    folder = tmp_path / "a" / "b"
    with pytest.raises(FileError if isinstance(error, OSError) else type(error)), filling(folder) as aside:
        (aside / "half.txt").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_a_failed_filling_keeps_what_was_there(tmp_path):
    (tmp_path / "result.json").write_text("old")
    with pytest.raises(FileError, match="No space left"), filling(tmp_path) as aside:
        (aside / "result.json").write_text("new")
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == ["result.json"]
    assert (tmp_path / "result.json").read_text() == "old"


def test_output_places_that_cannot_be_written_are_refused_before_the_run(tmp_path):
    (tmp_path / "file").write_text("in the way")
    check_writable(tmp_path)
    check_writable(tmp_path / "new" / "deeper")
    assert names(tmp_path) == ["file"]
    with pytest.raises(FileError, match="file is a file; the output must be a folder"):
        check_writable(tmp_path / "file")
    with pytest.raises(FileError, match="file is a file, so the folder"):
        check_writable(tmp_path / "file" / "deeper" / "still")
    with pytest.raises(FileError, match="is a file"):
        some_registration().save(tmp_path / "file")
    assert names(tmp_path) == ["file"]


def test_a_folder_without_permission_is_refused(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")
    for folder in (closed, closed / "new"):
        with pytest.raises(FileError, match="Cannot write into"):
            check_writable(folder)
