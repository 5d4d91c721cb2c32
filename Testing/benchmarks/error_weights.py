"""The weights of `deepregister.expectederror`, fitted to what pairs with a known truth show, and judged on other kinds.

A sample of a result is its true error and its signs at some points. The logarithm of the error is fitted by least
squares, every kind of pair counting alike; the constant and the spread are then set so that half and nine in ten of the
errors of kinds that were left out of the fit lie below the stated median and bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from deepregister.expectederror import LEAST_ERROR, STATED, Weights
from scipy.stats import norm

# Draws weights of signs that say nearly the same towards each other; in units of the points' own mean square.
RIDGE = 0.02


@dataclass(frozen=True, eq=False)
class Sample:
    """Points of one result.

    Attributes:
        kind: of the pair.
        error_mm: (n,), the true one.
        side_mm: of a voxel of the signs' grid.
        columns: (n,) each: the signs as they are weighed; see `expectederror.columns`.
    """

    kind: str
    error_mm: np.ndarray
    side_mm: float
    columns: Mapping[str, np.ndarray]

    @property
    def logarithm(self) -> np.ndarray:
        return np.log(self.error_mm / self.side_mm + LEAST_ERROR)


def fit(samples: Sequence[Sample], signs: Sequence[str]) -> tuple[Weights, dict[str, Weights]]:
    """Weights for all kinds of pairs, and for each kind those that the others give."""
    without = {
        kind: _least_squares([s for s in samples if s.kind != kind], signs) for kind in dict.fromkeys(_kinds(samples))
    }
    rests = [_rest(sample, without[sample.kind]) for sample in samples]
    shares = _shares(samples)
    half, most = (_quantile(rests, shares, share) for share in (0.5, STATED))
    spread = (most - half) / norm.ppf(STATED)

    def calibrated(weights: Weights) -> Weights:
        return Weights(weights.constant + half, weights.by_sign, spread)

    everything = calibrated(_least_squares(samples, signs))
    # Rounded as they stand in the source.
    everything = Weights(
        round(everything.constant, 3), {k: round(v, 3) for k, v in everything.by_sign.items()}, round(spread, 3)
    )
    return everything, {kind: calibrated(weights) for kind, weights in without.items()}


def median_mm(sample: Sample, weights: Weights) -> np.ndarray:
    """The error that half of such points would lie below, mm, as `expectederror.estimate` has it."""
    logarithm = weights.constant + sum(value * sample.columns[name] for name, value in weights.by_sign.items())
    return np.maximum(np.exp(logarithm) - LEAST_ERROR, LEAST_ERROR) * sample.side_mm


def _kinds(samples: Sequence[Sample]) -> list[str]:
    return [sample.kind for sample in samples]


def _shares(samples: Sequence[Sample]) -> list[float]:
    """What each sample counts, so that all kinds count alike."""
    kinds = _kinds(samples)
    return [1 / (kinds.count(kind) * len(sample.error_mm)) for kind, sample in zip(kinds, samples, strict=True)]


def _least_squares(samples: Sequence[Sample], signs: Sequence[str]) -> Weights:
    rows = np.concatenate([np.stack([sample.columns[name] for name in signs], 1) for sample in samples])
    wanted = np.concatenate([sample.logarithm for sample in samples])
    share = np.concatenate([np.full(len(s.error_mm), w) for s, w in zip(samples, _shares(samples), strict=True)])
    share /= share.sum()
    middle, centre = share @ rows, share @ wanted
    scale = np.sqrt(share @ (rows - middle) ** 2) + 1e-9
    standard = (rows - middle) / scale
    normal = standard.T @ (standard * share[:, None]) + RIDGE * np.eye(len(signs))
    found = np.linalg.solve(normal, standard.T @ (share * (wanted - centre))) / scale
    return Weights(float(centre - middle @ found), dict(zip(signs, map(float, found), strict=True)), 0.0)


def _rest(sample: Sample, weights: Weights) -> np.ndarray:
    logarithm = weights.constant + sum(value * sample.columns[name] for name, value in weights.by_sign.items())
    return sample.logarithm - logarithm


def _quantile(rests: Sequence[np.ndarray], shares: Sequence[float], wanted: float) -> float:
    values = np.concatenate(rests)
    share = np.concatenate([np.full(len(rest), weight) for rest, weight in zip(rests, shares, strict=True)])
    order = np.argsort(values)
    return float(np.interp(wanted, np.cumsum(share[order]) / share.sum(), values[order]))
