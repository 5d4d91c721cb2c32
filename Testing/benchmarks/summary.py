"""The tables of a run of compare.py: means over pairs with bootstrap intervals, who is ahead, what failed, how made."""

from __future__ import annotations

import numpy as np
from figures import HARNESS, Figure, best_of_ours, groups, methods, present, primary, title_of, value
from intervals import LEAST_PAIRS, interval

# From so many pairs on an interval says something, and so does the worst third of them.
ENOUGH_PAIRS = 10
READING = f"""\
Means over pairs, in parentheses 95 % bootstrap intervals (over images where pairs share them), from {LEAST_PAIRS} pairs
on. *3 in 10 below* (above): what the worse three tenths of pairs do not reach. *Ahead of* the best method of ours in
the table: the mean difference on the same pairs, less than 0 for what is behind; where the interval holds 0, nothing
tells the two apart. Dice and HD95 are means over the structures; TRE robust is what three tenths of the landmarks
exceed; folds, NDV (space turned inside out) and SDlogJ are measured at the field's own voxels; inverse is how far there
and back misses the start. Registration seconds run from the files to the transform, imports not counted; process, CPU
seconds and peak memory are those of the whole process."""


def summary(run: dict) -> str:
    """The tables of a run as Markdown."""
    others = [f"{name} {version}" for name, version in run["versions"].items() if name != "deepregister"]
    made = (
        f"DeepRegister {run['versions']['deepregister']}, {run['date']}, {run['threads']} threads of {run['machine']}"
    )
    lines = [f"{made}. With {', '.join(others)}." if others else f"{made}.", "", READING, ""]
    for group, rows in groups(run).items():
        lines += [f"## {group}", "", *_table(run, rows), *_failures(run, rows)]
    lines += _harness(run)
    if run.get("skipped"):
        lines += ["## Left out", ""]
        lines += [f"- {title_of(run, name)}: {reason}" for name, reason in run["skipped"].items()] + [""]
    if run.get("command"):
        lines += ["## Made by", "", "```sh", *run["command"].split(" && "), "```", ""]
    return "\n".join(lines)


def _table(run: dict, rows: list[dict]) -> list[str]:
    by_method = methods(rows)
    most = max(map(len, by_method.values()))
    lines = []
    if most < ENOUGH_PAIRS:
        few = "One pair: its own figures" if most == 1 else f"Only {most} pairs: the intervals, if any, are rough"
        lines += [f"{few}.", ""]
    judged, best = primary(rows), best_of_ours(run, rows)
    columns = present(row for row in rows if "failed" not in row)
    header = [figure.title for figure in columns]
    if judged and most >= ENOUGH_PAIRS:
        header.insert(1, f"3 in 10 {'below' if judged.better == 'high' else 'above'}")
    if judged and best:
        header.append(f"{judged.title} ahead of {title_of(run, best)}")
    lines += ["| method | pairs | " + " | ".join(header) + " |", "| --- " * (len(header) + 2) + "|"]
    for name, mine in by_method.items():
        done = [row for row in mine if "failed" not in row]
        failed = len(mine) - len(done)
        cells = [_cell(done, figure) for figure in columns]
        if judged and most >= ENOUGH_PAIRS:
            cells.insert(1, _worse(done, judged))
        if judged and best:
            cells.append("" if name == best else _ahead(done, by_method[best], judged))
        count = f"{len(done)}, {failed} failed" if failed else str(len(done))
        lines.append(f"| {title_of(run, name)} | {count} | {' | '.join(cells)} |")
    return [*lines, ""]


def _failures(run: dict, rows: list[dict]) -> list[str]:
    failed = [row for row in rows if "failed" in row]
    if not failed:
        return []
    told = [f"- {title_of(run, row['method'])}, {row['pair']}: {row['failed']}" for row in failed]
    return ["Failed, and so in none of the means:", "", *told, ""]


def _harness(run: dict) -> list[str]:
    """What measuring took of the time that was measured."""
    rows = [row for row in run["rows"] if value(row, HARNESS) is not None and value(row, "process_seconds")]
    if not rows:
        return []
    measured, taken = (sum(value(row, key) for row in rows) for key in ("process_seconds", HARNESS))
    return [f"Measuring itself took {taken / measured:.2%} of the time of the processes.", ""]


def _cell(rows: list[dict], figure: Figure) -> str:
    pairs = [row["pair"] for row in rows if value(row, figure.key) is not None]
    values = [value(row, figure.key) for row in rows if value(row, figure.key) is not None]
    return _mean(pairs, values, figure.digits) if values else ""


def _worse(rows: list[dict], figure: Figure) -> str:
    values = [value(row, figure.key) for row in rows if value(row, figure.key) is not None]
    if not values:
        return ""
    return f"{np.quantile(values, 0.3 if figure.better == 'high' else 0.7):.{figure.digits}f}"


def _ahead(rows: list[dict], reference: list[dict], figure: Figure) -> str:
    """By how much these are better than the reference on the pairs that both have."""
    sign = 1 if figure.better == "high" else -1
    known = {row["pair"]: value(row, figure.key) for row in reference if value(row, figure.key) is not None}
    differences = {
        row["pair"]: sign * (value(row, figure.key) - known[row["pair"]])
        for row in rows
        if value(row, figure.key) is not None and row["pair"] in known
    }
    return _mean(list(differences), list(differences.values()), figure.digits, "+") if differences else ""


def _mean(pairs: list[str], values: list[float], digits: int, sign: str = "") -> str:
    text = f"{np.mean(values):{sign}.{digits}f}"
    bounds = interval(pairs, values)
    if bounds is None or max(values) == min(values):
        return text
    return f"{text} ({bounds[0]:{sign}.{digits}f} to {bounds[1]:{sign}.{digits}f})"
