"""`deepregister report`: the page of a result that was saved before, from volumes wherever they lie now."""

import json
import shutil

import numpy as np
import pytest
from deepregister import Composite, DisplacementField, Geometry, Rigid, Settings, Volume
from deepregister.cli import main
from deepregister.pointfiles import PointList, write_points
from deepregister.report import Source, save
from deepregister.result import Registration
from deepregister.sources import SourceFile, with_files
from pages import Page
from scipy.spatial.transform import Rotation

DIRECTION = tuple(map(tuple, Rotation.from_euler("xyz", [12, -8, 25], degrees=True).as_matrix()))
GRID = Geometry((22, 20, 12), (2.0, 2.0, 3.0), (-30.0, 20.0, -70.0), DIRECTION)


@pytest.fixture
def place(tmp_path):
    """A folder `data` with two volumes and landmarks, and a folder `result` of a registration of them."""
    data = tmp_path / "data"
    data.mkdir()
    points = GRID.points() - GRID.centre
    image = 200 / (1 + np.exp(np.linalg.norm(points, axis=-1) - 14)) + 5 * points[..., 0]
    for name in ("fixed.nii.gz", "moving.nii.gz"):
        Volume(image.astype(np.float32), GRID).write(data / name)
    marks = GRID.centre + np.array([(3.0, 4, 5), (-6, 2, 1)])
    for name, shift in (("fixed.csv", 0), ("moving.csv", 1.25)):
        write_points(PointList(marks + (shift, 0, 0), ("apex", "base")), data / name)
    u = np.exp(-np.sum((points / 6) ** 2, axis=-1))[..., None] * np.array([1.0, 0.5, -1])
    transform = Composite((DisplacementField(u, GRID), Rigid.identity()))
    registration = Registration(
        transform,
        transform.inverse(),
        Volume.read(data / "moving.nii.gz"),
        Settings(model="deformable"),
        {"similarity_before": 0.5, "similarity_after": 0.75, "folded_fraction": 0.0},
        {"deform": 2.0},
        "CPU",
        inputs={
            side: {
                "name": f"{side}.nii.gz",
                "size": list(GRID.size),
                "spacing_mm": list(GRID.spacing),
                "origin_lps_mm": list(GRID.origin),
                "direction": [list(row) for row in GRID.direction],
            }
            for side in ("fixed", "moving")
        },
    )
    names = {"fixed": "fixed.nii.gz", "moving": "moving.nii.gz"}
    names |= {"fixed_landmarks": "fixed.csv", "moving_landmarks": "moving.csv"}
    result = tmp_path / "result"
    registration = with_files(registration, {key: SourceFile.of(data / name) for key, name in names.items()}, result)
    fixed, moving = (Source(data / names[side], Volume.read(data / names[side])) for side in ("fixed", "moving"))
    save(registration, fixed, moving, result)
    return tmp_path


def run(capsys, *arguments):
    status = main(["report", *map(str, arguments)])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_the_page_is_written_again_as_it_was(place, capsys):
    before = Page((place / "result" / "report.html").read_text(encoding="utf-8"))
    (place / "result" / "report.html").unlink()
    status, out, _ = run(capsys, place / "result")
    assert status == 0 and "report.html" in out
    after = Page((place / "result" / "report.html").read_text(encoding="utf-8"))
    assert after.rows == before.rows
    assert after.pictures[: 3 * 7] == before.pictures[: 3 * 7]
    assert after.rows["Fixed volume"] == [str(place / "data" / "fixed.nii.gz")]
    # What it was not given the first time it reads from the files that steered the run.
    assert "apex 1.25 → " in after.text and "apex" not in before.text


def test_a_folder_that_moved_with_its_data(place, capsys):
    new = place / "elsewhere"
    new.mkdir()
    shutil.move(place / "result", new / "result")
    shutil.move(place / "data", new / "data")
    assert run(capsys, new / "result", "--output", new / "page.html")[0] == 0
    assert "Good" in (new / "page.html").read_text(encoding="utf-8")


def test_volumes_that_are_named(place, capsys):
    shutil.move(place / "data", place / "hidden")
    status, _, err = run(capsys, place / "result")
    assert status == 2 and "is gone" in err and "--fixed FILE" in err
    named = ("--fixed", place / "hidden" / "fixed.nii.gz", "--moving", place / "hidden" / "moving.nii.gz")
    status, _, err = run(capsys, place / "result", *named)
    assert status == 0 and "no table of landmarks" in err


def test_a_result_that_does_not_know_its_files(place, capsys):
    path = place / "result" / "result.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    del summary["inputs"]["files"], summary["date"], summary["confidence"]
    path.write_text(json.dumps(summary), encoding="utf-8")
    status, _, err = run(capsys, place / "result", "--moving", place / "data" / "moving.nii.gz")
    assert status == 2 and "does not say where its fixed volume lies" in err and "--fixed FILE" in err
    named = ("--fixed", place / "data" / "fixed.nii.gz", "--moving", place / "data" / "moving.nii.gz")
    assert run(capsys, place / "result", *named)[0] == 0


def test_another_volume_is_not_taken_for_the_registered_one(place, capsys):
    for other in (
        Geometry((22, 20, 13), GRID.spacing, GRID.origin, DIRECTION),
        Geometry(GRID.size, (2.0, 2.0, 3.1), GRID.origin, DIRECTION),
        Geometry(GRID.size, GRID.spacing, (-30.0, 20.0, -71.0), DIRECTION),
        Geometry(GRID.size, GRID.spacing, GRID.origin),
    ):
        Volume(np.random.default_rng(0).normal(size=other.shape), other).write(place / "other.nrrd")
        status, _, err = run(capsys, place / "result", "--moving", place / "other.nrrd")
        assert status == 2 and "is not the moving volume of this result" in err, other


def test_what_cannot_be_written_or_read_is_said(place, capsys):
    for arguments, words in (
        ((place / "none",), "result.json"),
        ((place / "result", "--output", place / "page.pdf"), "should end in .html"),
        ((place / "result", "--output", place / "none" / "page.html"), "does not exist"),
    ):
        status, out, err = run(capsys, *arguments)
        assert (status, out) == (2, "") and words in err
