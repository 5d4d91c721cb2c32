"""Landmark pairs as a soft constraint of the instance optimisation."""

from __future__ import annotations

import numpy as np
import torch

from ..landmarks import LandmarkPairs
from ..spatial import identity_axes, normalised, sample
from ..transforms import LinearTransform
from ..volume import Geometry

# How far around it a landmark pulls (standard deviation), voxels of the level.
LANDMARK_REACH = 3.4


class LandmarkPull:
    """A soft constraint: near each fixed landmark the field is drawn so that it lands on the partner.

    Args:
        landmarks: the pairs, or None for no pull.
        linear: the linear part that follows the field.
        geometry: the level's grid.
        sigma_mm: how exactly the pairs were placed: at 1 mm a pair and the image around it weigh alike.
        device: where to compute.
    """

    def __init__(
        self,
        landmarks: LandmarkPairs | None,
        linear: LinearTransform,
        geometry: Geometry,
        sigma_mm: float,
        device: torch.device,
    ):
        self.points = None
        if landmarks is None:
            return
        ratio = np.asarray(geometry.spacing) / min(geometry.spacing)
        start = geometry.point_to_index(landmarks.fixed)
        target = geometry.point_to_index(linear.inverse().apply_to_points(landmarks.moving))
        self.points = torch.as_tensor(start, dtype=torch.float32, device=device)
        self.targets = torch.as_tensor(target, dtype=torch.float32, device=device)
        self.ratio = torch.as_tensor(ratio, dtype=torch.float32, device=device)
        self.share = 1 / (1 + sigma_mm**2)
        kernel = torch.zeros((1, 1, *geometry.shape), device=device)
        axes = identity_axes(geometry.shape, device)
        self.kernels = []
        for point in self.points:
            squared = sum(((axes[a] - point[a]) * self.ratio[a]) ** 2 for a in range(3))
            gaussian = torch.exp(-squared / (2 * LANDMARK_REACH**2))
            self.kernels.append(gaussian)
            kernel += gaussian
        self.crowding = kernel.clamp(min=1.0)
        self.near = (kernel * self.share).clamp(max=self.share)

    def joined(self, update: torch.Tensor, field: torch.Tensor, step: float) -> torch.Tensor:
        """The image's update (1, 3, D, H, W), in units of the shortest voxel side, given way to near landmarks."""
        if self.points is None:
            return update
        size = field.shape[:1:-1]
        where = torch.stack([normalised(self.points[:, a], size[a]) for a in range(3)], -1)
        displacement = sample(field, where[None, :, None, None])[0, :, :, 0, 0].T
        missing = (self.targets - self.points - displacement) * self.ratio
        missing = self.share * missing * (step / missing.norm(dim=1, keepdim=True).clamp(min=step))
        pull = torch.zeros_like(field)
        for vector, kernel in zip(missing, self.kernels, strict=True):
            pull += vector.view(1, 3, 1, 1, 1) * kernel
        return update * (1 - self.near) + pull / self.crowding
