"""The VoxelMorph U-Net (Balakrishnan et al., IEEE TMI 2019), with the velocity and uncertainty of Dalca et al. (2018).

Balakrishnan et al., "An unsupervised learning model for deformable medical image registration", CVPR 2018;
Dalca et al., "Unsupervised learning for fast probabilistic diffeomorphic registration", MICCAI 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spatial import exponentiate, single
from .motion import Motion

SLOPE = 0.2
# Both images start unmoved, and, where it is estimated, certain: as published.
FLOW_SCALE = 1e-5
LOG_VARIANCE_START = -10.0


class VoxelMorph(nn.Module):
    """One U-Net over both images.

    Args:
        encoder: channels of the levels, from the images' grid down; each is halved on the way to the next.
        decoder: channels on the way up, one for each level of the encoder; then any number more on the finest grid.
        integrate: predict a stationary velocity and integrate it; else the displacement itself.
        steps: squarings of the integration.
        stride: 2 for fields on half the images' grid, where the way up ends one level early; 1 for those on theirs.
        uncertainty: predict the variance of the velocity as well, and draw from it while training.
        symmetric: look at the pair in both orders and take half the difference of the velocities, so that exchanging
            the images gives the inverse. Twice the work, but it learns many times faster: what says nothing of the pair
            cancels, where it otherwise has to be unlearned first.
        normalise: give each channel of each pair a mean and variance of its own behind every convolution (instance
            normalisation, Ulyanov et al. 2016); it learns faster still, for a tenth more work.
    """

    def __init__(
        self,
        encoder: Sequence[int] = (16, 32, 32, 32),
        decoder: Sequence[int] = (32, 32, 32, 32, 32, 16, 16),
        integrate: bool = True,
        steps: int = 7,
        stride: int = 2,
        uncertainty: bool = False,
        symmetric: bool = False,
        normalise: bool = False,
    ):
        super().__init__()
        levels = len(encoder)
        if levels < 2 or len(decoder) < levels:
            raise ValueError(
                f"decoder needs at least as many channels as encoder, which needs 2 or more (has {levels})"
            )
        if stride not in (1, 2):
            raise ValueError(f"stride is 1 or 2, not {stride}")
        if uncertainty and not integrate:
            raise ValueError("uncertainty is that of a velocity and needs integrate = true")
        if symmetric and not integrate:
            raise ValueError("only a velocity has an inverse: symmetric needs integrate = true")
        self.integrate, self.steps, self.stride, self.symmetric = integrate, steps, stride, symmetric
        self.multiple = 2**levels
        self.down = nn.ModuleList(
            _conv(before, after, normalise) for before, after in zip([2, *encoder], encoder, strict=False)
        )
        # From the bottom up: each level is joined with what the way down found on the grid it is enlarged to.
        skips = [*reversed(encoder)] if stride == 1 else [*reversed(encoder[1:]), 0]
        channels, self.up = encoder[-1], nn.ModuleList()
        for after, skip in zip(decoder, skips, strict=False):
            self.up.append(_conv(channels, after, normalise))
            channels = after + skip
        self.top = nn.ModuleList()
        for after in decoder[levels:]:
            self.top.append(_conv(channels, after, normalise))
            channels = after
        self.flow = nn.Conv3d(channels, 3, 3, padding=1)
        nn.init.normal_(self.flow.weight, std=FLOW_SCALE)
        nn.init.zeros_(self.flow.bias)
        self.spread = nn.Conv3d(channels, 3, 3, padding=1) if uncertainty else None
        if self.spread is not None:
            nn.init.normal_(self.spread.weight, std=FLOW_SCALE)
            nn.init.constant_(self.spread.bias, LOG_VARIANCE_START)

    def forward(self, fixed: Tensor, moving: Tensor) -> Motion:
        """The motion of images (B, 1, D, H, W), scaled to 0..1, of sizes that `multiple` divides."""
        features = torch.cat([moving, fixed], 1)
        if self.symmetric:
            features = torch.cat([features, features.flip(1)])
        skips = []
        for conv in self.down:
            skips.append(conv(features))
            features = F.max_pool3d(skips[-1], 2)
        for number, conv in enumerate(self.up, 1):
            features = conv(features)
            if number < len(self.up) or self.stride == 1:
                features = torch.cat([F.interpolate(features, scale_factor=2, mode="nearest"), skips[-number]], 1)
        for conv in self.top:
            features = conv(features)
        velocity = single(self.flow(features))
        if not self.integrate:
            return Motion(velocity, None, (velocity,), self.stride)
        log_variance = None if self.spread is None else single(self.spread(features))
        if self.symmetric:
            there, back = velocity.chunk(2)
            velocity = (there - back) / 2
            log_variance = None if log_variance is None else sum(log_variance.chunk(2)) / 2
        drawn = velocity
        if self.training and log_variance is not None:
            drawn = velocity + torch.exp(0.5 * log_variance) * torch.randn_like(velocity)
        there, back = exponentiate(torch.cat([drawn, -drawn]), self.steps).chunk(2)
        return Motion(there, back, (velocity,), self.stride, log_variance)


def _conv(before: int, after: int, normalise: bool) -> nn.Module:
    # One group for each channel is instance normalisation, and faster on a CPU; it leaves a bias before it no use.
    norm = [nn.GroupNorm(after, after)] if normalise else []
    return nn.Sequential(nn.Conv3d(before, after, 3, padding=1, bias=not normalise), *norm, nn.LeakyReLU(SLOPE))
