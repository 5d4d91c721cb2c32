"""Which methods are compared on which pairs: `quick` for a look within 15 minutes on two cores, `full` and `slow`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from methods import METHODS


@dataclass(frozen=True)
class Suite:
    """One documented command.

    Attributes:
        pairs: how many pairs of each data set; None takes all that it has.
        methods: names in `methods.METHODS`.
        limit: seconds for one pair, after which a method has failed.
    """

    pairs: Mapping[str, int | None]
    methods: tuple[str, ...]
    limit: float


# Peers that take so long on a brain that three pairs have to do.
SLOW = tuple(name for name, method in METHODS.items() if method.environment and not name.startswith("greedy"))
SUITES = {
    "quick": Suite(
        {"brains-development": 1, "brain-renders-development": 1, "hippocampus-validation": 3, "lung": 1, "liver": 1},
        ("affine", "balanced", "pyramid", "pyramid-hippocampus", "greedy", "greedy-ours", "ants-ours"),
        limit=300,
    ),
    "full": Suite(
        {"brains": None, "lung": None, "liver": None, "hippocampus": 30},
        tuple(name for name in METHODS if name not in SLOW),
        limit=3600,
    ),
    "slow": Suite({"brains": 3, "lung": None, "liver": None, "hippocampus": 10}, SLOW, limit=3600),
}
