"""Local normalised cross-correlation (LNCC), its value and its gradient, in closed form.

Avants et al., "Symmetric diffeomorphic image registration with cross-correlation", Med. Image Anal. 2008. The squared
coefficient is used, so that a contrast that is inverted on one side matches too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..spatial import box_sum, slabs

# Images are scaled to 0..1 before. A window whose standard deviation is below this holds noise alone: its
# coefficient is drawn to 0 instead of dividing noise by noise.
NOISE_FLOOR = 0.01
# A window of this standard deviation shows structure that a person would look at.
STRUCTURE = 0.05


@dataclass(frozen=True)
class _Windows:
    """What a window around each voxel says, each (1, 1, d, H, W).

    Attributes:
        weight: of the voxel itself; None where all weigh 1.
        count: sum of the weights in the window.
        fixed, moving: the images, less the shift.
        fixed_mean, fixed_variance, moving_mean: in the window.
        fixed_power, moving_power: variances with the noise floor.
        slope: covariance over both powers.
        squared: the squared coefficient.
    """

    weight: torch.Tensor | None
    count: torch.Tensor
    fixed: torch.Tensor
    moving: torch.Tensor
    fixed_mean: torch.Tensor
    fixed_variance: torch.Tensor
    moving_mean: torch.Tensor
    fixed_power: torch.Tensor
    moving_power: torch.Tensor
    slope: torch.Tensor
    squared: torch.Tensor


class LocalCorrelation:
    """Squared local correlation with a fixed image, in cubic windows.

    Args:
        fixed: (1, 1, D, H, W), scaled to about 0..1.
        radius: of the window, voxels.
        weight: (1, 1, D, H, W), 0..1: how much each fixed voxel counts (a cost mask); None counts all alike.
    """

    def __init__(self, fixed: torch.Tensor, radius: int = 2, weight: torch.Tensor | None = None):
        self.radius = radius
        # Single precision loses the variance of a bright flat window unless the mean is small.
        self.shift = fixed.mean()
        self.fixed = fixed - self.shift
        self.weight = weight
        self._constant = self._fixed_sums(self.fixed, torch.ones_like(fixed) if weight is None else weight)

    def value(self, moving: torch.Tensor, valid: torch.Tensor | None = None) -> float:
        """The first of `value_and_gradients`, for half the work."""
        total = weight = 0.0
        for windows, inner in self._slabs(moving, valid, self.radius):
            count = windows.count[:, :, inner]
            total += float((windows.squared[:, :, inner] * count).sum())
            weight += float(count.sum())
        return total / max(weight, 1e-6)

    def agreement(self, moving: torch.Tensor, valid: torch.Tensor | None = None) -> float:
        """Root mean squared correlation where the fixed image shows structure: a figure for people, 0 to 1.

        Unlike the value that is optimised it is not drawn down by windows that are flat on both sides.
        """
        total = weight = 0.0
        for windows, inner in self._slabs(moving, valid, self.radius):
            variance = windows.fixed_variance[:, :, inner]
            share = windows.count[:, :, inner] * variance / (variance + STRUCTURE**2)
            total += float((windows.squared[:, :, inner] * share).sum())
            weight += float(share.sum())
        return math.sqrt(total / max(weight, 1e-6))

    def value_and_gradients(
        self, moving: torch.Tensor, valid: torch.Tensor | None = None
    ) -> tuple[float, torch.Tensor, torch.Tensor]:
        """Mean squared correlation, and its derivatives by each moving and by each fixed voxel.

        Args:
            moving: (1, 1, D, H, W), warped onto the fixed grid, scaled to about 0..1.
            valid: (1, 1, D, H, W), 0..1: where the warped moving image is known and counts; None for everywhere.

        Returns:
            The mean over all windows that count (0 to 1), and the gradients of their sum by the moving and by the fixed
            image, (1, 1, D, H, W) each.
        """
        total = weight = 0.0
        by_moving, by_fixed = [], []
        # A voxel's gradient takes the windows of `radius` around it, and those the voxels of `radius` around them.
        for windows, inner in self._slabs(moving, valid, 2 * self.radius):
            # d/dm(x) of the sum over the windows y around x of cc(y):
            # 2 slope(y) (f(x) - mean_f(y)) - 2 cc(y) / var_m(y) (m(x) - mean_m(y)); weighting each window by its count
            # cancels the 1 / count of its means. By the fixed image it is the same with both exchanged.
            slope = windows.slope
            own = [windows.squared / power for power in (windows.moving_power, windows.fixed_power)]
            offsets = [
                slope * windows.fixed_mean - own[0] * windows.moving_mean,
                slope * windows.moving_mean - own[1] * windows.fixed_mean,
            ]
            sums = box_sum(torch.cat([slope, *own, *offsets], 1), self.radius)[:, :, inner].split(1, 1)
            fixed, warped = windows.fixed[:, :, inner], windows.moving[:, :, inner]
            for parts, one, other, n in ((by_moving, warped, fixed, 1), (by_fixed, fixed, warped, 2)):
                part = (sums[0] * other).addcmul_(sums[n], one, value=-1).sub_(sums[n + 2]).mul_(2)
                parts.append(part if windows.weight is None else part.mul_(windows.weight[:, :, inner]))
            count = windows.count[:, :, inner]
            total += float((windows.squared[:, :, inner] * count).sum())
            weight += float(count.sum())
        return total / max(weight, 1e-6), torch.cat(by_moving, 2), torch.cat(by_fixed, 2)

    def _slabs(self, moving: torch.Tensor, valid: torch.Tensor | None, halo: int) -> Iterator[tuple[_Windows, slice]]:
        """The windows in slabs with a halo on either side, and the slab without it."""
        depth = moving.shape[2]
        for start, stop in slabs(moving):
            low, high = max(0, start - halo), min(depth, stop + halo)
            yield self._windows(moving, valid, slice(low, high)), slice(start - low, stop - low)

    def _windows(self, moving: torch.Tensor, valid: torch.Tensor | None, part: slice) -> _Windows:
        fixed, moving = self.fixed[:, :, part], moving[:, :, part] - self.shift
        weight = None if self.weight is None else self.weight[:, :, part]
        if valid is None:
            count, scale, fixed_mean, fixed_variance = (term[:, :, part] for term in self._constant)
        else:
            weight = valid[:, :, part] if weight is None else weight * valid[:, :, part]
            count, scale, fixed_mean, fixed_variance = self._fixed_sums(fixed, weight)
        weighted = moving if weight is None else weight * moving
        sums = box_sum(torch.cat([weighted, weighted * moving, weighted * fixed], 1), self.radius).mul_(scale)
        mean, square, product = sums.split(1, 1)
        floor = NOISE_FLOOR**2
        power = (square - mean**2).clamp_(min=0).add_(floor)
        covariance = product.addcmul(fixed_mean, mean, value=-1)
        fixed_power = fixed_variance + floor
        slope = covariance / (fixed_power * power)
        squared = slope * covariance
        return _Windows(
            weight, count, fixed, moving, fixed_mean, fixed_variance, mean, fixed_power, power, slope, squared
        )

    def _fixed_sums(self, fixed: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        count, mean, square = box_sum(torch.cat([weight, weight * fixed, weight * fixed**2], 1), self.radius).split(
            1, 1
        )
        scale = 1 / count.clamp(min=1e-3)
        mean = mean * scale
        return count, scale, mean, (square * scale - mean**2).clamp_(min=0)
