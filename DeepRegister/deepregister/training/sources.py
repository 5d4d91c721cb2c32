"""Where a training's pairs come from: real images, or what is synthesised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch

from .batch import Batch
from .collection import Collection
from .imagepairs import ImagePairs, OnDevice, on_grid
from .recipe import Recipe
from .synthesis.pairs import from_collection


class Source(Protocol):
    """What makes the pairs of a training.

    Attributes:
        validation: make the fixed pairs that a network is measured on, one each.
    """

    validation: Sequence[Callable[[], Batch]]

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """A batch of `count` pairs on the training device; all that is random comes from `generator`, of the CPU."""


class RealPairs:
    """Pairs of real images, varied for training, and as the engine aligns them for validation."""

    def __init__(self, collection: Collection, recipe: Recipe, device: torch.device):
        self._random = ImagePairs(collection, recipe, device)
        subjects = [OnDevice.of(subject, device) for subject in collection.validation]
        structures = len(collection.structures)
        self.validation = [
            partial(on_grid, subjects[pair.fixed], subjects[pair.moving], pair.matrix, recipe, structures)
            for pair in collection.pairs
        ]

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        return self._random.draw(count, generator)


class SynthesisedPairs:
    """Pairs made from label maps; the same ones of other subjects in every validation.

    Attributes:
        anatomies, held_out: what makes pairs of the training subjects, and of those of validation.
    """

    def __init__(self, collection: Collection, recipe: Recipe, device: torch.device):
        data, chosen = recipe.data, recipe.validation
        self.anatomies, self.held_out = from_collection(
            collection, recipe.synthesis, data.crop[::-1], data.spacing_mm, device
        )
        self.validation = self.held_out.fixed_draws(chosen.pairs, chosen.seed)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        return self.anatomies.draw(count, generator)


def open_source(collection: Collection, recipe: Recipe, device: torch.device) -> Source:
    """The source of pairs that a recipe asks for."""
    kind = RealPairs if recipe.synthesis is None else SynthesisedPairs
    return kind(collection, recipe, device)
