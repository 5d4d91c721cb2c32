"""The index page of a cohort: every pair with its verdict and a link to its report, the doubtful ones first.

One file that loads nothing from anywhere, in the style of the report pages. Jinja2 is imported when it is written.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import __version__
from ..console import duration
from ..page import check_packages
from ..writing import replacing
from .outcome import DONE, VERDICTS, Outcome, count, doubtful_first

# A report page's look, then what only the index has.
_STYLES = ("../page/report.css", "index.css")
# Column -> (title, measure before or None, measure after, how it is written); shown where any pair has it.
_FIGURES = (
    ("Similarity", "similarity_before", "similarity_after", "{:.2f}"),
    ("Dice", "dice_before", "dice_after", "{:.3f}"),
    ("Landmarks, mm", "tre_before_mean_mm", "tre_after_mean_mm", "{:.2f}"),
    ("Folded, %", None, "folded_fraction", "{:.3%}"),
    ("Moved at most, mm", None, "displacement_max_mm", "{:.1f}"),
)


def write_index(path: Path, outcomes: Sequence[Outcome], title: str) -> None:
    """Write the page.

    Args:
        path: the .html file, in the folder that holds the results' folders.
        outcomes: in any order.
        title: what the cohort is called.

    Raises:
        MissingPackageError: Jinja2 is not installed.
        FileError: the place cannot be written.
    """
    check_packages()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # Our own files; whatever comes from a table or a file name is escaped.
    style = Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in _STYLES))
    script = Markup((folder / "index.js").read_text(encoding="utf-8"))
    figures = [figure for figure in _FIGURES if any(figure[2] in outcome.measures for outcome in outcomes)]
    content = environment.get_template("index.html").render(
        style=style,
        script=script,
        title=title,
        version=__version__,
        counts=[(verdict, number) for verdict, number in count(outcomes).items() if number],
        figures=[name for name, *_ in figures],
        facts=_facts(outcomes),
        rows=[_row(outcome, figures) for outcome in doubtful_first(outcomes)],
    )
    with replacing(path) as aside:
        aside.write_text(content, encoding="utf-8")


def _row(outcome: Outcome, figures: Iterable[tuple]) -> dict[str, Any]:
    cells = []
    for _, before, after, pattern in figures:
        first, last = outcome.measures.get(before), outcome.measures.get(after)
        text = "" if last is None else "0" if last == 0 and "%" in pattern else pattern.format(last).rstrip("%")
        cells.append({"before": "" if first is None else pattern.format(first), "after": text, "value": last})
    return {
        "name": outcome.name,
        "link": f"{quote(outcome.name)}/report.html" if outcome.status == DONE else None,
        "verdict": outcome.verdict,
        "rank": VERDICTS.index(outcome.verdict),
        "tone": {"failed": "failed", "low confidence": "low", "folds": "folded", "good": "good"}.get(outcome.verdict),
        "score": outcome.confidence.score if outcome.confidence else None,
        "figures": cells,
        "model": f"{outcome.model}, {outcome.quality}" if outcome.model else "",
        "time": "" if outcome.seconds is None else duration(outcome.seconds),
        "seconds": outcome.seconds,
        "reasons": outcome.reasons,
        "notes": outcome.warnings,
        "files": (Path(outcome.moving).name, Path(outcome.fixed).name),
    }


def _facts(outcomes: Iterable[Outcome]) -> list[tuple[str, str, str]]:
    """(title, median before, median after) over the pairs that are done."""
    done = [outcome for outcome in outcomes if outcome.status == DONE]
    found = []
    for title, before, after, pattern in _FIGURES[:3]:
        both = [o.measures for o in done if before in o.measures and after in o.measures]
        if both:
            medians = (pattern.format(statistics.median(m[name] for m in both)) for name in (before, after))
            found.append((f"{title}, median", *medians))
    if done:
        spent = [outcome.seconds for outcome in done if outcome.seconds is not None]
        found.append(("Time for a pair, median", "", duration(statistics.median(spent)) if spent else ""))
    return found
