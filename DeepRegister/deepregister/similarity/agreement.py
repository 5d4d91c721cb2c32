"""How well two prepared volumes agree under a transform: one figure by which results of any model are compared."""

from __future__ import annotations

import numpy as np
import torch

from ..preparation import Pair, Prepared
from ..transforms import LinearTransform, Transform
from ..volume import Volume
from .lncc import LocalCorrelation


def similarity(pair: Pair, transform: Transform, device: torch.device, voxels: int = 400_000) -> float:
    """Local correlation where the fixed content shows structure, 0 to 1, after resampling through `transform`."""
    content = pair.fixed.content
    spacing = max((float(np.prod(content.extent_mm)) / voxels) ** (1 / 3), float(min(content.spacing)))
    grid = content.with_spacing((spacing,) * 3)
    identity = LinearTransform.identity()

    def on_grid(side: Prepared, through: Transform) -> list[torch.Tensor]:
        reduced = side.reduced(spacing)
        weight = reduced.weight or Volume(np.ones(reduced.geometry.shape, np.float32), reduced.geometry)
        return [
            torch.as_tensor(through.resample(volume, grid, fill=0.0).data, device=device)[None, None]
            for volume in (reduced.image, weight)
        ]

    fixed, fixed_weight = on_grid(pair.fixed, identity)
    moving, moving_weight = on_grid(pair.moving, transform)
    with torch.inference_mode():
        return LocalCorrelation(fixed, 2, fixed_weight).agreement(moving, moving_weight)
