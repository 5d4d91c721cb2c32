"""What the images say, place by place, of how surely a result matched them: the signs that `expectederror` reads.

Nothing is registered again. The moving image, brought onto the fixed one, is compared with it once more and after small
shifts along the axes: where a shift costs little, or helps, the match is unsure. Beside it stands what a least
squares fit would still move (Lucas and Kanade, IJCAI 1981) and how exactly such a fit could find it, by the Cramér-Rao
bound of the local structure tensor (as in Kybic, IEEE Trans. Image Process. 2010).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..preparation import CONTENT_THRESHOLD, Pair, Prepared
from ..spatial import box_sum, field_from_mm, gradient, index_map, lengths, resample, smooth
from ..transforms import Transform
from ..volume import Geometry
from .instance import split_start

# Enough for a map that shows where, few enough for half a second; and a margin, in which windows end.
VOXELS, MARGIN = 400_000, 4
# Radius of the windows in which the images are correlated, and smoothing of what is found in them; voxels.
RADIUS, CORRELATION_SIGMA, FIT_SIGMA = 2, 1.0, 2.0
# Along the axes, so many voxels far.
SHIFT = 2
SHIFTS = tuple(s for s in itertools.product((-SHIFT, 0, SHIFT), repeat=3) if sum(map(abs, s)) == SHIFT)
# A standard deviation of intensities (0 to 1) that is noise; a gradient per voxel, and a residual, that are nothing.
NOISE, LEAST_GRADIENT, LEAST_RESIDUAL = 0.01, 0.002, 0.003
# Longer steps of the fit say only that it failed; voxels.
LONGEST_FIT = 10.0


@dataclass(frozen=True, eq=False)
class Signs:
    """What was found on a grid over the fixed content.

    Attributes:
        geometry: the grid, of cubes.
        inside: (k, j, i) of bool: where the fixed image shows something and both images count.
        values: by name, (k, j, i) each; lengths are in voxels of the grid, so that an estimate scales with the images.
    """

    geometry: Geometry
    inside: np.ndarray
    values: dict[str, np.ndarray]


def signs(pair: Pair, transform: Transform, device: torch.device) -> Signs:
    """Look at a result once more.

    Args:
        pair: prepared volumes.
        transform: fixed to moving, LPS mm.
        device: where to compute.

    Returns:
        "fit": length of the step that a local least squares fit would still take, about half of what is missing, for
        the means of the windows are taken off first; "fit_spread": its standard deviation; "gain": by how much the best
        shift raises the local squared correlation, as a rule less than 0; "bend": length of the displacement without
        its linear part, which a linear transform does not have.
    """
    with torch.inference_mode():
        content = pair.fixed.content
        side = max((float(np.prod(content.extent_mm)) / VOXELS) ** (1 / 3), float(min(content.spacing)))
        grid = content.with_spacing((side,) * 3).padded(MARGIN)
        linear, residual = split_start(transform)
        field = None
        if residual is not None:
            field = field_from_mm(residual.sampled_on(grid).displacement, grid, device)
        fixed, counts = _on_grid(pair.fixed, grid, np.eye(4), None, device)
        moving, seen = _on_grid(pair.moving, grid, linear.matrix, field, device)
        found = {**_fit(fixed, moving, counts * seen), "gain": _gain(fixed, moving, counts, seen)}
        if field is not None:
            found["bend"] = lengths(field)
        inside = (fixed > CONTENT_THRESHOLD) & (counts * seen > 0.5)
        return Signs(grid, inside[0, 0].cpu().numpy(), {n: v[0, 0].cpu().numpy() for n, v in found.items()})


def _on_grid(
    side: Prepared, grid: Geometry, matrix: np.ndarray, field: torch.Tensor | None, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """One side's image on the grid, through the field and then `matrix`, and where it is in view and counts."""
    reduced = side.reduced(grid.spacing[0])
    image = torch.as_tensor(reduced.image.data, dtype=torch.float32, device=device)[None, None]
    weight = torch.ones_like(image)
    if reduced.weight is not None:
        weight = torch.as_tensor(reduced.weight.data, dtype=torch.float32, device=device)[None, None]
    to_index = index_map(grid, reduced.geometry, matrix)
    padded = (("border", image), ("zeros", weight))
    return tuple(resample(each, to_index, grid.shape, padding, field) for padding, each in padded)


