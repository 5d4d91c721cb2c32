"""`auto`: which learned model suits a pair, and why; and what speaks against a model that the user named.

A pair says little of itself: how large what it shows is, how thick its slices are, whether it is CT, and, once it is
aligned, whether both volumes have one contrast. A card says what of this its model was made for, and how well labels
overlapped on its test data. The best of those is tried, and kept if it raises the similarity. Which of two models is
better the similarity of one pair cannot tell: it is highest where a field follows noise as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ModelError
from ..preparation import Pair
from ..progress import Monitor
from ..settings import Settings
from ..similarity.agreement import similarity
from ..transforms import Composite, Transform
from ..volume import Volume
from .fitting import affordable
from .instance import choose_similarity, pyramid, split_start
from .learned import LearnedModel
from .registry import Card

# Where a card does not say it: the thickest slices that a network bears, in voxels of its grid.
THICKEST = 2.5
# Soft tissue and air lie here in CT alone: other modalities have no values this far below zero, or not in so many
# voxels.
CT_BELOW, CT_SHARE = -200.0, 0.01
# What runs where no learned model suits.
WITHOUT_TRAINING = "deformable"


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


def one_contrast(pair: Pair, aligned: Transform, settings: Settings, device: torch.device) -> bool:
    """Whether the volumes have one contrast, as the settings say or as the images show where they lie on each other."""
    if settings.similarity != "auto":
        return settings.similarity == "lncc"
    with torch.inference_mode():
        levels = pyramid(pair.fixed, settings)
        return choose_similarity(pair, levels, split_start(aligned)[0], device) == "lncc"


def warning(card: Card, objections: Sequence[str], instead: Sequence[Card]) -> str:
    """What a user is told who named a model that was not made for the pair."""
    others = [each.name for each in instead if each.name != card.name] or [WITHOUT_TRAINING]
    return (
        f"The model {card.name} was made for {made_for(card)}, but {', and '.join(objections)}: look at the result "
        f"with care. {others[0]} suits this pair."
    )


def made_for(card: Card) -> str:
    """Modality and anatomy of a model in words."""
    named = [names for names in (card.modalities, card.anatomies) if "any" not in names]
    what = " of the ".join(" or ".join(names) for names in named) or "other volumes"
    return what if card.across_contrasts or not card.learned else f"{what} in one contrast"


def contrast_warning(
    card: Card, suitable: Sequence[Card], pair: Pair, aligned: Transform, settings: Settings, device: torch.device
) -> list[str]:
    """A sentence where a model for pairs of one contrast was given two; looked at where they lie on each other."""
    if card.across_contrasts or one_contrast(pair, aligned, settings, device):
        return []
    return [warning(card, ["these two differ in contrast"], [each for each in suitable if each.across_contrasts])]


@dataclass(frozen=True)
class Choice:
    """What `auto` has chosen.

    Attributes:
        why: in words; None where there was nothing to choose from.
        card, model, predicted: of the learned model, with what its network found; None where none of them helps.
    """

    why: str | None = None
    card: Card | None = None
    model: LearnedModel | None = None
    predicted: Composite | None = None


def choose(
    pair: Pair,
    aligned: Transform,
    suitable: Sequence[Card],
    settings: Settings,
    device: torch.device,
    monitor: Monitor,
) -> Choice:
    """The first suitable model whose network raises the similarity.

    Args:
        pair: prepared volumes.
        aligned: what all of them start from.
        suitable: what `Shown.suitable` left, at least one.
        settings: as for the run.
        device: where to compute.
        monitor: progress and cancellation.
    """
    together = one_contrast(pair, aligned, settings, device)
    before = similarity(pair, aligned, device)
    reasons = []
    for card in suitable:
        if not (together or card.across_contrasts):
            reasons.append(f"{card.name} was made for one contrast, and these volumes differ")
            continue
        try:
            if not affordable(pair, card, settings, device):
                reasons.append(f"there is too little free memory for {card.name}")
                continue
            model = LearnedModel(card)
        except ModelError as error:
            reasons.append(str(error).rstrip("."))
            continue
        predicted = model.predict(pair, aligned, settings, device, monitor)
        after = similarity(pair, predicted, device)
        reasons.append(f"the network of {card.name} took the similarity from {before:.3f} to {after:.3f}")
        if after > before:
            why = f"{card.name} was chosen, made for {made_for(card)}: {'; '.join(reasons)}."
            return Choice(why, card, model, predicted)
    return Choice(f"{WITHOUT_TRAINING} was chosen: {'; '.join(reasons)}.")
