"""Mutual information of sampled intensities and its gradient, for many candidate transforms at once.

Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE TMI 2003; the normalised form
is Studholme et al., "An overlap invariant entropy measure of 3D medical image alignment", Pattern Recognition 1999.
"""

from __future__ import annotations

import torch

BINS = 24
# Of neighbouring bins, once along each axis of a histogram: with the hats of the samples, nearly a cubic B-spline.
BLUR = (0.25, 0.5, 0.25)


class BinnedSamples:
    """Samples of one image, sorted into bins by linear (hat) weights once, to be compared with many others.

    Args:
        values: (N,), 0..1; what lies outside counts as the nearest end.
        bins: along each axis of the joint histogram.
    """

    def __init__(self, values: torch.Tensor, bins: int = BINS):
        self.bins = bins
        self.lower, self.share = _lower_bin(values, bins)

    def compare(
        self, values: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Normalised mutual information (B,), and its derivatives (B, N) by the values and by the weights.

        Args:
            values: (B, N), the other image at the same samples for each candidate, 0..1.
            weight: (B, N), how much each sample counts; None counts all, and gives no derivative.
        """
        batch, bins = len(values), self.bins
        lower, share = _lower_bin(values, bins)
        cell = (
            lower + self.lower * bins + torch.arange(batch, dtype=torch.int32, device=values.device)[:, None] * bins**2
        )
        upper_share = share if weight is None else share * weight
        lower_share = (1 - share) if weight is None else weight - upper_share
        corners = (0, 1, bins, bins + 1)
        # In double precision the order of a sum, which a GPU leaves open, does not show in what is made of it.
        exact = values.dtype if values.device.type in ("cpu", "mps") else torch.float64
        joint = torch.zeros(batch * bins**2, dtype=exact, device=values.device)
        for number, corner in enumerate(corners):
            own = self.share if number > 1 else 1 - self.share
            part = (upper_share if number % 2 else lower_share) * own
            joint.index_add_(0, (cell + corner).view(-1), part.view(-1).to(exact))
        joint = joint.to(values.dtype).view(batch, bins, bins).requires_grad_(True)
        with torch.enable_grad():
            score = normalised_information(_blurred(joint))
            (table,) = torch.autograd.grad(score.sum(), joint)
        table = table.view(-1)
        a, b, c, d = (table.index_select(0, (cell + corner).view(-1)).view_as(values) for corner in corners)
        below, above = torch.lerp(a, c, self.share), torch.lerp(b, d, self.share)
        by_value = (above - below) * (bins - 1)
        by_value *= (values > 0) & (values < 1)
        if weight is None:
            return score.detach(), by_value, None
        return score.detach(), by_value * weight, torch.lerp(below, above, share)


def _lower_bin(values: torch.Tensor, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The bin at or below each value, and the share (0..1) of the next one."""
    position = values.clamp(0, 1) * (bins - 1)
    lower = position.floor().clamp_(max=bins - 2)
    return lower.int(), position - lower


def _blurred(joint: torch.Tensor) -> torch.Tensor:
    side, middle, _ = BLUR
    for dim in (1, 2):
        size = joint.shape[dim]
        # What would leave the range stays in the last bin.
        before = torch.cat([joint.narrow(dim, 0, 1), joint.narrow(dim, 0, size - 1)], dim)
        after = torch.cat([joint.narrow(dim, 1, size - 1), joint.narrow(dim, size - 1, 1)], dim)
        joint = middle * joint + side * (before + after)
    return joint


def normalised_information(joint: torch.Tensor) -> torch.Tensor:
    """(B,) normalised mutual information, (H(f) + H(m)) / H(f, m) - 1, in 0..1, of joint histograms (B, F, M)."""
    joint = joint / joint.sum((1, 2), keepdim=True).clamp(min=1e-6)
    together = _entropy(joint.flatten(1))
    fixed, moving = _entropy(joint.sum(2)), _entropy(joint.sum(1))
    return (fixed + moving) / together.clamp(min=1e-6) - 1


def _entropy(probability: torch.Tensor) -> torch.Tensor:
    return -(probability * torch.log(probability.clamp(min=1e-12))).sum(-1)
