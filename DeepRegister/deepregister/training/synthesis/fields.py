"""Random motion: affine maps, and smooth fields without folds, each with its inverse.

Fields are (B, 3, D, H, W), along i, j, k, in voxels of their own grid; matrices are (4, 4), of mm where not of voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import expm
from torch import Tensor

from ...spatial import exponentiate, identity_axes, invert, upsampled_field
from .draw import Draw, put, smooth_noise
from .ranges import AffineRanges, FieldRanges

# Squarings: the longest motion, cut in 64, stays far below a voxel of the velocity's grid.
STEPS = 6
# Voxels of the velocity's grid over which the motion of the shortest scale changes.
VOXELS_PER_SCALE = 2


@dataclass(frozen=True, eq=False)
class SmoothMotion:
    """The flow x -> x + u(x) of a random stationary velocity, and its inverse.

    Attributes:
        velocity: (B, 3, d, h, w), in voxels of a grid that is coarser by `stride`, block for voxel, and may reach
            beyond the fine one at its far end.
        stride: voxels of the fine grid in one of the coarse.
        shape: D, H, W of the fine grid.
    """

    velocity: Tensor
    stride: int
    shape: tuple[int, int, int]

    def flow(self) -> Tensor:
        """u on the coarse grid, in voxels of that."""
        return exponentiate(self.velocity, STEPS)

    def field(self) -> Tensor:
        """u, (B, 3, D, H, W), in voxels of the fine grid."""
        return self.fine(self.flow())

    def inverse(self) -> Tensor:
        """The field of the inverse map, likewise.

        The flow of the negative velocity is that too, but on the coarse grid only to within a few tenths of a mm.
        """
        return torch.cat([invert(field[None]) for field in self.field()])

    @property
    def to_coarse(self) -> np.ndarray:
        """(4, 4) from voxel indices of the fine grid to those of the coarse one, whose voxels lie amid their blocks."""
        matrix = np.diag([1 / self.stride] * 3 + [1.0])
        matrix[:3, 3] = (1 / self.stride - 1) / 2
        return matrix

    def fine(self, field: Tensor) -> Tensor:
        """A field of the coarse grid on the fine one."""
        depth, height, width = self.shape
        return upsampled_field(field, self.stride)[:, :, :depth, :height, :width]


def smooth_motion(
    ranges: FieldRanges, count: int, shape: Sequence[int], spacing_mm: float, draw: Draw, stride: int | None = None
) -> SmoothMotion:
    """`count` random flows on a grid of `shape` (D, H, W) with voxels of `spacing_mm`.

    No displacement is longer than the drawn length, since no point of the path is faster. The stride is
    `coarse_stride`, unless it is given.
    """
    stride = stride or coarse_stride(ranges, spacing_mm)
    coarse = [max(2, math.ceil(length / stride)) for length in shape]
    voxel_mm = stride * spacing_mm
    low, high = (math.log(scale / voxel_mm) for scale in ranges.scale_mm)
    velocity = 0
    for number in range(ranges.layers):
        # Each layer has its own part of the scales: with any one alone a motion is all ripples or all sweep.
        distances = np.exp(low + (high - low) * (number + draw.array(0, 1, count)) / ranges.layers)
        strength = put(draw.array(0, 1, count), draw.device).view(-1, 1, 1, 1, 1)
        velocity = velocity + strength * smooth_noise(draw, 3, coarse, distances.tolist())
    longest = put(draw.array(*ranges.mm, count) / voxel_mm, draw.device)
    factor = torch.minimum(longest / _longest(velocity), ranges.strain / _steepest(velocity))
    return SmoothMotion(velocity * factor.view(-1, 1, 1, 1, 1), stride, tuple(shape))


def coarse_stride(ranges: FieldRanges, spacing_mm: float) -> int:
    """The largest power of two of voxels that still shows the shortest scale."""
    return 2 ** max(0, math.floor(math.log2(ranges.scale_mm[0] / (VOXELS_PER_SCALE * spacing_mm))))


def _longest(velocity: Tensor) -> Tensor:
    return velocity.square().sum(1).amax((1, 2, 3)).sqrt().clamp(min=1e-6)


def _steepest(velocity: Tensor) -> Tensor:
    along = [velocity.diff(dim=dim).abs().amax((1, 2, 3, 4)) for dim in (2, 3, 4)]
    return torch.stack(along).amax(0).clamp(min=1e-6)


def random_affine(ranges: AffineRanges, draw: Draw) -> np.ndarray:
    """The logarithm (4, 4) of a random affine map of mm about the origin: `affine` gives the map.

    The negative logarithm gives the inverse, which is drawn as often, and half of it the map that leads half the way.
    """
    logarithm = np.zeros((4, 4))
    x, y, z = _direction(draw) * math.radians(draw.uniform(0, ranges.degrees))
    logarithm[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    axes = np.linalg.qr(draw.gaussian(3, 3))[0]
    most = math.log1p(ranges.percent / 100)
    logarithm[:3, :3] += axes @ np.diag(draw.array(-most, most, 3)) @ axes.T
    logarithm[:3, 3] = _direction(draw) * draw.uniform(0, ranges.mm)
    return logarithm


def _direction(draw: Draw) -> np.ndarray:
    vector = draw.gaussian(3)
    return vector / np.linalg.norm(vector)


def affine(logarithm: np.ndarray, share: float = 1.0) -> np.ndarray:
    """(4, 4): the map of a logarithm, or a share of it; a negative share goes back."""
    return expm(share * logarithm)


def points_of(field: Tensor) -> Tensor:
    """x + u(x), voxels along i, j, k, (B, 3, D, H, W)."""
    points = field.clone()
    for part, axis in zip(points.unbind(1), identity_axes(field.shape[2:], field.device), strict=True):
        part += axis
    return points


def field_of(points: Tensor) -> Tensor:
    """The field that leads each voxel of the grid to its point: the other way round."""
    field = points.clone()
    for part, axis in zip(field.unbind(1), identity_axes(field.shape[2:], field.device), strict=True):
        part -= axis
    return field


def transformed(matrices: np.ndarray, points: Tensor) -> Tensor:
    """Points (B, 3, D, H, W) through a matrix each, (B, 4, 4)."""
    rows = put(matrices[:, :3], points.device)
    return torch.baddbmm(rows[:, :, 3:], rows[:, :, :3], points.flatten(2)).view(points.shape)
