"""The comparison with other programs: stand-ins that really register, fail, hang and die, each in its own process."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

if os.name != "posix":
    pytest.skip("the harness measures on POSIX systems alone", allow_module_level=True)

import auto_choice
import compare
import running
from datasets import BenchmarkPair
from deepregister import Rigid, Volume
from methods import METHODS, PEERS, Method
from phantoms import grid, seen_through
from running import Runner

# Moves centre of mass onto centre of mass, and notes that it ran.
STAND_IN = f"""
import sys
sys.path.insert(0, {str(PEERS)!r})
import numpy as np
import SimpleITK as sitk
from _jobs import UnavailableError, image, run, save

def centre(file):
    volume = image(file)
    values = sitk.GetArrayFromImage(volume)
    index = [float((values * np.arange(n).reshape([-1 if m == a else 1 for m in range(3)])).sum() / values.sum())
             for a, n in enumerate(values.shape)]
    return np.array(volume.TransformContinuousIndexToPhysicalPoint(index[::-1]))

def still(job):
    field = sitk.Image(image(job["fixed"]).GetSize(), sitk.sitkVectorFloat32)
    field.CopyInformation(image(job["fixed"]))
    return field

def register(job, folder):
    with open(job["diary"], "a") as diary:
        print(job["fixed"], file=diary)
    matrix = np.eye(4)
    matrix[:3, 3] = centre(job["moving"]) - centre(job["fixed"])
    save(folder, still(job), job.get("affine", matrix), still(job))
"""
BEHAVIOURS = {
    "registers": 'run(register, ("numpy",))',
    "stays": "run(lambda job, folder: save(folder, still(job), job.get('affine', np.eye(4))), ())",
    "raises": "def broken(*_): raise ValueError('the images are too beautiful')\nrun(broken, ())",
    "imports long": "import time\nwhile time.process_time() < 1.5: pass\nrun(register, ('numpy',))",
    "path": "import os\ndef tell(job): raise UnavailableError(os.getenv('PYTHONPATH', 'none'))\nrun(0, (), tell)",
    "hangs": "import time\nrun(lambda *_: time.sleep(600), ())",
    "dies": "import os, signal\nrun(lambda *_: os.kill(os.getpid(), signal.SIGKILL), ())",
    "exits": "def leave(*_):\n    print('licence expired', file=sys.stderr)\n    sys.exit(3)\nrun(leave, ())",
    "leaves nothing": "run(lambda *_: None, ())",
    "wants weights": "def fetch(job): raise UnavailableError('the network is closed')\nrun(register, (), fetch)",
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two pairs: an object and the same one 5 mm and 10 mm away; its bright part is the label."""
    folder, found = tmp_path_factory.mktemp("pairs"), []
    geometry = grid(spacing=(5, 5, 5))
    for shift in (5.0, 10.0):
        sides = {}
        moved = np.eye(4)
        moved[0, 3] = shift
        volumes = {"fixed": seen_through(Rigid(moved), geometry), "moving": seen_through(Rigid.identity(), geometry)}
        for side, volume in volumes.items():
            sides[side] = folder / f"{side}-{shift:g}.nii.gz"
            sides[f"{side}_labels"] = folder / f"{side}-{shift:g}-labels.nii.gz"
            volume.write(sides[side])
            Volume((volume.data > 400).astype(np.uint8), geometry).write(sides[f"{side}_labels"])
        found.append(BenchmarkPair(f"shift {shift:g}", **sides))
    return found


@pytest.fixture
def methods(tmp_path, monkeypatch):
    """The stand-ins by name, in the table; `ran` lists what they were called for."""
    table = {}
    for name, behaviour in BEHAVIOURS.items():
        script = tmp_path / f"{name.replace(' ', '_')}.py"
        script.write_text(STAND_IN + behaviour, encoding="utf-8")
        table[name] = Method(f"one that {name}", script, options={"diary": str(tmp_path / "diary")})
    monkeypatch.setattr(compare, "METHODS", table)
    monkeypatch.setattr(compare, "ORDER", ["headers", *table])
    return table


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path / "environments", tmp_path / "work", threads=1, limit=60)


def rows_of(runner, pair, methods, *names):
    return {name: runner.row("shifts", name, methods[name], pair) for name in names}


def test_a_method_that_registers_is_measured_and_scored(runner, pairs, methods):
    row = rows_of(runner, pairs[0], methods, "registers")["registers"]
    assert row["dice"] > 0.99
    assert (row["dataset"], row["pair"], row["start"]) == ("shifts", "shift 5", "own")
    # The whole process takes longer than the registration, and loads NumPy and SimpleITK.
    assert 0 < row["seconds"] < row["process_seconds"]
    assert row["cpu_seconds"] > 0.05
    assert row["peak_mb"] > 30


