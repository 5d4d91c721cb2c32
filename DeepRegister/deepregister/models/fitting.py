"""Settings and device that fit the memory there is: a coarser grid, or the CPU, rather than a run that dies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..devices import describe_device, free_memory
from ..errors import ResourceError
from ..preparation import Pair
from ..resources import Estimate, estimate
from ..settings import Settings
from .instance import fine_levels, pyramid
from .learned import LearnedModel
from .registry import Card

# Voxels along the shortest side of a field; fewer say nothing.
LEAST_GRID = 16


def needed(pair: Pair, card: Card, settings: Settings, device: torch.device) -> Estimate:
    """What a run of one model will take.

    Raises:
        ModelError: its weights are missing, damaged or not its own.
    """
    levels = pyramid(pair.fixed, settings) if card.transform == "deformable" else []
    network = None
    if card.learned:
        model = LearnedModel(card)
        grid = model.grid(pair.fixed, settings)
        network = card.architecture, int(np.prod(grid.size))
        refines = settings.refines(card.refine, pair.steered)
        levels = fine_levels(levels, model.stride * grid.spacing[0]) if refines else []
    return estimate(
        pair.fixed.geometry,
        pair.moving.geometry,
        levels[-1].voxels if levels else 0,
        sum(level.voxels * level.iterations for level in levels),
        settings.similarity,
        device.type == "cpu",
        1 if pair.regions is None else len(pair.regions.values),
        network,
    )


def affordable(pair: Pair, card: Card, settings: Settings, device: torch.device) -> bool:
    """Whether there is memory for a model with these settings; raises as `needed`."""
    free = free_memory(device)
    return free is None or needed(pair, card, settings, device).memory_bytes <= free


def within_memory(
    pair: Pair, card: Card, settings: Settings, device: torch.device, warnings: list[str]
) -> tuple[Settings, torch.device, Estimate]:
    """Settings and device with which a model fits, what it will then take, and warnings that say what was changed.

    Raises:
        ResourceError: it fits nowhere.
        ModelError: its weights are missing, damaged or not its own.
    """
    trial, expected = settings, needed(pair, card, settings, device)
    free = free_memory(device)
    if free is None or expected.memory_bytes <= free:
        return trial, device, expected
    if device.type != "cpu":
        warnings.append(
            f"{describe_device(device)} has too little free memory ({free / 1e9:.1f} GB); the CPU computes."
        )
        return within_memory(pair, card, settings, torch.device("cpu"), warnings)
    while card.transform == "deformable":
        levels = pyramid(pair.fixed, trial)
        spacing = 1.26 * float(min(levels[-1].geometry.spacing))
        if min(levels[-1].geometry.size) < LEAST_GRID:
            break
        trial = replace(trial, field_spacing_mm=spacing)
        expected = needed(pair, card, trial, device)
        if expected.memory_bytes <= free:
            warnings.append(
                f"Memory is short ({free / 1e9:.1f} GB free): the field is computed at {spacing:.1f} mm, more coarsely "
                "than the quality asks for."
            )
            return trial, device, expected
    raise ResourceError(
        f"This pair needs {expected.memory_bytes / 1e9:.1f} GB of memory even at the coarsest grid, and "
        f"{free / 1e9:.1f} GB are free. Close other programs or crop the volumes."
    )
