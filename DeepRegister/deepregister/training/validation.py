"""How good a network is while it learns: fixed pairs of subjects that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..spatial import jacobian_determinant, least_corner_determinant, lengths, upsampled_field, warp
from ..volume import Volume
from .batch import Batch, warped_labels
from .recipe import Recipe


@dataclass(frozen=True)
class Look:
    """One validation pair as pictures: volumes on the network's grid."""

    fixed: Volume
    moving: Volume
    warped: Volume


def validate(network: nn.Module, pairs: Sequence[Callable[[], Batch]], recipe: Recipe) -> tuple[dict[str, float], Look]:
    """Mean figures over the pairs, and the first of them to look at.

    Args:
        network: in any mode; it is put back to it.
        pairs: make one pair each.
        recipe: its spacing counts.

    Returns:
        "dice" and "dice_before": overlap of the structures, mean over those that either side shows, after and before;
        "difference" and "difference_before": mean absolute difference of the intensities where both images are known;
        "sdlogj": standard deviation of the logarithm of the Jacobian determinant; "folds": share of voxels where it is
        not positive, by central or any one-sided differences; "inverse_mm": how far there and back misses the start;
        "endpoint_mm": mean distance from the true motion. What cannot be known for the pairs is left out.
    """
    mode = network.training
    network.eval()
    rows, look = [], None
    try:
        with torch.inference_mode():
            for make in pairs:
                batch = make()
                motion = network(batch.fixed, batch.moving)
                field = upsampled_field(motion.fixed_to_moving, motion.stride)
                back = motion.moving_to_fixed
                back = None if back is None else upsampled_field(back, motion.stride)
                rows.append(_figures(batch, field, back, recipe.data.spacing_mm))
                look = look or _look(batch, field, recipe.data.spacing_mm)
    finally:
        network.train(mode)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}, look


def rounding_mm(network: nn.Module, pairs: Sequence[Callable[[], Batch]], spacing_mm: float) -> float:
    """How far computing in bfloat16 moves the field at most, mm, over these pairs."""
    most = 0.0
    with torch.inference_mode():
        for make in pairs:
            batch = make()
            exact = network(batch.fixed, batch.moving)
            with torch.autocast(batch.fixed.device.type, torch.bfloat16):
                rounded = network(batch.fixed, batch.moving)
            moved = lengths(rounded.fixed_to_moving.float() - exact.fixed_to_moving)
            most = max(most, float(moved.max()) * exact.stride * spacing_mm)
    return most


def _figures(batch: Batch, field: Tensor, back: Tensor | None, spacing_mm: float) -> dict[str, float]:
    figures = {}
    if batch.fixed_labels is not None and batch.moving_labels is not None:
        figures["dice"] = _dice(batch.fixed_labels, warped_labels(batch.moving_labels, field))
        figures["dice_before"] = _dice(batch.fixed_labels, batch.moving_labels)
    fixed = batch.fixed if batch.fixed_clean is None else batch.fixed_clean
    moving = batch.moving if batch.moving_clean is None else batch.moving_clean
    inside = torch.ones_like(fixed) if batch.fixed_inside is None else batch.fixed_inside
    there = torch.ones_like(fixed) if batch.moving_inside is None else batch.moving_inside
    for name, image, known in (
        ("difference", warp(moving, field), inside * warp(there, field, "zeros")),
        ("difference_before", moving, inside * there),
    ):
        figures[name] = float(((fixed - image).abs() * known).sum() / known.sum().clamp(min=1))
    kept = inside[0, 0] > 0.5
    determinant = jacobian_determinant(field)
    figures["sdlogj"] = float(determinant[kept].clamp(min=1e-3).log().std())
    figures["folds"] = float((torch.minimum(determinant, least_corner_determinant(field))[kept] <= 0).float().mean())
    if back is not None:
        missed = lengths(field + warp(back, field))[0, 0]
        figures["inverse_mm"] = spacing_mm * float(missed[kept].mean())
    if batch.field is not None:
        weight = torch.ones_like(fixed) if batch.field_weight is None else batch.field_weight
        missed = lengths(field - batch.field) * weight
        figures["endpoint_mm"] = spacing_mm * float(missed.sum() / weight.sum().clamp(min=1))
    return figures


def _dice(fixed: Tensor, moved: Tensor) -> float:
    """Mean Dice of probabilities (1, L, D, H, W), each voxel given to its likeliest structure or to none."""
    here, there = (torch.cat([1 - each.sum(1, keepdim=True), each], 1).argmax(1) for each in (fixed, moved))
    scores = []
    for structure in range(1, fixed.shape[1] + 1):
        a, b = here == structure, there == structure
        total = int(a.sum() + b.sum())
        if total:
            scores.append(2 * int((a & b).sum()) / total)
    return float(np.mean(scores)) if scores else 0.0


def _look(batch: Batch, field: Tensor, spacing_mm: float) -> Look:
    images = (batch.fixed, batch.moving, warp(batch.moving, field))
    volumes = (Volume.from_array(each[0, 0].float().cpu().numpy(), (spacing_mm,) * 3) for each in images)
    return Look(*volumes)
