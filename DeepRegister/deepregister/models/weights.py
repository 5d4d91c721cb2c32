"""Weights of networks: .safetensors files that are what their card says, or are refused. Never a pickle."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ..errors import ModelError
from ..networks import build
from .registry import Card

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# Networks that a process keeps for its next run; one has some megabytes.
KEPT = 8


def load_weights(card: Card) -> dict[str, torch.Tensor]:
    """The tensors of a learned model, by name, as they are in the file.

    Raises:
        ModelError: the file is missing, is not the one that the card was written for, or holds no tensors.
    """
    content = card.read_weights()
    try:
        return _tensors(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{card.folder / card.weights} is no .safetensors file ({error}). Weights of other kinds are not read, "
            "for they can hold programs. Save them as .safetensors."
        ) from error


def _tensors(content: bytes) -> dict[str, torch.Tensor]:
    """What a .safetensors file holds: the length of a header, the header as JSON, and the numbers one after the other.

    Read here, so that models run where the package safetensors is not installed, as in 3D Slicer.
    """
    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8:
        raise ValueError("its header goes on beyond its end")
    header, data = json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind, shape, (start, stop) = TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if not 0 <= start <= stop <= len(data) or stop - start != kind.itemsize * math.prod(shape):
            raise ValueError(f"{name} does not lie within it")
        # A copy, which torch may write to.
        values = (
            torch.frombuffer(bytearray(data[start:stop]), dtype=kind) if stop > start else torch.empty(0, dtype=kind)
        )
        found[name] = values.reshape(shape)
    return found


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
