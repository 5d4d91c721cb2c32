"""The figures of a comparison: what they are called, how exactly they are told, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Figure:
    """A number that a row may have.

    Attributes:
        key: in the row.
        title: in tables and at axes.
        digits: after the decimal point.
        better: "high" or "low".
    """

    key: str
    title: str
    digits: int
    better: str = "low"


FIGURES = (
    Figure("dice", "Dice", 3, "high"),
    Figure("hd95_mm", "HD95, mm", 2),
    Figure("tre_mean_mm", "TRE mean, mm", 2),
    Figure("tre_median_mm", "TRE median, mm", 2),
    Figure("tre_robust_mm", "TRE robust, mm", 2),
    Figure("tre_in_plane_mean_mm", "TRE in plane, mm", 2),
    Figure("without_outlier_tre_mean_mm", "TRE mean without outlier, mm", 2),
    Figure("without_outlier_tre_median_mm", "TRE median without outlier, mm", 2),
    Figure("without_outlier_tre_robust_mm", "TRE robust without outlier, mm", 2),
    Figure("without_outlier_tre_in_plane_mean_mm", "TRE in plane without outlier, mm", 2),
    Figure("folded_percent", "folds, %", 4),
    Figure("ndv_percent", "NDV, %", 5),
    Figure("sdlogj", "SDlogJ", 3),
    Figure("inverse_mm", "inverse, mm", 3),
    Figure("seconds", "registration, s", 1),
    Figure("network_seconds", "network, s", 2),
    Figure("process_seconds", "process, s", 1),
    Figure("cpu_seconds", "CPU, s", 1),
    Figure("peak_mb", "peak, MB", 0),
    Figure("harness_seconds", "measuring it, CPU s", 2),
)
# What a data set is judged by: the first of these that it has.
PRIMARY = ("dice", "without_outlier_tre_mean_mm", "tre_mean_mm")
# What the harness takes is told once for all, not as a column.
HARNESS = "harness_seconds"
BY_KEY = {figure.key: figure for figure in FIGURES}


def present(rows: Iterable[dict]) -> list[Figure]:
    """The figures that any of these rows has, known ones first and in their order; others by the name of their key."""
    keys = dict.fromkeys(key for row in rows for key in row if key != HARNESS and value(row, key) is not None)
    unknown = [Figure(key, key.replace("_", " "), 2) for key in keys if key not in BY_KEY]
    return [figure for figure in FIGURES if figure.key in keys] + unknown


def primary(rows: Iterable[dict]) -> Figure | None:
    """What these rows are judged by; None where there is no truth."""
    keys = {figure.key for figure in present(rows)}
    return next((BY_KEY[key] for key in PRIMARY if key in keys), None)


def value(row: dict, key: str) -> float | None:
    """A number of a row; None where it has none under this key."""
    found = row.get(key)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def groups(run: dict) -> dict[str, list[dict]]:
    """The rows of a run by data set."""
    found: dict[str, list[dict]] = {}
    for row in run["rows"]:
        found.setdefault(row["dataset"], []).append(row)
    return found


def methods(rows: Iterable[dict]) -> dict[str, list[dict]]:
    """The rows of a data set by method, those that failed too."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["method"], []).append(row)
    return found


def title_of(run: dict, method: str) -> str:
    """What a method is called."""
    return "before, as the headers say" if method == "headers" else run.get("titles", {}).get(method, method)


def ours(run: dict, method: str) -> bool:
    """Whether it is one of DeepRegister's."""
    return title_of(run, method).startswith("DeepRegister")


def best_of_ours(run: dict, rows: list[dict]) -> str | None:
    """Our method with the best mean of what these rows are judged by, of those that ran on most pairs; None where there
    is none.
    """
    judged = primary(rows)
    if judged is None:
        return None
    found = {}
    for name, mine in methods(rows).items():
        values = [value(row, judged.key) for row in mine if value(row, judged.key) is not None]
        if values and ours(run, name):
            found[name] = values
    # On a few pairs that happen to be easy a mean says nothing beside one over all.
    most = max(map(len, found.values()), default=0)
    means = {name: fmean(values) for name, values in found.items() if len(values) == most}
    best = max if judged.better == "high" else min
    return best(means, key=means.__getitem__) if means else None
