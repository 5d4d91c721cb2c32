"""What the sections Check and Improve say, as rich text and table cells. No Qt here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from ..scene.checking import Findings
from ..scene.judgement import Judgement
from ..scene.landmarkpairs import PairErrors
from .i18n import _

NOTHING = "–"
# Columns of the tables.
PAIRS = (_("Pair"), _("Before (mm)"), _("After (mm)"), _("Held back"))
STRUCTURES = (
    _("Structure"),
    _("Dice before"),
    _("Dice after"),
    _("Surfaces (mm)"),
    _("Volume (ml)"),
    _("Change"),
)


def verdictText(judgement: Judgement) -> str:
    """The verdict: a headline, what follows from it, what speaks against the result and what for it."""
    sign = "" if judgement.level == "good" else "⚠ "
    reasons = _list(_("What speaks against it:"), judgement.against) + _list(
        _("What speaks for it:"), judgement.inFavour
    )
    return f"<p><b>{sign}{escape(judgement.headline)}.</b> {escape(judgement.advice)}</p>{reasons}"


def _list(heading: str, sentences: tuple[str, ...]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"{escape(heading)}<ul style='margin-top:0'>{items}</ul>"


def errorsText(errors: PairErrors, drawn: np.ndarray) -> str:
    """Mean, median and maximum before and after; of the pairs that drew the result apart from the others."""
    if not len(errors):
        return _("No landmark pair yet.")
    groups = [(_("All pairs"), np.ones(len(errors), dtype=bool))]
    if drawn.any() and not drawn.all():
        groups = [(_("Pairs that drew the result"), drawn), (_("Other pairs"), ~drawn)]
    head = "".join(f"<td>&nbsp;&nbsp;<i>{escape(word)}</i></td>" for word in (_("mean"), _("median"), _("largest")))
    rows = f"<tr><td></td>{head}</tr>"
    for title, chosen in groups:
        before, after = (errors.statistics(stage, chosen) for stage in ("before", "after"))
        cells = "".join(
            f"<td>&nbsp;&nbsp;{before[key]:.1f}" + (f" → <b>{after[key]:.1f}</b>" if after else "") + "&nbsp;mm</td>"
            for key in ("mean_mm", "median_mm", "max_mm")
        )
        rows += f"<tr><td>{escape(title)} ({int(chosen.sum())})</td>{cells}</tr>"
    return f"<table>{rows}</table>"


def pairCells(errors: PairErrors, row: int) -> tuple[str, str, str]:
    """Name, error before and error after of a pair."""
    after = NOTHING if errors.after is None else f"{errors.after[row]:.2f}"
    return errors.names[row], f"{errors.before[row]:.2f}", after


def structureCells(entry: dict) -> tuple[str, ...]:
    """The cells of a structure; what was not compared has a dash."""
    before, after = (entry.get(stage) or {} for stage in ("before", "after"))

    def number(value: float | None, digits: int) -> str:
        return NOTHING if value is None else f"{value:.{digits}f}"

    return (
        entry["name"],
        number(before.get("dice"), 2),
        number(after.get("dice"), 2),
        number(after.get("surface_mean_mm"), 1),
        number(entry["volume_ml"], 1),
        f"× {entry['volume_change']:.2f}",
    )


def fieldText(findings: Findings) -> str:
    """Folding, volume change, and how far there and back misses the start."""
    deformation, missed = findings.deformation, findings.inverse["error_p95_mm"]
    folded = int(deformation["folded_voxels"])
    sentences = [
        _("No place folds.") if not folded else _("{count} places fold.").format(count=folded),
        _("Local volume change: × {low:.2f} to × {high:.2f} at 98 of 100 places.").format(
            low=deformation["jacobian_p1"], high=deformation["jacobian_p99"]
        ),
    ]
    if missed is not None:
        sentences.append(
            _("There and back misses the start by at most {missed:.2f} mm at 95 of 100 places.").format(
                missed=max(missed, 0.01)
            )
        )
    return sentencesText((*sentences, *findings.notes))


def sentencesText(sentences: Iterable[str]) -> str:
    """Each sentence as a paragraph."""
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def guideText(stage: str | None, number: int, clicking: bool) -> str:
    """What to do now, while pairs are placed; empty otherwise."""
    if stage is None:
        return ""
    if stage == "fixed":
        return _("Pair {number}: click a point in the fixed volume, which the views show now.").format(number=number)
    if clicking:
        return _("Pair {number}: click the same anatomy in the moving volume.").format(number=number)
    return _(
        "Pair {number}: the views show the moving volume, and the partner lies where the result takes the point. Drag "
        "it to the same anatomy, then press Next pair."
    ).format(number=number)


def rolesText(count: int, held: int, drawn: int) -> str:
    """How many pairs a refinement would use."""
    if not count:
        return _("No landmark pairs: place some in the section Check, or paint a region.")
    text = _("{use} of {count} landmark pairs pull the result, {held} are held back.").format(
        use=count - held, count=count, held=held
    )
    return text + (" " + _("{drawn} pulled it before.").format(drawn=drawn) if drawn else "")
