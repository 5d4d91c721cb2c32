"""Time and memory by size: each size runs in a process of its own, and peaks belong to the stage that took them."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from deepregister.progress import Progress

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

if os.name != "posix":
    pytest.skip("sizes are measured on POSIX systems alone", allow_module_level=True)

import peaks
import sizes
import sizes_page
from peaks import ALL_STAGES, Peaks


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux a process may set its own peak back")
def test_a_peak_belongs_to_its_stage():
    found = Peaks()
    for stage, megabytes in (("prepare", 10), ("deform", 300), ("measure", 10)):
        for fraction in (0.1, 0.9):
            found.enter(Progress(stage, fraction, "at work"))
            taken = np.ones(megabytes * 125_000)
            del taken
    found.finish()
    assert list(found.by_stage) == ["prepare", "deform", "measure"]
    assert found.by_stage["deform"] - found.by_stage["prepare"] == pytest.approx(290, abs=60)
    assert found.by_stage["measure"] < found.by_stage["deform"] - 200


def test_there_is_one_peak_where_it_cannot_be_set_back(monkeypatch, tmp_path):
    monkeypatch.setattr(peaks, "CLEAR", tmp_path / "nowhere" / "clear_refs")
    found = Peaks()
    for stage in ("prepare", "deform"):
        found.enter(Progress(stage, 0.5, "at work"))
    found.finish()
    assert list(found.by_stage) == [ALL_STAGES] and found.by_stage[ALL_STAGES] > 20


def test_a_pair_of_the_size_that_was_asked_for():
    fixed, moving = sizes.synthetic_pair((24, 20, 16))
    assert fixed.geometry.size == moving.geometry.size == (24, 20, 16) and fixed.data.dtype == np.int16
    assert fixed.data.min() == -1000 and fixed.data.std() > 100
    assert not np.array_equal(fixed.data, moving.data)


def run(tmp_path, *arguments):
    status = sizes.main(
        ["--results", str(tmp_path), "--threads", "1", "--profile", "16", "--quality", "fast", *arguments]
    )
    return status, json.loads((tmp_path / "sizes.json").read_text(encoding="utf-8"))


def test_sizes_are_measured_and_what_fails_is_said(tmp_path):
    status, found = run(tmp_path, "--sizes", "16x14x12")
    (row,) = found["rows"]
    assert status == 0 and row["size"] == [16, 14, 12]
    assert {"prepare", "align", "deform", "inverse", "measure"} <= set(row["stages"])
    assert row["peak_mb"] == max(row["peaks"].values()) > 50
    # The process loads torch too.
    assert row["process_seconds"] > sum(row["stages"].values()) > 0 and row["process_cpu_seconds"] > 0
    text = (tmp_path / "sizes.md").read_text(encoding="utf-8")
    assert "| 16x14x12 | fast |" in text and "Where the time goes: 16x14x12" in text
    assert (tmp_path / "sizes.png").stat().st_size > 10_000
    # What is there already stays; what takes too long has failed, and the run goes on.
    status, longer = run(tmp_path, "--sizes", "16x14x12", "24", "--limit", "0.5", "--add")
    assert status == 0 and longer["rows"][:1] == found["rows"]
    assert longer["rows"][1]["failed"] == "it took longer than 0.5 s and was ended"
    assert longer["command"].count(" && ") == 1


@pytest.mark.parametrize("size", ["4", "64x64", "64xa64"])
def test_what_is_no_size_is_refused(size, tmp_path, capsys):
    with pytest.raises(SystemExit):
        sizes.main(["--sizes", size, "--results", str(tmp_path)])
    assert "--sizes" in capsys.readouterr().err


def test_growth_is_a_power_of_the_number_of_voxels():
    voxels = np.array([64, 128, 256]) ** 3
    assert sizes_page.growth(voxels, 3e-6 * voxels**0.8) == pytest.approx(0.8)
    assert sizes_page.growth([64**3], [1.0]) is None
