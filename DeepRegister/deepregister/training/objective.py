"""What a training makes small: the recipe's losses, weighted and added up."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..networks import Motion
from ..spatial import upsampled_field, warp
from .batch import Batch, warped_labels
from .losses import dice_loss, endpoint_loss, local_correlation_loss, smoothness_loss, velocity_kl_loss
from .recipe import Recipe

# Names of the terms, which are those of their weights in `[loss]`.
TERMS = ("lncc", "mse", "dice", "endpoint", "smoothness", "kl")


def objective(batch: Batch, motion: Motion, recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and its terms by name before they are weighted."""
    loss = recipe.loss
    forward = upsampled_field(motion.fixed_to_moving, motion.stride)
    directions = [(batch.fixed, batch.moving, "fixed", "moving", forward)]
    if loss.both_directions and motion.moving_to_fixed is not None:
        back = upsampled_field(motion.moving_to_fixed, motion.stride)
        directions.append((batch.moving, batch.fixed, "moving", "fixed", back))
    terms: dict[str, list[Tensor]] = {}

    def add(name: str, term: Callable[..., Tensor], *arguments: object) -> None:
        if getattr(loss, name):
            terms.setdefault(name, []).append(term(*arguments))

    for target, source, here, there, field in directions:
        if loss.lncc or loss.mse:
            still, moved = (_clean(batch, side, image) for side, image in ((here, target), (there, source)))
            known = _known(getattr(batch, f"{here}_inside"), getattr(batch, f"{there}_inside"), field)
            carried = warp(moved, field)
            add("lncc", local_correlation_loss, still, carried, loss.lncc_radius, known)
            add("mse", _mean_square, still - carried, known)
        labels, other = getattr(batch, f"{here}_labels"), getattr(batch, f"{there}_labels")
        if loss.dice and labels is not None and other is not None:
            add("dice", dice_loss, labels, warped_labels(other, field))
    if batch.field is not None:
        add("endpoint", endpoint_loss, forward, batch.field, batch.field_weight, recipe.data.spacing_mm)
    for velocity in motion.velocities:
        add("smoothness", smoothness_loss, velocity, loss.smoothness_kind)
    if motion.log_variance is not None:
        add("kl", velocity_kl_loss, motion.velocities[-1], motion.log_variance, loss.kl_prior)
    means = {name: torch.stack(values).mean() for name, values in terms.items()}
    return sum(getattr(loss, name) * value for name, value in means.items()), means


def _clean(batch: Batch, side: str, image: Tensor) -> Tensor:
    clean = getattr(batch, f"{side}_clean")
    return image if clean is None else clean


def _known(here: Tensor | None, there: Tensor | None, field: Tensor) -> Tensor | None:
    """Where both images say something; a network must not gain by moving voxels out of sight, so without gradient."""
    if there is not None:
        there = warp(there, field.detach(), "zeros")
    if here is None or there is None:
        return there if here is None else here
    return here * there


def _mean_square(difference: Tensor, weight: Tensor | None) -> Tensor:
    squared = difference.square()
    return squared.mean() if weight is None else (squared * weight).sum() / weight.sum().clamp(min=1)
