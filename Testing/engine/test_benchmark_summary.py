"""What the tables of a comparison say: means, intervals, who is ahead, failures, and how the run was made."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from intervals import images, interval
from summary import summary


def rows_of(pairs, values, method="affine", **more):
    return [
        {"dataset": "shapes", "pair": f"shape {f}<-{m}", "method": method, "seconds": 1.0, "dice": float(v), **more}
        for (f, m), v in zip(pairs, values, strict=True)
    ]


def run_of(rows, **more):
    return {
        "versions": {"deepregister": "1.2", "greedy": "3"},
        "date": "today",
        "threads": 2,
        "machine": "one",
        "titles": {"affine": "DeepRegister affine", "best": "DeepRegister best", "peer": "a peer"},
        "rows": rows,
        **more,
    }


def apart(count):
    return [(2 * n, 2 * n + 1) for n in range(count)]


def line_of(text, method):
    return next(line for line in text.splitlines() if line.startswith(f"| {method} |"))


def cells_of(text, method):
    header = next(line for line in text.splitlines() if line.startswith("| method |"))
    names, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (header, line_of(text, method)))
    return dict(zip(names, cells, strict=True))


def names(pairs):
    return [f"shape {f}<-{m}" for f, m in pairs]


class TestIntervals:
    def test_pairs_of_their_own_give_the_classical_interval(self):
        rng = np.random.default_rng(5)
        values = rng.normal(0.8, 0.05, 60)
        low, high = interval(names(apart(60)), values)
        half = 1.96 * values.std() / np.sqrt(60)
        assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.08 * half)

    def test_it_holds_the_truth_as_often_as_it_says(self):
        rng = np.random.default_rng(6)
        found = [interval(names(apart(25)), rng.normal(0.8, 0.05, 25)) for _ in range(200)]
        covered = np.mean([low <= 0.8 <= high for low, high in found])
        assert 0.88 <= covered <= 0.99

    def test_pairs_that_share_an_image_say_less(self):
        values = np.sort(np.random.default_rng(1).normal(0.8, 0.05, 40))
        alone = interval(names(apart(40)), values)
        # The same values, but the good half all stand on one image and the bad half on another.
        shared = interval(names([(n // 20, 100 + n) for n in range(40)]), values)
        assert shared[1] - shared[0] > 1.3 * (alone[1] - alone[0])

    def test_shared_images_are_covered_too(self):
        """Each image has its own difficulty, which all its pairs have in common."""
        rng = np.random.default_rng(7)
        covered = 0
        for _ in range(100):
            difficulty = rng.normal(0, 0.05, 20)
            pairs = [tuple(rng.choice(20, 2, replace=False)) for _ in range(40)]
            values = [0.8 + difficulty[f] + difficulty[m] + rng.normal(0, 0.02) for f, m in pairs]
            low, high = interval(names(pairs), values)
            covered += low <= 0.8 <= high
        assert covered >= 88

    def test_equal_values_and_few_pairs(self):
        assert interval(names([(0, 1), (1, 2), (2, 0)]), [0.7] * 3) == pytest.approx((0.7, 0.7))
        assert interval(names(apart(2)), [0.7, 0.8]) is None

    @pytest.mark.parametrize(
        ("pair", "expected"),
        [
            ("brain 1007<-1008", ("1007", "1008")),
            ("render a<-b, two contrasts, thick slices", ("a", "b")),
            ("lung", ("fixed of lung", "moving of lung")),
        ],
    )
    def test_the_images_of_a_pair(self, pair, expected):
        assert images(pair) == expected


class TestTable:
    VALUES = np.linspace(0.6, 0.82, 12)

    def test_means_have_intervals_and_the_worse_third_is_shown(self):
        rows = rows_of(apart(12), self.VALUES)
        for number, row in enumerate(rows):
            row |= {"seconds": 1.0 + number, "hd95_mm": 2.0}
        cells = cells_of(summary(run_of(rows)), "DeepRegister affine")
        low, high = interval(names(apart(12)), self.VALUES)
        assert cells["Dice"] == f"0.710 ({low:.3f} to {high:.3f})"
        assert cells["3 in 10 below"] == f"{np.quantile(self.VALUES, 0.3):.3f}"
        assert cells["registration, s"].startswith("6.5 (") and cells["HD95, mm"] == "2.00"
        assert cells["pairs"] == "12"

    def test_few_pairs_are_said_to_be_few(self):
        text = summary(run_of(rows_of(apart(5), self.VALUES[:5])))
        assert "Only 5 pairs" in text and "3 in 10 below |" not in text
        assert "One pair" in summary(run_of(rows_of(apart(1), [0.7])))
        assert "Only" not in summary(run_of(rows_of(apart(10), self.VALUES[:10])))

    def test_who_is_ahead_is_told_on_the_same_pairs(self):
        ours = rows_of(apart(12), self.VALUES - 0.1) + rows_of(apart(12), self.VALUES, "best")
        # The peer has only the harder half, and is better by 0.02 on each of these.
        peer = rows_of(apart(6), self.VALUES[:6] + 0.02, "peer")
        text = summary(run_of(ours + peer))
        cells = cells_of(text, "a peer")
        assert cells["Dice ahead of DeepRegister best"].startswith("+0.020")
        assert float(cells["Dice"].split()[0]) < 0.7
        assert cells_of(text, "DeepRegister affine")["Dice ahead of DeepRegister best"].startswith("-0.100")
        assert cells_of(text, "DeepRegister best")["Dice ahead of DeepRegister best"] == ""

    def test_who_is_best_is_told_by_those_that_ran_on_most_pairs(self):
        few = rows_of(apart(3), [0.9, 0.9, 0.9])
        text = summary(run_of(few + rows_of(apart(12), self.VALUES, "best")))
        assert cells_of(text, "DeepRegister affine")["pairs"] == "3"
        assert "Dice ahead of DeepRegister best" in cells_of(text, "DeepRegister affine")

    def test_where_less_is_better(self):
        def rows(method, error):
            return [
                {"dataset": "lungs", "pair": f"case {n}", "method": method, "seconds": 1.0, "tre_mean_mm": error + n}
                for n in range(10)
            ]

        text = summary(run_of(rows("best", 1.0) + rows("peer", 1.5)))
        assert cells_of(text, "a peer")["TRE mean, mm ahead of DeepRegister best"] == "-0.50"
        assert "3 in 10 above" in text

    def test_failures_are_counted_and_their_reasons_told(self):
        rows = rows_of(apart(12), self.VALUES)
        rows[3] = {key: rows[3][key] for key in ("dataset", "pair", "method")} | {"failed": "out of memory"}
        text = summary(run_of(rows, skipped={"peer": "the network is closed"}))
        cells = cells_of(text, "DeepRegister affine")
        assert cells["pairs"] == "11, 1 failed"
        assert cells["Dice"].startswith(f"{np.delete(self.VALUES, 3).mean():.3f} (")
        assert "- DeepRegister affine, shape 6<-7: out of memory" in text
        assert "- a peer: the network is closed" in text

    def test_a_method_that_failed_everywhere_has_a_row(self):
        rows = rows_of(apart(2), [0.7, 0.8])
        rows += [{"dataset": "shapes", "pair": "shape 0<-1", "method": "peer", "failed": "it was ended by SIGKILL"}]
        assert cells_of(summary(run_of(rows)), "a peer")["pairs"] == "0, 1 failed"

    def test_figures_by_structure_are_no_columns(self):
        rows = rows_of(apart(2), [0.7, 0.8], dice_by_label={"1": 0.5}, tre_by_landmark=[1.0], start="own", stages={})
        assert set(cells_of(summary(run_of(rows)), "DeepRegister affine")) == {
            "method",
            "pairs",
            "Dice",
            "registration, s",
            "Dice ahead of DeepRegister affine",
        }

    def test_what_measuring_took_is_told_once(self):
        rows = rows_of(apart(2), [0.7, 0.8], process_seconds=10.0, harness_seconds=0.05)
        text = summary(run_of(rows))
        assert "Measuring itself took 0.50% of the time of the processes." in text
        assert not any("harness" in name for name in cells_of(text, "DeepRegister affine"))

    def test_versions_and_command_are_on_the_page(self):
        text = summary(run_of(rows_of(apart(2), [0.7, 0.8]), command="python a.py && python b.py --add"))
        assert "DeepRegister 1.2, today, 2 threads of one. With greedy 3." in text
        assert "```sh\npython a.py\npython b.py --add\n```" in text
