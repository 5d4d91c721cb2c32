"""Training data: a folder of images and label maps, prepared as the engine prepares a pair, and kept in one file.

Each subject is turned to the nearest canonical axes, resampled to the network's spacing, cut to its content, and
aligned with a middle one by the engine's affine model. What is prepared is kept beside the model (`data.npz`) and
used again as long as the files and the recipe's `[data]` stay the same.
"""

from __future__ import annotations

import contextlib
import itertools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..errors import FileError, InputError
from ..labelmaps import LabelMap
from ..models.linear import LinearModel
from ..preparation import Pair, Prepared, prepare
from ..progress import Monitor
from ..settings import Settings
from ..transforms import Rigid
from ..volume import Geometry, Volume
from .collection import Collection, Subject, ValidationPair, key_of, read, write
from .recipe import Recipe

# Kept around the content, mm: what an augmented pair may still look at.
MARGIN_MM = 12.0
# A grid this near to the wanted spacing is used as it is: resampling would only blur.
SPACING_TOLERANCE = 0.02


@dataclass(frozen=True)
class SubjectFiles:
    """Where one subject's image and label map lie; None where it has none."""

    name: str
    image: Path | None
    labels: Path | None


def find_subjects(folder: Path, recipe: Recipe) -> tuple[list[SubjectFiles], list[SubjectFiles]]:
    """The subjects to train on and those to validate on, by name.

    Raises:
        FileError: the folder does not exist or holds nothing that the recipe's patterns match.
        InputError: there are too few, or an image lacks the label map that the recipe needs.
    """
    data = recipe.data
    if not folder.is_dir():
        raise FileError(f"The data folder {folder} does not exist. Check --data.")
    images = _matching(folder, data.images) if data.kind == "images" else {}
    labels = _matching(folder, data.labels) if data.labels else {}
    names = sorted(images if data.kind == "images" else labels)[: data.take]
    pattern = data.images if data.kind == "images" else data.labels
    if not names:
        raise FileError(
            f"{folder} holds no files that match {pattern!r}. Check --data, or change data.{data.kind} in the recipe."
        )
    least = data.validation + 2
    if len(names) < least or (data.take is not None and len(names) < data.take):
        raise InputError(
            f"{folder} holds {len(names)} files that match {pattern!r}; the recipe needs "
            f"{data.take or least}, {data.validation} of them to validate. Add data, or change data.take and "
            "data.validation."
        )
    missing = [name for name in names if name not in labels]
    if missing and recipe.loss.dice and data.kind == "images":
        raise InputError(
            f"{len(missing)} of {len(names)} images have no label map that matches {data.labels!r}, {missing[0]} for "
            "one. Add the label maps, or set loss.dice = 0."
        )
    files = [SubjectFiles(name, images.get(name), labels.get(name)) for name in names]
    return files[: -data.validation], files[-data.validation :]


def _matching(folder: Path, pattern: str) -> dict[str, Path]:
    """Files by what stands for the `*`."""
    before, _, after = (folder / pattern).as_posix().partition("*")
    found = {}
    for path in folder.glob(pattern):
        # Some archives carry a hidden twin of each file.
        if path.name.startswith("."):
            continue
        text = path.as_posix()
        found[text[len(before) : len(text) - len(after)]] = path
    return found


def load(
    folder: Path, recipe: Recipe, kept: Path, report: Callable[[float, str], None] = lambda fraction, message: None
) -> Collection:
    """The prepared subjects of a folder: from the file `kept` if that is of the same data, else prepared and kept.

    Args:
        folder: of the images.
        recipe: `data` and `validation` of it count.
        kept: the .npz file.
        report: called with the fraction that is done and what goes on; it may raise to stop.

    Raises:
        DeepRegisterError: as `find_subjects`, and for an image that cannot be used.
    """
    training, validation = find_subjects(folder, recipe)
    paths = [path for each in training + validation for path in (each.image, each.labels) if path is not None]
    key = key_of(paths, recipe)
    # A file that is damaged, or of other data, is made anew.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return read(kept, key)
    collection = _prepare(training, validation, recipe, report)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot make the folder {kept.parent}: {error.strerror}. Choose another.") from error
    write(kept, key, collection)
    return collection


