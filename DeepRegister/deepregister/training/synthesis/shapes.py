"""Label maps of random shapes: no anatomy, so that a network cannot rely on one (Hoffmann et al., TMI 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .anatomy import Anatomy
from .draw import Draw, put, smooth_noise
from .ranges import ShapeRanges


def shape_anatomy(ranges: ShapeRanges) -> Anatomy:
    """Of the labels of `random_shapes`: each a tissue of its own, all of them scored; walls are something too."""
    anatomy = Anatomy.of(range(1, most_labels(ranges) + 1))
    everywhere = (True,) * len(anatomy.content)
    return replace(anatomy, content=everywhere, kept=everywhere)


def most_labels(ranges: ShapeRanges) -> int:
    return ranges.cells**ranges.partitions


def random_shapes(ranges: ShapeRanges, count: int, shape: Sequence[int], spacing_mm: float, draw: Draw) -> Tensor:
    """Label maps (B, D, H, W) of uint8 with the labels 0..`most_labels`; 0 is the walls, where there are any.

    In each partition the largest of several smooth noises tells which cell a voxel is in. The partitions cut each
    other: of few noises come many labels.
    """
    labels = torch.zeros((count, *shape), dtype=torch.uint8, device=draw.device)
    thickness = [draw.uniform(*ranges.wall_mm) if draw.chance(ranges.walls) else 0.0 for _ in range(count)]
    walls = None
    for number in range(ranges.partitions):
        scales = [draw.log_uniform(*ranges.scale_mm) for _ in range(count)]
        walled = number == 0 and any(thickness)
        distances = [scale / spacing_mm for scale in scales]
        best = smooth_noise(draw, 1, shape, distances)[:, 0]
        cell = torch.zeros_like(labels)
        second = None
        for place in range(1, ranges.cells):
            other = smooth_noise(draw, 1, shape, distances)[:, 0]
            if walled:
                lower = torch.minimum(best, other)
                second = lower if second is None else torch.maximum(second, lower)
            cell.masked_fill_(other > best, place)
            best = torch.maximum(best, other)
        labels = labels * ranges.cells + cell
        if walled:
            # Noise of this scale changes by about its own size over it: so wide a gap is so thick a wall.
            gap = put(np.divide(thickness, scales), draw.device).view(-1, 1, 1, 1)
            walls = best - second < gap
    labels += 1
    return labels if walls is None else labels.masked_fill_(walls, 0)
