"""The registry of model types: reads the cards, and only the cards; needs no torch.

A model is a folder with a `card.toml`. Built-in ones lie beside this file, a user's own in any folder named by
`models_dir` or in the per-user data folder; a folder holds data alone, and names one of the built-in architectures.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ModelError

BUILT_IN = Path(__file__).parent
# Architecture -> module and class beside this file; imported, and torch with it, only when a model runs.
ARCHITECTURES = {
    "linear": ("linear", "LinearModel"),
    "instance": ("instance", "InstanceOptimisation"),
    "voxelmorph": ("learned", "LearnedModel"),
    "pyramid": ("learned", "LearnedModel"),
}
# Those that are nothing without weights.
LEARNED = ("voxelmorph", "pyramid")
TRANSFORMS = ("rigid", "affine", "deformable")


@dataclass(frozen=True)
class Figure:
    """One measured figure of a model: its value, and a sentence that says of what and on which data."""

    value: float
    sentence: str


@dataclass(frozen=True)
class Card:
    """What a model says of itself. The entries from `spacing_mm` on are for learned models alone.

    Attributes:
        name: what a user types.
        title: what a panel shows.
        summary: one sentence: what it does and when to use it.
        family: of the survey of Haskins et al. (2020), for instance "deep iterative" or "unsupervised".
        architecture: one of `ARCHITECTURES`.
        transform: "rigid", "affine" or "deformable".
        modalities: what it was made for; ("any",) for all.
        paper: where the method comes from.
        licence: SPDX name, of the weights where there are any.
        experimental: not among the first choices of a list, and never chosen by `auto`.
        parameters: keyword arguments of the architecture.
        anatomies: what it was made for; ("any",) for all.
        across_contrasts: whether the two volumes may differ in contrast or modality.
        intended: who should use it and for what, in a sentence or two, where the summary leaves that open.
        known_failures: what is known to go wrong, one sentence each.
        figures: what was measured, by a short name.
        extent_mm: least and most middle side of the box around what a volume shows, mm. None allows all, but `auto`
            never chooses a model that does not say it.
        spacing_mm: of the network's grid.
        passes_mm: spacings of the grids that the network looks on one after the other, each time at what its last field
            leaves; empty for once, at `spacing_mm`.
        thickest_mm: the thickest slices that it was trained for; None for two and a half times `spacing_mm`.
        typical: name of the .nii.gz file beside the card with the mean of the training images; empty if there is none.
        typical_agreement: how well images like these agree with it at least, 0 to 1; see `resemblance`.
        weights: name of the .safetensors file beside the card.
        sha256: of that file, in hexadecimal digits.
        training_data: what it was trained on, with source and licence.
        training: steps, hardware and time, in one sentence.
        refine: whether instance optimisation makes its fields better, as measured; then they are refined unless the
            settings say otherwise.
        bfloat16_mm: how far computing in bfloat16 moves the field at most, mm, as measured; None forbids it.
        folder: where the card lies.
    """

    name: str
    title: str
    summary: str
    family: str
    architecture: str
    transform: str
    modalities: tuple[str, ...]
    paper: str
    licence: str
    experimental: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    anatomies: tuple[str, ...] = ("any",)
    across_contrasts: bool = False
    intended: str = ""
    known_failures: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    extent_mm: tuple[float, float] | None = None
    spacing_mm: float | None = None
    passes_mm: tuple[float, ...] = ()
    thickest_mm: float | None = None
    typical: str = ""
    typical_agreement: float | None = None
    weights: str = ""
    sha256: str = ""
    training_data: str = ""
    training: str = ""
    refine: bool = False
    bfloat16_mm: float | None = None
    folder: Path = BUILT_IN

    @property
    def learned(self) -> bool:
        """Whether it is a network with weights."""
        return self.architecture in LEARNED

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card in a `card.toml`.

        Raises:
            ModelError: it cannot be read, lacks an entry, has an unknown one or one of the wrong kind, or names no
                known architecture.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"The model card {path} cannot be read: {error}. Correct or remove its folder.") from error
        known = {f.name: f for f in fields(cls) if f.name != "folder"}
        unknown = sorted(set(values) - set(known))
        missing = [n for n, f in known.items() if n not in values and f.default is f.default_factory is MISSING]
        if unknown or missing:
            wrong = [f"does not know {', '.join(unknown)}"] * bool(unknown) + [f"lacks {', '.join(missing)}"] * bool(
                missing
            )
            raise ModelError(f"The model card {path} {' and '.join(wrong)}. Its entries are: {', '.join(known)}.")
        for entry, choices in (("architecture", tuple(ARCHITECTURES)), ("transform", TRANSFORMS)):
            if values[entry] not in choices:
                raise ModelError(
                    f"The model card {path} names the {entry} {values[entry]!r}. Known are: {', '.join(choices)}. "
                    "A newer DeepRegister may know it."
                )
        for entry, value in values.items():
            fits, wanted = KINDS[known[entry].type]
            if not fits(value):
                raise ModelError(f"The model card {path} has {entry} = {value!r}. It must be {wanted}.")
        lists = {entry: tuple(value) for entry, value in values.items() if isinstance(value, list)}
        figures = {name: Figure(**figure) for name, figure in values.get("figures", {}).items()}
        card = cls(**{**values, **lists, "figures": figures}, folder=path.parent)
        card._check_weights(path)
        return card

    def _check_weights(self, path: Path) -> None:
        """Refuse what would only show when the model runs."""
        if not self.learned:
            if self.weights or self.sha256:
                raise ModelError(
                    f"The model card {path} names weights, but a model of the architecture {self.architecture!r} has "
                    "none. Remove the entries weights and sha256."
                )
            return
        if self.transform != "deformable" or not self.spacing_mm:
            raise ModelError(
                f'The model card {path} is of a learned model: it needs transform = "deformable" and spacing_mm, the '
                "spacing of the network's grid in mm."
            )
        # A name alone: a card from elsewhere must not lead to files outside its folder.
        if not re.fullmatch(r"[^/\\:]+\.safetensors", self.weights):
            raise ModelError(
                f"The model card {path} has weights = {self.weights!r}. It must be the name of a .safetensors file "
                "beside it."
            )
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ModelError(
                f"The model card {path} has sha256 = {self.sha256!r}. It must be the SHA-256 of {self.weights}, 64 "
                "digits: without it, damaged weights could not be told from good ones."
            )

        if bool(self.typical) != (self.typical_agreement is not None):
            raise ModelError(f"The model card {path} needs both typical and typical_agreement, or neither.")
        if self.typical and not re.fullmatch(r"[^/\\:]+\.nii\.gz", self.typical):
            raise ModelError(
                f"The model card {path} has typical = {self.typical!r}. It must be the name of a .nii.gz file beside "
                "it."
            )

    def read_weights(self) -> bytes:
        """The content of the file of weights.

        Raises:
            ModelError: it is missing, or is not the one that the card was written for.
        """
        path = self.folder / self.weights
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"The weights {path} of the model {self.name} cannot be read: {error.strerror or error}. "
                "Install the model again."
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ModelError(
                f"The weights {path} are damaged or not those of the model {self.name}: their SHA-256 is "
                f"{found[:12]}… where its card says {self.sha256[:12]}…. Install the model again."
            )
        return content


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_figure(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"value", "sentence"}:
        return False
    # A change may be negative.
    return isinstance(value["sentence"], str) and isinstance(value["value"], (int, float))


# What an entry must be, by its annotation in `Card`.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "str": (lambda value: isinstance(value, str), "text"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "float | None": (_is_number, "a number of at least 0"),
    "tuple[str, ...]": (
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        "a list of texts",
    ),
    "tuple[float, ...]": (
        lambda value: isinstance(value, list) and all(_is_number(each) and each > 0 for each in value),
        "a list of numbers above 0",
    ),
    "tuple[float, float] | None": (
        lambda value: (
            isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]
        ),
        "two numbers, the smaller one first",
    ),
    "Mapping[str, Any]": (lambda value: isinstance(value, dict), "a table"),
    "Mapping[str, Figure]": (
        lambda value: isinstance(value, dict) and all(map(_is_figure, value.values())),
        "a table of tables with a value and a sentence each",
    ),
}


def list_models(models_dir: str | os.PathLike | None = None) -> list[Card]:
    """All cards: built-in ones, then those of the per-user folder, then those of `models_dir`.

    Raises:
        ModelError: a card is damaged, `models_dir` does not exist, or two models share a name.
    """
    cards: dict[str, Card] = {}
    if models_dir is not None and not Path(models_dir).is_dir():
        raise ModelError(f"The folder of models {models_dir} does not exist. Check the path.")
    for root in (BUILT_IN, user_models_dir(), *([Path(models_dir)] if models_dir is not None else [])):
        for path in sorted(root.glob("*/card.toml")):
            card = Card.read(path)
            other = cards.setdefault(card.name, card)
            if other.folder.resolve() != card.folder.resolve():
                raise ModelError(
                    f"Two models are called {card.name!r}: {other.folder} and {card.folder}. Rename one on its card."
                )
    order = {transform: number for number, transform in enumerate(TRANSFORMS)}
    return sorted(cards.values(), key=lambda card: (card.experimental, order[card.transform], card.name))


def find_model(name: str, models_dir: str | os.PathLike | None = None) -> Card:
    """The card of the model called `name`.

    Raises:
        ModelError: there is none.
    """
    cards = list_models(models_dir)
    for card in cards:
        if card.name == name:
            return card
    raise ModelError(f"There is no model {name!r}. Choose auto or one of: {', '.join(card.name for card in cards)}.")


def user_models_dir() -> Path:
    """Where a user's own models lie: survives an update of the extension. It need not exist."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return root / "DeepRegister" / "models"


def load_model(card: Card):
    """The model itself, ready to `run`; imports torch.

    Raises:
        ModelError: the weights are missing, damaged or not this network's.
    """
    from importlib import import_module

    module, name = ARCHITECTURES[card.architecture]
    kind = getattr(import_module(f"{__package__}.{module}"), name)
    return kind(card) if card.learned else kind(**card.parameters)
