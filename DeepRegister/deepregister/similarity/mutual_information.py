"""Mutual information of sampled intensities, for many candidate transforms at once.

Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE TMI 2003; the normalised form
is Studholme et al., "An overlap invariant entropy measure of 3D medical image alignment", Pattern Recognition 1999.
"""

from __future__ import annotations

import torch

BINS = 24


def bin_weights(values: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Linear (hat) Parzen weights (..., bins) of values in 0..1; differentiable."""
    position = values.clamp(0, 1).unsqueeze(-1) * (bins - 1)
    centres = torch.arange(bins, dtype=values.dtype, device=values.device)
    return (1 - (position - centres).abs()).clamp_(min=0)


def mutual_information(fixed_weights: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Normalised mutual information of each candidate, (H(f) + H(m)) / H(f, m) - 1, in 0..1.

    Args:
        fixed_weights: (N, bins), from `bin_weights` of the fixed samples.
        moving: (B, N), the moving image at each candidate's points, 0..1.
        weight: (B, N), how much each sample counts; 0 outside either mask.
    """
    joint = torch.einsum("nf,bnm->bfm", fixed_weights, bin_weights(moving) * weight.unsqueeze(-1))
    return normalised_information(joint)


def normalised_information(joint: torch.Tensor) -> torch.Tensor:
    """(B,) normalised mutual information from joint histograms (B, F, M)."""
    joint = joint / joint.sum((1, 2), keepdim=True).clamp(min=1e-6)
    together = _entropy(joint.flatten(1))
    fixed, moving = _entropy(joint.sum(2)), _entropy(joint.sum(1))
    return (fixed + moving) / together.clamp(min=1e-6) - 1


def _entropy(probability: torch.Tensor) -> torch.Tensor:
    return -(probability * torch.log(probability.clamp(min=1e-12))).sum(-1)
