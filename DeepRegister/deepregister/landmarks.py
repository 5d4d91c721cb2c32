"""Landmark pairs: points in the fixed volume and their partners in the moving one, LPS mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError


@dataclass(frozen=True, eq=False)
class LandmarkPairs:
    """Corresponding points.

    Attributes:
        fixed: (n, 3), LPS mm.
        moving: (n, 3), LPS mm; row by row the partner of `fixed`.
        labels: n names, for people; empty where there are none.

    Raises:
        InputError: unequal numbers, no point, or coordinates that are not finite.
    """

    fixed: np.ndarray
    moving: np.ndarray
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for side in ("fixed", "moving"):
            try:
                points = np.array(getattr(self, side), dtype=float)
            except (TypeError, ValueError) as error:
                raise InputError(f"The {side} landmarks must be rows of three numbers: {error}.") from None
            if points.ndim != 2 or points.shape[-1] != 3:
                raise InputError(f"The {side} landmarks must be rows of three coordinates, not shape {points.shape}.")
            if not np.all(np.isfinite(points)):
                raise InputError(f"The {side} landmarks hold a coordinate that is not a finite number.")
            points.setflags(write=False)
            object.__setattr__(self, side, points)
        if len(self.fixed) != len(self.moving):
            raise InputError(
                f"There are {len(self.fixed)} fixed and {len(self.moving)} moving landmarks. Each fixed landmark "
                "needs its partner, in the same order: add or remove points until the numbers agree."
            )
        if not len(self.fixed):
            raise InputError("The landmark lists are empty. Place at least one pair, or leave landmarks out.")
        object.__setattr__(self, "labels", tuple(self.labels))
        if len(self.labels) not in (0, len(self.fixed)):
            raise InputError(f"There are {len(self.fixed)} landmark pairs and {len(self.labels)} names for them.")

    def __len__(self) -> int:
        return len(self.fixed)
