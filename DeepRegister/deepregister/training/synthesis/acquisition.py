"""What a scanner does to an image: blur, thick slices, bias, noise, gamma, a field of view that ends too early."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...intensities import HIGH_PERCENTILE, LOW_PERCENTILE
from .draw import Draw, put, smooth_noise
from .ranges import AcquisitionRanges

# Voxels that the brightest and the darkest are looked for among.
SAMPLED_VOXELS = 50_000
# Share of the sides that a small field of view cuts.
CUT_SIDES = 0.4


def augment(
    image: Tensor, ranges: AcquisitionRanges, spacing_mm: float, draw: Draw, kept: Tensor | None = None
) -> tuple[Tensor, np.ndarray]:
    """The images as other scanners might have shown them, for synthesised and for real ones.

    Args:
        image: (B, 1, D, H, W), about 0..1.
        ranges: what is drawn from, for each image anew.
        spacing_mm: of its voxels.
        draw: of all that is random.
        kept: (B, 1, D, H, W), 0 or 1: what is left of it at last, as after skull-stripping; None for all.

    Returns:
        The images, 0..1 as `preparation.prepare` would scale them, and the part that their fields of view show,
        (B, 3, 2): first and last voxel along i, j, k.
    """
    count, shape = len(image), image.shape[2:]
    image = filtered(image, resolution_matrices(count, shape, ranges, spacing_mm, draw))
    distances = [draw.log_uniform(*ranges.bias_scale_mm) / spacing_mm for _ in range(count)]
    strength, noise = (_each(draw.array(*limits, count), draw) for limits in (ranges.bias, ranges.noise))
    image = image.mul_(smooth_noise(draw, 1, shape, distances).mul_(strength).exp_())
    # The magnitude of a signal: also where there is none, noise is positive.
    image = image.add_(draw.volume(*image.shape).mul_(noise)).abs_()
    if kept is not None:
        image *= kept
    views = np.stack([field_of_view(shape, ranges, draw) for _ in range(count)])
    mask = inside(shape, views, draw.device)
    if mask is not None:
        image *= mask
    gamma = _each(2 ** draw.array(-ranges.gamma, ranges.gamma, count), draw)
    return scaled(image).pow_(gamma), views


def _each(values: np.ndarray, draw: Draw) -> Tensor:
    return put(values, draw.device).view(-1, 1, 1, 1, 1)


def scaled(image: Tensor) -> Tensor:
    """The images (B, 1, D, H, W) with their percentiles at 0 and 1, clipped there."""
    sampled = image.flatten(1)[:, :: max(1, image[0].numel() // SAMPLED_VOXELS)]
    shares = put(np.array([LOW_PERCENTILE, HIGH_PERCENTILE]) / 100, image.device)
    low, high = torch.quantile(sampled, shares, dim=1).view(2, -1, 1, 1, 1, 1)
    return ((image - low) / (high - low).clamp(min=1e-3)).clamp_(0, 1)


def resolution_matrices(
    count: int, shape: Sequence[int], ranges: AcquisitionRanges, spacing_mm: float, draw: Draw
) -> list[np.ndarray]:
    """For each of D, H, W matrices (B, length, length) that blur along it and show thick slices as thin ones."""
    matrices: list[list[np.ndarray]] = [[], [], []]
    for _ in range(count):
        thick = draw.choice((1, 1, 1)) if draw.chance(ranges.thick_slices) else None
        for axis, length in enumerate(shape):
            matrix = blur_matrix(length, draw.uniform(*ranges.blur_mm) / spacing_mm)
            if axis == thick:
                thickness = draw.uniform(*ranges.slice_mm) / spacing_mm
                matrix = slice_matrix(length, thickness, draw.uniform(0, 1)) @ matrix
            matrices[axis].append(matrix)
    return [np.stack(each) for each in matrices]


def blur_matrix(length: int, sigma: float) -> np.ndarray:
    """(length, length): Gaussian blur along an axis, `sigma` in voxels."""
    weights = np.exp(-0.5 * (np.arange(length) / max(sigma, 1e-3)) ** 2)[_distances(length)]
    return weights / weights.sum(1, keepdims=True)


@lru_cache(maxsize=16)
def _distances(length: int) -> np.ndarray:
    return np.abs(np.arange(length)[:, None] - np.arange(length))


def slice_matrix(length: int, thickness: float, offset: float) -> np.ndarray:
    """Averages over slices of `thickness` voxels, read between their middles; nothing for slices as thin as voxels.

    Args:
        length: voxels along the axis.
        thickness: of the slices, voxels.
        offset: of the first one, share of the thickness.
    """
    if thickness <= 1:
        return np.eye(length)
    middles = (np.arange(int(length / thickness) + 3) - 1.5 + offset) * thickness
    voxel = np.arange(length)
    # How much of a voxel, from -0.5 to 0.5 around it, lies in a slice.
    low = np.maximum(middles[:, None] - thickness / 2, voxel - 0.5)
    high = np.minimum(middles[:, None] + thickness / 2, voxel + 0.5)
    averaged = np.clip(high - low, 0, None)
    whole = averaged.sum(1)
    seen = whole > 0.25
    averaged = averaged[seen] / whole[seen, None]
    read = np.clip(1 - np.abs(voxel[:, None] - middles[seen]) / thickness, 0, None)
    # Beyond the outermost middle its slice goes on.
    read[voxel < middles[seen][0], 0] = 1
    read[voxel > middles[seen][-1], -1] = 1
    return read / read.sum(1, keepdims=True) @ averaged


def filtered(image: Tensor, matrices: Sequence[np.ndarray]) -> Tensor:
    """The images (B, 1, D, H, W) with their D, H and W multiplied by a matrix each, (B, length, length)."""
    # On a GPU half precision is several times as fast, and exact enough for what runs from 0 to 1.
    dtype = torch.float16 if image.is_cuda else image.dtype
    depth, height, width = (put(each, image.device, dtype) for each in matrices)
    shape = image.shape
    values = torch.bmm(image.to(dtype).flatten(1, 3), width.mT).view(shape)
    # Along the middle axis one by one: as one product the matrix would be copied for each plane.
    values = torch.stack([matrix @ each[0] for matrix, each in zip(height, values, strict=True)])
    return torch.bmm(depth, values.flatten(2)).view(shape).to(image.dtype)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """The images (B, 1, D, H, W), all blurred alike, `sigma` in voxels."""
    return filtered(image, [np.broadcast_to(_blur(n, sigma), (len(image), n, n)) for n in image.shape[2:]])


@lru_cache(maxsize=16)
def _blur(length: int, sigma: float) -> np.ndarray:
    return blur_matrix(length, sigma)


def field_of_view(shape: Sequence[int], ranges: AcquisitionRanges, draw: Draw) -> np.ndarray:
    """(3, 2): first and last voxel along i, j, k that are left where a smaller field of view cuts off some sides."""
    cropped = draw.chance(ranges.cropped)
    view = []
    for length in shape[::-1]:
        low, high = (draw.uniform(*ranges.crop) if cropped and draw.chance(CUT_SIDES) else 0.0 for _ in range(2))
        view.append((int(low * length), length - 1 - int(high * length)))
    return np.array(view)


def inside(shape: Sequence[int], views: np.ndarray, device: torch.device) -> Tensor | None:
    """(B, 1, D, H, W): 1 in the views (B, 3, 2) and 0 around them; None where they are all of a grid of D, H, W."""
    whole = np.array([(0, length - 1) for length in shape[::-1]])
    if (views == whole).all():
        return None
    along = []
    for axis, length in enumerate(shape[::-1]):
        voxel = np.arange(length)
        part = (voxel >= views[:, axis, :1]) & (voxel <= views[:, axis, 1:])
        along.append(put(part, device).view(len(views), 1, *(length if n == 2 - axis else 1 for n in range(3))))
    return along[0] * along[1] * along[2]
