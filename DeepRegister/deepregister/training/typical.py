"""What the training images look like: their mean, and how well an image of the same kind agrees with it at least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..models.resemblance import resemblance
from ..preparation import prepare
from ..spatial import resample
from ..volume import Geometry, Volume
from .collection import Collection, Subject
from .recipe import Recipe

# Below the least agreement among the subjects of validation, which are few.
MARGIN = 0.05


@dataclass(frozen=True, eq=False)
class Typical:
    """The mean of the training images, and the least `resemblance` to it of an image like them."""

    image: Volume
    agreement: float


def typical_of(collection: Collection, recipe: Recipe) -> Typical | None:
    """The typical image of a collection; None where the recipe brings no images onto each other, or for any anatomy."""
    anatomies = recipe.model.get("anatomies", ["any"])
    if recipe.synthesis is not None or recipe.data.align != "affine" or "any" in anatomies:
        return None
    size, spacing = np.asarray(recipe.data.crop), recipe.data.spacing_mm
    centres = [np.linalg.inv(each.from_middle) @ np.append(each.centre, 1) for each in collection.training]
    origin = np.mean(centres, axis=0)[:3] - spacing * (size - 1) / 2
    grid = Geometry(tuple(map(int, size)), (spacing,) * 3, tuple(origin))
    total = np.zeros(grid.shape)
    for subject in collection.training:
        to_index = np.linalg.inv(subject.matrix) @ subject.from_middle @ grid.matrix
        image = torch.as_tensor(subject.image)[None, None].float() / 255
        total += resample(image, to_index, grid.shape, "zeros")[0, 0].numpy()
    mean = np.rint(255 * total / len(collection.training)).astype(np.uint8)
    image = Volume(mean, grid, "typical image")
    prepared = prepare(image)[0]
    least = min(resemblance(prepared, prepare(_volume(each))[0], torch.device("cpu")) for each in collection.validation)
    return Typical(image, float(np.floor(100 * max(0.0, least - MARGIN)) / 100))


def _volume(subject: Subject) -> Volume:
    return Volume(subject.image, Geometry.from_matrix(subject.matrix, subject.image.shape[::-1]), subject.name)
