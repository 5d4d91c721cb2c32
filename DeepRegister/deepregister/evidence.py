"""What an alignment shows in the images themselves, whatever their contrasts: is it this place and no other?

Mutual information inside both bodies, at the place that was found and a quarter of the size away from it. Two images of
one anatomy share their inner structure at one place only; two bodies that merely fit into each other's outlines share
hardly more there than anywhere near. Only the inside counts, for any two bodies in air have outlines to agree on.
Normalised mutual information is that of Studholme et al., Pattern Recognition 1999. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from .preparation import CONTENT_THRESHOLD, Pair, Prepared
from .transforms import LinearTransform, Transform
from .volume import Geometry, Volume

# Enough voxels for a steady histogram, few enough for a tenth of a second.
VOXELS, BINS = 40_000, 16
# How far away the agreement is compared with, as a share of the mean extent of what both volumes show.
AWAY = 1 / 4
# Fewer voxels than this, or than this share of those at the place that was found, are no comparison.
FEWEST, LEAST_SHARE = 200, 0.3
# Where both volumes show less than this share of the grid, the part is looked at as closely as the whole would be.
CLOSER = 0.3
# Entropy (nats) below which the inside of a body shows nothing to compare, as in a binary mask.
LEAST_ENTROPY = 0.3


@dataclass(frozen=True)
class Evidence:
    """How two images agree after an alignment.

    Attributes:
        in_view: share of the fixed content that the moving field of view, or its mask, covers.
        agreement: normalised mutual information of the insides, about 0 to 1.
        agreement_away: its mean over displacements by a quarter of the size in all directions.
    """

    in_view: float
    agreement: float
    agreement_away: float


def gather(pair: Pair, transform: Transform) -> Evidence:
    """The evidence for `transform`, fixed to moving.

    It tells a place that was found from one that was not as long as the transform has few degrees of freedom: a dense
    one can make any two bodies agree.
    """
    grid = _isotropic(pair.fixed.content, VOXELS)
    sides = [side.reduced(float(grid.spacing[0])) for side in (pair.fixed, pair.moving)]
    fixed, counts = _seen(sides[0], LinearTransform.identity(), grid)
    moving, covered = _seen(sides[1], transform, grid)
    body = counts & (fixed > CONTENT_THRESHOLD)
    in_view = float((body & covered).sum() / max(body.sum(), 1))
    both = np.argwhere(counts & covered)[:, ::-1]
    if not len(both):
        return Evidence(0.0, 0.0, 0.0)
    seen = grid.cropped(both.min(0), both.max(0) + 1)
    if np.prod(seen.size) < CLOSER * np.prod(grid.size):
        seen = _isotropic(seen, VOXELS)
        closer = [side.reduced(float(seen.spacing[0])) for side in (pair.fixed, pair.moving)]
        fixed, counts = _seen(closer[0], LinearTransform.identity(), seen)
        moving, covered = _seen(closer[1], transform, seen)

    inside = counts & (fixed > CONTENT_THRESHOLD), covered & (moving > CONTENT_THRESHOLD)
    if _empty(fixed, moving, *inside):
        inside = counts, covered
    binned = [np.minimum((image * BINS).astype(np.intp), BINS - 1) for image in (fixed, moving)]
    here, count = _information(*binned, *inside, (0, 0, 0))
    step = AWAY * float(np.mean(seen.size))
    away = []
    for direction in product((-1, 0, 1), repeat=3):
        length = np.linalg.norm(direction)
        if length:
            value, shared = _information(*binned, *inside, tuple(round(step * d / length) for d in direction))
            if shared > max(FEWEST, LEAST_SHARE * count):
                away.append(value)
    return Evidence(in_view, here, float(np.mean(away)) if away else here)


def _isotropic(grid: Geometry, voxels: int) -> Geometry:
    spacing = max((float(np.prod(grid.extent_mm)) / voxels) ** (1 / 3), float(min(grid.spacing)))
    return grid.with_spacing((spacing,) * 3)


def _seen(side: Prepared, through: Transform, grid: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """The image of one side on a grid of fixed space, and where it is in view and counts."""
    weight = side.weight or Volume(np.ones(side.geometry.shape, np.float32), side.geometry)
    image, weight = (through.resample(volume, grid, fill=0.0).data for volume in (side.image, weight))
    return image, weight > 0.5


def _information(
    fixed: np.ndarray, moving: np.ndarray, fixed_inside: np.ndarray, moving_inside: np.ndarray, offset: Sequence[int]
) -> tuple[float, int]:
    """Normalised mutual information of bins with the moving side displaced by `offset` voxels, and over how many."""
    sizes = fixed.shape
    here = tuple(slice(max(0, d), max(0, n + min(0, d))) for d, n in zip(offset, sizes, strict=True))
    there = tuple(slice(max(0, -d), max(0, n + min(0, -d))) for d, n in zip(offset, sizes, strict=True))
    shared = fixed_inside[here] & moving_inside[there]
    count = int(shared.sum())
    if count < FEWEST:
        return 0.0, count
    joint = np.bincount(fixed[here][shared] * BINS + moving[there][shared], minlength=BINS**2)
    joint = joint.reshape(BINS, BINS) / count
    together = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / together - 1 if together > 0 else 0.0, count


def _entropy(probability: np.ndarray) -> float:
    positive = probability[probability > 0]
    return float(-(positive * np.log(positive)).sum())


def _empty(fixed: np.ndarray, moving: np.ndarray, fixed_inside: np.ndarray, moving_inside: np.ndarray) -> bool:
    """Whether one of the images shows nothing inside the bodies, so that only outlines are left to compare."""
    shared = fixed_inside & moving_inside
    if shared.sum() < FEWEST:
        return False
    histograms = (np.histogram(image[shared], BINS, (0, 1))[0] / shared.sum() for image in (fixed, moving))
    return min(_entropy(histogram) for histogram in histograms) < LEAST_ENTROPY
