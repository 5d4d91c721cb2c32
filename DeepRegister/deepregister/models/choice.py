"""`auto`: which learned model suits a pair, and why; and what speaks against a model that the user named.

A pair says little of itself: how large what it shows is, how thick its slices are, whether it is CT, and, once it is
aligned, whether both volumes have one contrast. A card says what of this its model was made for, what its training
images look like, and how well labels overlapped on its test data. The best of those is tried, and kept if it raises the
similarity. Which of two models is better the similarity of one pair cannot tell: it is highest where a field follows
noise as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import ModelError
from ..preparation import Pair
from ..progress import Monitor
from ..settings import Settings
from ..similarity.agreement import similarity
from ..transforms import Composite, Transform
from .fitting import affordable
from .instance import choose_similarity, pyramid, split_start
from .learned import LearnedModel
from .registry import Card
from .resemblance import unlike
from .suitability import made_for

# What runs where no learned model suits.
WITHOUT_TRAINING = "deformable"


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


def warnings_of_looks(
    card: Card, suitable: Sequence[Card], pair: Pair, aligned: Transform, settings: Settings, device: torch.device
) -> list[str]:
    """What a user is told who named a model that was trained on other images, or for one contrast and was given two."""
    others = suitable
    objections = unlike(card, pair.fixed, device)
    if not (card.across_contrasts or one_contrast(pair, aligned, settings, device)):
        objections.append("these two differ in contrast")
        others = [each for each in others if each.across_contrasts]
    others = [each for each in others if each.name != card.name and not unlike(each, pair.fixed, device)]
    return [warning(card, objections, others)] if objections else []


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
            if looks := unlike(card, pair.fixed, device):
                reasons.append(f"{card.name} is for other images: {looks[0]}")
                continue
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
