"""A pyramid of features, matched from coarse to fine; symmetric in both images by construction.

Both images go through one encoder. On each level, from the coarsest, the features of both are warped to the midpoint
of the motion found so far and correlated over small shifts; a decoder turns that into a velocity, made antisymmetric,
and both halves of the motion are composed with its exponential. So exchanging the images gives the inverse.

Correlation and coarse-to-fine warping: Sun et al., "PWC-Net", CVPR 2018; Kang et al., "Dual-stream pyramid registration
network", Med. Image Anal. 2022. Symmetric halves: Avants et al., Med. Image Anal. 2008; Mok and Chung, CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spatial import compose, exponentiate, single, upsampled_field, warp
from .correlation import correlation
from .motion import Motion

SLOPE = 0.1
# Images start almost unmoved.
VELOCITY_SCALE = 1e-3


class Pyramid(nn.Module):
    """Coarse-to-fine matching on grids of 2, 4, 8, ... image voxels.

    Args:
        channels: of the features, from the finest grid (stride 2) to the coarsest.
        decoder: channels of the decoders, likewise.
        radius: shifts that are correlated, in voxels of the grid, likewise.
        repeats: how often each grid is matched and moved anew, with one decoder, likewise.
        finest: stride of the finest grid that is matched, and of the fields; decoders below are not there.
        steps: squarings of the integration.
    """

    def __init__(
        self,
        channels: Sequence[int] = (24, 32, 48, 48),
        decoder: Sequence[int] = (32, 48, 48, 48),
        radius: Sequence[int] = (1, 1, 1, 2),
        repeats: Sequence[int] = (1, 1, 1, 1),
        finest: int = 2,
        steps: int = 6,
    ):
        super().__init__()
        levels = len(channels)
        if not len(decoder) == len(radius) == len(repeats) == levels:
            raise ValueError("channels, decoder, radius and repeats need one number for each level")
        strides = [2 ** (level + 1) for level in range(levels)]
        if finest not in strides:
            raise ValueError(f"finest is one of {', '.join(map(str, strides))}, not {finest}")
        self.stride, self.steps, self.multiple = finest, steps, strides[-1]
        self.encoder = nn.ModuleList()
        before = 1
        for after in channels:
            self.encoder.append(_Stage(before, after))
            before = after
        # Named by stride: a network with more decoders takes over those of one with fewer.
        self.decoders = nn.ModuleDict()
        context = 0
        for level in reversed(range(levels)):
            if strides[level] >= finest:
                self.decoders[str(strides[level])] = _Decoder(
                    channels[level], decoder[level], context, radius[level], repeats[level]
                )
                context = decoder[level]

    def forward(self, fixed: Tensor, moving: Tensor) -> Motion:
        """The motion of images (B, 1, D, H, W), scaled to 0..1, of sizes that `multiple` divides."""
        # One batch holds both directions: the fixed image as the first and the moving as the second, then exchanged.
        features = torch.cat([fixed, moving])
        pyramid = {}
        for level, stage in enumerate(self.encoder, 1):
            pyramid[str(2**level)] = features = stage(features)
            features = F.leaky_relu(features, SLOPE)
        # From the midpoint to each image, and back from it.
        out = back = total = context = found = None
        velocities = []
        for stride, decoder in self.decoders.items():
            features = pyramid[stride]
            if out is None:
                out = back = total = single(features.new_zeros((len(features), 3, *features.shape[2:])))
            else:
                out, back, total = (upsampled_field(field, 2) for field in (out, back, total))
                context = F.interpolate(decoder.context(found), scale_factor=2, mode="trilinear", align_corners=False)
            for _ in range(decoder.repeats):
                warped = warp(features, out)
                velocity, found = decoder(warped, _exchanged(warped), context)
                # By half of it the first image is met, by half the second.
                half = exponentiate(velocity / 2, self.steps)
                out = compose(_exchanged(half), out)
                back = compose(back, half)
                total = total + velocity
            velocities.append(total.chunk(2)[0])
        there, inverse = compose(back, _exchanged(out)).chunk(2)
        return Motion(there, inverse, tuple(velocities), self.stride)


class _Stage(nn.Module):
    """Features on half the grid, each channel of each image with a mean and variance of its own.

    Whatever contrast and brightness an image has, its features vary alike, and their products tell how well they match.
    """

    def __init__(self, before: int, after: int):
        super().__init__()
        # Of even size, so that a coarse voxel lies in the middle of the fine ones that it covers; a normalised channel
        # has no use for a bias before. One group for each channel is instance normalisation, and faster on a CPU.
        size, padding = (4, 1) if before == 1 else (2, 0)
        self.halve = nn.Conv3d(before, after, size, 2, padding, bias=False)
        self.halve_norm = nn.GroupNorm(after, after)
        self.conv = nn.Conv3d(after, after, 3, padding=1, bias=False)
        self.conv_norm = nn.GroupNorm(after, after)

    def forward(self, features: Tensor) -> Tensor:
        features = F.leaky_relu(self.halve_norm(self.halve(features)), SLOPE)
        return self.conv_norm(self.conv(features))


class _Decoder(nn.Module):
    """The velocity on one grid, from features of both images."""

    def __init__(self, features: int, channels: int, context: int, radius: int, repeats: int):
        super().__init__()
        self.radius, self.repeats = radius, repeats
        self.costs = nn.Conv3d((2 * radius + 1) ** 3, channels, 1)
        self.first = nn.Conv3d(channels + 2 * features, channels, 3, padding=1)
        self.context = nn.Conv3d(context, channels, 1) if context else None
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        # A bias would cancel between both directions.
        self.velocity = nn.Conv3d(channels, 3, 3, padding=1, bias=False)
        nn.init.normal_(self.velocity.weight, std=VELOCITY_SCALE)

    def forward(self, first: Tensor, second: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The velocity from the first features to the second, and what the next finer grid is told.

        Both directions in one batch: the second features are the first ones, exchanged.
        """
        costs = F.leaky_relu(self.costs(correlation(first, second, self.radius)), SLOPE)
        hidden = self.first(torch.cat([costs, first, second], 1))
        hidden = F.leaky_relu(hidden if context is None else hidden + context, SLOPE)
        hidden = F.leaky_relu(self.second(hidden), SLOPE)
        velocity = single(self.velocity(hidden))
        return (velocity - _exchanged(velocity)) / 2, hidden


def _exchanged(pair: Tensor) -> Tensor:
    """A batch of both directions with each in the other's place."""
    return pair.roll(len(pair) // 2, 0)
