"""What a scanner does to an image: blur, thick slices, bias, noise, gamma, a field of view that ends too early."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...preparation import HIGH_PERCENTILE, LOW_PERCENTILE
from .draw import Draw, smooth_noise
from .ranges import AcquisitionRanges

# Voxels that the brightest and the darkest are looked for among.
SAMPLED_VOXELS = 50_000
# Share of the sides that a small field of view cuts.
CUT_SIDES = 0.4


def augment(
    image: Tensor, ranges: AcquisitionRanges, spacing_mm: float, draw: Draw, kept: Tensor | None = None
) -> tuple[Tensor, tuple[slice, ...]]:
    """The image as another scanner might have shown it, for synthesised and for real images.

    Args:
        image: (1, 1, D, H, W), about 0..1.
        ranges: what is drawn from.
        spacing_mm: of its voxels.
        draw: of all that is random.
        kept: (1, 1, D, H, W), 0 or 1: what is left of it at last, as after skull-stripping; None for all.

    Returns:
        The image, 0..1 as `preparation.prepare` would scale it, and the part of D, H, W that its field of view shows.
    """
    shape = image.shape[2:]
    image = filtered(image, resolution_matrices(shape, ranges, spacing_mm, draw))
    strength = draw.uniform(*ranges.bias)
    scale = draw.log_uniform(*ranges.bias_scale_mm) / spacing_mm
    image = image * (smooth_noise(draw, 1, shape, scale) * strength).exp_()[None]
    # The magnitude of a signal: also where there is none, noise is positive.
    image = image.add_(draw.volume(*image.shape), alpha=draw.uniform(*ranges.noise)).abs_()
    if kept is not None:
        image *= kept
    view = field_of_view(shape, ranges, draw)
    seen = torch.zeros_like(image)
    seen[(0, 0, *view)] = image[(0, 0, *view)]
    return scaled(seen).pow_(2 ** draw.uniform(-ranges.gamma, ranges.gamma)), view


def scaled(image: Tensor) -> Tensor:
    """The image (1, 1, D, H, W) with its percentiles at 0 and 1, clipped there."""
    sampled = image.flatten()[:: max(1, image.numel() // SAMPLED_VOXELS)]
    shares = torch.tensor([LOW_PERCENTILE / 100, HIGH_PERCENTILE / 100], device=image.device)
    low, high = torch.quantile(sampled, shares)
    return ((image - low) / (high - low).clamp(min=1e-3)).clamp_(0, 1)


def resolution_matrices(
    shape: tuple[int, ...], ranges: AcquisitionRanges, spacing_mm: float, draw: Draw
) -> list[np.ndarray]:
    """For each of D, H, W the matrix (length, length) that blurs along it and shows thick slices as thin ones."""
    matrices = [blur_matrix(length, draw.uniform(*ranges.blur_mm) / spacing_mm) for length in shape]
    if draw.chance(ranges.thick_slices):
        axis = draw.choice((1, 1, 1))
        slices = slice_matrix(shape[axis], draw.uniform(*ranges.slice_mm) / spacing_mm, draw.uniform(0, 1))
        matrices[axis] = slices @ matrices[axis]
    return matrices


def blur_matrix(length: int, sigma: float) -> np.ndarray:
    """Gaussian blur along an axis, `sigma` in voxels."""
    distance = np.arange(length)[:, None] - np.arange(length)
    weights = np.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2)
    return weights / weights.sum(1, keepdims=True)


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


def filtered(image: Tensor, matrices: list[np.ndarray]) -> Tensor:
    """The image (1, 1, D, H, W) with its D, H and W multiplied by a matrix each."""
    depth, height, width = (torch.as_tensor(m, dtype=torch.float32, device=image.device) for m in matrices)
    values = image[0, 0] @ width.T
    values = (height @ values).flatten(1)
    return (depth @ values).view(image.shape)


def field_of_view(shape: tuple[int, ...], ranges: AcquisitionRanges, draw: Draw) -> tuple[slice, ...]:
    """The part of a grid that is left where a smaller field of view cuts off some sides."""
    cropped = draw.chance(ranges.cropped)
    view = []
    for length in shape:
        cut = [draw.uniform(*ranges.crop) if cropped and draw.chance(CUT_SIDES) else 0.0 for _ in range(2)]
        view.append(slice(int(cut[0] * length), length - int(cut[1] * length)))
    return tuple(view)