def test_what_a_method_imports_is_in_the_seconds_of_its_process_alone(runner, pairs, methods):
    row = rows_of(runner, pairs[0], methods, "imports long")["imports long"]
    # However busy the machine is.
    assert 0 < row["seconds"] <= row["process_seconds"] - 1.5


def test_what_goes_wrong_is_reported_with_its_reason(runner, pairs, methods):
    rows = rows_of(runner, pairs[0], methods, "raises", "dies", "exits", "leaves nothing")
    # For this one alone: on a busy machine the others may need as long only to start.
    runner.limit = 4
    rows |= rows_of(runner, pairs[0], methods, "hangs")
    reasons = {name: row["failed"] for name, row in rows.items()}
    assert reasons["raises"] == "ValueError: the images are too beautiful"
    assert reasons["hangs"] == "it took longer than 4 s and was ended"
    assert reasons["dies"] == "it was ended by SIGKILL"
    assert reasons["exits"] == "exit status 3: licence expired"
    assert reasons["leaves nothing"].startswith("its result cannot be read: The transform file")
    assert not any("dice" in row for row in rows.values())


def test_a_peer_sees_none_of_our_packages(runner, methods, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    python = runner.environments / "peer" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    script = methods["path"].script
    assert runner.probe(Method("a peer", script, environment="peer"))["skipped"] == "none"
    assert runner.probe(Method("ours", script))["skipped"] == str(running.ENGINE)


def test_who_starts_from_ours_gets_our_affine_and_it_is_found_once(runner, pairs, methods, monkeypatch):
    # Where it is given nothing, it moves nothing.
    method = Method("from ours", methods["stays"].script, start="ours")
    theirs = runner.row("shifts", "theirs", method, pairs[0])
    ours = runner.row("shifts", "affine", METHODS["affine"], pairs[0])
    assert theirs["dice"] == pytest.approx(ours["dice"], abs=1e-9) and ours["dice"] > 0.95
    measured = ("process_seconds", "cpu_seconds", "peak_mb", "seconds")
    assert all(ours[key] > 0 for key in measured) and set(ours["stages"]) >= {"prepare", "align"}
    nothing = Method("leaves nothing", methods["leaves nothing"].script, start="ours")
    assert runner.row("shifts", "nothing", nothing, pairs[0])["failed"].startswith("its result cannot be read")
    monkeypatch.setattr(running, "METHODS", {"affine": methods["raises"]})
    again = runner.row("shifts", "theirs", method, pairs[0])
    assert again["dice"] == theirs["dice"]
    # Where it fails, nothing can start from it.
    without = runner.row("shifts", "theirs", method, pairs[1])
    assert without["failed"].startswith("our affine, from which it starts, failed: ValueError")


def compared(tmp_path, monkeypatch, pairs, *arguments):
    monkeypatch.setitem(compare.DATASETS, "shifts", lambda data, count=None: pairs[:count])
    monkeypatch.setattr(compare, "LEDGER", tmp_path / "ledger.md")
    status = compare.main(["shifts", "--results", str(tmp_path), "--threads", "1", "--limit", "30", *arguments])
    return status, json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))


def ran(tmp_path):
    return len((tmp_path / "diary").read_text(encoding="utf-8").splitlines())


def test_the_run_goes_on_after_a_failure_and_says_what_was_left_out(tmp_path, monkeypatch, pairs, methods):
    missing = Method("elsewhere", methods["registers"].script, environment="nowhere")
    monkeypatch.setitem(methods, "elsewhere", missing)
    monkeypatch.setattr(compare, "ORDER", ["headers", *methods])
    names = ["exits", "elsewhere", "wants weights", "registers"]
    status, run = compared(tmp_path, monkeypatch, pairs, "--methods", *names)
    assert status == 0
    by_method = {name: [row for row in run["rows"] if row["method"] == name] for name in ("headers", *names)}
    assert [len(rows) for rows in by_method.values()] == [2, 2, 0, 0, 2]
    assert all(row["failed"] for row in by_method["exits"])
    assert all(row["dice"] > 0.98 for row in by_method["registers"])
    assert by_method["headers"][0]["dice"] < 0.95
    assert "no environment nowhere" in run["skipped"]["elsewhere"]
    assert run["skipped"]["wants weights"] == "the network is closed"
    assert run["versions"]["numpy"] == np.__version__
    assert "--methods exits" in run["command"] and run["threads"] == 1 and run["machine"]
    assert "one that registers" in (tmp_path / "compare.md").read_text(encoding="utf-8")


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch, pairs, methods):
    row_of, calls = Runner.row, []

    def interrupted(self, *job):
        calls.append(job)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return row_of(self, *job)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "row", interrupted)
        status, half = compared(tmp_path, monkeypatch, pairs, "--methods", "registers")
    assert status == 130
    assert [row["pair"] for row in half["rows"] if row["method"] == "registers"] == ["shift 5"]
    status, whole = compared(tmp_path, monkeypatch, pairs, "--methods", "registers", "--add")
    assert status == 0 and ran(tmp_path) == 2
    assert [row["pair"] for row in whole["rows"] if row["method"] == "registers"] == ["shift 5", "shift 10"]
    # What was done is as it was, seconds and all.
    assert all(row in whole["rows"] for row in half["rows"])


