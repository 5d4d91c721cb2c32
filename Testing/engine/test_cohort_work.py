"""One row of a cohort: what is saved with its result, and when it is done already."""

import json
import shutil
from dataclasses import replace

import cohorts
import numpy as np
import pytest
from deepregister.cohort.rows import read_rows
from deepregister.cohort.work import finished, register_row, source_files
from deepregister.errors import FileError, InputError
from deepregister.pointfiles import PointList, read_landmark_pairs, write_points
from deepregister.quality import dice, landmark_errors
from deepregister.report import RESULTS
from deepregister.result import Registration
from deepregister.settings import Settings
from deepregister.volume import Volume


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A row with label maps and landmarks, registered, and its outcome."""
    folder = tmp_path_factory.mktemp("cohort")
    header = "name,fixed,moving,regions,fixed_labels,moving_labels,fixed_landmarks,moving_landmarks"
    table = cohorts.write_cohort(folder, 1)
    labels = "fixed-labels.nii.gz,fixed-labels.nii.gz,moving-labels.nii.gz"
    line = f"pair-0,fixed.nii.gz,moving-0.nii.gz,{labels},fixed.csv,moving.csv"
    table.write_text(f"{header}\n{line}\n", encoding="utf-8")
    for name, image in (("fixed", "fixed"), ("moving", "moving-0")):
        volume = Volume.read(folder / f"{image}.nii.gz")
        labels = (volume.data > 60).astype(np.uint8) + (volume.data > 140)
        replace(volume, data=labels).write(folder / f"{name}-labels.nii.gz")
    points = np.array([[18.0, 20, 22], [16, 24, 12], [18, 14, 26]])
    write_points(PointList(points), folder / "fixed.csv")
    write_points(PointList(points + (0.2, -1, 2)), folder / "moving.csv")
    (row,) = read_rows(table, folder / "out", Settings(model="affine", quality="fast", device="cpu", threads=1))
    return row, register_row(row)


@pytest.fixture
def row(made, tmp_path):
    """The same row with a copy of everything, to change."""
    source = made[0].fixed.parent
    shutil.copytree(source, tmp_path / "cohort", copy_function=shutil.copy2)
    table = tmp_path / "cohort" / "pairs.csv"
    (row,) = read_rows(table, tmp_path / "cohort" / "out", made[0].settings)
    return row


def test_the_outcome_says_what_the_result_holds(made):
    row, outcome = made
    assert {path.name for path in row.folder.iterdir()} == set(RESULTS)
    result = Registration.load(row.folder)
    assert outcome.verdict in ("good", "low confidence") and not outcome.reused
    assert outcome.measures["similarity_after"] == result.measures["similarity_after"]
    assert outcome.confidence.score == pytest.approx(result.confidence.score, abs=1e-4)
    assert outcome.model == "affine"
    assert result.inputs["regions"]["name"] == "fixed-labels.nii.gz"
    assert result.inputs["files"]["regions"]["path"] == str(row.regions)
    fixed, moving = (Volume.read(path) for path in (row.fixed_labels, row.moving_labels))
    carried = result.transform.resample(moving, fixed.geometry, "nearest")
    assert outcome.measures["dice_after"] == pytest.approx(np.mean(list(dice(fixed.data, carried.data).values())))
    assert outcome.measures["dice_before"] == pytest.approx(np.mean(list(dice(fixed.data, moving.data).values())))
    assert set(result.measures["overlap_dice"]) == {"1", "2"}
    pairs = read_landmark_pairs(row.fixed_landmarks, row.moving_landmarks)
    errors = landmark_errors(pairs, result.transform)
    assert outcome.measures["tre_after_mean_mm"] == pytest.approx(errors.mean(), abs=1e-3)
    assert "dice_after" in outcome.measures and "Dice" in (row.folder / "report.html").read_text(encoding="utf-8")


def test_the_result_says_what_it_was_made_from(made):
    row, _ = made
    inputs = json.loads((row.folder / "result.json").read_text(encoding="utf-8"))["inputs"]
    sides = {f"{side}{what}" for side in ("fixed", "moving") for what in ("", "_labels", "_landmarks")}
    assert set(inputs["files"]) == sides | {"regions"}
    assert inputs["asked"]["model"] == "affine" and "device" not in inputs["asked"]


def is_done(row):
    return finished(row, source_files(row)) is not None


def test_what_is_done_is_not_done_again(made, row):
    before = {path.name: path.stat().st_mtime_ns for path in row.folder.iterdir()}
    outcome = register_row(row)
    assert outcome.reused
    assert outcome.to_dict() | {"fixed": "", "moving": ""} == made[1].to_dict() | {"fixed": "", "moving": ""}
    assert {path.name: path.stat().st_mtime_ns for path in row.folder.iterdir()} == before
    # Where it is computed is not what was asked for.
    assert is_done(replace(row, settings=replace(row.settings, device="auto", threads=7)))


def test_other_settings_or_files_are_another_result(row):
    assert not is_done(replace(row, settings=replace(row.settings, quality="balanced")))
    assert not is_done(replace(row, initial=row.folder / "transform.h5"))
    assert not is_done(replace(row, fixed_labels=None, moving_labels=None))
    assert not is_done(replace(row, regions=None))
    assert not is_done(replace(row, moving_frame=0))
    assert not is_done(replace(row, csv_coordinates="RAS"))


@pytest.mark.parametrize("name", ["moving", "moving_labels"])
def test_other_voxels_are_another_result(row, name):
    volume = Volume.read(getattr(row, name))
    replace(volume, data=np.roll(volume.data, 1, 0)).write(getattr(row, name))
    assert not is_done(row)


def test_other_landmarks_are_another_result(row):
    text = row.fixed_landmarks.read_text(encoding="utf-8")
    row.fixed_landmarks.write_text(text.replace("18.0", "18.5"), encoding="utf-8")
    assert not is_done(row)


@pytest.mark.parametrize("name", ["transform.h5", "report.html", "result.json"])
def test_a_result_that_lacks_a_file_is_not_done(row, name):
    (row.folder / name).unlink()
    assert not is_done(row)


@pytest.mark.parametrize("text", ["", "[]", '{"inputs": 3}', '{"inputs": {"files": {"fixed": {}}}}'])
def test_a_file_that_is_no_result_is_not_done(row, text):
    (row.folder / "result.json").write_text(text, encoding="utf-8")
    assert not is_done(row)


def test_a_result_of_other_settings_is_replaced_and_what_a_killed_process_left_cleared_away(row):
    row = replace(row, settings=replace(row.settings, model="rigid"))
    (row.folder / ".unfinished-abc").mkdir()
    (row.folder / ".unfinished-abc" / "transform.h5").write_bytes(b"half")
    assert not register_row(row).reused
    assert {path.name for path in row.folder.iterdir()} == set(RESULTS)
    assert Registration.load(row.folder).settings.model == "rigid"
    assert is_done(row)


def test_a_row_that_fails_leaves_its_folder_as_it_was(row):
    before = {path.name: path.read_bytes() for path in row.folder.iterdir()}
    volume = Volume.read(row.moving)
    replace(volume, data=np.full_like(volume.data, 7)).write(row.moving)
    with pytest.raises(InputError, match="value 7"):
        register_row(row)
    row.moving.unlink()
    with pytest.raises(FileError, match="moving-0"):
        register_row(row)
    assert {path.name: path.read_bytes() for path in row.folder.iterdir()} == before