def _prepare(
    training: list[SubjectFiles],
    validation: list[SubjectFiles],
    recipe: Recipe,
    report: Callable[[float, str], None],
) -> Collection:
    files = training + validation
    aligned = recipe.data.align == "affine" and recipe.data.kind == "images"
    chosen = _draw_pairs(len(validation), recipe) if recipe.data.kind == "images" else []
    work = len(files) * (1 + aligned) + len(chosen) * aligned
    done = itertools.count()

    def step(message: str) -> None:
        report(next(done) / work, message)

    sides, maps = [], []
    for each in files:
        step(f"Reading {each.name}")
        sides.append(prepare(_canonical(Volume.read(each.image)))[0] if each.image else None)
        maps.append(_canonical(LabelMap.read(each.labels).volume) if each.labels else None)
    structures = _structures(maps, recipe)
    from_middle = [np.eye(4)] * len(files)
    if aligned:
        extents = [float(np.prod(side.content.extent_mm)) for side in sides]
        middle = int(np.argsort(extents[: len(training)])[len(training) // 2])
        for number, each in enumerate(files):
            step(f"Aligning {each.name} with {files[middle].name}")
            if number != middle:
                from_middle[number] = _affine(sides[middle], sides[number])
    pairs = []
    for fixed, moving in chosen:
        matrix = np.eye(4)
        if aligned:
            step(f"Aligning {validation[moving].name} with {validation[fixed].name}")
            matrix = _affine(sides[len(training) + fixed], sides[len(training) + moving])
        pairs.append(ValidationPair(fixed, moving, matrix))
    subjects = [
        _subject(each.name, side, labels, structures, _finest(recipe), matrix)
        for each, side, labels, matrix in zip(files, sides, maps, from_middle, strict=True)
    ]
    return Collection(structures, subjects[: len(training)], subjects[len(training) :], pairs)


def _finest(recipe: Recipe) -> float:
    """The spacing that subjects are kept at, mm: what is enlarged needs more detail than the network's grid has."""
    return recipe.data.spacing_mm / (1.0 if recipe.synthesis is None else recipe.synthesis.zoom[1])


def _canonical(volume: Volume) -> Volume:
    """The same voxels with their axes in canonical order and sense."""
    return Rigid.identity().resample(volume, volume.geometry.canonical(), "nearest")


def _structures(maps: list[Volume | None], recipe: Recipe) -> tuple[int, ...]:
    present = sorted(set().union(*(np.unique(each.data).tolist() for each in maps if each is not None)) - {0})
    wanted = recipe.data.structures
    missing = set(wanted) - set(present)
    if missing:
        raise InputError(f"No label map holds the label {min(missing)} of data.structures. They hold {present[:20]}.")
    structures = tuple(wanted or present)
    if len(structures) > 255:
        raise InputError(f"The label maps hold {len(structures)} labels; choose up to 255 with data.structures.")
    return structures


def _affine(fixed: Prepared, moving: Prepared) -> np.ndarray:
    # As the engine aligns before it deforms.
    settings = Settings(model="affine", quality="fast")
    return LinearModel("affine").run(Pair(fixed, moving), None, settings, torch.device("cpu"), Monitor()).matrix


def _subject(
    name: str,
    side: Prepared | None,
    labels: Volume | None,
    structures: tuple[int, ...],
    spacing_mm: float,
    from_middle: np.ndarray,
) -> Subject:
    if side is None:
        occupied = np.argwhere(labels.data > 0)[:, ::-1]
        if not len(occupied):
            raise InputError(f"The label map of {name} is empty. Remove it, or draw it again.")
        whole, content, contained = labels.geometry, labels.geometry.cropped(occupied.min(0), occupied.max(0) + 1), True
    else:
        reduced = side.reduced(spacing_mm)
        whole, content, contained = reduced.geometry, side.content, side.contained
    box = _box(whole, content, MARGIN_MM)
    spacing = (spacing_mm,) * 3
    grid = box if np.allclose(box.spacing, spacing, rtol=SPACING_TOLERANCE) else box.with_spacing(spacing)
    image = None
    if side is not None:
        values = Rigid.identity().resample(reduced.image, grid, "linear", fill=0)
        image = np.round(255 * np.clip(values.data, 0, 1)).astype(np.uint8)
    index = None
    if labels is not None:
        places = np.zeros(labels.data.shape, np.uint8)
        for place, label in enumerate(structures, 1):
            places[labels.data == label] = place
        index = Rigid.identity().resample(replace(labels, data=places), grid, "label").data.astype(np.uint8)
    return Subject(name, image, index, grid.matrix, content.centre, contained, from_middle)


def _box(whole: Geometry, content: Geometry, margin_mm: float) -> Geometry:
    """The voxels of `whole` within `margin_mm` of the box `content`."""
    corners = np.array(list(itertools.product(*((-0.5, n - 0.5) for n in content.size))))
    index = whole.point_to_index(content.index_to_point(corners))
    margin = margin_mm / np.asarray(whole.spacing)
    start = np.clip(np.floor(index.min(0) + 0.5 - margin), 0, None).astype(int)
    stop = np.clip(np.ceil(index.max(0) + 0.5 + margin), None, whole.size).astype(int)
    return whole.cropped(start, stop)


def _draw_pairs(count: int, recipe: Recipe) -> list[tuple[int, int]]:
    every = list(itertools.permutations(range(count), 2))
    order = np.random.default_rng(recipe.validation.seed).permutation(len(every))
    return [every[place] for place in order[: recipe.validation.pairs]]
