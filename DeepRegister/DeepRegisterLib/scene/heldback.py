"""Which landmark pairs refine a result, and which are held back so that their error stays an honest one."""

from __future__ import annotations

import json

import numpy as np

from .landmarkpairs import PairErrors
from .provenance import recordedPulledBy

# On the fixed list: what the user chose for single pairs.
_ATTRIBUTE = "DeepRegister.HeldBack"
# Unless the user chooses otherwise, the last of so many pairs is held back.
EVERY = 3


def heldBack(errors: PairErrors, fixedNode, transformNode=None) -> np.ndarray:
    """For each pair (n,) whether the next refinement leaves it out.

    One that drew the current result already cannot be held back: it would no longer be honest.
    """
    chosen = _chosen(fixedNode)
    drawn = pulled(errors, transformNode)
    return np.array(
        [
            not drawn[n] and chosen.get(identifier, n % EVERY == EVERY - 1)
            for n, identifier in enumerate(errors.identifiers)
        ],
        dtype=bool,
    )


def setHeldBack(errors: PairErrors, fixedNode, row: int, held: bool) -> None:
    """Hold a pair back, or let it draw the next refinement; kept with the fixed list."""
    chosen = {**_chosen(fixedNode), errors.identifiers[row]: held}
    fixedNode.SetAttribute(_ATTRIBUTE, json.dumps(chosen))


def keepChoices(errors: PairErrors, fixedNode, held: np.ndarray) -> None:
    """Keep these roles for all pairs, whatever pairs are added or removed later."""
    chosen = {**_chosen(fixedNode), **dict(zip(errors.identifiers, map(bool, held), strict=True))}
    fixedNode.SetAttribute(_ATTRIBUTE, json.dumps(chosen))


def pulled(errors: PairErrors, transformNode=None) -> np.ndarray:
    """For each pair (n,) whether it drew the current result towards it, so that its error says little."""
    drawn = frozenset() if transformNode is None else recordedPulledBy(transformNode)
    return np.array([identifier in drawn for identifier in errors.identifiers], dtype=bool)


def _chosen(fixedNode) -> dict[str, bool]:
    return json.loads((fixedNode.GetAttribute(_ATTRIBUTE) if fixedNode is not None else None) or "{}")