@dataclass(frozen=True)
class _Windows:
    correlation: torch.Tensor
    slope: torch.Tensor
    fixed_mean: torch.Tensor
    moving_mean: torch.Tensor


def _windows(fixed: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor) -> _Windows:
    """Squared correlation in the window around each voxel, and the line that takes the moving values to the fixed."""
    products = [weight, weight * fixed, weight * moving]
    products += [products[1] * fixed, products[2] * moving, products[1] * moving]
    count, *sums = box_sum(torch.cat(products, 1), RADIUS).split(1, 1)
    fixed_mean, moving_mean, fixed_square, moving_square, product = (each / count.clamp(min=1e-3) for each in sums)
    fixed_power, moving_power = (
        (square - mean**2).clamp(min=0) + NOISE**2
        for square, mean in ((fixed_square, fixed_mean), (moving_square, moving_mean))
    )
    covariance = product - fixed_mean * moving_mean
    return _Windows(covariance**2 / (fixed_power * moving_power), covariance / moving_power, fixed_mean, moving_mean)


def _gain(fixed: torch.Tensor, moving: torch.Tensor, counts: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    weight = counts * seen
    around = smooth(weight, CORRELATION_SIGMA).clamp(min=1e-3)

    def correlation(shift: tuple[int, ...]) -> torch.Tensor:
        found = _windows(fixed, _shifted(moving, shift), counts * _shifted(seen, shift)).correlation
        return smooth(found * weight, CORRELATION_SIGMA) / around

    best = torch.full_like(around, -torch.inf)
    for shift in SHIFTS:
        torch.maximum(best, correlation(shift), out=best)
    return best - correlation((0, 0, 0))


def _shifted(image: torch.Tensor, shift: tuple[int, ...]) -> torch.Tensor:
    """The image read `shift` voxels further along k, j, i; its border repeated."""
    reach = max(map(abs, shift))
    if not reach:
        return image
    padded = F.pad(image, [reach] * 6, mode="replicate")
    for axis, (step, length) in enumerate(zip(shift, image.shape[2:], strict=True)):
        padded = padded.narrow(2 + axis, reach + step, length)
    return padded


def _fit(fixed: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    windows = _windows(fixed, moving, weight)
    residual = (fixed - windows.fixed_mean - windows.slope * (moving - windows.moving_mean)) * weight
    slopes = ((gradient(fixed) + windows.slope * gradient(moving)) * (weight / 2)).unbind(1)
    tensor = fixed.new_empty((*fixed.shape[2:], 3, 3))
    for a, b in itertools.combinations_with_replacement(range(3), 2):
        mean = smooth((slopes[a] * slopes[b])[None], FIT_SIGMA)[0, 0]
        tensor[..., a, b] = tensor[..., b, a] = mean + (LEAST_GRADIENT**2 if a == b else 0)
    pull = torch.stack([smooth((slope * residual[0])[None], FIT_SIGMA)[0, 0] for slope in slopes], -1)
    inverse = torch.linalg.inv(tensor)
    step = (inverse @ pull[..., None])[..., 0].norm(dim=-1).clamp(max=LONGEST_FIT)
    noise = smooth(residual**2, FIT_SIGMA)[0, 0] + LEAST_RESIDUAL**2
    spread = (noise * inverse.diagonal(dim1=-2, dim2=-1).sum(-1)).sqrt()
    return {"fit": step[None, None], "fit_spread": spread[None, None]}
