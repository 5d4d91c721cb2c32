"""What the panel says: time left, the quality measures as a table, the direction of the transform. No Qt here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from deepregister import Progress
from deepregister.page.verdict import Verdict

from .i18n import _

# Seen before they are read; a screen reader has words for them.
_SIGNS = {"failed": "✖", "folded": "⚠", "low": "⚠", "good": "✔"}
# In plain words, in the order of the engine's `STAGES`.
_STAGES = {
    "prepare": _("Prepare"),
    "align": _("Align"),
    "deform": _("Bend"),
    "refine": _("Refine"),
    "inverse": _("Invert"),
    "measure": _("Measure"),
    "write": _("Write"),
}


def timeLeft(seconds: float | None) -> str:
    """An estimate as a person would give it; empty while there is none."""
    if seconds is None:
        return ""
    if seconds < 5:
        return _("a few seconds left")
    if seconds < 90:
        return _("about {count} s left").format(count=max(5, 5 * round(seconds / 5)))
    return _("about {count} min left").format(count=round(seconds / 60))


def progressLine(progress: Progress) -> str:
    """What is being done, and how long it will still take."""
    return " – ".join(part for part in (progress.message, timeLeft(progress.seconds_left)) if part)


def duration(seconds: float) -> str:
    """A measured time: "0.8 s", "23 s", "2 min 05 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def measureRows(measures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The quality measures that a reader of images can use, as (name, value) rows; absent measures give no row."""
    rows = []

    def row(name: str, template: str, *keys: str) -> None:
        values = [measures.get(key) for key in keys]
        if None not in values:
            rows.append((name, template.format(*values)))

    row(_("Similarity (0 to 1)"), "{:.2f} → {:.2f}", "similarity_before", "similarity_after")
    row(_("Landmark error"), "{:.1f} → {:.1f} mm", "tre_before_mean_mm", "tre_after_mean_mm")
    row(_("Displacement"), _("{:.1f} mm, at most {:.1f} mm"), "displacement_mean_mm", "displacement_max_mm")
    folded = measures.get("folded_fraction")
    if folded is not None:
        rows.append((_("Folded voxels"), _("none") if folded == 0 else f"{100 * folded:.2g} %"))
    row(_("Local volume change"), "× {:.2f} to × {:.2f}", "jacobian_min", "jacobian_max")
    largest = measures.get("inverse_error_max_mm")
    if largest is not None:
        # A linear transform's inverse is exact but for rounding, which is no number to show.
        value = _("at most {length} mm").format(length=f"{largest:.2f}") if largest >= 0.005 else _("below 0.01 mm")
        rows.append((_("Inverse error"), value))
    return rows


def verdictText(verdict: Verdict) -> str:
    """The verdict as rich text: a sign and bold words first, what follows from it, then what speaks against it."""
    sign = _SIGNS[verdict.level] if not (verdict.level == "good" and verdict.against) else "●"
    heading = f"<p><b>{sign} {escape(verdict.headline)}.</b> {escape(verdict.advice)}</p>"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.against)
    return heading + (f"<ul>{reasons}</ul>" if reasons else "")


def resultText(
    fixedName: str,
    movingName: str,
    transformName: str,
    rows: Iterable[tuple[str, str]],
    verdict: Verdict,
    notes: Iterable[str] = (),
) -> str:
    """The result as rich text: the verdict first, which way the transform works, the measures, what else to know."""
    direction = _("{transform} maps the moving volume {moving} onto the fixed volume {fixed}.").format(
        transform=f"<b>{escape(transformName)}</b>",
        moving=f"<b>{escape(movingName)}</b>",
        fixed=f"<b>{escape(fixedName)}</b>",
    )
    cells = "".join(
        f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td><b>{escape(value).replace(' ', '&nbsp;')}</b></td></tr>"
        for name, value in rows
    )
    table = f"<table>{cells}</table>" if cells else ""
    said = (*verdict.against, *verdict.in_favour)
    sentences = [escape(note) for note in (*notes, *verdict.notes) if note not in said]
    return (
        verdictText(verdict)
        + f"<p>{direction}</p>{table}"
        + "".join(f"<p>{sentence}</p>" for sentence in dict.fromkeys(sentences))
    )


def cardText(entries: Iterable[tuple[str, str]]) -> str:
    """The card of a model as rich text: a row for each entry that says something."""
    rows = "".join(
        f"<tr><td><b>{escape(title)}</b>&nbsp;&nbsp;</td><td>{escape(text).replace(chr(10), '<br>')}</td></tr>"
        for title, text in entries
        if text
    )
    return f'<table cellspacing="4">{rows}</table>'


def stagesText(stages: Sequence[str]) -> str:
    """The steps of a run so far as rich text, the one under way in bold."""
    names = [escape(_STAGES.get(stage, stage)) for stage in stages]
    return " › ".join([*names[:-1], f"<b>{names[-1]}</b>"]) if names else ""