def test_a_method_is_added_to_a_run_of_the_same_machine_alone(tmp_path, monkeypatch, pairs, methods):
    compared(tmp_path, monkeypatch, pairs[:1], "--methods", "raises")
    _, run = compared(tmp_path, monkeypatch, pairs[:1], "--methods", "registers", "--add")
    assert [row["method"] for row in run["rows"]] == ["headers", "registers", "raises"]
    assert run["command"].count(" && ") == 1
    _, run = compared(tmp_path, monkeypatch, pairs[:1], "--methods", "registers", "raises", "--add", "--retry")
    assert ran(tmp_path) == 1 and [row["method"] for row in run["rows"]] == ["headers", "registers", "raises"]
    for key, value, told in (("machine", "another", "machine"), ("versions", {"numpy": "0"}, "numpy 0")):
        (tmp_path / "compare.json").write_text(
            json.dumps(run | {key: run["versions"] | value if key == "versions" else value})
        )
        with pytest.raises(SystemExit, match=told):
            compared(tmp_path, monkeypatch, pairs, "--methods", "registers", "--add")


def test_pairs_that_nothing_may_be_tuned_on_need_a_word_in_the_ledger(tmp_path, monkeypatch, pairs, methods):
    kept = [BenchmarkPair(**{**vars(pairs[0]), "held_out": True})]
    with pytest.raises(SystemExit, match="--changed"):
        compared(tmp_path, monkeypatch, kept, "--methods", "raises")
    compared(tmp_path, monkeypatch, kept, "--methods", "raises", "--changed", "the weather")
    line = (tmp_path / "ledger.md").read_text(encoding="utf-8")
    assert "| shifts | 1 | raises | the weather |" in line
    # Nothing new is seen: no new line.
    compared(tmp_path, monkeypatch, kept, "--methods", "raises", "--add")
    assert (tmp_path / "ledger.md").read_text(encoding="utf-8") == line


def test_models_of_one_organ_are_compared_on_that_organ_alone(tmp_path):
    data = tmp_path / "data"
    (data / "hippocampus" / "images").mkdir(parents=True)
    for n in range(162):
        (data / "hippocampus" / "images" / f"hippocampus_{n:03d}.nii.gz").touch()
    suite = compare.Suite({"brains-development": 1, "hippocampus-development": 1}, ("affine", "voxelmorph"), 60)
    jobs = [(group, name) for group, _, name in compare._missing({"rows": []}, suite, data)]
    assert jobs == [
        ("brains-development", "headers"),
        ("brains-development", "affine"),
        ("hippocampus-development", "headers"),
        ("hippocampus-development", "affine"),
        ("hippocampus-development", "voxelmorph"),
    ]


def test_a_choice_is_wrong_where_another_model_is_clearly_better():
    def row(auto, affine, deformable, chosen):
        seconds = {f"{name}_seconds": 1.0 for name in ("auto", "affine", "deformable")}
        return {"kind": "crops", "chosen": chosen, "auto": auto, "affine": affine, "deformable": deformable, **seconds}

    rows = [row(0.8, 0.7, 0.8, "deformable"), row(0.7, 0.7, 0.75, "affine"), row(0.795, 0.7, 0.8, "deformable")]
    run = {"rows": rows, "versions": {"deepregister": "1"}, "date": "today", "threads": 2, "machine": "one"}
    page = auto_choice.table(run | {"load_at_start": 0, "options": {}})
    assert "`auto` took deformable 2, affine 1: wrong on 1 of 3 pairs, 0.0183 Dice below" in page
    assert "| deformable | 0.7833 | 0.750 | 1.0 |" in page


def test_the_command_of_a_run_does_not_say_where_things_lie_on_its_machine():
    words = ["brains", "--data", "/home/me/data", "--count", "2", "--environments=/opt/peers", "--name", "trial"]
    assert compare._command(words) == "python Testing/benchmarks/compare.py brains --count 2 --name trial"
