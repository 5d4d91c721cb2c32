"""Which learned models were made for a pair, as far as their cards and the volumes tell. Needs no torch.

A pair says little of itself: how large what it shows is, how thick its slices are, and whether it is CT. A card says
what of this its model was made for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..preparation import Pair
from ..volume import Volume
from .registry import Card

# Where a card does not say it: the thickest slices that a network bears, in voxels of its grid.
THICKEST = 2.5
# Soft tissue and air lie here in CT alone: other modalities have no values this far below zero, or not in so many
# voxels.
CT_BELOW, CT_SHARE = -200.0, 0.01


@dataclass(frozen=True)
class Shown:
    """What can be seen of a pair before it is aligned; fixed volume first.

    Attributes:
        extents_mm: middle side of the box around what each volume shows.
        slices_mm: the coarsest spacing of each.
        ct: whether each has the values of CT.
    """

    extents_mm: tuple[float, float]
    slices_mm: tuple[float, float]
    ct: tuple[bool, bool]

    @classmethod
    def of(cls, pair: Pair, volumes: Sequence[Volume]) -> Shown:
        """Of a prepared pair and the volumes as they came."""
        sides = pair.fixed, pair.moving
        return cls(
            tuple(float(np.median(side.content.extent_mm)) for side in sides),
            tuple(float(max(side.geometry.spacing)) for side in sides),
            tuple(looks_like_ct(volume) for volume in volumes),
        )

    def objections(self, card: Card) -> list[str]:
        """Why a learned model was not made for this pair, a clause each; empty where nothing speaks against it."""
        if not card.learned:
            return []
        found = []
        for side, extent, slices, ct in zip(("fixed", "moving"), self.extents_mm, self.slices_mm, self.ct, strict=True):
            if card.extent_mm is not None and not card.extent_mm[0] <= extent <= card.extent_mm[1]:
                low, high = card.extent_mm
                found.append(f"what the {side} volume shows is {extent:.0f} mm across, not {low:.0f} to {high:.0f} mm")
            thickest = card.thickest_mm or THICKEST * card.spacing_mm
            if slices > thickest:
                found.append(f"the {side} volume has slices of {slices:.1f} mm, more than {thickest:.1f} mm")
            if "any" not in card.modalities and ct != any(name.startswith("CT") for name in card.modalities):
                found.append(f"the {side} volume {'looks' if ct else 'does not look'} like CT")
        return found

    def suitable(self, cards: Sequence[Card]) -> list[Card]:
        """The learned models that say that they were made for such a pair, the first choice first.

        Those for one anatomy come before those for any, then those with the better Dice on their cards. Experimental
        ones are not among them.
        """
        named = [card for card in cards if card.learned and not card.experimental and card.extent_mm is not None]
        return sorted((card for card in named if not self.objections(card)), key=_preference)


def _preference(card: Card) -> tuple[bool, float]:
    dice = card.figures.get("dice")
    return "any" in card.anatomies, 0.0 if dice is None else -dice.value


def looks_like_ct(volume: Volume) -> bool:
    """Whether a volume has Hounsfield units, as far as its values tell."""
    thinned = volume.data.ravel()[:: max(1, volume.data.size // 500_000)]
    return float(np.mean(thinned < CT_BELOW)) > CT_SHARE


def made_for(card: Card) -> str:
    """Modality and anatomy of a model in words."""
    named = [names for names in (card.modalities, card.anatomies) if "any" not in names]
    what = " of the ".join(" or ".join(names) for names in named) or "other volumes"
    return what if card.across_contrasts or not card.learned else f"{what} in one contrast"
