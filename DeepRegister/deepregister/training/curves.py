"""Curves of a training: a CSV file always, and TensorBoard's where that package is installed (extra `train`)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

STEPS, VALIDATION = "curves.csv", "validation.csv"


class Curves:
    """Writes what a training measures as it goes.

    Args:
        folder: where the files go; it is made.
        step: the step that is gone on from; later rows, of a run that ended after its last checkpoint, are dropped.
    """

    def __init__(self, folder: Path, step: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        for name in (STEPS, VALIDATION):
            _cut(folder / name, step)
        self.board = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, step: int, values: Mapping[str, float], file: str = STEPS) -> None:
        """One row of `file`, and a point of each curve; NaN is left empty."""
        path = self.folder / file
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            if new:
                rows.writerow(["step", *values])
            rows.writerow([step, *("" if value != value else f"{value:.6g}" for value in values.values())])
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{Path(file).stem}/{name}", value, step)
            self.board.flush()

    def close(self) -> None:
        """Write out what is left."""
        if self.board is not None:
            self.board.close()


def _cut(path: Path, step: int) -> None:
    """Drop rows after `step`; all of them, and the file, where a training begins."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as stream:
        head, *rows = list(csv.reader(stream)) or [[]]
    rows = [row for row in rows if int(row[0]) <= step]
    if not rows:
        path.unlink()
        return
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([head, *rows])
