"""Checkpoints of a training: one .safetensors file with all that an exact continuation needs; never a pickle.

The tensors are the network's, the running mean's and the optimiser's; the header's text holds the step, the recipe and
what was learned on the way. Random numbers need no state: each step draws from a generator of its own (`loop.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import FileError
from ..writing import replacing
from .recipe import Recipe

KEY = "training"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        tensors: by name: "network.", "mean." and "optimiser." in front of the parameters' names.
        about: JSON-ready: "step", "seconds" of training so far, "recipe", and "figures" of the last validation.
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any]

    @property
    def step(self) -> int:
        return self.about["step"]

    def write(self, path: Path) -> None:
        """Write it; an interruption leaves the one that was there before.

        Raises:
            FileError: the place cannot be written.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        with replacing(path) as temporary:
            temporary.write_bytes(save(tensors, {KEY: json.dumps(self.about)}))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """The checkpoint in a file.

        Raises:
            FileError: it is missing, damaged, or no checkpoint.
        """
        if not path.is_file():
            raise FileError(
                f"There is no checkpoint {path} to go on from. Check --out, or leave out --resume to begin anew."
            )
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})[KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise FileError(
                f"The checkpoint {path} is damaged or none ({error}). Restore it, or remove it and begin anew."
            ) from error
        return cls(tensors, about)


def gather(network: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer, about: dict[str, Any]) -> Checkpoint:
    """The state of a training as a checkpoint."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"mean.{name}": value for name, value in mean.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{key}.{name}"] = value
    return Checkpoint(tensors, about)


def restore(
    checkpoint: Checkpoint, path: Path, network: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Put the state of a checkpoint back, in place.

    Raises:
        FileError: it is of another network.
    """
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "mean": {}, "optimiser": {}}
    for name, tensor in checkpoint.tensors.items():
        kind, _, rest = name.partition(".")
        parts.setdefault(kind, {})[rest] = tensor
    try:
        network.load_state_dict(parts["network"])
        mean.load_state_dict(parts["mean"])
    except RuntimeError as error:
        raise FileError(
            f"The checkpoint {path} is of another network: {error}. Begin anew in another --out."
        ) from error
    by_name = dict(network.named_parameters())
    for name, tensor in parts["optimiser"].items():
        key, _, parameter = name.partition(".")
        target = by_name[parameter]
        # AdamW keeps its count of steps on the CPU.
        value = tensor.clone() if tensor.dim() == 0 else tensor.to(target.device, copy=True)
        if value.dim() == 5:
            value = value.contiguous(memory_format=torch.channels_last_3d)
        optimiser.state[target][key] = value


def check_same_recipe(checkpoint: Checkpoint, recipe: Recipe, path: Path) -> None:
    """Refuse to go on with another recipe; the validation and the card may differ.

    Raises:
        FileError: an entry that matters is not what it was.
    """
    before, now = checkpoint.about["recipe"], json.loads(json.dumps(recipe.to_dict()))
    for table in ("data", "augmentation", "loss", "optimiser", "synthesis"):
        was_table, now_table = (values[table] or {} for values in (before, now))
        names = sorted(set(was_table) | set(now_table))
        changed = [name for name in names if was_table.get(name) != now_table.get(name)]
        if changed:
            was, is_now = was_table.get(changed[0]), now_table.get(changed[0])
            raise FileError(
                f"The checkpoint {path} was made with {table}.{changed[0]} = {was!r}; the recipe now has {is_now!r}. "
                "Put the recipe back, or begin anew in another --out."
            )
