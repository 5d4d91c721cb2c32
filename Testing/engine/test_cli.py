"""The command line: a real run and what it leaves, what wrong input gets, and how Ctrl-C ends it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import __version__
from deepregister.cli import main
from deepregister.connection import worker_environment
from deepregister.pointfiles import PointList, write_points
from deepregister.report import Source, save
from deepregister.result import Registration
from deepregister.transforms import Affine, Rigid
from deepregister.volume import Geometry, Volume
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from toymodels import toy_model

FIXED_GRID = Geometry(
    (30, 32, 26),
    (2.0, 2.0, 2.5),
    (-20.0, 15.0, -60.0),
    tuple(map(tuple, Rotation.from_euler("xyz", [10, -5, 15], degrees=True).as_matrix())),
)
SHIFT = np.array([3.0, -2.0, 4.0])
# How the program itself is started: with the engine of this checkout.
PROGRAM = {"env": worker_environment({}), "text": True, "encoding": "utf-8"}
RESULTS = {
    "transform.h5",
    "inverse.h5",
    "registered.nii.gz",
    "expected_error.nii.gz",
    "result.json",
    "report.html",
    "slices.png",
    "scene.mrml",
}


def body(points):
    """A soft object with a few things in it, at any point of space (LPS mm)."""
    centre = FIXED_GRID.centre
    image = 300.0 / (1 + np.exp((np.linalg.norm((points - centre) / (1, 1.1, 0.9), axis=-1) - 24) / 1.0))
    for place, size, value in (
        ((8, 5, -6), 6, 250),
        ((-9, -4, 5), 7, -150),
        ((2, -10, -8), 5, 200),
        ((-4, 9, 8), 4, 300),
    ):
        image += value * np.exp(-(np.linalg.norm(points - centre - place, axis=-1) ** 2) / (2 * size**2))
    return image.astype(np.int16)


def run(capsys, *arguments):
    """Exit status, standard output and standard error of a command."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with an oblique fixed volume, a straight moving one SHIFT away, and landmarks of both."""
    folder = tmp_path_factory.mktemp("data")
    Volume(body(FIXED_GRID.points()), FIXED_GRID).write(folder / "fixed.nii.gz")
    size, spacing = (34, 36, 40), (2.2, 2.0, 1.8)
    origin = FIXED_GRID.centre + SHIFT - (np.asarray(size) - 1) / 2 * spacing
    grid = Geometry(size, spacing, tuple(origin))
    Volume(body(grid.points() - SHIFT), grid).write(folder / "moving.nrrd")
    points = FIXED_GRID.centre + np.array([(8, 5, -6), (-9, -4, 5), (2, -10, -8), (-4, 9, 8.0)])
    write_points(PointList(points, tuple("abcd"), "RAS"), folder / "fixed.mrk.json")
    write_points(PointList((points + SHIFT)[::-1], tuple("dcba")), folder / "moving.csv")
    return folder


@pytest.fixture(scope="module")
def result(data, tmp_path_factory):
    """The folder of one deformable run, made by the program itself in a process of its own, and what it printed."""
    folder = tmp_path_factory.mktemp("run") / "new" / "result"
    command = [sys.executable, "-m", "deepregister", "register", data / "fixed.nii.gz", data / "moving.nrrd"]
    options = ["--output", folder, "--model", "deformable", "--quality", "fast", "--device", "cpu", "--threads", "1"]
    landmarks = ["--fixed-landmarks", data / "fixed.mrk.json", "--moving-landmarks", data / "moving.csv"]
    done = subprocess.run([*command, *options, *landmarks], capture_output=True, **PROGRAM)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, done.stderr


