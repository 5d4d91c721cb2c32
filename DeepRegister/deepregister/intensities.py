"""The range of intensities that is worth seeing: nearly all of an image, but not metal that outshines all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A percentile that keeps one bright vessel or a burnt-in label from squeezing all tissue together.
LOW_PERCENTILE, HIGH_PERCENTILE = 0.2, 99.8
# What is extreme in more voxels than that: metal, hot voxels, padding. It may be this share of all voxels ...
MOST_EXTREME = 0.035
# ... or this of those that are not the constant background, so that a small object in air is not taken for metal.
MOST_EXTREME_OF_OBJECT = 0.2
# In spreads of the other voxels beyond them. Percentiles of real images lie within 1.7, metal at ten or more.
FAR, NEAR = 5.0, 2.0
# The other voxels must show something by themselves, or the extreme ones are the object, in air or in noise: so much
# do voxels some way apart resemble each other, and so many times as many differ from most.
LEAST_RESEMBLANCE = 0.4
LEAST_CONTENT = 3.0
CONTENT_CONTRAST = 0.1
# Fewer values than this are labels, which may be any numbers.
FEWEST_VALUES = 16
FEWEST_ALONG = 8
SAMPLES = 2_000_000


@dataclass(frozen=True)
class IntensityRange:
    """What becomes 0 and 1.

    Attributes:
        low, high: in the units of the image; equal only for a constant one.
        darker, brighter: share of the voxels that were left out of the range as extreme, 0 where nothing was.
    """

    low: float
    high: float
    darker: float = 0.0
    brighter: float = 0.0

    @classmethod
    def of(cls, data: np.ndarray) -> IntensityRange:
        """Of finite voxels (k, j, i): their percentiles, unless these lie far from the bulk of an image of its own."""
        values = data.ravel()[:: max(1, data.size // SAMPLES)]
        shares = [LOW_PERCENTILE, HIGH_PERCENTILE, 100 * MOST_EXTREME, 100 * (1 - MOST_EXTREME)]
        low, high, *bulk = np.percentile(values, shares)
        if not high > low:
            return cls(float(data.min()), float(data.max()))
        usual = cls(low, high)
        if not any(_far(low, high, *bulk)):
            return usual
        # A sort, which few images need.
        different, counts = np.unique(values, return_counts=True)
        tail = 100 * min(MOST_EXTREME, MOST_EXTREME_OF_OBJECT * (1 - counts.max() / values.size))
        first, last = np.percentile(values, [tail, 100 - tail])
        dark, bright = _far(low, high, first, last)
        limits = first - NEAR * (last - first), last + NEAR * (last - first)
        fewest = np.count_nonzero((different >= limits[0]) & (different <= limits[1])) < FEWEST_VALUES
        if fewest or not (dark or bright) or not _is_an_image(data, values, limits):
            return usual
        darker, brighter = values < limits[0], values > limits[1]
        least, most = np.percentile(values[~(darker | brighter)], [LOW_PERCENTILE, HIGH_PERCENTILE])
        return cls(
            least if dark else low,
            most if bright else high,
            float(darker.mean()) if dark else 0.0,
            float(brighter.mean()) if bright else 0.0,
        )

    def warnings(self, name: str) -> list[str]:
        """What the user should know of it, in sentences."""
        return [
            f"{name}: {share:.1%} of the voxels are far {how} than all others ({what}) and count as {value:.4g}, so "
            "that the others keep their contrast."
            for share, how, what, value in (
                (self.brighter, "brighter", "metal, perhaps", self.high),
                (self.darker, "darker", "padding, perhaps", self.low),
            )
            if share > 0
        ]


def _far(low: float, high: float, first: float, last: float) -> tuple[bool, bool]:
    reach = FAR * (last - first)
    return low < first - reach, high > last + reach


def _is_an_image(data: np.ndarray, values: np.ndarray, limits: tuple[float, float]) -> bool:
    """Whether what lies within `limits` shows more than noise, and more of it than lies without."""
    others = values[(values >= limits[0]) & (values <= limits[1])]
    least, most = np.percentile(others, [LOW_PERCENTILE, HIGH_PERCENTILE])
    content = np.abs(others - np.median(others)) > CONTENT_CONTRAST * (most - least)
    if np.count_nonzero(content) < LEAST_CONTENT * (values.size - others.size):
        return False
    found = [_resemblance(data, axis, limits) for axis in range(3) if data.shape[axis] >= FEWEST_ALONG]
    return bool(found) and float(np.mean(found)) >= LEAST_RESEMBLANCE


def _resemblance(data: np.ndarray, axis: int, limits: tuple[float, float]) -> float:
    """Correlation of voxels within `limits` with those a few voxels on, farther than noise is smoothed."""
    along = np.moveaxis(data, axis, 0)
    step = max(1, int(np.sqrt(data.size / SAMPLES)))
    along = along[:, ::step, ::step]
    lag = max(2, len(along) // 32)
    one, other = along[:-lag].ravel(), along[lag:].ravel()
    within = (np.minimum(one, other) >= limits[0]) & (np.maximum(one, other) <= limits[1])
    one, other = one[within].astype(np.float64), other[within].astype(np.float64)
    if one.size < 2 or not (one.std() > 0 and other.std() > 0):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
