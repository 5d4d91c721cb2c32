"""A discrete search for motion too large for gradients: coupled convex optimisation over a lattice of displacements.

Heinrich et al., "Non-parametric discrete registration with convex optimisation", WBIR 2014; Siebert et al.,
"ConvexAdam", IEEE TMI 2024. Every voxel of a coarse grid compares its features with those at every displacement of the
lattice; smoothing and choosing alternate, coupled ever more strongly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..progress import Monitor
from ..spatial import smooth
from .layers import FAINT

COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Costs are averaged over blocks of so many voxels a side: displacements finer than the field that carries them.
BLOCK = 2


def coupled_convex(
    fixed: torch.Tensor, moving: torch.Tensor, reach: int, monitor: Monitor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """A smooth field that matches `fixed` to `moving` with displacements of up to `reach` voxels along each axis.

    Args:
        fixed, moving: features (1, C, D, H, W) on the same coarse grid.
        reach: half width of the lattice of displacements, voxels.
        monitor: asked at every plane of the lattice whether to go on.
        mask: (1, 1, D, H, W), the fixed voxels that the field is for; None for all.

    Returns:
        A field (1, 3, D, H, W), voxels.
    """
    shape = fixed.shape[2:]
    mask = torch.ones_like(fixed[:, :1]) if mask is None else mask
    blocks = F.avg_pool3d(mask, BLOCK, ceil_mode=True, count_include_pad=False)
    reached = smooth(blocks, 1.0).add_(FAINT)

    def spread(values: torch.Tensor) -> torch.Tensor:
        # Over the mask alone, and carried on beyond it.
        return smooth(values * blocks, 1.0).add_(smooth(values, 1.0), alpha=FAINT).div_(reached)

    padded = F.pad(moving, [reach] * 6, mode="replicate")
    steps = range(-reach, reach + 1)
    displacements, costs = [], []
    for k in steps:
        monitor.check()
        for j in steps:
            for i in steps:
                shifted = padded[
                    :,
                    :,
                    reach + k : reach + k + shape[0],
                    reach + j : reach + j + shape[1],
                    reach + i : reach + i + shape[2],
                ]
                cost = ((fixed - shifted) ** 2).mean(1, keepdim=True).mul_(mask)
                costs.append(F.avg_pool3d(cost, BLOCK, ceil_mode=True, count_include_pad=False))
                displacements.append((i, j, k))
    lattice = torch.tensor(displacements, dtype=torch.float32, device=fixed.device)
    cost = spread(torch.cat(costs, 1).div_(blocks + FAINT))[0]
    # Where nothing is to be matched all costs are the same: there it stays.
    field = _chosen(cost + 1e-6 * (lattice**2).sum(1).view(-1, 1, 1, 1), lattice)
    for coupling in COUPLING:
        monitor.check()
        target = spread(field)
        # |d - t|^2 = |d|^2 - 2 d.t + |t|^2; the last term is the same for all d.
        coupled = cost + coupling * (
            (lattice**2).sum(1).view(-1, 1, 1, 1) - 2 * torch.einsum("nc,cdhw->ndhw", lattice, target[0])
        )
        field = _chosen(coupled, lattice)
    fine = [BLOCK * size for size in field.shape[2:]]
    field = F.interpolate(spread(field), size=fine, mode="trilinear", align_corners=False)
    return field[:, :, : shape[0], : shape[1], : shape[2]].contiguous()


def _chosen(cost: torch.Tensor, lattice: torch.Tensor) -> torch.Tensor:
    return lattice[cost.argmin(0)].permute(3, 0, 1, 2)[None].contiguous()
