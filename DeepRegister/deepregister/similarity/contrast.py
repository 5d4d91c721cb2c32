"""Whether two images show one contrast: how much of their relation is a straight line.

The correlation ratio (Roche et al., MICCAI 1998) measures any functional relation of intensities, the squared linear
correlation only a straight one. Both fall alike where the images are not aligned yet, so their quotient tells
contrasts apart before the deformation is known.
"""

from __future__ import annotations

import torch

BINS = 24


def linear_share(one: torch.Tensor, other: torch.Tensor) -> float:
    """Squared linear correlation over the correlation ratio, the smaller of both directions, about 0 to 1.

    Args:
        one, other: intensities at the same places, (N,), where both images show something.
    """
    if len(one) < 10 * BINS:
        return 1.0
    linear = float(torch.corrcoef(torch.stack([one, other]))[0, 1]) ** 2
    return min(linear / max(ratio, 1e-6) for ratio in (_correlation_ratio(one, other), _correlation_ratio(other, one)))


def _correlation_ratio(by: torch.Tensor, of: torch.Tensor) -> float:
    """Share of the variance of `of` that the value of `by`, in bins of equal number, explains."""
    thinned = by[:: max(1, len(by) // 100_000)]
    edges = torch.quantile(thinned, torch.linspace(0, 1, BINS + 1, device=by.device)[1:-1])
    index = torch.bucketize(by, edges)
    count = torch.bincount(index, minlength=BINS).clamp(min=1)
    mean = torch.bincount(index, weights=of, minlength=BINS) / count
    total = ((of - of.mean()) ** 2).sum()
    return float((count * (mean - of.mean()) ** 2).sum() / total.clamp(min=1e-12))
