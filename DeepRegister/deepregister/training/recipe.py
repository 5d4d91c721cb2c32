"""Recipes: one readable TOML file says all that steers a training; read strictly, without torch.

A table or an entry that is not known, a value of the wrong type, and numbers that make no sense stop a training before
it begins. `[model]` is the card of the model that comes out, but for what only the training can tell.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import FileError, InputError
from .strict import above, at_least, one_of, table
from .synthesis.ranges import Synthesis

BUILT_IN = Path(__file__).parent / "recipes"
KINDS = ("images", "labels")
ALIGNMENTS = ("none", "affine")
SMOOTHNESS = ("diffusion", "bending")
PRECISIONS = ("auto", "float32", "bfloat16")
WEIGHT_TYPES = ("float16", "float32")


@dataclass(frozen=True)
class Data:
    """`[data]`: which files are learned from, and on what grid.

    Attributes:
        kind: "images" (real images, with labels or not) or "labels" (label maps that images are synthesised from).
        images: pattern of the image files below the folder; `*` stands for the subject's name.
        labels: pattern of the label maps; the same name belongs to the same subject. Empty: there are none.
        take: only the first so many subjects by name; None takes all.
        validation: the last so many of those are not trained on, but measured.
        spacing_mm: of the network's grid, the same along all axes.
        crop: voxels along i, j, k that the network sees, centred on the content.
        align: "affine": each subject is aligned with a middle one by the engine's affine model, so that the pairs look
            as they will behind it; "none": as the headers say.
        structures: labels that count, in the losses and in the figures; empty takes all that the maps hold.
    """

    kind: str = "images"
    images: str = "images/*.nii.gz"
    labels: str = ""
    take: int | None = None
    validation: int = 4
    spacing_mm: float = 1.0
    crop: tuple[int, int, int] = (160, 192, 192)
    align: str = "affine"
    structures: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        one_of("data.kind", self.kind, KINDS)
        one_of("data.align", self.align, ALIGNMENTS)
        above("data.spacing_mm", self.spacing_mm, 0)
        at_least("data.validation", self.validation, 2)
        at_least("data.crop", min(self.crop), 8)
        if self.take is not None:
            at_least("data.take", self.take, self.validation + 2)
        for name, pattern in (("images", self.images), ("labels", self.labels)):
            if pattern and pattern.count("*") != 1:
                raise InputError(f"data.{name} must hold one *, the place of the subject's name, not {pattern!r}.")
        if not (self.images if self.kind == "images" else self.labels):
            raise InputError(f"data.{self.kind} is empty: say with a pattern where the {self.kind} lie.")


@dataclass(frozen=True)
class Augmentation:
    """`[augmentation]`: how real pairs are varied. Ranges are half-widths; each pair draws evenly from them.

    Attributes:
        shared_share: how many of the pairs, 0..1, are moved as a whole; the others stay unblurred by resampling.
        shared_degrees, shared_mm, shared_percent: affine of both sides: turn, shift, stretch.
        residual_degrees, residual_mm, residual_percent: affine of the moving side alone, what an affine may leave over.
        flips: axes (0, 1, 2 for i, j, k) along which both sides are flipped at random; only where the mirrored anatomy
            is as likely as the real one.
        gamma: of each side by itself, on the logarithm to base 2.
    """

    shared_share: float = 0.5
    shared_degrees: float = 5.0
    shared_mm: float = 2.0
    shared_percent: float = 5.0
    residual_degrees: float = 2.0
    residual_mm: float = 1.0
    residual_percent: float = 2.0
    flips: tuple[int, ...] = ()
    gamma: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name == "flips":
                if not set(value) <= {0, 1, 2}:
                    raise InputError(f"augmentation.flips are axes 0, 1 and 2, not {list(value)}.")
            else:
                at_least(f"augmentation.{name}", value, 0)


@dataclass(frozen=True)
class Loss:
    """`[loss]`: weights of the terms; 0 leaves a term out.

    Attributes:
        lncc: local correlation (squared) in cubes of 2 `lncc_radius` + 1 voxels.
        mse: mean squared difference of the intensities, which run from 0 to 1.
        dice: overlap of the structures (weak supervision).
        endpoint: distance from the true motion, mm, where it is known: on synthesised pairs.
        smoothness: of the velocity (or of the displacement where nothing is integrated), "diffusion" or "bending".
        kl: of the velocity's distribution against a smooth prior (Dalca et al. 2018), in place of `smoothness`.
        kl_prior: precision of that prior.
        both_directions: also compare the fixed image with the moving one where the network gives the inverse.
    """

    lncc: float = 0.0
    lncc_radius: int = 3
    mse: float = 0.0
    dice: float = 0.0
    endpoint: float = 0.0
    smoothness: float = 1.0
    smoothness_kind: str = "diffusion"
    kl: float = 0.0
    kl_prior: float = 10.0
    both_directions: bool = True

    def __post_init__(self) -> None:
        one_of("loss.smoothness_kind", self.smoothness_kind, SMOOTHNESS)
        for name in ("lncc", "mse", "dice", "endpoint", "smoothness", "kl"):
            at_least(f"loss.{name}", getattr(self, name), 0)
        at_least("loss.lncc_radius", self.lncc_radius, 1)
        above("loss.kl_prior", self.kl_prior, 0)
        if not any((self.lncc, self.mse, self.dice, self.endpoint)):
            raise InputError("Every weight of [loss] that compares anything is 0: give lncc, mse, dice or endpoint.")


@dataclass(frozen=True)
class Optimiser:
    """`[optimiser]`: AdamW with a short warm-up and a cosine decay.

    Attributes:
        steps: how many; `--steps` overrides it.
        batch: pairs in a step, on each device.
        learning_rate, final_rate: at the top and at the end of the schedule.
        warmup: steps over which the rate rises.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        ema: decay of the running mean of the weights, which is what is published.
        precision: of the convolutions: "auto" is bfloat16 on a CUDA device that has it, float32 elsewhere.
        seed: of everything random.
    """

    steps: int = 3000
    batch: int = 1
    learning_rate: float = 4e-4
    final_rate: float = 2e-5
    warmup: int = 50
    weight_decay: float = 1e-5
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("optimiser.precision", self.precision, PRECISIONS)
        for name, least in (("steps", 1), ("batch", 1), ("warmup", 0), ("weight_decay", 0), ("seed", 0), ("ema", 0)):
            at_least(f"optimiser.{name}", getattr(self, name), least)
        for name in ("learning_rate", "final_rate", "clip"):
            above(f"optimiser.{name}", getattr(self, name), 0)
        if self.ema >= 1:
            raise InputError(f"optimiser.ema must be below 1, not {self.ema:g}.")


@dataclass(frozen=True)
class Validation:
    """`[validation]`: fixed pairs of subjects that are not trained on.

    Attributes:
        pairs: how many.
        every: steps between two looks at them; the model on the disk is renewed then too.
        seed: of the draw of the pairs.
    """

    pairs: int = 12
    every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("pairs", 1), ("every", 1), ("seed", 0)):
            at_least(f"validation.{name}", getattr(self, name), least)


@dataclass(frozen=True)
class Recipe:
    """All that steers a training.

    Attributes:
        model: entries of the model's card; `parameters` are those of the network.
        data, augmentation, loss, optimiser, validation: the tables.
        synthesis: what pairs are synthesised, and in what ranges; None where none are.
        weights: type of the published weights, "float16" or "float32".
        credit: sentences on the training data that the model folder must carry (`LICENSE.txt`); empty for none.
    """

    model: Mapping[str, Any]
    data: Data = field(default_factory=Data)
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: Loss = field(default_factory=Loss)
    optimiser: Optimiser = field(default_factory=Optimiser)
    validation: Validation = field(default_factory=Validation)
    synthesis: Synthesis | None = None
    weights: str = "float32"
    credit: str = ""

    def __post_init__(self) -> None:
        one_of("weights", self.weights, WEIGHT_TYPES)
        if "architecture" not in self.model:
            raise InputError("[model] needs an architecture, and the other entries of the card of what comes out.")
        if self.loss.dice and not self.data.labels:
            raise InputError("loss.dice needs label maps: say with data.labels where they lie.")
        if self.loss.endpoint and self.synthesis is None:
            raise InputError("loss.endpoint needs a known motion, which only synthesised pairs have: see [synthesis].")
        if (self.data.kind == "labels") != (self.synthesis is not None):
            raise InputError('data.kind = "labels" and a table [synthesis] need each other: images are made of labels.')
        if self.synthesis is not None and self.data.structures:
            raise InputError("Images are made of all labels: say with synthesis.structures whose overlap counts.")

    def with_steps(self, steps: int | None) -> Recipe:
        """The same with another number of steps, or as it is."""
        return self if steps is None else replace(self, optimiser=replace(self.optimiser, steps=steps))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from the tables of a TOML file.

        Raises:
            InputError: an unknown table or entry, or a value that cannot be used.
        """
        return table(cls, values)


def built_in() -> list[str]:
    """Names of the recipes that come with DeepRegister."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def read_recipe(name: str) -> Recipe:
    """The recipe of a built-in name or in a TOML file.

    Raises:
        FileError: there is no such recipe, or the file cannot be read.
        InputError: as `Recipe.from_dict`.
    """
    path = Path(name)
    if name in built_in():
        path = BUILT_IN / f"{name}.toml"
    elif path.suffix != ".toml" or not path.is_file():
        raise FileError(
            f"There is no recipe {name!r}. Give a .toml file, or one of the built-in ones: {', '.join(built_in())}."
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"The recipe {path.name} cannot be read: {error}.") from error
    try:
        return Recipe.from_dict(values)
    except InputError as error:
        raise InputError(f"The recipe {path.name}: {error}") from error
