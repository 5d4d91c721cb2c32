"""Networks that predict how one image moves onto another: modules alone, no files, no geometry, no training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..errors import ModelError
from .motion import Motion
from .pyramid import Pyramid
from .voxelmorph import VoxelMorph

__all__ = ["ARCHITECTURES", "Motion", "Pyramid", "VoxelMorph", "build"]

ARCHITECTURES = {"voxelmorph": VoxelMorph, "pyramid": Pyramid}


def build(architecture: str, parameters: Mapping[str, Any]) -> nn.Module:
    """The network called `architecture`, with fresh weights.

    Args:
        architecture: one of `ARCHITECTURES`.
        parameters: its keyword arguments, as a card or a recipe has them (numbers, true or false, lists).

    Raises:
        ModelError: there is no such architecture or parameter, or a value does not fit.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(f"There is no network {architecture!r}. Choose one of: {', '.join(ARCHITECTURES)}.")
    network = ARCHITECTURES[architecture]
    known = list(inspect.signature(network).parameters)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ModelError(
            f"The network {architecture} has no parameter {', '.join(unknown)}. Its parameters are: {', '.join(known)}."
        )
    try:
        return network(**parameters)
    except (TypeError, ValueError, RuntimeError) as error:
        values = ", ".join(f"{name} = {value!r}" for name, value in parameters.items())
        raise ModelError(f"The network {architecture} cannot be built with {values}: {error}.") from error
