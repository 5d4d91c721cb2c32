"""What a network says of a pair of images: how each moves onto the other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Motion:
    """Fields as in `deepregister.spatial`: (B, 3, d, h, w), along i, j, k, in voxels of their own grid.

    The field's grid covers the images': a voxel of it covers `stride`^3 voxels of theirs and belongs to their middle.

    Attributes:
        fixed_to_moving: moving(x + u(x)) looks like fixed(x).
        moving_to_fixed: its inverse; None where the network does not integrate a velocity.
        velocities: what is asked to be smooth, from the coarsest grid to that of the fields, each in voxels of its own
            grid; each one holds all the motion down to its level, so the last one alone describes the whole. The
            displacement itself where it is not integrated.
        stride: image voxels along a side of a voxel of the fields.
        log_variance: of the last velocity, by component (Dalca et al. 2018); None where it is not estimated.
    """

    fixed_to_moving: Tensor
    moving_to_fixed: Tensor | None
    velocities: tuple[Tensor, ...]
    stride: int
    log_variance: Tensor | None = None
