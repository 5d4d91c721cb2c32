"""What the table of the comparison with other programs says: intervals, and which methods are run on which data."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import auto_choice
import compare


def rows_of(pairs, values):
    return [
        {"dataset": "hippocampus", "pair": f"hippocampus {f}<-{m}", "method": "affine", "seconds": 1.0, "dice": value}
        for (f, m), value in zip(pairs, values, strict=True)
    ]


def test_pairs_that_share_an_image_say_less_than_independent_ones():
    values = np.random.default_rng(1).normal(0.8, 0.05, 40)
    apart = compare.interval(rows_of([(2 * n, 2 * n + 1) for n in range(40)], values), "dice")
    # The same values, but the good half all stand on one image and the bad half on another.
    shared = compare.interval(rows_of([(n // 20, 100 + n) for n in range(40)], np.sort(values)), "dice")
    assert apart[0] < values.mean() < apart[1]
    assert shared[1] - shared[0] > 1.3 * (apart[1] - apart[0])


def test_the_interval_of_equal_values_is_that_value():
    assert compare.interval(rows_of([(0, 1), (1, 2), (2, 0)], [0.7] * 3), "dice") == pytest.approx((0.7, 0.7))


def test_the_table_has_a_mean_and_an_interval_for_each_method():
    rows = rows_of([(n, n + 1) for n in range(12)], np.linspace(0.6, 0.82, 12))
    run = {"versions": {"deepregister": "1"}, "date": "today", "threads": 2, "machine": "one", "rows": rows}
    line = next(line for line in compare.summary(run).splitlines() if line.startswith("| DeepRegister affine"))
    assert "0.7100 (0." in line and "least 0.600" in line


def test_models_of_one_organ_are_compared_on_that_organ_alone(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(compare, "_compare", lambda group, members, methods, *rest: ran.append((group, methods)) or [])
    monkeypatch.setattr(compare, "HERE", tmp_path)
    data = tmp_path / "data"
    (data / "hippocampus" / "images").mkdir(parents=True)
    for n in range(162):
        (data / "hippocampus" / "images" / f"hippocampus_{n:03d}.nii.gz").touch()
    methods = ["--methods", "affine", "voxelmorph"]
    compare.main(["brains-development", "hippocampus-development", "--data", str(data), "--count", "1", *methods])
    assert ran == [("brains-development", ["affine"]), ("hippocampus-development", ["affine", "voxelmorph"])]


def test_a_choice_is_wrong_where_another_model_is_clearly_better():
    def row(auto, affine, deformable, chosen):
        seconds = {f"{name}_seconds": 1.0 for name in ("auto", "affine", "deformable")}
        return {"kind": "crops", "chosen": chosen, "auto": auto, "affine": affine, "deformable": deformable, **seconds}

    rows = [row(0.8, 0.7, 0.8, "deformable"), row(0.7, 0.7, 0.75, "affine"), row(0.795, 0.7, 0.8, "deformable")]
    run = {"rows": rows, "versions": {"deepregister": "1"}, "date": "today", "threads": 2, "machine": "one"}
    page = auto_choice.table(run | {"load_at_start": 0, "options": {}})
    assert "`auto` took deformable 2, affine 1: wrong on 1 of 3 pairs, 0.0183 Dice below" in page
    assert "| deformable | 0.7833 | 0.750 | 1.0 |" in page
