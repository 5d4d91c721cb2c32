"""Label maps under motion, as probabilities, and brought into one pose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .draw import put

# Structures that all maps share, for a common pose to be found from where they lie.
FEWEST_SHARED = 6
ROUNDS = 3


@dataclass(frozen=True, eq=False)
class LabelMaps:
    """Label maps of different sizes on the training device, in one piece: a batch reads them all at once.

    Attributes:
        voxels: (N,) of uint8; each map has a border of one voxel that is held beyond it.
        start: where each map begins.
        size: (maps, 3), voxels along i, j, k, with the border.
    """

    voxels: Tensor
    start: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, maps: Sequence[Tensor]) -> LabelMaps:
        """Of maps (d, h, w) of uint8; their border is background."""
        bordered = [F.pad(each, [1] * 6) for each in maps]
        start = np.cumsum([0] + [each.numel() for each in bordered])[:-1]
        sizes = np.array([each.shape[::-1] for each in bordered])
        return cls(torch.cat([each.flatten() for each in bordered]), start, sizes)

    @classmethod
    def bordered(cls, maps: Tensor) -> LabelMaps:
        """Of maps (B, d, h, w) of uint8 that have their border."""
        count, size = len(maps), np.array(maps.shape[:0:-1])
        return cls(maps.flatten(), np.arange(count) * size.prod(), np.tile(size, (count, 1)))

    def at(self, which: Sequence[int], points: Tensor) -> Tensor:
        """(B, 1, D, H, W) of uint8: the labels of the nearest voxels.

        Args:
            which: map each sample reads.
            points: (B, 3, D, H, W), voxels of these maps without their borders.
        """
        size = self.size[list(which)]
        last = put(size - 0.5, points.device).view(-1, 3, 1, 1, 1)
        i, j, k = torch.minimum(points.add(1.5).clamp_(min=0), last).int().unbind(1)
        start, width, height = (
            put(part, points.device, torch.int32).view(-1, 1, 1, 1)
            for part in (self.start[list(which)], size[:, 0], size[:, 1])
        )
        # Plain indices take a quarter of the time of torch's sampling of a grid.
        index = (k * height).add_(j).mul_(width).add_(i).add_(start)
        return self.voxels.index_select(0, index.view(-1)).view(index.shape)[:, None]


class Places:
    """A batch of label maps (B, 1, D, H, W) of uint8, to read from a table for each."""

    def __init__(self, labels: Tensor, labels_per_map: int):
        self._shape = labels.shape
        first = put(np.arange(len(labels)) * labels_per_map, labels.device, torch.int32)
        self._index = (labels.int() + first.view(-1, 1, 1, 1, 1)).view(-1)

    def read(self, tables: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """What the tables (B, labels) have for each voxel, (B, 1, D, H, W)."""
        table = put(tables, self._index.device, dtype).view(-1)
        return table.index_select(0, self._index).view(self._shape)


def probabilities(channel: Tensor, count: int, stride: int = 1) -> Tensor:
    """(B, `count`, d, h, w): in each channel its share of each block of `stride`^3 voxels.

    Args:
        channel: (B, 1, D, H, W) of int64; `count` for none.
        count: of the channels.
        stride: voxels along a side of a block; what does not fill a block at the far end is left out.
    """
    size = [length // stride for length in channel.shape[2:]]
    found = torch.zeros(len(channel), count + 1, *size, device=channel.device)
    share = torch.full((len(channel), 1, *size), stride**-3, device=channel.device)
    for offset in itertools.product(range(stride), repeat=3):
        part = tuple(slice(o, o + stride * n, stride) for o, n in zip(offset, size, strict=True))
        found.scatter_add_(1, channel[(slice(None), slice(None), *part)], share)
    return found[:, :count]


def centroids(labels: np.ndarray, matrix: np.ndarray, count: int) -> np.ndarray:
    """(count, 3): the centroid of each label 0..count - 1 of a map (k, j, i), through `matrix`; NaN where it is not."""
    flat = labels.ravel()
    number = np.bincount(flat, minlength=count).astype(float)
    sums = []
    for axis in (2, 1, 0):
        shape = [1, 1, 1]
        shape[axis] = -1
        weight = np.broadcast_to(np.arange(labels.shape[axis], dtype=float).reshape(shape), labels.shape)
        sums.append(np.bincount(flat, weight.ravel(), count))
    with np.errstate(invalid="ignore"):
        index = np.stack(sums, 1)[:count] / number[:count, None]
    return index @ matrix[:3, :3].T + matrix[:3, 3]


def common_pose(points: np.ndarray) -> list[np.ndarray] | None:
    """(4, 4) matrices from one pose to each of several bodies, by least squares of points that all of them have.

    Args:
        points: (bodies, structures, 3), mm; NaN where a body lacks a structure.

    Returns:
        The origin of the pose is the middle of the structures. None where too few are shared.
    """
    shared = points[:, np.isfinite(points).all((0, 2))]
    if shared.shape[1] < FEWEST_SHARED:
        return None
    typical = (shared - shared.mean(1, keepdims=True)).mean(0)
    for _ in range(ROUNDS):
        matrices = []
        for body in shared:
            solved = np.linalg.lstsq(np.c_[typical, np.ones(len(typical))], body, rcond=None)[0]
            matrices.append(np.vstack([solved.T, [0, 0, 0, 1]]))
        back = [np.linalg.inv(matrix) for matrix in matrices]
        typical = np.mean([body @ m[:3, :3].T + m[:3, 3] for body, m in zip(shared, back, strict=True)], 0)
        typical -= typical.mean(0)
    return matrices
