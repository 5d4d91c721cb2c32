"""Bootstrap intervals of means over pairs of images."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

DRAWS = 2000
LEVEL = 95
# Below so many pairs there is too little to draw from.
LEAST_PAIRS = 3


def images(pair: str) -> tuple[str, str]:
    """The fixed and the moving image by the name of a pair, `... FIXED<-MOVING`; others stand for themselves."""
    found = re.search(r"(\S+)<-([^\s,]+)", pair)
    return (found[1], found[2]) if found else (f"fixed of {pair}", f"moving of {pair}")


def interval(pairs: Sequence[str], values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of a mean over pairs; None for fewer than three.

    Where pairs share images they are not independent: images are drawn, and a pair counts as often as both its images
    were drawn together (the pigeonhole bootstrap, Owen, Annals of Applied Statistics 2007, which errs towards wide
    intervals). Where no image is in two pairs, pairs are drawn.

    Args:
        pairs: names, which say what images are shared; see `images`.
        values: one for each pair.
    """
    if len(pairs) < LEAST_PAIRS:
        return None
    sides = [images(pair) for pair in pairs]
    names = sorted({name for side in sides for name in side})
    rng = np.random.default_rng(0)
    if len(names) == 2 * len(pairs):
        weights = _counts(rng, len(pairs))
    else:
        fixed, moving = ([names.index(side[n]) for side in sides] for n in (0, 1))
        counts = _counts(rng, len(names))
        weights = counts[:, fixed] * counts[:, moving]
        weights = weights[weights.sum(1) > 0]
    means = weights @ np.asarray(values, dtype=float) / weights.sum(1)
    low, high = np.percentile(means, [50 - LEVEL / 2, 50 + LEVEL / 2])
    return float(low), float(high)


def _counts(rng: np.random.Generator, things: int) -> np.ndarray:
    """How often each of some things is drawn, in each of the draws."""
    return rng.multinomial(things, np.full(things, 1 / things), size=DRAWS)
