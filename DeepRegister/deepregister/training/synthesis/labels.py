"""Label maps under motion, as probabilities, and brought into one pose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Structures that all maps share, for a common pose to be found from where they lie.
FEWEST_SHARED = 6
ROUNDS = 3


def bordered(labels: Tensor) -> Tensor:
    """The label map (D, H, W) with a voxel of background all around, as `labels_at` needs it."""
    return F.pad(labels, [1] * 6)


def labels_at(bordered_labels: Tensor, points: Sequence[Tensor]) -> Tensor:
    """(1, 1, D, H, W) of uint8: the nearest voxels' labels.

    Args:
        bordered_labels: (d, h, w) with a border of one voxel that is held beyond it.
        points: places along i, j, k, (1, D, H, W) each, voxels of the map without its border.
    """
    depth, height, width = bordered_labels.shape
    i, j, k = (
        point.add(1.5).clamp_(0, length - 0.5).int()
        for point, length in zip(points, (width, height, depth), strict=True)
    )
    # Plain indices take a quarter of the time of torch's sampling of a grid.
    index = k.mul_(height).add_(j).mul_(width).add_(i)
    return bordered_labels.view(-1).index_select(0, index.view(-1)).view(index.shape)[None]


def probabilities(labels: Tensor, channel: np.ndarray, count: int, stride: int = 1) -> Tensor:
    """(1, `count`, d, h, w): in each channel the share of its labels in each block of `stride`^3 voxels.

    Args:
        labels: (1, 1, D, H, W) of uint8.
        channel: for each label its channel; `count` for none.
        count: of the channels.
        stride: voxels along a side of a block; what does not fill a block at the far end is left out.
    """
    place = torch.as_tensor(channel, device=labels.device).index_select(0, labels.reshape(-1).int()).view(labels.shape)
    size = [length // stride for length in labels.shape[2:]]
    found = torch.zeros(1, count + 1, *size, device=labels.device)
    share = torch.full((1, 1, *size), stride**-3, device=labels.device)
    for offset in itertools.product(range(stride), repeat=3):
        part = tuple(slice(o, o + stride * n, stride) for o, n in zip(offset, size, strict=True))
        found.scatter_add_(1, place[(slice(None), slice(None), *part)], share)
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
