"""Weights of networks: .safetensors files that are what their card says, or are refused. Never a pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from ..errors import ModelError
from ..networks import build
from .registry import Card

# Networks that a process keeps for its next run; one has some megabytes.
KEPT = 8


def load_weights(card: Card) -> dict[str, torch.Tensor]:
    """The tensors of a learned model, by name, as they are in the file.

    Raises:
        ModelError: the file is missing, is not the one that the card was written for, or holds no tensors.
    """
    path = card.folder / card.weights
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The weights {path} of the model {card.name} cannot be read: {error.strerror or error}. "
            "Install the model again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"The weights {path} are damaged or not those of the model {card.name}: their SHA-256 is {found[:12]}… "
            f"where its card says {card.sha256[:12]}…. Install the model again."
        )
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise ModelError(
            f"{path} is no .safetensors file ({error}). Weights of other kinds are not read, for they can hold "
            "programs. Save them as .safetensors."
        ) from error


def load_network(card: Card, device: torch.device) -> nn.Module:
    """The network of a learned model on `device`, in float32, ready to infer; kept for the next run.

    Raises:
        ModelError: as in `load_weights`, or the weights are not of the network that the card describes.
    """
    path = card.folder / card.weights
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _network(_Key(str(path), changed, card.sha256, json.dumps(card.parameters), str(device), card))


@dataclass(frozen=True)
class _Key:
    """What tells one loaded network from another."""

    path: str
    changed: int
    sha256: str
    parameters: str
    device: str
    card: Card = field(compare=False)


@lru_cache(KEPT)
def _network(key: _Key) -> nn.Module:
    card, path = key.card, Path(key.path)
    try:
        network = build(card.architecture, card.parameters)
    except ModelError as error:
        raise ModelError(
            f"The model card {card.folder / 'card.toml'} has parameters that do not fit. {error}"
        ) from error
    weights = load_weights(card)
    wrong = _differences(network.state_dict(), weights)
    if wrong:
        raise ModelError(
            f"The weights {path} are not of the network {card.architecture} that the card of {card.name} describes: "
            f"{wrong}. Install the model again, or correct its card."
        )
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    network.eval().requires_grad_(False)
    return network.to(device=key.device, memory_format=torch.channels_last_3d)


def _differences(wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str:
    """What keeps weights from being those of a network, in words; empty where they fit."""
    reasons = [f"{name} is missing" for name in wanted if name not in found]
    reasons += [f"{name} is unknown" for name in found if name not in wanted]
    for name in wanted.keys() & found.keys():
        shapes = tuple(wanted[name].shape), tuple(found[name].shape)
        if shapes[0] != shapes[1]:
            reasons.append(f"{name} has the shape {shapes[1]} and not {shapes[0]}")
        elif not found[name].is_floating_point():
            reasons.append(f"{name} holds {found[name].dtype} and no fractions")
        elif not bool(torch.isfinite(found[name].float()).all()):
            reasons.append(f"{name} holds values that are not finite numbers")
    more = f", and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return ", ".join(sorted(reasons)[:3]) + more
