"""Prepared training data as a value, and the file that keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import __version__
from ..writing import replacing
from .recipe import Recipe


@dataclass(frozen=True, eq=False)
class Subject:
    """One subject, prepared.

    Attributes:
        name: of the subject.
        image: (k, j, i) uint8, 0..255 for 0..1; None where there are labels alone.
        labels: (k, j, i) uint8: 0 for nothing, else one more than the place in `Collection.structures`; or None.
        matrix: (4, 4) from voxel indices (i, j, k) to LPS mm.
        centre: of the content, LPS mm.
        contained: whether all beyond the border is background.
        from_middle: (4, 4) linear map of LPS mm from the middle subject to this one.
    """

    name: str
    image: np.ndarray | None
    labels: np.ndarray | None
    matrix: np.ndarray
    centre: np.ndarray
    contained: bool
    from_middle: np.ndarray


@dataclass(frozen=True)
class ValidationPair:
    """Places of two subjects among those of validation, and the engine's linear map from the first to the second."""

    fixed: int
    moving: int
    matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class Collection:
    """All subjects of a training.

    Attributes:
        structures: the labels that count, in the order of their channels.
        training, validation: the subjects.
        pairs: fixed pairs of validation subjects; empty where the recipe learns from label maps alone.
    """

    structures: tuple[int, ...]
    training: list[Subject]
    validation: list[Subject]
    pairs: list[ValidationPair]


def key_of(paths: Sequence[Path], recipe: Recipe) -> str:
    """What prepared data depends on, as one digest: the files, the recipe and the version."""
    stamps = [(path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    zoom = None if recipe.synthesis is None else recipe.synthesis.zoom[1]
    settings = asdict(recipe.data), zoom, recipe.validation.pairs, recipe.validation.seed, __version__
    return hashlib.sha256(json.dumps([stamps, settings]).encode()).hexdigest()


def write(path: Path, key: str, collection: Collection) -> None:
    """Keep a collection in a .npz file."""
    arrays = {}
    subjects = collection.training + collection.validation
    for number, subject in enumerate(subjects):
        for name in ("image", "labels"):
            if getattr(subject, name) is not None:
                arrays[f"{name}{number}"] = getattr(subject, name)
    for name in ("matrix", "centre", "from_middle"):
        arrays[name] = np.stack([getattr(subject, name) for subject in subjects])
    arrays["contained"] = np.array([subject.contained for subject in subjects])
    arrays["pairs"] = np.array([(pair.fixed, pair.moving) for pair in collection.pairs]).reshape(-1, 2)
    arrays["pair_matrix"] = np.array([pair.matrix for pair in collection.pairs]).reshape(-1, 4, 4)
    about = {
        "key": key,
        "names": [subject.name for subject in subjects],
        "training": len(collection.training),
        "structures": [int(label) for label in collection.structures],
    }
    with replacing(path) as temporary:
        np.savez_compressed(temporary, about=np.array(json.dumps(about)), **arrays)


def read(path: Path, key: str) -> Collection:
    """The collection in a file.

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: there is none, it is damaged, or its key is another one.
    """
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        if about["key"] != key:
            raise ValueError("other data")
        present = set(arrays.files)
        columns = {name: arrays[name] for name in ("matrix", "centre", "contained", "from_middle")}
        subjects = [
            Subject(
                name,
                arrays[f"image{number}"] if f"image{number}" in present else None,
                arrays[f"labels{number}"] if f"labels{number}" in present else None,
                columns["matrix"][number],
                columns["centre"][number],
                bool(columns["contained"][number]),
                columns["from_middle"][number],
            )
            for number, name in enumerate(about["names"])
        ]
        pairs = [
            ValidationPair(int(fixed), int(moving), matrix)
            for (fixed, moving), matrix in zip(arrays["pairs"], arrays["pair_matrix"], strict=True)
        ]
    count = about["training"]
    return Collection(tuple(about["structures"]), subjects[:count], subjects[count:], pairs)
