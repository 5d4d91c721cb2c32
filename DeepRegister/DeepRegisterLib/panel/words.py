"""What the panel says: time left, the quality measures as a table, the direction of the transform. No Qt here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from deepregister import Progress
from deepregister.confidence import Confidence


def timeLeft(seconds: float | None) -> str:
    """An estimate as a person would give it; empty while there is none."""
    if seconds is None:
        return ""
    if seconds < 5:
        return "a few seconds left"
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s left"
    return f"about {round(seconds / 60)} min left"


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

    row("Similarity (0 to 1)", "{:.2f} → {:.2f}", "similarity_before", "similarity_after")
    row("Landmark error", "{:.1f} → {:.1f} mm", "tre_before_mean_mm", "tre_after_mean_mm")
    row("Displacement", "{:.1f} mm, at most {:.1f} mm", "displacement_mean_mm", "displacement_max_mm")
    folded = measures.get("folded_fraction")
    if folded is not None:
        rows.append(("Folded voxels", "none" if folded == 0 else f"{100 * folded:.2g} %"))
    row("Local volume change", "× {:.2f} to × {:.2f}", "jacobian_min", "jacobian_max")
    largest = measures.get("inverse_error_max_mm")
    if largest is not None:
        # A linear transform's inverse is exact but for rounding, which is no number to show.
        rows.append(("Inverse error", f"at most {largest:.2f} mm" if largest >= 0.005 else "below 0.01 mm"))
    return rows


def doubts(confidence: Confidence | None) -> str:
    """What speaks against a result as rich text, with a sign and bold words where it is too much; empty if nothing."""
    if confidence is None or not confidence.reasons:
        return ""
    first, *others = (escape(sentence) for sentence in confidence.sentences)
    heading = f"<b>⚠ {first}</b>" if confidence.low else first
    return f"<p>{heading}</p>" + "".join(f"<p>{sentence}</p>" for sentence in others)


def resultText(
    fixedName: str,
    movingName: str,
    transformName: str,
    rows: Iterable[tuple[str, str]],
    notes: Iterable[str] = (),
    warnings: Iterable[str] = (),
    confidence: Confidence | None = None,
) -> str:
    """The result as rich text: low confidence first, which way the transform works, the measures, what else to know."""
    direction = (
        f"<b>{escape(transformName)}</b> maps the moving volume <b>{escape(movingName)}</b> "
        f"onto the fixed volume <b>{escape(fixedName)}</b>."
    )
    cells = "".join(
        f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td><b>{escape(value).replace(' ', '&nbsp;')}</b></td></tr>"
        for name, value in rows
    )
    table = f"<table>{cells}</table>" if cells else ""
    sentences = [escape(note) for note in notes] + [f"⚠ {escape(warning)}" for warning in warnings]
    return f"{doubts(confidence)}<p>{direction}</p>{table}" + "".join(f"<p>{sentence}</p>" for sentence in sentences)
