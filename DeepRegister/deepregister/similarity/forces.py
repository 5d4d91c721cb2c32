"""What pulls a field: a similarity of two images on one grid, and its derivative by each voxel's displacement.

`CorrelationForce` compares intensities in local windows; `FeatureForce` compares feature maps of any kind, MIND-SSC or
those of a network. The optimiser sees no difference.

Both take the mean of the derivatives on either side, of the warped moving image and of the fixed one, as in efficient
second-order minimisation (Malis, ICRA 2004; Vercauteren et al., MICCAI 2007): smoother at the same overlap.
"""

from __future__ import annotations

from typing import Protocol

import torch

from ..spatial import gradient, warp
from .lncc import LocalCorrelation


class Force(Protocol):
    """A similarity to be raised.

    Attributes:
        least: length of a force, per voxel of displacement, below which it is noise and must not be scaled up.
    """

    least: float

    def value(self, field: torch.Tensor) -> float:
        """Similarity under `field` (1, 3, D, H, W), voxels; larger is better."""

    def agreement(self, field: torch.Tensor) -> float:
        """How well the images match, 0 to 1, comparable from pair to pair; 1 where the measure cannot tell."""

    def value_and_force(self, field: torch.Tensor) -> tuple[float, torch.Tensor]:
        """The similarity, and its ascent direction (1, 3, D, H, W) for a small step v taken as x -> x + v(x) first."""


class CorrelationForce:
    """Squared local correlation of intensities.

    Args:
        fixed, moving: (1, 1, D, H, W) on the same grid, 0..1.
        fixed_weight, moving_weight: (1, 1, D, H, W) cost masks, or None.
        radius: of the window, voxels.
    """

    def __init__(
        self,
        fixed: torch.Tensor,
        moving: torch.Tensor,
        fixed_weight: torch.Tensor | None = None,
        moving_weight: torch.Tensor | None = None,
        radius: int = 2,
    ):
        self.measure = LocalCorrelation(fixed, radius, fixed_weight)
        # A hundredth of correlation in every window around a voxel.
        self.least = 0.01 * (2 * radius + 1) ** 3
        self.fixed_gradient = gradient(fixed)
        self.moving = moving
        self.moving_weight = moving_weight

    def _warped(self, field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.moving_weight is None:
            return warp(self.moving, field), None
        both = warp(torch.cat([self.moving, self.moving_weight], 1), field)
        return both[:, :1], both[:, 1:]

    def value(self, field: torch.Tensor) -> float:
        return self.measure.value(*self._warped(field))

    def agreement(self, field: torch.Tensor) -> float:
        return self.measure.agreement(*self._warped(field))

    def value_and_force(self, field: torch.Tensor) -> tuple[float, torch.Tensor]:
        warped, valid = self._warped(field)
        value, by_moving, by_fixed = self.measure.value_and_gradients(warped, valid)
        force = gradient(warped).mul_(by_moving)
        return value, force.addcmul_(self.fixed_gradient, by_fixed, value=-1).mul_(0.5)


class FeatureForce:
    """Squared distance of feature maps.

    Args:
        fixed, moving: (1, C, D, H, W) on the same grid.
        fixed_weight, moving_weight: (1, 1, D, H, W) cost masks, or None.
    """

    def __init__(
        self,
        fixed: torch.Tensor,
        moving: torch.Tensor,
        fixed_weight: torch.Tensor | None = None,
        moving_weight: torch.Tensor | None = None,
    ):
        self.least = 1e-3
        self.fixed = fixed
        self.moving = moving
        self.fixed_weight = fixed_weight
        self.moving_weight = moving_weight

    def _difference(self, field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
        warped = warp(self.moving, field)
        weight = 1.0
        if self.fixed_weight is not None:
            weight = weight * self.fixed_weight
        if self.moving_weight is not None:
            weight = weight * warp(self.moving_weight, field)
        return warped, (self.fixed - warped) * weight, weight

    @staticmethod
    def _mean(difference: torch.Tensor, weight: torch.Tensor | float) -> float:
        total = float(weight.sum()) if isinstance(weight, torch.Tensor) else difference[0, 0].numel()
        return 1.0 - float((difference**2).sum()) / max(total * difference.shape[1], 1e-6)

    def value(self, field: torch.Tensor) -> float:
        _, difference, weight = self._difference(field)
        return self._mean(difference, weight)

    def agreement(self, field: torch.Tensor) -> float:
        return 1.0

    def value_and_force(self, field: torch.Tensor) -> tuple[float, torch.Tensor]:
        warped, difference, weight = self._difference(field)
        force = torch.zeros_like(field)
        # One channel at a time: all gradients at once would take three times the memory of the features.
        for channel in range(warped.shape[1]):
            one = slice(channel, channel + 1)
            force.addcmul_(gradient(warped[:, one] + self.fixed[:, one]), difference[:, one], value=0.5)
        return self._mean(difference, weight), force
