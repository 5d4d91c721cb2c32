"""What a network is trained on in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..spatial import block_field, warp


@dataclass(frozen=True)
class Batch:
    """Pairs of images on one grid, and what is known of them. Made on the training device.

    Attributes:
        fixed, moving: (B, 1, D, H, W), 0..1: what the network sees.
        fixed_inside, moving_inside: (B, 1, D, H, W), 0..1: where an image says anything; beyond its border it does
            not. None: everywhere.
        fixed_labels, moving_labels: (B, L, d, h, w), probabilities of the structures, without the background, in voxels
            of the images or in blocks of those (`warped_labels`); None where they are not known.
        fixed_clean, moving_clean: (B, 1, D, H, W), what is compared in place of the images, in one shared contrast,
            where those differ in contrast; None: the images themselves.
        field: (B, 3, D, H, W), the true motion, fixed to moving, in voxels; None where it is not known.
        field_weight: (B, 1, D, H, W), 0..1: how much the true motion counts at each voxel; None: all alike.
    """

    fixed: Tensor
    moving: Tensor
    fixed_inside: Tensor | None = None
    moving_inside: Tensor | None = None
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None
    fixed_clean: Tensor | None = None
    moving_clean: Tensor | None = None
    field: Tensor | None = None
    field_weight: Tensor | None = None


def warped_labels(labels: Tensor, field: Tensor) -> Tensor:
    """Probabilities (B, L, d, h, w) at x + u(x); where they lie on blocks of voxels, so does the field, as its mean."""
    return warp(labels, block_field(field, field.shape[2] // labels.shape[2]))


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of all pairs; what only some of them know is left out, but for where they say anything."""
    parts = {}
    for name in (each.name for each in fields(Batch)):
        values = [getattr(batch, name) for batch in batches]
        if name.endswith("_inside") and any(value is not None for value in values):
            values = [torch.ones_like(b.fixed) if v is None else v for b, v in zip(batches, values, strict=True)]
        if all(value is not None for value in values):
            parts[name] = torch.cat(values)
    return Batch(**parts)
