"""What the training images look like: their mean, and how well an image of the same kind agrees with it at least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..models.resemblance import resemblance
from ..preparation import prepare
from ..spatial import resample
from ..volume import Geometry, Volume
from .collection import Collection, Subject
from .recipe import Recipe
from .sources import Source, SynthesisedPairs

# Below the least agreement among the subjects of validation, which are few; less where images of any contrast were
# looked at, some of which look like nothing real.
MARGIN, MARGIN_SYNTHESISED = 0.05, 0.025
# So many synthesised images, two of a pair, are looked at.
LOOKS = 12


@dataclass(frozen=True, eq=False)
class Typical:
    """The mean of the training images, and the least `resemblance` to it of an image like them."""

    image: Volume
    agreement: float


def typical_of(collection: Collection, recipe: Recipe, source: Source) -> Typical | None:
    """The typical image of a collection; None where it shows more than one anatomy, or nothing that can be averaged.

    Of real images it is their mean where the engine's affine brings them onto each other. Of label maps whose tissues
    are known it is the mean of what skull-stripping leaves, T1-weighted, which has something in common with each other
    contrast too: borders.
    """
    if "any" in recipe.model.get("anatomies", ["any"]):
        return None
    if isinstance(source, SynthesisedPairs):
        return _of_synthesised(source, recipe)
    return _of_real(collection, recipe) if recipe.data.align == "affine" else None


def _of_synthesised(source: SynthesisedPairs, recipe: Recipe) -> Typical | None:
    mean = source.anatomies.mean_image()
    if mean is None:
        return None
    matrix, size = source.anatomies.to_mm, recipe.data.crop
    image = _eight_bits(mean.cpu().numpy(), Geometry.from_matrix(matrix, size))
    looks = []
    for number in range(LOOKS // 2):
        generator = torch.Generator().manual_seed(recipe.validation.seed + number)
        pair = source.held_out.between_subjects(1, generator)
        looks += [_eight_bits(each[0, 0].cpu().numpy(), image.geometry) for each in (pair.fixed, pair.moving)]
    return Typical(image, _least(image, looks, MARGIN_SYNTHESISED))


def _of_real(collection: Collection, recipe: Recipe) -> Typical:
    size, spacing = np.asarray(recipe.data.crop), recipe.data.spacing_mm
    centres = [np.linalg.inv(each.from_middle) @ np.append(each.centre, 1) for each in collection.training]
    origin = np.mean(centres, axis=0)[:3] - spacing * (size - 1) / 2
    grid = Geometry(tuple(map(int, size)), (spacing,) * 3, tuple(origin))
    total = np.zeros(grid.shape)
    for subject in collection.training:
        to_index = np.linalg.inv(subject.matrix) @ subject.from_middle @ grid.matrix
        image = torch.as_tensor(subject.image)[None, None].float() / 255
        total += resample(image, to_index, grid.shape, "zeros")[0, 0].numpy()
    image = _eight_bits(total / len(collection.training), grid)
    return Typical(image, _least(image, [_volume(each) for each in collection.validation], MARGIN))


def _eight_bits(values: np.ndarray, geometry: Geometry) -> Volume:
    """Values of 0..1 as 0..255."""
    return Volume(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8), geometry, "typical image")


def _least(typical: Volume, images: Sequence[Volume], margin: float) -> float:
    """The least agreement of the images with a typical one, less a margin, in hundredths."""
    prepared = prepare(typical)[0]
    least = min(resemblance(prepared, prepare(each)[0], torch.device("cpu")) for each in images)
    return float(np.floor(100 * max(0.0, least - margin)) / 100)


def _volume(subject: Subject) -> Volume:
    return Volume(subject.image, Geometry.from_matrix(subject.matrix, subject.image.shape[::-1]), subject.name)
