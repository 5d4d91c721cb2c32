"""Random numbers of one seed: few of them on the CPU, for what steers, and many on the training device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Draw:
    """Draws for one batch.

    Args:
        generator: of the CPU; all that is drawn follows from its state.
        device: where volumes are made. Another device than the CPU gets a seed from the generator.
    """

    def __init__(self, generator: torch.Generator, device: torch.device):
        self.device = torch.device(device)
        self._host = generator
        self._volumes = generator if self.device.type == "cpu" else None

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._host, dtype=torch.float64))

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def array(self, low: float, high: float, *shape: int) -> np.ndarray:
        return low + (high - low) * torch.rand(shape, generator=self._host, dtype=torch.float64).numpy()

    def gaussian(self, *shape: int) -> np.ndarray:
        return torch.randn(shape, generator=self._host, dtype=torch.float64).numpy()

    def chance(self, share: float) -> bool:
        return self.uniform(0, 1) < share

    def choice(self, weights: Sequence[float]) -> int:
        """A place, each as often as its weight says."""
        return int(np.searchsorted(np.cumsum(weights) / np.sum(weights), self.uniform(0, 1), side="right"))

    def order(self, count: int) -> list[int]:
        return torch.randperm(count, generator=self._host).tolist()

    def volume(self, *shape: int) -> Tensor:
        """White noise of unit variance on the device."""
        if self._volumes is None:
            seed = int(torch.randint(2**62, (), generator=self._host))
            self._volumes = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(shape, generator=self._volumes, device=self.device)


def put(values: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The values on a device, which does not make a GPU finish first what it has still to do."""
    tensor = torch.tensor(values, dtype=dtype)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def smooth_noise(draw: Draw, channels: int, shape: Sequence[int], distances: Sequence[float]) -> Tensor:
    """Smooth noise of unit variance, (B, channels, D, H, W): cubic B-splines with random coefficients.

    Args:
        draw: of the coefficients, and of where the knots lie.
        channels: independent ones.
        shape: D, H, W.
        distances: of the knots of each sample, voxels: its noise is much the same over this length and independent
            beyond four.
    """
    matrices = []
    for length in shape:
        each = [spline_matrix(length, distance, draw.uniform(0, distance)) for distance in distances]
        stacked = np.zeros((len(each), length, max(matrix.shape[1] for matrix in each)), np.float32)
        for row, matrix in zip(stacked, each, strict=True):
            row[:, : matrix.shape[1]] = matrix
        matrices.append(put(stacked, draw.device))
    depth, height, width = matrices
    values = draw.volume(len(distances), channels, depth.shape[2], height.shape[2], width.shape[2])
    # As products of small matrices this takes a tenth of the time of filtering white noise.
    values = (height[:, None, None] @ (values @ width.mT[:, None, None])).flatten(3)
    return (depth[:, None] @ values).view(len(distances), channels, *shape)


def spline_matrix(length: int, distance: float, offset: float) -> np.ndarray:
    """(length, knots): cubic B-splines around each place, scaled so that white coefficients give unit variance."""
    place = (np.arange(length) + offset) / distance
    cell = np.floor(place).astype(int)
    t = place - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1)
    weights /= np.sqrt((weights**2).sum(1, keepdims=True))
    matrix = np.zeros((length, cell[-1] + 4), np.float32)
    np.put_along_axis(matrix, cell[:, None] + np.arange(4), weights, 1)
    return matrix
