"""Images of label maps in contrasts that no scanner ever had, so that a network learns to do without contrast.

A mixture of Gaussians, one for each tissue (Billot et al., "SynthSeg", Med. Image Anal. 2023; Hoffmann et al.,
"SynthMorph", TMI 2022). What a scanner adds is in `acquisition`. Label maps hold places 0..L, as in `Anatomy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .anatomy import Anatomy
from .draw import Draw
from .labels import Places
from .ranges import ContrastRanges

# How far apart tissues of one kind may be, where kinds are 1 apart.
WITHIN_KIND = 0.5


@dataclass(frozen=True, eq=False)
class Contrast:
    """Mean and standard deviation of each place's intensities, (L + 1,) each."""

    mean: np.ndarray
    deviation: np.ndarray


def random_contrast(anatomy: Anatomy, ranges: ContrastRanges, draw: Draw) -> Contrast:
    """Every tissue of its own brightness, or as in a T1-weighted head where tissues are known."""
    tissues = len(anatomy.kind)
    if anatomy.t1 is not None and draw.chance(ranges.t1_like):
        mean = np.asarray(anatomy.t1) + ranges.jitter * draw.gaussian(tissues)
    else:
        own, common = draw.array(0, 1, tissues), draw.array(0, 1, max(anatomy.kind) + 1)
        share = draw.uniform(*ranges.independence)
        mean = share * own + (1 - share) * common[list(anatomy.kind)]
    deviation = draw.array(*ranges.deviation, tissues)
    if not anatomy.content[0] and draw.chance(ranges.dark_background):
        mean[0] = deviation[0] = 0.0
    place = list(anatomy.tissue)
    return Contrast(np.clip(mean, 0, 1)[place], deviation[place])


def clear_contrast(anatomy: Anatomy, draw: Draw) -> Contrast:
    """Without noise, kinds of tissue far apart in random order, and tissues of a kind less so: to compare images by."""
    kinds, tissues = max(anatomy.kind), len(anatomy.kind)
    level = np.append(0.0, 1.0 + np.asarray(draw.order(kinds)))
    mean = level[list(anatomy.kind)] - draw.array(0, WITHIN_KIND, tissues)
    mean[0] = 0.0
    place = list(anatomy.tissue)
    return Contrast(mean[place] / kinds, np.zeros(len(place)))


def kept_places(anatomy: Anatomy, draw: Draw) -> np.ndarray:
    """(L + 1,): 1 for what skull-stripping leaves this time."""
    kept = np.asarray(anatomy.kept, dtype=float)
    for place in anatomy.doubtful:
        kept[place] = draw.chance(0.5)
    return kept


def painted(places: Places, contrasts: Sequence[Contrast], draw: Draw) -> Tensor:
    """(B, 1, D, H, W): label maps in a contrast each, with its noise."""
    image = places.read(np.stack([each.mean for each in contrasts]))
    deviation = places.read(np.stack([each.deviation for each in contrasts]))
    return image.addcmul_(deviation, draw.volume(*image.shape))
