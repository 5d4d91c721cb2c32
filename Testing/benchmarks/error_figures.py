"""The tables and the picture of `expected_error.py`: how often errors stay below what is stated, and their rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from deepregister.expectederror import STATED
from scipy.stats import spearmanr
from studies import headline

# A pair is right about itself where at least so large a share of its points lies within the bound.
LEAST_COVERED = 0.8
DRAWS = 2000


def summary(run: dict) -> str:
    """A row for each case and for all, and the coverage at every level; 95 % bootstrap intervals over pairs."""
    rows = run["rows"]
    lines = [headline(run), "", *_explanation(run), ""]
    head = ("case", "transform", "pairs", "true error mm", "expected mm", f"within the {STATED:.0%} bound")
    head += (f"pairs with {LEAST_COVERED:.0%} and more", "rank within a pair", "rank of the pairs")
    lines += _line(head) + _line(["---"] * len(head))
    for transform in dict.fromkeys(row["transform"] for row in rows):
        of_kind = [row for row in rows if row["transform"] == transform]
        cases = list(dict.fromkeys(row["case"] for row in of_kind))
        groups = {case: [row for row in of_kind if row["case"] == case] for case in cases}
        for case, mine in {**groups, **({"all": of_kind} if len(cases) > 1 else {})}.items():
            lines += _line([case, transform, str(len(mine)), *_cells(mine)])
    lines += ["", "Share of the points within a bound that is stated for a share of them:", ""]
    levels = list(rows[0]["covered"])
    lines += _line(("case", "transform", *(f"{float(level):.0%}" for level in levels)))
    lines += _line(["---"] * (len(levels) + 2))
    for transform, case in dict.fromkeys((row["transform"], row["case"]) for row in rows):
        mine = [row for row in rows if (row["transform"], row["case"]) == (transform, case)]
        shares = [f"{np.mean([row['covered'][level] for row in mine]):.0%}" for level in levels]
        lines += _line((case, transform, *shares))
    return "\n".join(lines) + "\n"


def draw(run: dict, path: Path) -> None:
    """Three pictures side by side: coverage as stated and as found, expected and true error, and rank correlations."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in run["rows"] if row["transform"] == "deformable"]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(13, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    coverage, sharpness, rank = figure.subplots(1, 3)
    levels = [float(level) for level in rows[0]["covered"]]
    coverage.plot([0.45, 1], [0.45, 1], color="0.6", linestyle="--", linewidth=1)
    for number, case in enumerate(cases):
        mine = [row for row in rows if row["case"] == case]
        colour = f"C{number}"
        found = np.mean([list(row["covered"].values()) for row in mine], axis=0)
        coverage.plot(levels, found, marker="o", markersize=4, color=colour, label=f"{case} ({len(mine)})")
        deciles = np.concatenate([row["deciles"] for row in mine])
        sharpness.scatter(*deciles.T, s=9, alpha=0.55, color=colour, edgecolors="none")
        ranks = [row["spearman"] for row in mine]
        place = number + np.linspace(-0.18, 0.18, len(ranks)) if len(ranks) > 1 else [number]
        rank.scatter(place, ranks, s=14, alpha=0.7, color=colour, edgecolors="none")
        rank.plot([number - 0.3, number + 0.3], [np.mean(ranks)] * 2, color=colour, linewidth=2)
    coverage.set(xlabel="Stated share of points", ylabel="Found within the bound", title="Coverage")
    coverage.legend(fontsize=8, frameon=False)
    both = np.concatenate([np.concatenate(row["deciles"]) for row in rows])
    ends = max(both.min(), 0.05), both.max()
    sharpness.plot(ends, ends, color="0.6", linestyle="--", linewidth=1)
    sharpness.set(xscale="log", yscale="log", xlabel="Expected error (mm)", ylabel="True error (mm)")
    sharpness.set_title("Tenths of each pair's points, by expected error")
    rank.axhline(0, color="0.6", linewidth=1)
    rank.set_xticks(range(len(cases)), cases, rotation=30, ha="right", fontsize=8)
    rank.set(ylabel="Spearman correlation", title="Rank of the errors within each pair", xlim=(-0.6, len(cases) - 0.4))
    for axes in (coverage, sharpness, rank):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _explanation(run: dict) -> Sequence[str]:
    judged = ["Errors at up to 2000 points of a pair that show something."]
    if run["options"].get("fit"):
        judged = [f"{judged[0]} Each case is judged by weights that were fitted to the other cases alone."]
    if run["options"].get("landmarks"):
        judged = ["Errors at landmarks, whose own slips count as errors of the result."]
    rank = "The rank is Spearman's correlation of expected and true errors."
    return [*judged, f"{rank} In brackets 95 % intervals over pairs; of fewer than 10 pairs they say little."]


def _cells(rows: list[dict]) -> list[str]:
    covered = [row["covered"][str(STATED)] for row in rows]
    stated, true = ([row[name] for row in rows] for name in ("stated_mean_mm", "error_mean_mm"))
    of_pairs = f"{spearmanr(stated, true)[0]:.2f}" if len(rows) > 3 else ""
    return [
        _mean(true, ".2f"),
        _mean(stated, ".2f"),
        _mean(covered, ".0%"),
        f"{np.mean(np.asarray(covered) >= LEAST_COVERED):.0%}",
        _mean([row["spearman"] for row in rows], ".2f"),
        of_pairs,
    ]


def _mean(values: Sequence[float], digits: str) -> str:
    """A mean with its interval; of one pair there is none."""
    values = np.asarray(values)
    if len(values) < 2:
        return format(values.mean(), digits)
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{format(values.mean(), digits)} ({format(low, digits)} to {format(high, digits)})"


def _line(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |"]
