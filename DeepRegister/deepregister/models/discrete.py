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

COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def coupled_convex(fixed: torch.Tensor, moving: torch.Tensor, reach: int, monitor: Monitor) -> torch.Tensor:
    """A smooth field that matches `fixed` to `moving` with displacements of up to `reach` voxels along each axis.

    Args:
        fixed, moving: features (1, C, D, H, W) on the same coarse grid.
        reach: half width of the lattice of displacements, voxels.
        monitor: asked at every plane of the lattice whether to go on.

    Returns:
        A field (1, 3, D, H, W), voxels.
    """
    shape = fixed.shape[2:]
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
                costs.append(((fixed - shifted) ** 2).mean(1, keepdim=True))
                displacements.append((i, j, k))
    cost = smooth(torch.cat(costs, 1), 1.0)[0]
    lattice = torch.tensor(displacements, dtype=torch.float32, device=fixed.device)
    field = _chosen(cost, lattice)
    for coupling in COUPLING:
        monitor.check()
        target = smooth(field, 1.0)
        # |d - t|^2 = |d|^2 - 2 d.t + |t|^2; the last term is the same for all d.
        coupled = cost + coupling * (
            (lattice**2).sum(1).view(-1, 1, 1, 1) - 2 * torch.einsum("nc,cdhw->ndhw", lattice, target[0])
        )
        field = _chosen(coupled, lattice)
    return smooth(field, 1.0)


def _chosen(cost: torch.Tensor, lattice: torch.Tensor) -> torch.Tensor:
    return lattice[cost.argmin(0)].permute(3, 0, 1, 2)[None].contiguous()
