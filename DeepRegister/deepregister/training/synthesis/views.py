"""Two label maps as a pair of images: in contrasts of their own, and again in a clear one to compare them by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .acquisition import augment, blur_matrix, filtered
from .anatomy import Anatomy
from .contrast import clear_contrast, kept_places, looked_up, painted, random_contrast
from .draw import Draw
from .ranges import AcquisitionRanges, ContrastRanges

# Blur of the images that are compared, voxels: without it the edge of a voxel would have no gradient.
CLEAR_BLUR = 0.6
# Skull-stripping smooths the edge over this length (standard deviation), and cuts where so much of the brain is left.
MASK_BLUR_MM, MASK_LEVEL = 2.0, (0.25, 0.75)


@dataclass(frozen=True, eq=False)
class Views:
    """A pair of images, (1, 1, D, H, W) each.

    Attributes:
        fixed, moving: 0..1, what a network sees.
        fixed_clean, moving_clean: both in one contrast, without noise.
        fixed_view, moving_view: the parts of D, H, W that the images show.
        fixed_shown: of bool, where the fixed image shows something that can be followed.
    """

    fixed: Tensor
    moving: Tensor
    fixed_clean: Tensor
    moving_clean: Tensor
    fixed_view: tuple[slice, ...]
    moving_view: tuple[slice, ...]
    fixed_shown: Tensor

    def images(self) -> dict[str, Tensor | None]:
        """What of it goes into a `Batch`."""
        found = {name: getattr(self, name) for name in ("fixed", "moving", "fixed_clean", "moving_clean")}
        for side in ("fixed", "moving"):
            found[f"{side}_inside"] = inside(found[side], getattr(self, f"{side}_view"))
        return found


def inside(image: Tensor, view: tuple[slice, ...]) -> Tensor | None:
    """1 in the view and 0 around it; None where it is all of the image."""
    mask = image.new_zeros(image.shape)
    mask[(0, 0, *view)] = 1
    return None if mask[(0, 0, *view)].numel() == mask.numel() else mask


def views(
    fixed: Tensor,
    moving: Tensor,
    anatomy: Anatomy,
    contrast: ContrastRanges,
    acquisition: AcquisitionRanges,
    spacing_mm: float,
    draw: Draw,
) -> Views:
    """Images of two label maps (1, 1, D, H, W) of uint8, places as in `anatomy`."""
    contrasts = [random_contrast(anatomy, contrast, draw) for _ in range(2)]
    if draw.chance(contrast.same):
        contrasts[1] = contrasts[0]
    stripped = [anatomy.strips and draw.chance(contrast.stripped) for _ in range(2)]
    if draw.chance(contrast.same_stripping):
        stripped[1] = stripped[0]
    kept = [kept_places(anatomy, draw) if each else None for each in stripped]
    clear = clear_contrast(anatomy, draw)
    for each in kept:
        clear = clear if each is None else clear.only(each)
    blur = [blur_matrix(length, CLEAR_BLUR) for length in fixed.shape[2:]]
    images, clean, parts = [], [], []
    for labels, colours, left in zip((fixed, moving), contrasts, kept, strict=True):
        mask = None if left is None else brain_mask(_where(labels, left), spacing_mm, draw)
        image, part = augment(painted(labels, colours, draw), acquisition, spacing_mm, draw, mask)
        images.append(image)
        parts.append(part)
        clean.append(filtered(painted(labels, clear), blur))
    shown = np.asarray(anatomy.content, dtype=float) if kept[0] is None else kept[0]
    fixed_shown = _where(fixed, shown) > 0
    if inside(images[0], parts[0]) is not None:
        fixed_shown &= inside(images[0], parts[0]) > 0
    return Views(*images, *clean, *parts, fixed_shown)


def brain_mask(kept: Tensor, spacing_mm: float, draw: Draw) -> Tensor:
    """0 or 1, (1, 1, D, H, W): what is kept, with an edge as smooth, and now and then as far off, as tools leave it."""
    blur = [blur_matrix(length, MASK_BLUR_MM / spacing_mm) for length in kept.shape[2:]]
    return (filtered(kept, blur) > draw.uniform(*MASK_LEVEL)).to(kept.dtype)


def _where(labels: Tensor, values: np.ndarray) -> Tensor:
    return looked_up(values, labels.reshape(-1).int()).view(labels.shape)
