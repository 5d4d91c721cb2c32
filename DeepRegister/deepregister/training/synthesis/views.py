"""Label maps as pairs of images: in contrasts of their own, and again in a clear one to compare them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .acquisition import augment, blurred, inside
from .anatomy import Anatomy
from .contrast import clear_contrast, kept_places, painted, random_contrast
from .draw import Draw, put
from .labels import Places
from .ranges import AcquisitionRanges, ContrastRanges

# Blur of the images that are compared, voxels: without it the edge of a voxel would have no gradient.
CLEAR_BLUR = 0.6
# Skull-stripping smooths the edge over this length (standard deviation), and cuts where so much of the brain is left.
MASK_BLUR_MM, MASK_LEVEL = 2.0, (0.25, 0.75)


@dataclass(frozen=True, eq=False)
class Views:
    """Pairs of images, (B, 1, D, H, W) each.

    Attributes:
        fixed, moving: 0..1, what a network sees.
        fixed_clean, moving_clean: both in one contrast, without noise.
        fixed_inside, moving_inside: 1 where the images show something, 0 where their field of view has ended; None
            where they have none that ends.
        fixed_content: 1 where the fixed image shows something that can be followed, 0 elsewhere.
        moving_view: (B, 3, 2), first and last voxel along i, j, k that the moving image shows.
    """

    fixed: Tensor
    moving: Tensor
    fixed_clean: Tensor
    moving_clean: Tensor
    fixed_inside: Tensor | None
    moving_inside: Tensor | None
    fixed_content: Tensor
    moving_view: np.ndarray

    def images(self) -> dict[str, Tensor | None]:
        """What of it goes into a `Batch`."""
        names = ("fixed", "moving", "fixed_clean", "moving_clean", "fixed_inside", "moving_inside")
        return {name: getattr(self, name) for name in names}


def views(
    fixed: Places,
    moving: Places,
    count: int,
    anatomy: Anatomy,
    contrast: ContrastRanges,
    acquisition: AcquisitionRanges,
    spacing_mm: float,
    draw: Draw,
) -> Views:
    """Images of `count` pairs of label maps, places as in `anatomy`."""
    everything = np.ones(len(anatomy.content))
    contrasts, kept, clear = ([], []), ([], []), []
    for _ in range(count):
        first, second = (random_contrast(anatomy, contrast, draw) for _ in range(2))
        contrasts[0].append(first)
        contrasts[1].append(first if draw.chance(contrast.same) else second)
        stripped = [anatomy.strips and draw.chance(contrast.stripped) for _ in range(2)]
        if draw.chance(contrast.same_stripping):
            stripped[1] = stripped[0]
        left = [kept_places(anatomy, draw) if each else everything for each in stripped]
        for side in range(2):
            kept[side].append(left[side])
        # What one side has lost cannot be compared.
        clear.append(clear_contrast(anatomy, draw).mean * left[0] * left[1])
    images, seen, clean = [], [], []
    for places, colours, left in zip((fixed, moving), contrasts, kept, strict=True):
        image = painted(places, colours, draw)
        mask = None
        if any(each is not everything for each in left):
            mask = brain_mask(places, left, spacing_mm, draw)
        image, view = augment(image, acquisition, spacing_mm, draw, mask)
        images.append(image)
        seen.append(view)
        clean.append(blurred(places.read(np.stack(clear)), CLEAR_BLUR))
    masks = [inside(images[0].shape[2:], view, draw.device) for view in seen]
    content = fixed.read(np.stack(kept[0]) * np.asarray(anatomy.content))
    return Views(*images, *clean, *masks, content if masks[0] is None else content * masks[0], seen[1])


def brain_mask(places: Places, kept: Sequence[np.ndarray], spacing_mm: float, draw: Draw) -> Tensor:
    """0 or 1, (B, 1, D, H, W): what is kept, with an edge as smooth, and now and then as far off, as tools leave it."""
    share = blurred(places.read(np.stack(kept)), MASK_BLUR_MM / spacing_mm)
    level = put(draw.array(*MASK_LEVEL, len(kept)), draw.device).view(-1, 1, 1, 1, 1)
    return (share > level).to(share.dtype)
