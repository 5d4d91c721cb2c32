"""From a training to a model: the folder gets a card and weights, so that `deepregister models` lists it at once."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from ..models.registry import Card
from ..writing import replacing
from .recipe import Recipe
from .typical import Typical

CARD, WEIGHTS, LICENCE, TYPICAL = "card.toml", "weights.safetensors", "LICENSE.txt", "typical.nii.gz"
SENTENCES = {
    "dice": "Mean Dice overlap of the structures",
    "dice_before": "The same before, behind the affine model alone",
    "sdlogj": "Standard deviation of the logarithm of the Jacobian determinant",
    "folds": "Share of voxels with a Jacobian determinant that is not positive",
    "inverse_mm": "Mean distance by which there and back misses the start, mm",
    "endpoint_mm": "Mean distance from the known motion of synthesised pairs, mm",
}


def check_card(recipe: Recipe, name: str) -> None:
    """Refuse a `[model]` that makes no card, before anything is computed.

    Raises:
        ModelError: an entry is unknown, missing or of the wrong kind.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "[model] of the recipe"
        path.write_text(toml(_card(recipe, name, "0" * 64, "", {}, False)), encoding="utf-8")
        Card.read(path)


def publish(
    network: nn.Module,
    recipe: Recipe,
    folder: Path,
    training: str,
    figures: Mapping[str, float],
    finished: bool,
    bfloat16_mm: float | None = None,
    typical: Typical | None = None,
) -> None:
    """Make `folder` a model: `weights.safetensors` and the card that names their sum.

    Args:
        network: whose weights are published.
        recipe: what the card says.
        folder: the model; its name is the folder's.
        training: steps, hardware and time, in one sentence.
        figures: of the last validation.
        finished: whether the schedule came to its end; else the card says experimental.
        bfloat16_mm: how far computing in bfloat16 moves the field, where that was measured.
        typical: what the training images look like, where they show one anatomy.

    Raises:
        FileError: the folder cannot be written.
    """
    kind = getattr(torch, recipe.weights)
    tensors = {name: value.detach().to(kind).cpu().contiguous() for name, value in network.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        content = save(tensors)
        temporary.write_bytes(content)
    if recipe.credit:
        (folder / LICENCE).write_text(recipe.credit.strip() + "\n", encoding="utf-8")
    if typical is not None:
        typical.image.write(folder / TYPICAL)
    # The card comes last: a folder without one is no model yet.
    with replacing(folder / CARD) as temporary:
        digest = hashlib.sha256(content).hexdigest()
        values = _card(recipe, folder.name, digest, training, figures, finished)
        if bfloat16_mm is not None:
            values = {"bfloat16_mm": float(f"{bfloat16_mm:.2g}"), **values}
        if typical is not None:
            values = {"typical": TYPICAL, "typical_agreement": typical.agreement, **values}
        temporary.write_text(toml(values), encoding="utf-8")


def _card(
    recipe: Recipe, name: str, digest: str, training: str, figures: Mapping[str, float], finished: bool
) -> dict[str, Any]:
    values = {"name": name, **recipe.model}
    values["transform"] = "deformable"
    values["experimental"] = bool(recipe.model.get("experimental", False)) or not finished
    values |= {"spacing_mm": recipe.data.spacing_mm, "weights": WEIGHTS, "sha256": digest}
    if training:
        values["training"] = training
    about = f"on {recipe.validation.pairs} pairs of {recipe.data.validation} subjects that were not trained on"
    values["figures"] = {
        name: {"value": float(f"{figures[name]:.4g}"), "sentence": f"{sentence}, {about}."}
        for name, sentence in SENTENCES.items()
        if name in figures
    }
    # Tables come after all plain entries in a TOML file.
    return dict(sorted(values.items(), key=lambda entry: isinstance(entry[1], Mapping)))


def toml(values: Mapping[str, Any], table: str = "") -> str:
    """A TOML text of texts, numbers, truth values, lists of these, and tables of them; None is left out."""
    lines, tables = [], []
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = f"{table}.{name}".lstrip(".")
            tables.append(f"\n[{inner}]\n{toml(value, inner)}" if value else "")
        elif value is not None:
            lines.append(f"{name} = {_literal(value)}\n")
    return "".join(lines + tables)


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # JSON's texts, numbers and truth values are TOML's too.
    return json.dumps(value, ensure_ascii=False)
