"""Label maps of random shapes: no anatomy, so that a network cannot rely on one (Hoffmann et al., TMI 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .anatomy import Anatomy
from .draw import Draw, smooth_noise
from .ranges import ShapeRanges


def shape_anatomy(ranges: ShapeRanges) -> Anatomy:
    """Of the labels of `random_shapes`: each a tissue of its own, all of them scored; walls are something too."""
    anatomy = Anatomy.of(range(1, most_labels(ranges) + 1))
    everywhere = (True,) * len(anatomy.content)
    return replace(anatomy, content=everywhere, kept=everywhere)


def most_labels(ranges: ShapeRanges) -> int:
    return ranges.cells**ranges.partitions


def random_shapes(ranges: ShapeRanges, shape: Sequence[int], spacing_mm: float, draw: Draw) -> Tensor:
    """A label map (D, H, W) of uint8 with the labels 0..`most_labels`; 0 is the walls, where there are any.

    In each partition the largest of several smooth noises tells which cell a voxel is in. The partitions cut each
    other: of few noises come many labels.
    """
    labels = torch.zeros(tuple(shape), dtype=torch.uint8, device=draw.device)
    walls = draw.chance(ranges.walls)
    wall = None
    for number in range(ranges.partitions):
        scale = draw.log_uniform(*ranges.scale_mm) / spacing_mm
        best = smooth_noise(draw, 1, shape, scale)[0]
        cell = torch.zeros_like(labels)
        second = None
        for place in range(1, ranges.cells):
            other = smooth_noise(draw, 1, shape, scale)[0]
            if walls and number == 0:
                lower = torch.minimum(best, other)
                second = lower if second is None else torch.maximum(second, lower)
            cell.masked_fill_(other > best, place)
            best = torch.maximum(best, other)
        labels = labels * ranges.cells + cell
        if second is not None:
            # Noise of this scale changes by about its own size over it: so wide a gap is so thick a wall.
            wall = best - second < draw.uniform(*ranges.wall_mm) / (scale * spacing_mm)
    labels += 1
    return labels if wall is None else labels.masked_fill_(wall, 0)
