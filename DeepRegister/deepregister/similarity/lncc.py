"""Local normalised cross-correlation (LNCC), its value and its gradient, in closed form.

Avants et al., "Symmetric diffeomorphic image registration with cross-correlation", Med. Image Anal. 2008. The squared
coefficient is used, so that a contrast that is inverted on one side matches too.
"""

from __future__ import annotations

import torch

from ..spatial import box_sum

# Images are scaled to 0..1 before. A window whose standard deviation is below this holds noise alone: its
# coefficient is drawn to 0 instead of dividing noise by noise.
NOISE_FLOOR = 0.01


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
        self._constant = self._fixed_sums(torch.ones_like(fixed) if weight is None else weight)

    def _fixed_sums(self, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        stacked = torch.cat([weight, weight * self.fixed, weight * self.fixed**2], 1)
        count, mean, square = box_sum(stacked, self.radius).split(1, 1)
        scale = 1 / count.clamp(min=1e-3)
        mean = mean * scale
        variance = (square * scale - mean**2).clamp_(min=0)
        return count, scale, mean, variance

    def value_and_gradient(
        self, moving: torch.Tensor, valid: torch.Tensor | None = None, with_gradient: bool = True
    ) -> tuple[float, torch.Tensor | None]:
        """Mean squared correlation, and its derivative by each moving voxel.

        Args:
            moving: (1, 1, D, H, W), warped onto the fixed grid, scaled to about 0..1.
            valid: (1, 1, D, H, W), 0..1: where the warped moving image is known and counts; None for everywhere.
            with_gradient: False saves half the work.

        Returns:
            The mean over all windows that count (0 to 1), and the gradient of their sum, (1, 1, D, H, W), or None.
        """
        moving = moving - self.shift
        if valid is None:
            weight = self.weight
            count, scale, fixed_mean, fixed_variance = self._constant
        else:
            weight = valid if self.weight is None else self.weight * valid
            count, scale, fixed_mean, fixed_variance = self._fixed_sums(weight)
        weighted = moving if weight is None else weight * moving
        sums = box_sum(torch.cat([weighted, weighted * moving, weighted * self.fixed], 1), self.radius)
        mean, square, product = (sums * scale).split(1, 1)
        variance = (square - mean**2).clamp_(min=0)
        covariance = product - fixed_mean * mean
        floor = NOISE_FLOOR**2
        fixed_power, moving_power = fixed_variance + floor, variance + floor
        slope = covariance / (fixed_power * moving_power)
        squared = slope * covariance
        total = count.sum().clamp(min=1e-6)
        value = float((squared * count).sum() / total)
        if not with_gradient:
            return value, None
        # d/dm(x) of the sum over the windows y around x of cc(y):
        # 2 slope(y) (f(x) - mean_f(y)) - 2 cc(y) / var_m(y) (m(x) - mean_m(y)); weighting each window by its count
        # cancels the 1 / count of its means.
        alpha = slope
        beta = squared / moving_power
        stacked = torch.cat([alpha, beta, alpha * fixed_mean - beta * mean], 1)
        alpha, beta, offset = box_sum(stacked, self.radius).split(1, 1)
        gradient = (alpha * self.fixed - beta * moving - offset).mul_(2)
        return value, gradient if weight is None else gradient * weight
