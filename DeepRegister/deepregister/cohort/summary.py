"""The summary of a cohort: a table for programs (summary.csv, summary.json), one for the screen, and the index page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from ..console import table
from ..writing import replacing
from .index import write_index
from .outcome import MEASURES, VERDICTS, Outcome, count, doubtful_first

FORMAT = 1
# What the output folder holds beside one folder for each pair.
FILES = ("summary.csv", "summary.json", "index.html")
COLUMNS = (
    "name",
    "status",
    "verdict",
    "confidence",
    *MEASURES,
    "seconds",
    "model",
    "quality",
    "device",
    "reasons",
    "warnings",
    "fixed",
    "moving",
)
# A screen has no room for thousands; the page has.
SHOWN = 15
REASON_WIDTH = 90


def write_summary(outcomes: Sequence[Outcome], output: Path, title: str) -> None:
    """Write summary.csv and summary.json, in the order of the table, and index.html, the doubtful ones first.

    Raises:
        FileError: the folder cannot be written.
    """
    texts = {"summary.csv": to_csv(outcomes), "summary.json": to_json(outcomes)}
    for name, text in texts.items():
        with replacing(output / name) as aside:
            aside.write_text(text, encoding="utf-8", newline="")
    write_index(output / "index.html", outcomes, title)


def to_csv(outcomes: Sequence[Outcome]) -> str:
    """One line for each pair; a figure that there is not is an empty cell."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for outcome in outcomes:
        values = {
            **outcome.to_dict(),
            **outcome.measures,
            "confidence": outcome.confidence and round(outcome.confidence.score, 4),
            "reasons": " ".join(outcome.reasons),
            "warnings": " ".join(outcome.warnings),
        }
        cells = [values.get(name) for name in COLUMNS]
        rows.writerow("" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells)
    return text.getvalue()


def to_json(outcomes: Sequence[Outcome]) -> str:
    """The same with every reason by itself, and how many there are of each verdict."""
    content = {"format": FORMAT, "counts": count(outcomes), "pairs": [outcome.to_dict() for outcome in outcomes]}
    return json.dumps(content, indent=1) + "\n"


def on_screen(outcomes: Sequence[Outcome], output: Path) -> str:
    """How many came out how, the pairs to look at first with the reason, and where everything is."""
    counts = count(outcomes)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    doubtful = [outcome for outcome in doubtful_first(outcomes) if outcome.verdict not in ("good", "not done")]
    lines = []
    if doubtful:
        rows = [("PAIR", "VERDICT", "CONFIDENCE", "SIMILARITY", "WHY")]
        rows += [_cells(outcome) for outcome in doubtful[:SHOWN]]
        lines += [table(rows)]
        if len(doubtful) > SHOWN:
            lines += [f"... and {len(doubtful) - SHOWN} more that should be looked at."]
        lines += [""]
    places = [("Pairs", f"{len(outcomes)}: {told}"), ("Look at", str(output.resolve() / "index.html"))]
    places += [("Table", str(output.resolve() / "summary.csv"))]
    return "\n".join([*lines, table(places)])


def _cells(outcome: Outcome) -> tuple[str, ...]:
    before, after = (outcome.measures.get(f"similarity_{when}") for when in ("before", "after"))
    similarity = "" if before is None or after is None else f"{before:.2f} to {after:.2f}"
    confidence = f"{outcome.confidence.score:.2f}" if outcome.confidence else ""
    why = " ".join(outcome.reasons[0].split()) if outcome.reasons else ""
    return (
        outcome.name,
        outcome.verdict,
        confidence,
        similarity,
        why if len(why) <= REASON_WIDTH else why[: REASON_WIDTH - 1] + "…",
    )
