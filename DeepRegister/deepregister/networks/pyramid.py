"""A pyramid of features, matched from coarse to fine; symmetric in both images by construction.

Both images go through one encoder. On each level, from the coarsest, the features of both are warped to the midpoint
of the motion found so far and correlated over small shifts; a decoder turns that into a velocity, made antisymmetric,
and both halves of the motion are composed with its exponential. So exchanging the images gives the inverse.

A velocity starts as the mean shift, weighted by how well each matches, so that training need not find out first what a
match means; what convolutions find in the matches around and in both features is added to it.

Correlation and coarse-to-fine warping: Sun et al., "PWC-Net", CVPR 2018; Kang et al., "Dual-stream pyramid registration
network", Med. Image Anal. 2022. Weighted shifts: Wang et al., "ModeT", MICCAI 2023. Symmetric halves: Avants et al.,
Med. Image Anal. 2008; Mok and Chung, CVPR 2020.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spatial import compose, exponentiate, single, upsampled_field, warp
from .correlation import correlation
from .motion import Motion

SLOPE = 0.1
# What convolutions add to the weighted shifts starts from almost nothing.
VELOCITY_SCALE = 1e-3
# Features shorter than this, where 1 is typical, tell no structure from noise: they are not brought to full length.
LEAST_LENGTH = 0.3
# How much a better match weighs at the start: correlations of -1 to 1 are multiplied by it, and exponentiated.
SHARPNESS = 8.0


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
            features = stage(features)
            pyramid[str(2**level)] = _directions(features)
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

    Whatever brightness and range an image has, its features vary alike.
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
    """The velocity on one grid, from the features of both images and how well they match."""

    def __init__(self, features: int, channels: int, context: int, radius: int, repeats: int):
        super().__init__()
        self.radius, self.repeats = radius, repeats
        shifts = torch.tensor([shift[::-1] for shift in itertools.product(range(-radius, radius + 1), repeat=3)])
        self.register_buffer("shifts", shifts.T.float().reshape(3, -1, 1, 1, 1), persistent=False)
        self.sharpness = nn.Parameter(torch.tensor([SHARPNESS]))
        # Starts as a plain mean over the neighbours.
        self.vote = nn.Conv3d(3, 3, 3, padding=1, bias=False)
        with torch.no_grad():
            self.vote.weight.copy_(torch.eye(3).view(3, 3, 1, 1, 1) / 27)
        self.costs = nn.Conv3d(len(shifts), channels, 1)
        self.context = nn.Conv3d(context, channels, 1) if context else None
        self.first = nn.Conv3d(channels + 2 * features, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        # A bias would cancel between both directions.
        self.velocity = nn.Conv3d(channels, 3, 3, padding=1, bias=False)
        nn.init.normal_(self.velocity.weight, std=VELOCITY_SCALE)

    def forward(self, first: Tensor, second: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The velocity from the first features to the second, and what the next finer grid is told.

        Both directions in one batch: the second features are the first ones, exchanged.
        """
        matches = correlation(first, second, self.radius)
        hidden = self.costs(matches)
        hidden = F.leaky_relu(hidden if context is None else hidden + context, SLOPE)
        hidden = F.leaky_relu(self.first(torch.cat([hidden, first, second], 1)), SLOPE)
        hidden = F.leaky_relu(self.second(hidden), SLOPE)
        # Whole voxels of a coarse grid are added up here: too much for half precision.
        with torch.autocast(matches.device.type, enabled=False):
            mean_shift = self.vote(F.conv3d(torch.softmax(self.sharpness * single(matches), 1), self.shifts))
        velocity = single(self.velocity(hidden)) + mean_shift
        return (velocity - _exchanged(velocity)) / 2, hidden


def _directions(features: Tensor) -> Tensor:
    """The features of each voxel as a vector of length 1 where there is any structure, over the root of its channels.

    So that a correlation, which is the mean over the channels, runs from -1 to 1.
    """
    return features * torch.rsqrt(features.square().mean(1, keepdim=True) + LEAST_LENGTH**2)


def _exchanged(pair: Tensor) -> Tensor:
    """A batch of both directions with each in the other's place."""
    return pair.roll(len(pair) // 2, 0)
