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
# A window of this standard deviation shows structure that a person would look at.
STRUCTURE = 0.05


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

    def value(self, moving: torch.Tensor, valid: torch.Tensor | None = None) -> float:
        """The first of `value_and_gradient`, for half the work."""
        _, count, _, _, _, _, squared, _ = self._windows(moving, valid)
        return float((squared * count).sum() / count.sum().clamp(min=1e-6))

    def agreement(self, moving: torch.Tensor, valid: torch.Tensor | None = None) -> float:
        """Root mean squared correlation where the fixed image shows structure: a figure for people, 0 to 1.

        Unlike the value that is optimised it is not drawn down by windows that are flat on both sides.
        """
        _, count, _, fixed_variance, _, _, squared, _ = self._windows(moving, valid)
        share = count * fixed_variance / (fixed_variance + STRUCTURE**2)
        return float(((squared * share).sum() / share.sum().clamp(min=1e-6)).sqrt())

    def value_and_gradient(self, moving: torch.Tensor, valid: torch.Tensor | None = None) -> tuple[float, torch.Tensor]:
        """Mean squared correlation, and its derivative by each moving voxel.

        Args:
            moving: (1, 1, D, H, W), warped onto the fixed grid, scaled to about 0..1.
            valid: (1, 1, D, H, W), 0..1: where the warped moving image is known and counts; None for everywhere.

        Returns:
            The mean over all windows that count (0 to 1), and the gradient of their sum, (1, 1, D, H, W).
        """
        weight, count, fixed_mean, _, mean, slope, squared, moving_power = self._windows(moving, valid)
        value = float((squared * count).sum() / count.sum().clamp(min=1e-6))
        # d/dm(x) of the sum over the windows y around x of cc(y):
        # 2 slope(y) (f(x) - mean_f(y)) - 2 cc(y) / var_m(y) (m(x) - mean_m(y)); weighting each window by its count
        # cancels the 1 / count of its means.
        alpha, beta = slope, squared / moving_power
        stacked = torch.cat([alpha, beta, alpha * fixed_mean - beta * mean], 1)
        alpha, beta, offset = box_sum(stacked, self.radius).split(1, 1)
        gradient = (alpha * self.fixed - beta * (moving - self.shift) - offset).mul_(2)
        return value, gradient if weight is None else gradient * weight

    def _windows(self, moving: torch.Tensor, valid: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Per window: weight of the voxels (or None), weight of the window, fixed mean and variance, moving mean, the
        covariance over both powers, the squared coefficient, and the moving power."""
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
        floor = NOISE_FLOOR**2
        moving_power = (square - mean**2).clamp_(min=0) + floor
        covariance = product - fixed_mean * mean
        slope = covariance / ((fixed_variance + floor) * moving_power)
        return weight, count, fixed_mean, fixed_variance, mean, slope, slope * covariance, moving_power
