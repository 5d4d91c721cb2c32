"""Draw the curves of one training or several: loss and validation Dice against minutes, as one PNG.

python Testing/benchmarks/training_curves.py models/hippocampus models/other --output curves.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np


def column(path: Path, name: str) -> np.ndarray:
    """A column of a table that a training wrote; NaN where a row lacks it."""
    with path.open(newline="", encoding="utf-8") as stream:
        return np.array([float(row.get(name) or "nan") for row in csv.DictReader(stream)])


def smoothed(values: np.ndarray, count: int = 25) -> np.ndarray:
    """Running mean over the last `count` values."""
    return np.array([values[max(0, n - count + 1) : n + 1].mean() for n in range(len(values))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="FOLDER", help="that `deepregister train` wrote")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the .png file")
    options = parser.parse_args()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for folder in options.models:
        curves, validation = (folder / "training" / name for name in ("curves.csv", "validation.csv"))
        left.plot(column(curves, "seconds") / 60, smoothed(column(curves, "loss")), label=folder.name)
        (line,) = right.plot(column(validation, "seconds") / 60, column(validation, "dice"), ".-", label=folder.name)
        right.axhline(column(validation, "dice_before")[0], color=line.get_color(), linestyle=":", linewidth=1)
    left.set(xlabel="minutes", ylabel="training loss, running mean")
    right.set(xlabel="minutes", ylabel="Dice, validation pairs (dotted: affine alone)")
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(options.output, dpi=110)


if __name__ == "__main__":
    main()