def test_a_run_leaves_everything(result, data):
    folder = result[0]
    assert {path.name for path in folder.iterdir()} == RESULTS | {"displacement.nrrd"}
    registration = Registration.load(folder)
    points = FIXED_GRID.centre + np.array([(8, 5, -6), (-9, -4, 5)])
    np.testing.assert_allclose(registration.transform.apply_to_points(points), points + SHIFT, atol=1.0)
    np.testing.assert_allclose(registration.inverse.apply_to_points(points + SHIFT), points, atol=1.0)
    fixed = Volume.read(data / "fixed.nii.gz")
    assert registration.registered.geometry.same_grid(fixed.geometry)
    inner = (slice(5, -5),) * 3
    assert np.corrcoef(registration.registered.data[inner].ravel(), fixed.data[inner].ravel())[0, 1] > 0.98
    settings = registration.settings
    assert (settings.model, settings.quality, settings.device, settings.threads) == ("deformable", "fast", "cpu", 1)
    # One ITK file, readable by SimpleITK alone.
    read = sitk.ReadTransform(str(folder / "transform.h5"))
    there = np.array(read.TransformPoint(points[0].tolist()))
    np.testing.assert_allclose(there, registration.transform.apply_to_points(points[0]), atol=1e-3)


def test_a_run_says_how_it_went(result):
    folder, out, err = result
    rows = {line[:20].strip(): line[20:].split() for line in out.splitlines()}
    measures = json.loads((folder / "result.json").read_text())["measures"]
    before, after = (row for row in rows["Landmark error, mean"] if row != "mm")
    assert float(before) == pytest.approx(np.linalg.norm(SHIFT), abs=0.01)
    assert float(after) == pytest.approx(measures["tre_after_mean_mm"], abs=0.01)
    assert float(after) < 1.0
    assert rows["Folded voxels"] == ["none"]
    assert str(folder) in out
    assert {"prepare:", "align:", "deform:", "measure:"} <= set(err.split())
    assert "GB of memory" in err


def test_the_scene_names_the_inputs_where_they_are(result, data):
    scene = (result[0] / "scene.mrml").read_text()
    assert str(data / "moving.nrrd") in scene
    assert 'fileName="displacement.nrrd"' in scene


