"""The table of a run of compare.py: means over pairs, with bootstrap intervals over images."""

from __future__ import annotations

import numpy as np


def summary(run: dict) -> str:
    """The Markdown table of a run: means over pairs; for ten or more 95 % bootstrap intervals over images."""
    lines = [
        f"DeepRegister {run['versions']['deepregister']}, {run['date']}, {run['threads']} threads of {run['machine']}.",
        "",
    ]
    for group in dict.fromkeys(row["dataset"] for row in run["rows"]):
        rows = [row for row in run["rows"] if row["dataset"] == group]
        keys = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in NOT_FIGURES]
        lines += [f"## {group}", "", "| method | pairs | " + " | ".join(TITLES.get(k, k) for k in keys) + " |"]
        lines += ["| --- " * (len(keys) + 2) + "|"]
        for name in dict.fromkeys(row["method"] for row in rows):
            mine = [row for row in rows if row["method"] == name and "failed" not in row]
            failed = sum(row["method"] == name for row in rows) - len(mine)
            title = BEFORE if name == "headers" else run.get("titles", {}).get(name, name)
            cells = [_cell([row for row in mine if k in row], k) for k in keys]
            lines.append(f"| {title} | {len(mine)}{f', {failed} failed' if failed else ''} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


BEFORE = "before, as the headers say"
NOT_FIGURES = ("dataset", "pair", "method", "start", "failed", "stages")
TITLES = {
    "seconds": "seconds",
    "network_seconds": "network s",
    "dice": "Dice",
    "folded_percent": "folds %",
    "sdlogj": "SDlogJ",
    "tre_mean_mm": "TRE mean mm",
    "tre_median_mm": "TRE median mm",
    "tre_in_plane_mean_mm": "TRE in plane mm",
    "without_outlier_tre_mean_mm": "TRE mean without outlier mm",
    "without_outlier_tre_median_mm": "TRE median without outlier mm",
    "without_outlier_tre_in_plane_mean_mm": "in plane without outlier mm",
}


def _cell(rows: list[dict], key: str) -> str:
    if not rows:
        return ""
    values = [row[key] for row in rows]
    digits = {"seconds": 1, "dice": 4, "folded_percent": 4, "sdlogj": 3}.get(key, 2)
    text = f"{np.mean(values):.{digits}f}"
    if len(values) >= 10 and key == "dice":
        low, high = interval(rows, key)
        text += f" ({low:.3f} to {high:.3f}, least {min(values):.3f})"
    return text


def interval(rows: list[dict], key: str, draws: int = 2000) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean over pairs.

    Images are drawn, not pairs: those that share an image are not independent. A pair counts as often as both its
    images were drawn together.
    """
    sides = [row["pair"].split(" ")[-1].split("<-") for row in rows]
    images = sorted({name for side in sides for name in side})
    fixed, moving = ([images.index(side[n]) for side in sides] for n in (0, 1))
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=draws)
    weights = counts[:, fixed] * counts[:, moving]
    weights = weights[weights.sum(1) > 0]
    means = weights @ np.array([row[key] for row in rows]) / weights.sum(1)
    return tuple(np.percentile(means, [2.5, 97.5]))
