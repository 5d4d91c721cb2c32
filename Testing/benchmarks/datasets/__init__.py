"""The data sets that methods are compared on, as pairs: images, labels or landmarks, and which no parameter may see.

`DATASETS` has those that are known by name; `load` also takes anyone's own folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deepregister.errors import InputError

from . import dirlab, learn2reg, publicbrains, shared
from .manifest import FILE, from_manifest
from .pair import BenchmarkPair, labels
from .shared import brains, hippocampi

__all__ = ["DATASETS", "BenchmarkPair", "brains", "hippocampi", "labels", "load"]

DATASETS: dict[str, Callable[[Path, int | None], list[BenchmarkPair]]] = {
    **shared.DATASETS,
    **publicbrains.DATASETS,
    **dirlab.DATASETS,
    **learn2reg.DATASETS,
}


def load(name: str, data: Path, count: int | None = None) -> list[BenchmarkPair]:
    """The pairs of a data set.

    Args:
        name: one of `DATASETS`, or a folder with `manifest.toml` or a Learn2Reg `*_dataset.json`; `FOLDER@SPLIT` takes
            one of its splits.
        data: where the data sets that are known by name lie.
        count: at most so many.

    Raises:
        InputError: neither.
        FileError: its files are not there.
    """
    if name in DATASETS:
        return DATASETS[name](data, count)
    folder, _, split = (name, "", "") if Path(name).is_dir() else name.rpartition("@")
    folder = Path(folder)
    if (folder / FILE).is_file():
        return from_manifest(folder, count, split)
    if next(folder.glob("*_dataset.json"), None) is not None:
        return learn2reg.learn2reg(folder, count, split or "validation")
    raise InputError(
        f"{name!r} is no data set: neither one of {', '.join(DATASETS)}, nor a folder that holds {FILE} or "
        "*_dataset.json."
    )
