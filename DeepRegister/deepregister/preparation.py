"""Preparation: from a volume as it comes to one that every model can use. Never the user's work.

Cleans what is not a number, brings intensities to 0..1, finds the content, and averages down to a wanted spacing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import GeometryError, InputError
from .intensities import IntensityRange
from .landmarks import LandmarkPairs
from .regions import Regions
from .transforms import Rigid
from .volume import Geometry, Volume

# More than this share of voxels without a value is a damaged file, not a few bad voxels.
MOST_NOT_FINITE = 0.01
# Scanners pad CT outside their circle with -2000 or -3024; nothing in a body is below air.
AIR_HU = -1024.0
CONTENT_THRESHOLD = 0.05
FEWEST_VOXELS = 8


@dataclass(frozen=True, eq=False)
class Prepared:
    """One side of a pair, ready for the models.

    Attributes:
        image: float32, scaled to 0..1.
        weight: float32 cost mask on the same grid, 0..1; None counts every voxel.
        content: grid of the box of voxels that are not background.
        contained: whether the object ends inside the image, so that all beyond the border is background too.
    """

    image: Volume
    weight: Volume | None
    content: Geometry
    contained: bool

    @property
    def geometry(self) -> Geometry:
        return self.image.geometry

    def reduced(self, spacing_mm: float) -> Prepared:
        """The same at a spacing of at most `spacing_mm`, by averaging whole blocks of voxels."""
        factors = [max(1, int(spacing_mm / s + 1e-3)) for s in self.geometry.spacing]
        if max(factors) == 1:
            return self
        weight = None if self.weight is None else block_mean(self.weight, factors)
        return Prepared(block_mean(self.image, factors), weight, self.content, self.contained)

    def canonical(self) -> Prepared:
        """The same voxels at the same places, stored along canonical axes."""
        image, weight = (None if v is None else _contiguous(v.canonical()) for v in (self.image, self.weight))
        return Prepared(image, weight, self.content.canonical(), self.contained)


@dataclass(frozen=True, eq=False)
class Pair:
    """What the models register: both sides, and optional landmark pairs (LPS mm), sliding regions and emphasis.

    `emphasis` is 1 where the images weigh more, 0 elsewhere; in fixed space, on any grid.
    """

    fixed: Prepared
    moving: Prepared
    landmarks: LandmarkPairs | None = None
    regions: Regions | None = None
    emphasis: Volume | None = None

    @property
    def steered(self) -> bool:
        """Whether the user says anything of where to look, or how, that a network cannot see."""
        return not (self.landmarks is None and self.regions is None and self.emphasis is None)


def prepare(volume: Volume, mask: Volume | None = None) -> tuple[Prepared, list[str]]:
    """One side of a pair, and warnings for the user.

    Args:
        volume: any real voxel type.
        mask: cost mask, 0 where voxels must not count; on any grid in the same space.

    Raises:
        InputError: empty, constant or mostly not-finite image; a mask that selects nothing.
    """
    warnings: list[str] = []
    data = np.array(volume.data, dtype=np.float32)
    if min(volume.geometry.size) < 2 or data.size < FEWEST_VOXELS**3 / 8:
        raise InputError(
            f"{volume.name} has {volume.geometry.describe()}: too few to register in three dimensions. "
            "Give a volume of at least two slices."
        )
    finite = np.isfinite(data)
    if not finite.all():
        missing = 1 - float(finite.mean())
        if missing > MOST_NOT_FINITE:
            raise InputError(
                f"{volume.name}: {missing:.1%} of the voxels are not numbers (NaN or infinite). "
                "Replace them or mask the image before registering."
            )
        data[~finite] = data[finite].min()
        warnings.append(f"{volume.name}: {(~finite).sum()} voxels were not numbers and count as background.")
    if data.min() < AIR_HU < data.max():
        np.maximum(data, AIR_HU, out=data)
    shown = IntensityRange.of(data)
    if not shown.high > shown.low:
        raise InputError(
            f"{volume.name} is empty: every voxel has the value {float(data.flat[0]):g}. Choose another image."
        )
    warnings += shown.warnings(volume.name)
    data -= shown.low
    data /= shown.high - shown.low
    np.clip(data, 0, 1, out=data)
    image = Volume(data, volume.geometry, volume.name)
    weight = None if mask is None else _weight(mask, volume)
    content, contained = _content(data if weight is None else data * (weight.data > 0), volume.geometry)
    return Prepared(image, weight, content, contained), warnings


def prepare_emphasis(mask: Volume, fixed: Prepared) -> Volume:
    """A mask of where the images weigh more, as `Pair.emphasis`.

    Raises:
        InputError: it selects nothing of what the fixed volume shows.
    """
    inside = Volume((mask.data > 0).astype(np.float32), mask.geometry, mask.name)
    if not Rigid.identity().resample(inside, fixed.content, "linear", fill=0).data.any():
        raise InputError(
            f"The region {mask.name}, where the images are to weigh more, selects nothing of the fixed volume. Paint "
            "it on that volume, or leave it out."
        )
    return inside


def _contiguous(volume: Volume) -> Volume:
    return replace(volume, data=np.ascontiguousarray(volume.data))


def block_mean(volume: Volume, factors: list[int]) -> Volume:
    """Averages over blocks of `factors` (i, j, k) voxels; what does not fill a block at the far end is dropped."""
    factors = [min(f, n) for f, n in zip(factors, volume.geometry.size, strict=True)]
    size = [n // f for n, f in zip(volume.geometry.size, factors, strict=True)]
    (fi, fj, fk), (ni, nj, nk) = factors, size
    data = volume.data[: nk * fk, : nj * fj, : ni * fi].reshape(nk, fk, nj, fj, ni, fi)
    # One axis at a time: numpy's mean over three strided axes at once is several times slower.
    data = data.mean(5, dtype=np.float32).mean(3).mean(1)
    origin = volume.geometry.index_to_point((np.asarray(factors) - 1) / 2)
    spacing = np.asarray(volume.geometry.spacing) * factors
    geometry = Geometry(tuple(size), tuple(spacing), tuple(origin), volume.geometry.direction)
    return Volume(data, geometry, volume.name)


def check_overlap(fixed: Geometry, moving: Geometry, names: tuple[str, str]) -> None:
    """Raise `GeometryError` where the volumes lie so far apart that a header must be wrong."""
    distance = float(np.linalg.norm(fixed.centre - moving.centre))
    reach = 10 * float(np.linalg.norm(fixed.extent_mm) + np.linalg.norm(moving.extent_mm))
    if distance > max(reach, 5000.0):
        raise GeometryError(
            f"{names[0]} and {names[1]} lie {distance / 1000:.1f} m apart. One of their headers must be wrong: "
            "correct its origin, or give an initial transform."
        )


def _weight(mask: Volume, volume: Volume) -> Volume:
    if not np.all(np.isfinite(mask.data)) or not np.any(mask.data):
        raise InputError(f"The mask {mask.name} selects nothing (every voxel is 0). Paint it or leave it out.")
    if not mask.geometry.same_grid(volume.geometry):
        binary = Volume((mask.data > 0).astype(np.float32), mask.geometry, mask.name)
        mask = Rigid.identity().resample(binary, volume.geometry, "linear", fill=0)
    weight = np.clip(mask.data.astype(np.float32), 0, 1)
    if weight.sum() < FEWEST_VOXELS:
        raise InputError(
            f"The mask {mask.name} does not overlap {volume.name}: they lie in different places. Check that the mask "
            "was made on this image."
        )
    return Volume(weight, volume.geometry, mask.name)


def _content(data: np.ndarray, geometry: Geometry) -> tuple[Geometry, bool]:
    occupied = data > data.min() + CONTENT_THRESHOLD
    start, stop = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        # A few noisy voxels in the air do not make a slice part of the object.
        share = occupied.mean(axis=others)
        inside = np.flatnonzero(share > 0.002)
        start.append(int(inside[0]) if len(inside) else 0)
        stop.append(int(inside[-1]) + 1 if len(inside) else data.shape[axis])
    contained = all(occupied.take(index, axis=axis).mean() < 0.02 for axis in range(3) for index in (0, -1))
    return geometry.cropped(start[::-1], stop[::-1]), contained


def describe_inputs(**volumes: Volume | None) -> dict[str, Any]:
    """Names and geometries of what was registered, JSON-ready."""
    return {
        role: {
            "name": volume.name,
            "size": list(volume.geometry.size),
            "spacing_mm": list(volume.geometry.spacing),
            "origin_lps_mm": list(volume.geometry.origin),
            "direction": [list(row) for row in volume.geometry.direction],
        }
        for role, volume in volumes.items()
        if volume is not None
    }
