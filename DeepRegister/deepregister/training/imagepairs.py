"""Pairs of real images, drawn at random and varied, made on the training device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..spatial import identity_axes, resample
from .batch import Batch, joined
from .collection import Collection, Subject
from .recipe import Augmentation, Recipe


@dataclass(frozen=True, eq=False)
class OnDevice:
    """A subject in the memory of the training device: `image` and `labels` (1, 1, D, H, W) of uint8."""

    subject: Subject
    image: Tensor
    labels: Tensor | None

    @classmethod
    def of(cls, subject: Subject, device: torch.device) -> OnDevice:
        def put(values: np.ndarray | None) -> Tensor | None:
            return None if values is None else torch.as_tensor(values, device=device)[None, None]

        return cls(subject, put(subject.image), put(subject.labels))


class ImagePairs:
    """Random pairs of different subjects, on the fixed one's axes, the moving one behind the engine's affine.

    Args:
        collection: the prepared subjects.
        recipe: `data` and `augmentation` of it count.
        device: where pairs are made.
    """

    def __init__(self, collection: Collection, recipe: Recipe, device: torch.device):
        self.structures = len(collection.structures)
        self.recipe = recipe
        self.device = device
        self.subjects = [OnDevice.of(subject, device) for subject in collection.training]

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """`count` pairs. The generator belongs to the CPU: it draws only a few numbers for each pair."""
        return joined([self._pair(generator) for _ in range(count)])

    def _pair(self, generator: torch.Generator) -> Batch:
        first, second = torch.randperm(len(self.subjects), generator=generator)[:2].tolist()
        fixed, moving = self.subjects[first], self.subjects[second]
        across = moving.subject.from_middle @ np.linalg.inv(fixed.subject.from_middle)
        varied = self.recipe.augmentation
        shared = np.eye(4)
        if torch.rand((), generator=generator) < varied.shared_share:
            shared = _random_affine(varied.shared_degrees, varied.shared_mm, varied.shared_percent, generator)
        residual = _random_affine(varied.residual_degrees, varied.residual_mm, varied.residual_percent, generator)
        for axis in varied.flips:
            if torch.rand((), generator=generator) < 0.5:
                shared[:, axis] *= -1
        batch = on_grid(fixed, moving, across, self.recipe, self.structures, shared, residual)
        if not varied.gamma:
            return batch
        seen = {side: _gamma(getattr(batch, side), varied, generator) for side in ("fixed", "moving")}
        return replace(batch, **seen, fixed_clean=batch.fixed, moving_clean=batch.moving)


def on_grid(
    fixed: OnDevice,
    moving: OnDevice,
    fixed_to_moving: np.ndarray,
    recipe: Recipe,
    structures: int,
    shared: np.ndarray | None = None,
    residual: np.ndarray | None = None,
) -> Batch:
    """One pair on the network's grid: the fixed subject's axes, centred on its content.

    Args:
        fixed, moving: the subjects.
        fixed_to_moving: (4, 4) linear map of LPS mm.
        recipe: `data` of it counts.
        structures: channels of the label probabilities.
        shared, residual: (4, 4) linear maps of mm about the middle of the grid, of both sides and of the moving one.
    """
    shape = recipe.data.crop[::-1]
    grid = grid_matrix(fixed.subject, recipe)
    through = {
        "fixed": (fixed, _about(fixed.subject.centre, shared) @ grid),
        "moving": (
            moving,
            fixed_to_moving @ _about(fixed.subject.centre, shared) @ _about(fixed.subject.centre, residual) @ grid,
        ),
    }
    parts: dict[str, Tensor | None] = {}
    for side, (source, to_mm) in through.items():
        index = np.linalg.inv(source.subject.matrix) @ to_mm
        parts[side] = resample(source.image.float().div_(255), index, shape, "zeros")
        parts[f"{side}_inside"] = None if source.subject.contained else _inside(source.image, index, shape)
        if source.labels is not None and structures:
            parts[f"{side}_labels"] = resample(one_hot(source.labels, structures), index, shape, "zeros")
    return Batch(**parts)


def grid_matrix(subject: Subject, recipe: Recipe) -> np.ndarray:
    """(4, 4) from voxel indices of the network's grid to LPS mm: whole voxels of the subject, around its content."""
    middle = np.linalg.inv(subject.matrix) @ np.append(subject.centre, 1)
    matrix = np.eye(4)
    matrix[:3, 3] = np.round(middle[:3] - (np.asarray(recipe.data.crop) - 1) / 2)
    return subject.matrix @ matrix


def one_hot(labels: Tensor, structures: int) -> Tensor:
    """(1, L, D, H, W) of float from places (1, 1, D, H, W), 0 for nothing."""
    places = torch.arange(1, structures + 1, device=labels.device, dtype=labels.dtype).view(1, -1, 1, 1, 1)
    return (labels == places).float()


def _inside(image: Tensor, index: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """(1, 1, D, H, W): 1 where a grid reads the image between its voxels, 0 beyond."""
    axes = identity_axes(shape, image.device)
    inside = torch.ones(shape, dtype=torch.bool, device=image.device)
    for row, size in enumerate(image.shape[:1:-1]):
        place = sum(float(index[row, n]) * axes[n] for n in range(3)) + float(index[row, 3])
        inside &= (place >= 0) & (place <= size - 1)
    return inside.float()[None, None]


def _about(centre: np.ndarray, linear: np.ndarray | None) -> np.ndarray:
    """The linear map with `centre` in the place of the origin."""
    if linear is None:
        return np.eye(4)
    to, back = np.eye(4), np.eye(4)
    to[:3, 3], back[:3, 3] = -centre, centre
    return back @ linear @ to


def _random_affine(degrees: float, mm: float, percent: float, generator: torch.Generator) -> np.ndarray:
    """(4, 4): turned, stretched and shifted by draws from -limit..limit along each axis."""
    turns, shifts, stretches = (2 * torch.rand(3, 3, generator=generator, dtype=torch.float64) - 1).numpy()
    matrix = np.eye(4)
    for axis, angle in enumerate(turns * math.radians(degrees)):
        turn = np.eye(4)
        a, b = [n for n in range(3) if n != axis]
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    matrix[:3, :3] *= 1 + stretches * percent / 100
    matrix[:3, 3] = shifts * mm
    return matrix


def _gamma(image: Tensor, varied: Augmentation, generator: torch.Generator) -> Tensor:
    exponent = 2 ** (varied.gamma * (2 * float(torch.rand((), generator=generator)) - 1))
    return image.clamp(min=0) ** exponent
