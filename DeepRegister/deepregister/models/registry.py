"""The registry of model types: reads the cards, and only the cards; needs no torch.

A model is a folder with a `card.toml`. Built-in ones lie beside this file, a user's own in any folder named by
`models_dir` or in the per-user data folder; a folder holds data alone, and names one of the built-in architectures.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ModelError

BUILT_IN = Path(__file__).parent
# Architecture -> module and class beside this file; imported, and torch with it, only when a model runs.
ARCHITECTURES = {"linear": ("linear", "LinearModel"), "instance": ("instance", "InstanceOptimisation")}
TRANSFORMS = ("rigid", "affine", "deformable")


@dataclass(frozen=True)
class Card:
    """What a model says of itself.

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
        experimental: not among the first choices of a list.
        parameters: keyword arguments of the architecture.
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
    folder: Path = BUILT_IN

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card in a `card.toml`.

        Raises:
            ModelError: it cannot be read, lacks an entry, has an unknown one, or names no known architecture.
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
        return cls(**{**values, "modalities": tuple(values["modalities"])}, folder=path.parent)


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
    """The model itself, ready to `run`; imports torch."""
    from importlib import import_module

    module, name = ARCHITECTURES[card.architecture]
    return getattr(import_module(f"{__package__}.{module}"), name)(**card.parameters)