def test_a_linear_result_over_a_deformable_one_leaves_nothing_of_it(result, data, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(result[0], folder)
    (folder / "notes.txt").write_text("the user's own")
    registration = Registration.load(folder)
    linear = replace(registration, transform=Rigid.identity(), inverse=Rigid.identity())
    sources = (Source(data / name, Volume.read(data / name)) for name in ("fixed.nii.gz", "moving.nrrd"))
    save(linear, *sources, folder)
    assert {path.name for path in folder.iterdir()} == RESULTS | {"notes.txt"}
    assert 'fileName="transform.h5"' in (folder / "scene.mrml").read_text()


def test_an_input_that_slicer_cannot_name_is_copied(result, data, tmp_path):
    frames = sitk.JoinSeries([sitk.ReadImage(str(data / "moving.nrrd"))] * 2)
    sitk.WriteImage(frames, str(tmp_path / "series.nii.gz"))
    fixed = Source(data / "fixed.nii.gz", Volume.read(data / "fixed.nii.gz"))
    moving = Source(tmp_path / "series.nii.gz", Volume.read(tmp_path / "series.nii.gz", 1), 1)
    save(Registration.load(result[0]), fixed, moving, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == RESULTS | {"displacement.nrrd", "moving.nrrd"}
    assert Volume.read(tmp_path / "out" / "moving.nrrd").geometry.same_grid(Volume.read(data / "moving.nrrd").geometry)
    scene = (tmp_path / "out" / "scene.mrml").read_text()
    assert 'fileName="moving.nrrd"' in scene


def image(folder, name, array, vector=False):
    written = sitk.GetImageFromArray(array, isVector=vector)
    sitk.WriteImage(written, str(folder / name))
    return folder / name


SKEWED = """NRRD0004
type: float
dimension: 3
space: left-posterior-superior
sizes: 8 8 8
space directions: (1,0,0) (0,1,0) (0,0.4,1)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (0,0,0)

"""


def bad_inputs(data, folder):
    """name -> (arguments of `register` that cannot be used, words that the message must hold)."""
    fixed, moving = data / "fixed.nii.gz", data / "moving.nrrd"
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    (folder / "broken.nii.gz").write_bytes(b"this is no image")
    (folder / "skewed.nrrd").write_bytes(SKEWED.encode() + np.arange(512, dtype="<f4").tobytes())
    holes = noise.copy()
    holes[:5] = np.nan
    sitk.WriteTransform(sitk.Euler2DTransform(), str(folder / "flat.tfm"))
    write_points(PointList(np.ones((3, 3))), folder / "three.csv")
    nowhere = Volume(np.ones((5, 5, 5), np.uint8), Geometry((5, 5, 5), origin=(900, 900, 900)))
    nowhere.write(folder / "nowhere.nrrd")
    Volume(np.zeros(FIXED_GRID.shape, np.uint8), FIXED_GRID).write(folder / "zeros.nrrd")
    (folder / "models").mkdir()
    pair = (fixed, moving)
    return {
        "missing": ((folder / "none.nii.gz", moving), ["none.nii.gz", "does not exist", "Check the path"]),
        "unreadable": ((folder / "broken.nii.gz", moving), ["broken.nii.gz", "Cannot read"]),
        "empty folder": ((folder / "models", moving), ["models", "no DICOM series"]),
        "colour": (
            (fixed, image(folder, "rgb.nrrd", np.zeros((8, 8, 8, 3), np.uint8), True)),
            ["rgb.nrrd", "3 components", "grey"],
        ),
        "two-dimensional": ((image(folder, "slice.png", np.zeros((9, 9), np.uint8)), moving), ["slice.png", "9x9"]),
        "series": (
            (image(folder, "series.nii.gz", np.stack([noise, noise])), moving),
            ["series.nii.gz", "2 volumes", "--fixed-frame"],
        ),
        "no such frame": ((*pair, "--fixed-frame", 3), ["fixed.nii.gz", "no frame 3"]),
        "constant": ((fixed, image(folder, "flat.nii.gz", np.full((9, 9, 9), 7.0))), ["flat.nii.gz", "value 7"]),
        "not numbers": ((image(folder, "holes.nrrd", holes), moving), ["holes.nrrd", "25.0%", "NaN"]),
        "skewed axes": ((folder / "skewed.nrrd", moving), ["skewed.nrrd", "right angles", "Resample"]),
        "mask elsewhere": (
            (*pair, "--fixed-mask", folder / "nowhere.nrrd"),
            ["nowhere.nrrd", "overlap", "fixed.nii.gz"],
        ),
        "empty mask": ((*pair, "--moving-mask", folder / "zeros.nrrd"), ["zeros.nrrd", "selects nothing"]),
        "one region": ((*pair, "--regions", folder / "zeros.nrrd"), ["zeros.nrrd", "needs two regions"]),
        "unequal landmarks": (
            (*pair, "--fixed-landmarks", data / "fixed.mrk.json", "--moving-landmarks", folder / "three.csv"),
            ["4 fixed and 3 moving"],
        ),
        "landmarks of one": ((*pair, "--fixed-landmarks", data / "fixed.mrk.json"), ["--moving-landmarks"]),
        "flat transform": ((*pair, "--initial", folder / "flat.tfm"), ["2-dimensional"]),
        "missing transform": ((*pair, "--initial", folder / "none.h5"), ["none.h5", "does not exist"]),
        "absent device": ((*pair, "--device", "cuda:99"), ["cuda:99", "Choose auto or cpu"]),
        "unknown device": ((*pair, "--device", "tpu"), ["tpu", "cpu"]),
        "unknown model": ((*pair, "--model", "magic"), ["magic", "deformable"]),
        "unknown quality": ((*pair, "--quality", "perfect"), ["perfect", "balanced"]),
        "no models there": ((*pair, "--model", "rigid", "--models-dir", folder / "no"), ["no", "does not exist"]),
        "no threads": ((*pair, "--threads", 0), ["threads", "0"]),
        "no spacing": ((*pair, "--field-spacing", -2), ["field_spacing_mm", "-2"]),
    }


BAD = (
    "missing, unreadable, empty folder, colour, two-dimensional, series, no such frame, constant, not numbers, "
    "skewed axes, mask elsewhere, empty mask, one region, unequal landmarks, landmarks of one, flat transform, "
    "missing transform, absent device, unknown device, unknown model, unknown quality, no models there, no threads, "
    "no spacing"
)


@pytest.mark.parametrize("case", BAD.split(", "))
def test_bad_input_is_told_and_nothing_is_written(data, tmp_path, capsys, case):
    cases = bad_inputs(data, tmp_path)
    assert list(cases) == BAD.split(", ")
    arguments, words = cases[case]
    new, old = tmp_path / "new" / "out", tmp_path / "old"
    old.mkdir()
    (old / "transform.h5").write_text("an earlier result")
    for output in (new, old):
        status, out, err = run(capsys, "register", *arguments, "--output", output)
        assert status == 2
        assert out == ""
        assert [word for word in words if word not in err] == []
        assert "Traceback" not in err
    assert not (tmp_path / "new").exists()
    assert [(path.name, path.read_text()) for path in old.iterdir()] == [("transform.h5", "an earlier result")]


@pytest.mark.parametrize("command", ["register", "demo"])
def test_an_output_that_cannot_be_written_is_told_at_once(data, tmp_path, capsys, command):
    (tmp_path / "file").write_text("kept")
    inputs = (data / "fixed.nii.gz", data / "moving.nrrd") if command == "register" else ()
    for output in (tmp_path / "file", tmp_path / "file" / "folder"):
        status, _, err = run(capsys, command, *inputs, "--output", output)
        assert status == 2
        assert str(tmp_path / "file") in err
    assert (tmp_path / "file").read_text() == "kept"


def test_a_result_never_overwrites_its_input(data, tmp_path, capsys):
    moving = tmp_path / "registered.nii.gz"
    Volume.read(data / "moving.nrrd").write(moving)
    before = moving.read_bytes()
    status, _, err = run(capsys, "register", data / "fixed.nii.gz", moving, "--output", tmp_path)
    assert status == 2
    assert "registered.nii.gz" in err
    assert moving.read_bytes() == before


def test_a_few_voxels_without_a_value_are_noted(data, tmp_path, capsys):
    volume = Volume.read(data / "fixed.nii.gz").astype(np.float32)
    volume.data[3, 4, 5:8] = np.nan
    volume.write(tmp_path / "holes.nrrd")
    status, _, err = run(
        capsys,
        *("register", tmp_path / "holes.nrrd", data / "moving.nrrd", "--output", tmp_path / "out"),
        *("--model", "rigid", "--quality", "fast", "--threads", 1),
    )
    assert status == 0
    assert "holes.nrrd: 3 voxels" in err


def test_low_confidence_is_told_with_its_reasons_and_is_no_error(data, tmp_path, capsys):
    values = gaussian_filter(np.random.default_rng(0).normal(size=FIXED_GRID.shape), 2)
    Volume(values.astype(np.float32), FIXED_GRID).write(tmp_path / "unrelated.nrrd")
    status, out, err = run(
        capsys,
        *("register", data / "fixed.nii.gz", tmp_path / "unrelated.nrrd", "--output", tmp_path / "out"),
        *("--model", "rigid", "--quality", "fast", "--threads", 1),
    )
    assert status == 0
    notes = [line for line in err.splitlines() if line.startswith("Note: ")]
    assert notes[0].startswith("Note: Low confidence (0.") and "insides agree hardly better here" in err
    (row,) = [line for line in out.splitlines() if line.startswith("Confidence")]
    assert "low: a person must look at this result before it is used." in row
    told = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["confidence"]
    assert (
        told["level"] == "low"
        and [f"Note: {reason}" for reason in told["reasons"]] == notes[1 : len(told["reasons"]) + 1]
    )


def test_inputs_are_checked_before_torch_is_imported(data, tmp_path):
    script = "import sys; from deepregister.cli import main; status = main(); print('torch' in sys.modules, status)"
    command = [
        sys.executable,
        "-c",
        script,
        "register",
        data / "fixed.nii.gz",
        data / "none.nii.gz",
        "--output",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, **PROGRAM)
    assert done.stdout.split() == ["False", "2"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_stops_cleanly(data, tmp_path):
    random = np.random.default_rng(0)
    for name in ("fixed.nii.gz", "moving.nii.gz"):
        smooth = gaussian_filter(random.normal(size=(90, 90, 90)), 3).astype(np.float32)
        Volume.from_array(smooth).write(tmp_path / name)
    command = [sys.executable, "-m", "deepregister", "register", tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz"]
    options = ["--output", tmp_path / "out", "--quality", "accurate", "--threads", "1", "--device", "cpu"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, **PROGRAM) as process:
        # The first line comes when the preparation is over: now it computes.
        assert "prepare" in process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130
    assert "Stopped: no result was written." in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_models_are_listed_from_their_cards(capsys, tmp_path):
    status, out, _ = run(capsys, "models")
    assert status == 0
    first = [line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")]
    assert first[:3] == ["NAME", "rigid", "affine"]
    assert run(capsys, "models", "--models-dir", tmp_path / "none")[0] == 2


def test_experimental_models_are_named_but_not_listed_unless_asked_for(capsys, tmp_path):
    toy_model(tmp_path / "trial", experimental=True)
    _, out, _ = run(capsys, "models", "--models-dir", tmp_path)
    assert "A toy" not in out and out.splitlines()[-1].startswith("Experimental, shown by --all: ")
    assert "trial" in out.splitlines()[-1]
    _, out, _ = run(capsys, "models", "--models-dir", tmp_path, "--all")
    assert "trial (experimental)" in out and "A toy" in out


def test_all_that_a_card_says_is_shown(capsys, tmp_path):
    card = toy_model(
        tmp_path / "toy",
        extent_mm=[30, 60],
        thickest_mm=3.0,
        anatomies=["hippocampus"],
        modalities=["MR"],
        known_failures=["Fails upside down."],
        training_data="Nothing at all.",
        training="No steps in no time.",
        figures={"dice": {"value": 0.5, "sentence": "Mean Dice of nothing."}},
    )
    status, out, _ = run(capsys, "models", "toy", "--models-dir", tmp_path)
    assert status == 0
    told = " ".join(out.split())
    for text in (
        "Toy (toy)",
        card.summary,
        "30 to 60 mm across",
        "slices of up to 3 mm",
        "hippocampus",
        "MR; both volumes in one contrast",
        "Fails upside down.",
        "Nothing at all.",
        "No steps in no time.",
        "0.5: Mean Dice of nothing.",
        card.sha256,
        card.licence,
        card.paper,
    ):
        assert text in told
    assert "Trained on" not in run(capsys, "models", "affine")[1]
    assert run(capsys, "models", "nothing")[0] == 2


def test_version_and_missing_command(capsys):
    assert run(capsys, "--version") == (0, f"deepregister {__version__}\n", "")
    status, _, err = run(capsys)
    assert status == 2
    assert "COMMAND" in err


def test_an_affine_start_is_taken(data, tmp_path, capsys):
    matrix = np.diag([1.02, 1.0, 1.0, 1.0])
    matrix[:3, 3] = SHIFT
    Affine(matrix).write(tmp_path / "start.tfm")
    status, *_ = run(
        capsys,
        *("register", data / "fixed.nii.gz", data / "moving.nrrd", "--output", tmp_path / "out", "--model", "affine"),
        *("--quality", "fast", "--threads", 1, "--initial", tmp_path / "start.tfm"),
    )
    assert status == 0
    assert "Affine" in json.loads((tmp_path / "out" / "result.json").read_text())["inputs"]["initial"]
