"""Losses that networks are trained with, on torch alone: of images, of labels, of fields.

Images are (B, C, D, H, W), scaled to about 0..1; fields and velocities (B, 3, D, H, W), in voxels of their own grid.
Every loss is one number, small when good, computed in single precision whatever the precision around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..similarity.lncc import NOISE_FLOOR
from ..spatial import box_sum

# Errors of end points below this count by their square, larger ones by their length; mm.
CHARBONNIER_MM = 0.1
# A sum over voxels that is below this is no division's denominator.
LEAST_SUM = 1e-6


def local_correlation_loss(
    fixed: torch.Tensor, warped: torch.Tensor, radius: int = 2, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """1 - the mean squared local correlation in cubic windows (Avants et al., Med. Image Anal. 2008).

    The same measure as `similarity.lncc.LocalCorrelation`, for batches and with gradients into both images. Windows
    whose standard deviation is below the noise floor count as not correlated, and have next to no gradient.

    Args:
        fixed, warped: (B, C, D, H, W), scaled to about 0..1.
        radius: of the window, voxels.
        weight: (B, 1, D, H, W), 0..1: how much each voxel counts; None counts all alike.
    """
    fixed, warped = _single(fixed), _single(warped)
    weight = torch.ones_like(fixed) if weight is None else _single(weight).expand_as(fixed)
    return _LocalCorrelationLoss.apply(fixed, warped, radius, weight)


class _LocalCorrelationLoss(torch.autograd.Function):
    """Value and both gradients in closed form: nothing of the window sums has to be kept for the way back."""

    @staticmethod
    def forward(ctx, fixed: torch.Tensor, warped: torch.Tensor, radius: int, weight: torch.Tensor) -> torch.Tensor:
        fixed, warped = _centred(fixed), _centred(warped)
        weighted_fixed, weighted = weight * fixed, weight * warped
        sums = [weight, weighted_fixed, weighted, weighted_fixed * fixed, weighted * warped, weighted_fixed * warped]
        count, *sums = box_sum(torch.cat(sums, 1), radius).chunk(6, 1)
        scale = 1 / count.clamp(min=1e-3)
        fixed_mean, mean, fixed_square, square, product = (part * scale for part in sums)
        fixed_power = (fixed_square - fixed_mean**2).clamp_(min=0).add_(NOISE_FLOOR**2)
        power = (square - mean**2).clamp_(min=0).add_(NOISE_FLOOR**2)
        covariance = product.addcmul_(fixed_mean, mean, value=-1)
        slope = covariance / (fixed_power * power)
        squared = slope * covariance
        total = count.sum().clamp(min=LEAST_SUM)
        loss = 1 - (squared * count).sum() / total
        if any(ctx.needs_input_grad[:2]):
            # The derivation is in `LocalCorrelation.value_and_gradients`.
            own, own_fixed = squared / power, squared / fixed_power
            offset = slope * fixed_mean - own * mean
            offset_fixed = slope * mean - own_fixed * fixed_mean
            parts = box_sum(torch.cat([slope, own, own_fixed, offset, offset_fixed], 1), radius).chunk(5, 1)
            factor = weight * (-2 / total)
            by_fixed = (parts[0] * warped - parts[2] * fixed - parts[4]) * factor
            by_warped = (parts[0] * fixed - parts[1] * warped - parts[3]) * factor
            ctx.save_for_backward(by_fixed, by_warped)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_fixed, by_warped = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return by_fixed * gradient if wanted[0] else None, by_warped * gradient if wanted[1] else None, None, None


def _centred(image: torch.Tensor) -> torch.Tensor:
    # Single precision loses the variance of a bright flat window unless the mean is small.
    return image - image.mean((2, 3, 4), keepdim=True)


def _single(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def dice_loss(
    fixed_probabilities: torch.Tensor, warped_probabilities: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """1 - the mean soft Dice overlap over the structures that the fixed image shows (Milletari et al., 3DV 2016).

    Args:
        fixed_probabilities, warped_probabilities: (B, L, D, H, W), 0..1, a channel for each structure; the background
            is a structure only where it has a channel.
        weight: (B, 1, D, H, W), 0..1: how much each voxel counts; None counts all alike.
    """
    fixed, warped = fixed_probabilities, warped_probabilities
    if weight is not None:
        fixed, warped = fixed * weight, warped * weight
    # In half precision a sum over a volume stops growing long before its end.
    both = (fixed * warped_probabilities).sum((2, 3, 4), dtype=_sum_type(fixed))
    of_fixed, of_warped = (part.sum((2, 3, 4), dtype=_sum_type(part)) for part in (fixed, warped))
    # Chosen by the fixed image alone: a network must not win by moving a structure out of sight.
    shown = (of_fixed > LEAST_SUM).to(both.dtype)
    overlap = 2 * both / (of_fixed + of_warped).clamp(min=LEAST_SUM)
    return ((1 - overlap) * shown).sum() / shown.sum().clamp(min=1)


def _sum_type(values: torch.Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def smoothness_loss(velocity: torch.Tensor, kind: str = "diffusion") -> torch.Tensor:
    """How far a field (B, 3, D, H, W) is from smooth; per voxel of its grid, so that grids of any size compare.

    "diffusion": the mean squared first derivative, summed over the three axes (Balakrishnan et al., TMI 2019).
    "bending": the mean squared second derivative, summed over all nine pairs of axes (Rueckert et al., TMI 1999),
    which leaves affine motion free.
    """
    velocity = _single(velocity)
    steps = [velocity.diff(dim=dim) for dim in (2, 3, 4)]
    if kind == "diffusion":
        return sum(_mean_square(step) for step in steps)
    if kind != "bending":
        raise ValueError(f'The smoothness is "{kind}"; use "diffusion" or "bending".')
    pure = sum(_mean_square(step.diff(dim=dim)) for step, dim in zip(steps, (2, 3, 4), strict=True))
    mixed = sum(_mean_square(steps[a].diff(dim=b + 2)) for a, b in ((0, 1), (0, 2), (1, 2)))
    return pure + 2 * mixed


def _mean_square(values: torch.Tensor) -> torch.Tensor:
    # A grid of one or two voxels has no such derivative: nothing to be smooth.
    return (values * values).sum() / max(values.numel(), 1)


def endpoint_loss(
    field: torch.Tensor,
    true_field: torch.Tensor,
    weight: torch.Tensor | None = None,
    spacing: float | Sequence[float] = 1.0,
) -> torch.Tensor:
    """Mean distance in mm between where two fields on one grid send each voxel (Charbonnier et al., ICIP 1994).

    Args:
        field, true_field: (B, 3, D, H, W), voxels.
        weight: (B, 1, D, H, W), 0..1: how much each voxel counts; None counts all alike.
        spacing: of the grid in mm, one number or one for each of i, j, k.
    """
    field = _single(field)
    mm = torch.as_tensor(spacing, dtype=field.dtype, device=field.device).view(1, -1, 1, 1, 1)
    squared = ((field - _single(true_field)) * mm).square().sum(1, keepdim=True)
    # Smooth at zero, where the length alone has no derivative.
    distance = torch.sqrt(squared + CHARBONNIER_MM**2) - CHARBONNIER_MM
    if weight is None:
        return distance.mean()
    weight = _single(weight).expand_as(distance)
    return (distance * weight).sum() / weight.sum().clamp(min=LEAST_SUM)


def velocity_kl_loss(velocity: torch.Tensor, log_variance: torch.Tensor, prior: float) -> torch.Tensor:
    """Divergence of a field's normal posterior from a smooth prior, per component, up to a constant.

    Dalca et al., MICCAI 2018: the prior is normal with the precision prior * L, L the Laplacian of the grid's graph of
    face neighbours; the posterior has the mean `velocity` and the variances exp(`log_variance`), both (B, 3, D, H, W).
    """
    velocity, log_variance = _single(velocity), _single(log_variance)
    roughness = sum(velocity.diff(dim=dim).square().sum() for dim in (2, 3, 4))
    spread = (prior * _neighbours(velocity)) * log_variance.exp() - log_variance
    return 0.5 * (spread.sum() + prior * roughness) / velocity.numel()


def _neighbours(field: torch.Tensor) -> torch.Tensor:
    """(1, 1, D, H, W): how many face neighbours each voxel of the grid has."""
    count = field.new_zeros(1, 1, *field.shape[2:])
    for dim in (2, 3, 4):
        size = field.shape[dim]
        count.narrow(dim, 0, size - 1).add_(1)
        count.narrow(dim, 1, size - 1).add_(1)
    return count
