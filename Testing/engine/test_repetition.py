"""A saved run can be done again: bit for bit on the CPU, in another process, wherever the files have gone."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, DisplacementField, Registration, Rigid, Settings, Volume
from deepregister.cli import main
from deepregister.connection import worker_environment
from deepregister.pointfiles import PointList, write_points
from deepregister.quality import difference
from deepregister.repetition import compare, identical
from phantoms import OBLIQUE, bumps, grid, seen_through

FIXED_GRID = grid((6.0, 6.0, 6.5), OBLIQUE)


def shifted(transform, by):
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return transform.then(Affine(matrix))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the images and two results in it: all that `register` takes, and a rigid one of a series."""
    place = tmp_path_factory.mktemp("home")
    images = place / "images"
    images.mkdir()
    truth = bumps(4.0, FIXED_GRID)
    seen_through(truth, FIXED_GRID, dtype=np.int16).write(images / "fixed.nii.gz")
    moving = seen_through(Rigid.identity(), grid((6.2, 6.0, 6.0), centre=(2, 1, 0)), dtype=np.int16)
    moving.write(images / "moving.mhd")
    series = sitk.JoinSeries([Volume(np.zeros_like(moving.data), moving.geometry).to_sitk(), moving.to_sitk()])
    sitk.WriteImage(series, str(images / "series.nii.gz"))
    Volume(np.ones(FIXED_GRID.shape, np.uint8), FIXED_GRID).write(images / "mask.nrrd")
    halves = np.ones(FIXED_GRID.shape, np.uint8)
    halves[:, :, : halves.shape[2] // 2] = 2
    Volume(halves, FIXED_GRID).write(images / "halves.nrrd")
    shifted(Rigid.identity(), (1, 0, 0)).write(images / "start.tfm")
    points = np.array([[10.0, 5, 0], [-12, 8, 4], [0, -9, 12]])
    write_points(PointList(points * (-1, -1, 1), columns=("x", "y", "z")), images / "fixed.csv")
    carried = truth.apply_to_points(points) * (-1, -1, 1)
    write_points(PointList(carried, columns=("x", "y", "z")), images / "moving.csv")
    everything = ["--fixed-mask", images / "mask.nrrd", "--initial", images / "start.tfm", "--csv-coordinates", "RAS"]
    Volume((halves == 2).astype(np.uint8), FIXED_GRID).write(images / "painted.nrrd")
    everything += ["--regions", images / "halves.nrrd", "--emphasis", images / "painted.nrrd"]
    everything += ["--fixed-landmarks", images / "fixed.csv", "--moving-landmarks", images / "moving.csv"]
    # One thread, which a repetition has to take, too, where torch would take more.
    options = ["--quality", "fast", "--device", "cpu", "--threads", "1", "--output"]
    for name, moving_name, more in (
        ("deformable", "moving.mhd", everything),
        ("rigid", "series.nii.gz", ["--moving-frame", "1"]),
    ):
        command = [sys.executable, "-m", "deepregister", "register", images / "fixed.nii.gz", images / moving_name]
        command += ["--model", name, *more, *options, place / name]
        done = subprocess.run(command, env=worker_environment({}), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def copy(home, tmp_path):
    """The same files and results at another place, free to be changed; the old place is gone for them."""
    place = tmp_path / "copy"
    shutil.copytree(home, place)
    for result in ("deformable", "rigid"):
        file = place / result / "result.json"
        file.write_text(file.read_text().replace(str(home), str(tmp_path / "gone")))
    return place


def rerun(capsys, *arguments):
    status = main(["rerun", *map(str, arguments)])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize("model", ["deformable", "rigid"])
def test_a_run_gives_the_same_bits_again(home, model, tmp_path, capsys):
    status, out, err = rerun(capsys, home / model / "result.json", "--check", "--output", tmp_path / "again")
    assert status == 0, out + err
    assert "The transform is the same, bit for bit.\n" in out
    old, new = Registration.load(home / model), Registration.load(tmp_path / "again")
    assert identical(old.transform, new.transform) and identical(old.inverse, new.inverse)
    assert np.array_equal(old.registered.data, new.registered.data)
    assert old.measures == new.measures
    assert new.inputs.get("regions") == old.inputs.get("regions")
    assert new.inputs["threads"] == old.inputs["threads"] == 1
    files = new.inputs["files"]
    assert files.keys() == old.inputs["files"].keys()
    assert files["moving"]["relative"] == os.path.relpath(files["moving"]["path"], tmp_path / "again").replace(
        "\\", "/"
    )


def test_the_files_of_all_that_a_run_took_are_recorded(home):
    files = json.loads((home / "deformable" / "result.json").read_text())["inputs"]["files"]
    names = {"fixed", "moving", "fixed_mask", "regions", "emphasis", "initial", "fixed_landmarks", "moving_landmarks"}
    assert set(files) == names
    assert files["moving"]["path"] == str(home / "images" / "moving.mhd")
    assert json.loads((home / "rigid" / "result.json").read_text())["inputs"]["files"]["moving"]["frame"] == 1


def test_a_changed_and_a_missing_file_are_named_before_anything_runs(copy, tmp_path, capsys):
    moving = copy / "images" / "moving.raw"
    if not moving.exists():
        moving = copy / "images" / "moving.zraw"
    moving.write_bytes(moving.read_bytes()[:-1] + b"\x07")
    status, out, err = rerun(capsys, copy / "deformable", "--output", tmp_path / "again")
    assert (status, out) == (2, "")
    assert "The moving volume" in err and "moving.mhd has changed" in err and "SHA-256" in err
    (copy / "images" / "mask.nrrd").unlink()
    (copy / "images" / "moving.mhd").unlink()
    status, out, err = rerun(capsys, copy / "deformable")
    assert "moving.mhd is gone" in err
    assert not (tmp_path / "again").exists()


def test_what_is_not_as_it_was_is_told_and_files_that_moved_with_the_result_are_found(copy, capsys):
    folder = copy / "rigid"
    status, out, _ = rerun(capsys, folder, "--check")
    assert (status, out) == (0, "The transform is the same, bit for bit.\n")
    assert {path.name for path in copy.iterdir()} == {"images", "deformable", "rigid"}
    saved = Registration.load(folder)
    shifted(saved.transform, (0.0, 0.3, 0.4)).write(folder / "transform.h5")
    summary = json.loads((folder / "result.json").read_text())
    summary["versions"]["torch"] = "1.0"
    summary["device"] = "Old Graphics (cuda:0)"
    (folder / "result.json").write_text(json.dumps(summary))
    status, out, _ = rerun(capsys, folder, "--check", "--tolerance", "0.4", "--device", "cpu")
    assert status == 1
    assert "by 0.5 mm on average and 0.5 mm at most" in out
    assert "torch was 1.0 and is" in out
    assert "It was computed on Old Graphics (cuda:0), now on CPU." in out
    assert "bit for bit" not in out
    assert "The program has changed" not in out


def test_a_program_that_changed_without_a_new_version_is_told(home, monkeypatch):
    saved = Registration.load(home / "rigid")
    volume = Volume.read(home / "images" / "fixed.nii.gz")
    assert compare(saved, saved, volume.geometry).differences == ()
    monkeypatch.setattr("deepregister.repetition.engine_sha256", lambda: "another")
    told = compare(saved, saved, volume.geometry).differences
    assert told == (f"The program has changed within version {saved.versions['deepregister']}.",)


@pytest.mark.parametrize(("tolerance", "status"), [(None, 1), (0.4, 1), (0.6, 0)])
def test_check_passes_what_the_tolerance_allows(home, tolerance, status, monkeypatch, capsys):
    """With the computation replaced by its result, moved by half a millimetre."""
    saved = Registration.load(home / "rigid")
    moved = replace(saved, transform=shifted(saved.transform, (0.0, 0.3, 0.4)))
    monkeypatch.setattr("deepregister.commands.rerun.register_with_progress", lambda *_, **__: moved)
    more = [] if tolerance is None else ["--tolerance", tolerance]
    assert rerun(capsys, home / "rigid", "--check", *more)[0] == status
    assert rerun(capsys, home / "rigid")[0] == 0


def test_wrong_use_is_told(home, tmp_path, capsys):
    status, _, err = rerun(capsys, home / "rigid", "--output", home / "rigid")
    assert status == 2 and "overwrite the saved one" in err
    status, _, err = rerun(capsys, home / "rigid", "--tolerance", "1")
    assert status == 2 and "--check" in err
    status, _, err = rerun(capsys, tmp_path / "none")
    assert status == 2 and "does not hold a whole result" in err
    bare = Registration(Rigid.identity(), Rigid.identity(), None, Settings(), {}, {}, "CPU")
    bare.save(tmp_path / "bare")
    status, _, err = rerun(capsys, tmp_path / "bare")
    assert status == 2 and "does not say which files it was made from" in err


def test_the_difference_of_two_transforms_is_that_of_their_points():
    field = bumps(5.0, FIXED_GRID)
    other = shifted(field, (0.2, 0, 0)).then(Affine(np.diag([1.01, 1.0, 1.0, 1.0])))
    points = FIXED_GRID.points()
    apart = np.linalg.norm(field.apply_to_points(points) - other.apply_to_points(points), axis=-1)
    found = difference(field, other, FIXED_GRID)
    assert found["mean_mm"] == pytest.approx(apart.mean(), abs=1e-5)
    assert found["max_mm"] == pytest.approx(apart.max(), abs=1e-5)
    assert difference(field, field, FIXED_GRID) == {"mean_mm": 0.0, "max_mm": 0.0}
    assert identical(field, field) and not identical(field, bumps(5.0001, FIXED_GRID))
    assert not identical(field, Rigid.identity())


def test_the_last_bit_of_one_number_makes_two_transforms_different():
    field, affine = bumps(5.0, FIXED_GRID), Affine(np.diag([1.01, 1.0, 1.0, 1.0]))
    moved, matrix = field.displacement.copy(), affine.matrix.copy()
    moved[3, 4, 5, 0] = np.nextafter(moved[3, 4, 5, 0], np.float32(np.inf))
    matrix[0, 0] = np.nextafter(matrix[0, 0], np.inf)
    assert not identical(field, DisplacementField(moved, FIXED_GRID))
    assert not identical(affine, Affine(matrix))
    assert not identical(field.then(affine), field.then(Affine(matrix)))
