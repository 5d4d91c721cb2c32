"""How well two images' features match, at each voxel and for each small shift (Dosovitskiy et al., "FlowNet", 2015)."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers that a CPU works on at a time: products of that many stay in its caches.
SLAB = 2**19


def correlation(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Mean over the channels of first(x) second(x + d), one channel for each shift d.

    Beyond the border the features are zero. The gradient is written out: what autograd would keep and add up for it,
    shift by shift, takes several times as long.

    Args:
        first, second: (B, C, D, H, W).
        radius: the longest shift along each axis, voxels.

    Returns:
        (B, (2 radius + 1)^3, D, H, W), from the shift (-radius, -radius, -radius), those along i next to each other.
    """
    return _Correlation.apply(first, second, radius)


class _Correlation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, first: Tensor, second: Tensor, radius: int) -> Tensor:
        first, padded = first.contiguous(), F.pad(second, [radius] * 6).contiguous()
        ctx.save_for_backward(first, padded)
        ctx.radius = radius
        costs = first.new_empty((len(first), (2 * radius + 1) ** 3, *first.shape[2:]))
        for part, windows in _windows(first.shape, radius, first.device):
            own = first[part]
            for number, window in enumerate(windows):
                torch.sum(own * padded[window], 1, out=costs[part][:, number])
        return costs.div_(first.shape[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        first, padded = ctx.saved_tensors
        gradient = gradient.contiguous() / first.shape[1]
        by_first, by_padded = torch.zeros_like(first), torch.zeros_like(padded)
        for part, windows in _windows(first.shape, ctx.radius, first.device):
            own, by_own = first[part], by_first[part]
            for number, window in enumerate(windows):
                weight = gradient[part][:, number : number + 1]
                by_own.addcmul_(weight, padded[window])
                by_padded[window].addcmul_(weight, own)
        inner = slice(ctx.radius, -ctx.radius)
        return by_first, by_padded[:, :, inner, inner, inner], None


def _windows(shape: torch.Size, radius: int, device: torch.device):
    """Slabs of the first features, each with the windows of the padded second ones that lie at each shift from it."""
    batch, channels, depth, height, width = shape
    step = depth if device.type != "cpu" else max(1, SLAB // (batch * channels * height * width))
    reach = range(2 * radius + 1)
    every = slice(None)
    for start in range(0, depth, step):
        stop = min(depth, start + step)
        yield (
            (every, every, slice(start, stop)),
            [
                (every, every, slice(start + k, stop + k), slice(j, j + height), slice(i, i + width))
                for k, j, i in itertools.product(reach, repeat=3)
            ],
        )
