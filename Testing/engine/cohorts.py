"""Small cohorts, and things for Dask workers to do with their rows: what the tests of `cohort/` share.

The workers of a test import this module by its name.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np
from deepregister import Volume
from deepregister.cohort.outcome import DONE, Outcome
from deepregister.cohort.rows import read_rows
from deepregister.cohort.work import register_row
from deepregister.confidence import Confidence
from deepregister.errors import InputError
from deepregister.settings import Settings

RIGID = Settings(model="rigid", quality="fast", device="cpu")


def blobs(shift=(0.0, 0.0, 0.0), size=20) -> Volume:
    """A few soft balls; `shift` in voxels."""
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1) - np.asarray(shift)
    image = np.zeros((size,) * 3)
    for centre, width, value in (((9, 10, 11), 4.0, 200), ((6, 12, 8), 2.5, 150), ((13, 7, 9), 2.0, -120)):
        image += value * np.exp(-((grid - centre) ** 2).sum(-1) / (2 * width**2))
    return Volume.from_array(image.astype(np.float32), (2.0, 2.0, 2.0))


def write_cohort(folder: Path, count: int, size=20, header="name,fixed,moving") -> Path:
    """A table of `count` pairs and their volumes in `folder`."""
    blobs(size=size).write(folder / "fixed.nii.gz")
    lines = [header]
    for number in range(count):
        blobs((1.0, -0.5, 0.1 * number), size).write(folder / f"moving-{number}.nii.gz")
        lines.append(f"pair-{number},fixed.nii.gz,moving-{number}.nii.gz")
    table = folder / "pairs.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def rows_of(folder: Path, count: int, settings: Settings = RIGID, size=20):
    """The checked rows of a cohort; its output is the folder "out" beside the table."""
    return read_rows(write_cohort(folder, count, size), folder / "out", settings)


def done(row) -> Outcome:
    """The outcome of a row that nobody computed."""
    return Outcome(row.name, str(row.fixed), str(row.moving), DONE, confidence=Confidence(0.9))


def _note(row, word: str) -> None:
    with (row.fixed.parent / "attempts.txt").open("a", encoding="utf-8") as file:
        file.write(f"{row.name} {word} {os.getpid()}\n")


def attempts(folder: Path) -> list[list[str]]:
    """(row, "begins" or "ends" or "reused", process) for all that `register_noted` did, in order."""
    return [line.split() for line in (folder / "attempts.txt").read_text(encoding="utf-8").splitlines()]


def register_noted(row, progress, cancelled) -> Outcome:
    """The real work, which also notes when a row begins and ends."""
    _note(row, "begins")
    outcome = register_row(row, progress, cancelled)
    _note(row, "reused" if outcome.reused else "ends")
    return outcome


def deadly_for_one(row, progress, cancelled) -> Outcome:
    """Ends its own process at the second row, as the system does where memory runs out; other rows raise or work."""
    if row.name == "pair-1":
        _note(row, "begins")
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        time.sleep(60)
    if row.name == "pair-2":
        raise InputError("moving-2.nii.gz is a photograph.")
    if row.name == "pair-3":
        raise RuntimeError("expected scalar type Float but found Half")
    return done(row)


def until_stopped(row, progress, cancelled) -> Outcome:
    """The first row is done at once, all others compute until they are told to stop."""
    from deepregister.errors import Cancelled

    if row.name == "pair-0":
        return done(row)
    while not cancelled():
        time.sleep(0.05)
    raise Cancelled()


def echo(row, progress, cancelled) -> Outcome:
    """Says with how many threads it would compute."""
    outcome = done(row)
    return Outcome(**{**vars(outcome), "device": f"{row.settings.threads} threads"})
