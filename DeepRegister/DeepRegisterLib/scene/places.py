"""Where points lie, in words: in which structure, or towards which sides of the fixed volume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from deepregister import Geometry

# A point counts as left, anterior and so on beyond this share of the half extent: a third around the middle is neither.
_BEYOND = 1 / 3
# Names of the ends of the axes, low and high, in LPS; said in this order.
_ENDS = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))


def placeInWords(points: np.ndarray, fixed: Geometry, structureAt: Callable[[np.ndarray], str | None]) -> str:
    """ "in Hippocampus", "in the left anterior part", "in the middle"; empty where points have no place in common.

    Args:
        points: (n, 3), LPS mm, at least one.
        fixed: the fixed volume's grid.
        structureAt: the name of the structure at a point, or None.
    """
    names = {structureAt(point) for point in points}
    if len(names) == 1 and None not in names:
        return f"in {names.pop()}"
    corners = np.array(np.meshgrid(*([-0.5, n - 0.5] for n in fixed.size))).reshape(3, -1).T
    world = fixed.index_to_point(corners)
    low, high = world.min(0), world.max(0)
    # From -1 to 1 along each axis of the body, however the volume is turned.
    share = 2 * (points - low) / (high - low) - 1
    words = []
    for axis, (lower, upper) in enumerate(_ENDS):
        if np.all(share[:, axis] > _BEYOND):
            words.append(upper)
        elif np.all(share[:, axis] < -_BEYOND):
            words.append(lower)
    if words:
        return f"in the {' '.join(words)} part"
    return "in the middle" if np.all(np.abs(share) <= _BEYOND) else ""
