"""Motion in layers: a smooth field for each region, so that neighbours may slide along each other.

One smooth field cannot follow lungs that slip along the ribs, or a liver along the abdominal wall. Here each region of
the fixed image moves by a field of its own, driven by the region's own voxels and smoothed with their number, as in
normalised convolution (Knutsson and Westin, CVPR 1993); sliding regularisation of this kind is reviewed by
Papiez et al., Med. Image Anal. 2014.
"""

from __future__ import annotations

import numpy as np
import torch

from ..regions import Regions
from ..spatial import smooth
from ..volume import Geometry

# How much what lies outside a region still weighs in its field: enough to carry the motion on beyond the border.
FAINT = 0.01


class Layers:
    """What belongs to which layer on one grid; without regions there is one layer and everything is its own.

    Args:
        regions: of the fixed image, each with a motion of its own, or None.
        geometry: the grid.
        device: where to compute.
    """

    def __init__(self, regions: Regions | None, geometry: Geometry, device: torch.device):
        self.masks: list[torch.Tensor | None] = [None]
        if regions is not None:
            found = regions.on(geometry)
            self.masks = [
                torch.as_tensor((found == value).astype(np.float32), device=device)[None, None]
                for value in regions.values
            ]

    def __len__(self) -> int:
        return len(self.masks)

    def joined(self, fields: list[torch.Tensor]) -> torch.Tensor:
        """The field (1, 3, D, H, W) in which each voxel follows its own layer."""
        if len(self) == 1:
            return fields[0]
        together = torch.zeros_like(fields[0])
        for mask, field in zip(self.masks, fields, strict=True):
            together.addcmul_(mask, field)
        return together

    def own(self, number: int, update: torch.Tensor) -> torch.Tensor:
        """The part of an update that drives layer `number`."""
        mask = self.masks[number]
        return update if mask is None else update * mask

    def smooth(
        self, number: int, field: torch.Tensor, sigma: tuple[float, float, float], zero_border: bool = False
    ) -> torch.Tensor:
        """`field` of layer `number`, smoothed over the voxels of the layer and carried on beyond them."""
        mask = self.masks[number]
        if mask is None:
            return smooth(field, sigma, zero_border)
        result = smooth(field * mask, sigma, zero_border)
        result.add_(smooth(field, sigma, zero_border), alpha=FAINT)
        return result.div_(smooth(mask, sigma).add_(FAINT))
