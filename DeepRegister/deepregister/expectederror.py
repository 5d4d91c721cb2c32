"""How far from its true place each point of a result is expected to be, in mm: a map, a 90 % bound and a sentence.

The logarithm of the error, in voxels of the map, is taken as a weighted sum of the signs of `models.rematching` and a
normally distributed rest. Weights and rest were fitted to known deformations, and are judged on others and on real
landmarks, by `Testing/benchmarks/expected_error.py`. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter
from scipy.special import ndtr, ndtri

from .pictures import thinned
from .preparation import CONTENT_THRESHOLD, prepare
from .transforms import Rigid
from .volume import Geometry, Volume

# The bound that is stated holds for so large a share of places.
STATED = 0.9
# Added to lengths, in voxels, before their logarithm is taken: less is nothing.
LEAST = {"fit": 0.03, "fit_spread": 0.03, "bend": 0.05}
# Less than this, in voxels, no error is known to be.
LEAST_ERROR = 0.01
# The least sure place is the largest of the map after smoothing by so many voxels: a region, not a speck.
REGION_SIGMA = 2.0
# Gaps in what a volume shows belong to the body, up to twice as wide: lung may be as dark as air, its vessels are not.
GAP_MM = 12.0
# Places that the shares over a volume are taken from, and halvings that find them.
MOST_COUNTED, HALVINGS = 50_000, 40
# Names of the ends of the axes, low and high, in LPS, and the share of the half extent beyond which they are said.
ENDS, BEYOND = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior")), 1 / 3


@dataclass(frozen=True)
class Weights:
    """What turns signs into errors, for one kind of transform.

    Attributes:
        constant: of the logarithm of the error in voxels.
        by_sign: for each sign its weight.
        spread: standard deviation of what the signs do not explain.
    """

    constant: float
    by_sign: Mapping[str, float]
    spread: float

    def bound(self, share: float = STATED) -> float:
        """What the median error is multiplied by to give the length that so large a share of errors stays below."""
        return float(np.exp(ndtri(share) * self.spread))


# Fitted by `expected_error.py --fit` to the development seeds.
WEIGHTS = {
    "deformable": Weights(-0.64, {"fit_spread": 0.466, "gain": 0.701, "bend": 0.416}, 0.489),
    "linear": Weights(0.119, {"fit": 0.493, "gain": 1.241}, 0.412),
}


def columns(signs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The signs as they are weighed: lengths by their logarithms."""
    return {
        name: np.log(np.maximum(values, 0) + LEAST[name]) if name in LEAST else values for name, values in signs.items()
    }


def estimate(
    signs: Mapping[str, np.ndarray], inside: np.ndarray, geometry: Geometry, kind: str
) -> tuple[Volume, dict[str, Any]]:
    """The expected error of a result.

    Args:
        signs: as `models.rematching.Signs.values`.
        inside: (k, j, i) of bool: where they say something.
        geometry: their grid.
        kind: "deformable" or "linear".

    Returns:
        The map: the mean error to be expected at each place, mm; where nothing is shown the nearest place that shows
        something stands for it. And measures, JSON-ready, over all places that show something:
        "expected_error_mean_mm"; "expected_error_median_mm" and "expected_error_90_mm", within which half and nine in
        ten of the points are expected to lie; "expected_error_bound_factor", which makes the 90 % bound at a place of
        the map's value there; "expected_error_worst_mm", that bound where it is largest over a region, and
        "expected_error_worst_lps_mm" and "expected_error_worst_place", where that is. None of them where nothing is
        shown.
    """
    found, weighing = columns(signs), WEIGHTS[kind]
    logarithm = weighing.constant + sum(weight * found[name] for name, weight in weighing.by_sign.items())
    # Of a logarithmic normal distribution.
    to_mean = float(np.exp(weighing.spread**2 / 2))
    median = np.maximum(np.exp(logarithm) - LEAST_ERROR, LEAST_ERROR) * geometry.spacing[0]
    if inside.any() and not inside.all():
        median = median[tuple(distance_transform_edt(~inside, return_distances=False, return_indices=True))]
    error = Volume((median * to_mean).astype(np.float32), geometry, "expected error")
    if not inside.any():
        return error, {}
    region = gaussian_filter(error.data, REGION_SIGMA, mode="nearest")
    worst = np.unravel_index(np.where(inside, region, -1).argmax(), inside.shape)
    place = geometry.index_to_point(worst[::-1])
    factor = weighing.bound() / to_mean
    return error, {
        "expected_error_mean_mm": float(error.data[inside].mean()),
        "expected_error_median_mm": _within(median[inside], weighing.spread, 0.5),
        "expected_error_90_mm": _within(median[inside], weighing.spread, STATED),
        "expected_error_bound_factor": factor,
        "expected_error_worst_mm": float(region[worst]) * factor,
        "expected_error_worst_lps_mm": [round(float(x), 1) for x in place],
        "expected_error_worst_place": part_in_words(place[None], geometry),
    }


