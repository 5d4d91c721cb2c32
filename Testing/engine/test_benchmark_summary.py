"""What the table of a comparison says: means, intervals, failures."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import summary


def rows_of(pairs, values):
    return [
        {"dataset": "hippocampus", "pair": f"hippocampus {f}<-{m}", "method": "affine", "seconds": 1.0, "dice": value}
        for (f, m), value in zip(pairs, values, strict=True)
    ]


def test_pairs_that_share_an_image_say_less_than_independent_ones():
    values = np.random.default_rng(1).normal(0.8, 0.05, 40)
    apart = summary.interval(rows_of([(2 * n, 2 * n + 1) for n in range(40)], values), "dice")
    # The same values, but the good half all stand on one image and the bad half on another.
    shared = summary.interval(rows_of([(n // 20, 100 + n) for n in range(40)], np.sort(values)), "dice")
    assert apart[0] < values.mean() < apart[1]
    assert shared[1] - shared[0] > 1.3 * (apart[1] - apart[0])


def test_the_interval_of_equal_values_is_that_value():
    assert summary.interval(rows_of([(0, 1), (1, 2), (2, 0)], [0.7] * 3), "dice") == pytest.approx((0.7, 0.7))


def test_the_table_has_a_mean_and_an_interval_for_each_method():
    rows = rows_of([(n, n + 1) for n in range(12)], np.linspace(0.6, 0.82, 12))
    run = {"versions": {"deepregister": "1"}, "date": "today", "threads": 2, "machine": "one", "rows": rows}
    run["titles"] = {"affine": "DeepRegister affine"}
    line = next(line for line in summary.summary(run).splitlines() if line.startswith("| DeepRegister affine"))
    assert "0.7100 (0." in line and "least 0.600" in line
