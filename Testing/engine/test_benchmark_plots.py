"""The pictures of a comparison show what its rows say, and the page holds them with their commands."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import plots
import publish
from PIL import Image

MEANS = {"headers": 0.1, "affine": 0.45, "balanced": 0.66, "greedy": 0.65, "ants": 0.58}
SECONDS = {"headers": 0.0, "affine": 2.0, "balanced": 25.0, "greedy": 40.0, "ants": 300.0}


def rows_of(dataset="brains", pairs=4, **more):
    rng, rows = np.random.default_rng(0), []
    for method, mean in MEANS.items():
        for pair in range(pairs):
            labels = {str(n): float(mean + rng.normal(0, 0.02)) for n in range(12)}
            row = {"dataset": dataset, "pair": f"brain {2 * pair}<-{2 * pair + 1}", "method": method, "seconds": 0.0}
            row |= {"dice": float(np.mean(list(labels.values()))), "dice_by_label": labels}
            if method != "headers":
                row |= {"seconds": SECONDS[method] / 2, "cpu_seconds": SECONDS[method]}
                row |= {"folded_percent": 0.01 * (method == "ants"), "ndv_percent": 0.0, "sdlogj": 0.3}
            rows.append(row | more)
    return rows


def lungs():
    return [
        {"dataset": "lung", "pair": "lung", "method": method, "seconds": 9.0, "tre_mean_mm": error}
        | {"tre_by_landmark": [error / 2, error, 2 * error]}
        for method, error in (("headers", 20.0), ("balanced", 1.2), ("greedy", 1.5))
    ]


def run_of(rows):
    return {
        "versions": {"deepregister": "1", "picsl-greedy": "2"},
        "machine": "one",
        "threads": 2,
        "date": "today",
        "command": "python Testing/benchmarks/compare.py --suite quick",
        "titles": {"affine": "DeepRegister affine", "balanced": "DeepRegister deformable, balanced"},
        "rows": rows,
    }


def texts(ax):
    return [text.get_text() for text in ax.texts]


def place_of(ax, colour):
    """Where the markers of this colour are."""
    return [line.get_xydata()[0] for line in ax.lines if line.get_marker() in "osv" and line.get_color() == colour]


class TestAccuracyAgainstTime:
    def test_each_method_stands_at_its_means(self):
        rows = rows_of()
        ax = plots.accuracy_time(run_of(rows)).axes[0]
        assert ax.get_xlabel().startswith("CPU, s") and ax.get_ylabel() == "Dice" and ax.get_xscale() == "log"
        assert "4 pairs; 0.1" in ax.get_title()
        mean = np.mean([row["dice"] for row in rows if row["method"] == "balanced"])
        assert any(place == pytest.approx((25.0, mean)) for place in place_of(ax, plots.OURS))
        assert len(place_of(ax, plots.THEIRS)) == 2
        # What is far behind stands at the edge, with its figure.
        assert {"balanced", "greedy", "ants"} < set(texts(ax)) and any(
            text.startswith("affine: 0.4") for text in texts(ax)
        )

    def test_up_is_better_where_less_is(self):
        ax = plots.accuracy_time(run_of(lungs())).axes[0]
        assert ax.yaxis_inverted() and ax.get_ylabel() == "TRE mean, mm"
        # Not all methods have CPU seconds.
        assert ax.get_xlabel().startswith("registration, s")

    def test_what_ran_on_a_few_easy_pairs_stands_where_its_difference_puts_it(self):
        def row(method, pair, dice):
            return {"dataset": "brains", "pair": f"brain {pair}", "method": method, "seconds": 1.0, "dice": dice}

        rows = [row("balanced", pair, 0.5 + 0.1 * pair) for pair in range(4)]
        rows.append(row("greedy", 3, 0.78))
        run = run_of(rows)
        run["titles"] |= {"balanced": "DeepRegister balanced"}
        ax = plots.accuracy_time(run).axes[0]
        assert "greedy (1 pair)" in texts(ax)
        heights = sorted(float(line.get_ydata()[0]) for line in ax.lines if line.get_marker() in "os")
        assert heights == pytest.approx([0.63, 0.65])

    def test_failures_are_named(self):
        rows = rows_of()
        rows = [row for row in rows if (row["method"], row["pair"]) != ("greedy", "brain 0<-1")]
        rows.append(
            {"dataset": "brains", "pair": "brain 0<-1", "method": "greedy", "failed": "it was ended by SIGKILL"}
        )
        assert "greedy (1 failed)" in texts(plots.accuracy_time(run_of(rows)).axes[0])

    def test_names_do_not_cover_each_other(self):
        rows = [
            {
                "dataset": "same",
                "pair": f"{n}<-{n + 1}",
                "method": f"method {m}",
                "seconds": 10.0,
                "dice": 0.7 + m / 1e4,
            }
            for m in range(6)
            for n in (0, 2)
        ]
        ax = plots.accuracy_time(run_of(rows)).axes[0]
        middle = (ax.transData + ax.transAxes.inverted()).transform((10.0, 0.7))[0]
        heights = sorted((text.get_position()[0] > middle, text.get_position()[1]) for text in ax.texts)
        assert len(heights) == 6
        for (side, low), (other, high) in pairwise(heights):
            assert side != other or high - low > 0.9 * plots.LINE


class TestBoxes:
    @staticmethod
    def boxes(monkeypatch, rows):
        """The values that each panel draws boxes of, by method."""
        drawn, draw = [], Axes.boxplot

        def noted(ax, values, **options):
            drawn.append(values)
            return draw(ax, values, **options)

        monkeypatch.setattr(Axes, "boxplot", noted)
        picture = plots.structures(run_of(rows))
        panels = [ax for ax in picture.axes if ax.get_visible()]
        names = [[tick.get_text() for tick in ax.get_yticklabels()] for ax in panels]
        return panels, [dict(zip(each, values, strict=True)) for each, values in zip(names, drawn, strict=True)]

    def test_means_over_pairs_of_many_structures(self, monkeypatch):
        rows = rows_of()
        (panel,), (values,) = self.boxes(monkeypatch, rows)
        mine = [row["dice_by_label"] for row in rows if row["method"] == "balanced"]
        assert values["balanced"] == pytest.approx([np.mean([each[str(n)] for each in mine]) for n in range(12)])
        assert "means of 12 structures" in panel.get_title() and list(values)[-1] == "balanced"

    def test_all_pairs_where_there_are_few_structures(self, monkeypatch):
        (panel,), (values,) = self.boxes(monkeypatch, rows_of(dice_by_label={"1": 0.5, "2": 0.7}))
        assert len(values["greedy"]) == 2 * 4 and "2 structures of 4 pairs" in panel.get_title()

    def test_landmarks_without_what_was_before(self, monkeypatch):
        (panel,), (values,) = self.boxes(monkeypatch, lungs())
        assert set(values) == {"balanced", "greedy"} and values["greedy"] == [0.75, 1.5, 3.0]
        assert "3 landmarks" in panel.get_title()


def test_folding_shows_shares_and_none_at_all():
    picture = plots.folding(run_of(rows_of()))
    folds, inverted, spread = picture.axes
    assert [ax.get_xlabel() for ax in picture.axes] == ["folds, %", "NDV, %", "SDlogJ"]
    assert [x for x, _ in place_of(folds, plots.THEIRS)] == pytest.approx([0.0, 0.01])
    assert {x for x, _ in place_of(inverted, plots.OURS)} == {0.0}
    assert folds.get_xlim()[0] == 0 and spread.get_xscale() == "linear"


def test_what_a_run_does_not_have_is_not_drawn(tmp_path):
    rows = [{"dataset": "x", "pair": "x", "method": "affine", "failed": "no memory"}]
    assert plots.write_plots(run_of(rows), tmp_path) == []


def test_the_page_holds_tables_pictures_and_commands(tmp_path):
    results, page = tmp_path / "results", tmp_path / "page"
    results.mkdir()
    (results / "quick.json").write_text(json.dumps(run_of(rows_of() + lungs())))
    sizes = {"versions": {"deepregister": "1"}, "machine": "one", "threads": 2, "device": "cpu", "date": "today"}
    row = {"quality": "balanced", "stages": {"align": 1.0, "deform": 3.0}, "peaks": {"align": 500, "deform": 700}}
    row |= {"peak_mb": 700, "estimated_mb": 650, "estimated_seconds": 5, "process_cpu_seconds": 6.0, "device": "a CPU"}
    rows = [{**row, "size": [64] * 3}, {**row, "size": [128] * 3, "stages": {"align": 2.0, "deform": 24.0}}]
    rows.append({"size": [512] * 3, "quality": "balanced", "failed": "it was ended by signal 9: out of memory?"})
    sizes |= {"load_at_start": 0.1, "command": "python Testing/benchmarks/sizes.py", "rows": rows}
    (results / "sizes.json").write_text(json.dumps(sizes))
    assert publish.main(["quick", "--results", str(results), "--output", str(page)]) == 0
    text = (page / "summary.md").read_text(encoding="utf-8")
    for name in ("quick/accuracy-time", "quick/structures", "quick/folding", "sizes"):
        assert f"]({name}.png)" in text
        with Image.open(page / f"{name}.png") as picture:
            # Something is drawn on the white.
            assert picture.width > 600 and len(picture.convert("L").getcolors()) > 20
    assert "python Testing/benchmarks/compare.py --suite quick" in text and "picsl-greedy 2" in text
    assert "| DeepRegister deformable, balanced | 4 | 0.6" in text
    # 8 times the voxels, 6.5 times the seconds.
    assert f"to the power of {np.log(26 / 4) / np.log(8):.2f}" in text
    assert "failed: it was ended by signal 9" in text


def test_a_run_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SystemExit, match=r"full\.json is not the result of a run"):
        publish.main(["full", "--results", str(tmp_path), "--output", str(tmp_path)])