def _within(median: np.ndarray, spread: float, share: float) -> float:
    """The length that a share of the errors at all places together stays below."""
    logarithm = np.log(median[:: max(1, len(median) // MOST_COUNTED)])
    low, high = logarithm.min() + spread * ndtri(share), logarithm.max() + spread * ndtri(share)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = ndtr((middle - logarithm) / spread).mean() < share
        low, high = (middle, high) if below else (low, middle)
    return float(np.exp((low + high) / 2))


def shown(fixed: Volume, onto: Geometry) -> np.ndarray:
    """Where a map of the expected error speaks of something: (k, j, i) of bool on the grid `onto` of the map.

    True where the fixed volume shows something, as the estimate saw it, in gaps of that, and in what it encloses. In
    the air around a body a map repeats the nearest place, which a person would take for something that was found there.
    """
    image = prepare(thinned(fixed))[0].reduced(onto.spacing[0]).image
    margin = [int(np.ceil(GAP_MM / spacing)) + 1 for spacing in onto.spacing]
    seen = Rigid.identity().resample(image, onto, fill=0.0).data > CONTENT_THRESHOLD
    # A closing by distances; in a margin, or what reaches the border would be worn off there.
    seen = np.pad(seen, [(each, each) for each in margin[::-1]])
    if seen.any():
        spacing = onto.spacing[::-1]
        near = distance_transform_edt(~seen, sampling=spacing) <= GAP_MM
        seen |= distance_transform_edt(near, sampling=spacing) > GAP_MM
    inner = tuple(slice(each, -each) for each in margin[::-1])
    return binary_fill_holes(seen)[inner]


def sentence(measures: Mapping[str, Any]) -> str:
    """What a user is told of a result with these measures; empty where there is no estimate."""
    if "expected_error_90_mm" not in measures:
        return ""
    half, most, worst = (_length(measures[f"expected_error_{name}_mm"]) for name in ("median", "90", "worst"))
    place = measures["expected_error_worst_place"] or "at its border"
    return (
        f"Where both volumes show the same anatomy, nine points in ten are expected to lie within {most} of their true "
        f"places, half of them within {half}; least sure is the result {place}, where nine in ten lie within {worst}."
    )


def _length(mm: float) -> str:
    return f"{mm:.1f} mm" if mm >= 0.95 else f"{mm:.2g} mm"


def part_in_words(points: np.ndarray, within: Geometry) -> str:
    """ "in the left anterior part", "in the middle"; empty where points (n, 3), LPS mm, have no part in common."""
    corners = np.array(np.meshgrid(*([-0.5, n - 0.5] for n in within.size))).reshape(3, -1).T
    world = within.index_to_point(corners)
    low, high = world.min(0), world.max(0)
    # From -1 to 1 along each axis of the body, however the volume is turned.
    share = 2 * (points - low) / (high - low) - 1
    words = []
    for axis, (lower, upper) in enumerate(ENDS):
        if np.all(share[:, axis] > BEYOND):
            words.append(upper)
        elif np.all(share[:, axis] < -BEYOND):
            words.append(lower)
    if words:
        return f"in the {' '.join(words)} part"
    return "in the middle" if np.all(np.abs(share) <= BEYOND) else ""
