"""Batches of synthesised pairs, of three kinds: between subjects, one subject moved by a known field, random shapes.

A body is a label map with a map from a common pose. An image shows a body through an affine map, of which each side of
a pair has one half, and a smooth motion; so a pair is as likely as the one with its images exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...spatial import warp
from ..batch import Batch
from ..collection import Collection
from .anatomy import Anatomy
from .draw import Draw, put
from .fields import SmoothMotion, affine, coarse_stride, field_of, points_of, random_affine, smooth_motion, transformed
from .labels import LabelMaps, Places, centroids, common_pose, probabilities
from .ranges import FieldRanges, Synthesis
from .shapes import random_shapes, shape_anatomy
from .views import Views, views

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


class SyntheticPairs:
    """Draws batches of pairs from label maps.

    Args:
        maps: the label maps.
        to_index: (maps, 4, 4), from the common pose, mm, to voxel indices of each map.
        anatomy: what their labels mean.
        ranges: what is drawn from.
        shape: D, H, W of the pairs.
        spacing_mm: of their voxels.
        zooms: whether parts of them are enlarged, as `ranges.zoom` says.
    """

    def __init__(
        self,
        maps: LabelMaps,
        to_index: np.ndarray,
        anatomy: Anatomy,
        ranges: Synthesis,
        shape: Sequence[int],
        spacing_mm: float,
        zooms: bool = True,
    ):
        self.zoom = ranges.zoom if zooms else (1.0, 1.0)
        self.maps, self.to_index, self.anatomy, self.ranges = maps, to_index, anatomy, ranges
        self.shape, self.spacing_mm, self.device = tuple(shape), spacing_mm, maps.voxels.device
        self.shape_anatomy = shape_anatomy(ranges.shape)
        # From voxels to mm about the middle of the grid.
        self.to_mm = np.diag([spacing_mm] * 3 + [1.0])
        self.to_mm[:3, 3] = -spacing_mm * (np.asarray(self.shape[::-1]) - 1) / 2
        self._stride = min(coarse_stride(each, spacing_mm) for each in (ranges.motion, ranges.variation))

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """A batch of `count` pairs of one kind, which is drawn first. The generator is the CPU's."""
        ranges = self.ranges
        weights = (ranges.between_subjects, ranges.one_subject, ranges.shapes)
        kind = Draw(generator, self.device).choice(weights)
        return (self.between_subjects, self.one_subject, self.random_shapes)[kind](count, generator)

    def fixed_draws(self, count: int, seed: int) -> list[Callable[[], Batch]]:
        """Single pairs that come out the same whenever they are made: to validate on, of each kind in turn."""
        ranges = self.ranges
        kinds = [
            kind
            for kind, weight in (
                (self.between_subjects, ranges.between_subjects),
                (self.one_subject, ranges.one_subject),
                (self.random_shapes, ranges.shapes),
            )
            if weight
        ]
        return [partial(_seeded, kinds[number % len(kinds)], seed + number) for number in range(count)]

    def between_subjects(self, count: int, generator: torch.Generator) -> Batch:
        """Two bodies in two contrasts; with probabilities of their structures."""
        draw = Draw(generator, self.device)
        chosen = self._structures(self.anatomy, draw)
        bodies, matrices, mirrored = ([], []), ([], []), ([], [])
        for _ in range(count):
            order, pose = draw.order(len(self.to_index)), self._pose(draw)
            residual = random_affine(self.ranges.residual, draw)
            for side, (number, share) in enumerate(((order[0], 0.5), (order[-1], -0.5))):
                flipped = self._flipped(draw)
                bodies[side].append(number)
                mirrored[side].append(flipped)
                matrices[side].append(self._to_index(number, flipped) @ pose @ affine(residual, share) @ self.to_mm)
        sides = []
        for side in range(2):
            points = points_of(self._motion(self.ranges.variation, count, draw).field())
            labels = self.maps.at(bodies[side], transformed(np.stack(matrices[side]), points))
            sides.append(Places(labels, len(self.anatomy.tissue)))
        seen = self._views(sides, count, self.anatomy, draw)
        probable = [self._probabilities(*each, self.anatomy, chosen) for each in zip(sides, mirrored, strict=True)]
        return Batch(**seen.images(), fixed_labels=probable[0], moving_labels=probable[1])

    def one_subject(self, count: int, generator: torch.Generator) -> Batch:
        """One body in two contrasts; with the true field."""
        draw = Draw(generator, self.device)
        bodies = [draw.order(len(self.to_index))[0] for _ in range(count)]
        poses = [self._pose(draw) for _ in range(count)]
        matrices = [self._to_index(n, self._flipped(draw)) @ pose for n, pose in zip(bodies, poses, strict=True)]
        variation = self._motion(self.ranges.variation, count, draw)
        return self._known(self.maps, bodies, matrices, variation, self.anatomy, (), draw)

    def random_shapes(self, count: int, generator: torch.Generator) -> Batch:
        """Random shapes in two contrasts; with the true field, and probabilities of the shapes."""
        draw = Draw(generator, self.device)
        chosen = self._structures(self.shape_anatomy, draw)
        shape = [length + 2 for length in self.shape]
        maps = LabelMaps.bordered(random_shapes(self.ranges.shape, count, shape, self.spacing_mm, draw))
        matrices = [np.linalg.inv(self.to_mm)] * count
        # Random as they are, they need no variation.
        return self._known(maps, range(count), matrices, None, self.shape_anatomy, chosen, draw)

    def mean_image(self) -> Tensor | None:
        """(D, H, W): the mean, over the maps, of what skull-stripping leaves, T1-weighted and 0..1, in the common pose.

        None where the tissues are not known.
        """
        if self.anatomy.t1 is None:
            return None
        bright = np.asarray(self.anatomy.t1)[list(self.anatomy.tissue)] * np.asarray(self.anatomy.kept)
        points = points_of(torch.zeros((1, 3, *self.shape), device=self.device))
        total = torch.zeros(self.shape, device=self.device)
        for number, matrix in enumerate(self.to_index):
            labels = self.maps.at([number], transformed((matrix @ self.to_mm)[None], points))
            total += Places(labels, len(bright)).read(bright[None])[0, 0]
        return total / len(self.to_index) / float(bright.max())

    def _known(
        self,
        maps: LabelMaps,
        bodies: Sequence[int],
        matrices: Sequence[np.ndarray],
        variation: SmoothMotion | None,
        anatomy: Anatomy,
        chosen: Sequence[int],
        draw: Draw,
    ) -> Batch:
        """g(x) = B(x + w(x)) as the moving image and g(T(x)) as the fixed one, where T(x) = A(x + u(x))."""
        count = len(bodies)
        motion = self._motion(self.ranges.motion, count, draw)
        residuals = [random_affine(self.ranges.residual, draw) for _ in range(count)]
        across = np.stack([np.linalg.inv(self.to_mm) @ affine(each) @ self.to_mm for each in residuals])
        halves = zip(matrices, residuals, strict=True)
        to_index = np.stack([matrix @ affine(each, -0.5) @ self.to_mm for matrix, each in halves])
        flow = motion.flow()
        there = transformed(across, points_of(motion.fine(flow)))
        truth = field_of(there)
        if variation is None:
            here, read = points_of(torch.zeros_like(truth)), there
        else:
            varied = variation.flow()
            here = points_of(motion.fine(varied))
            # w(T(x)) is as smooth as w: it too is made on the coarse grid.
            coarse = motion.to_coarse @ across @ np.linalg.inv(motion.to_coarse)
            read = there + motion.fine(warp(varied, field_of(transformed(coarse, points_of(flow)))))
        sides = [Places(maps.at(bodies, transformed(to_index, points)), len(anatomy.tissue)) for points in (read, here)]
        seen = self._views(sides, count, anatomy, draw)
        probable = [None, None]
        if chosen:
            probable = [self._probabilities(each, [False] * count, anatomy, chosen) for each in sides]
        return Batch(
            **seen.images(),
            fixed_labels=probable[0],
            moving_labels=probable[1],
            field=truth,
            field_weight=seen.fixed_content * _within(there, seen.moving_view),
        )

    def _motion(self, ranges: FieldRanges, count: int, draw: Draw) -> SmoothMotion:
        return smooth_motion(ranges, count, self.shape, self.spacing_mm, draw, self._stride)

    def _views(self, sides: Sequence[Places], count: int, anatomy: Anatomy, draw: Draw) -> Views:
        ranges = self.ranges
        return views(*sides, count, anatomy, ranges.contrast, ranges.acquisition, self.spacing_mm, draw)

    def _pose(self, draw: Draw) -> np.ndarray:
        """From mm about the middle of the grid to the common pose: a random affine, then a part of it, enlarged."""
        pose = affine(random_affine(self.ranges.pose, draw))
        if self.zoom[1] == 1:
            return pose
        zoom = draw.log_uniform(*self.zoom)
        part = np.diag([1 / zoom] * 3 + [1.0])
        # Inside what the whole grid would show.
        part[:3, 3] = draw.array(-1, 1, 3) * (1 - 1 / zoom) * -self.to_mm[:3, 3]
        return part @ pose

    def _flipped(self, draw: Draw) -> bool:
        return self.anatomy.mirror is not None and draw.chance(self.ranges.mirrored)

    def _to_index(self, number: int, flipped: bool) -> np.ndarray:
        return self.to_index[number] @ MIRROR if flipped else self.to_index[number]

    def _structures(self, anatomy: Anatomy, draw: Draw) -> list[int]:
        """Places of the structures whose overlap this batch compares."""
        order = draw.order(len(anatomy.structures))[: self.ranges.channels or None]
        return [anatomy.structures[number] for number in sorted(order)]

    def _probabilities(
        self, places: Places, mirrored: Sequence[bool], anatomy: Anatomy, chosen: Sequence[int]
    ) -> Tensor:
        channel = anatomy.channels(chosen)
        tables = np.stack([channel[list(anatomy.mirror)] if each else channel for each in mirrored])
        return probabilities(places.read(tables, torch.int64), len(chosen), self.ranges.overlap_stride)


def _seeded(kind: Callable[[int, torch.Generator], Batch], seed: int) -> Batch:
    return kind(1, torch.Generator().manual_seed(seed))


def _within(points: Tensor, view: np.ndarray) -> Tensor:
    """(B, 1, D, H, W): 1 where points (B, 3, D, H, W) lie in the part `view`, (B, 3, 2), of a grid, 0 elsewhere."""
    first, last = put(view, points.device).view(-1, 3, 2, 1, 1, 1).unbind(2)
    return ((points >= first) & (points <= last)).all(1, keepdim=True).to(points.dtype)


def from_collection(
    collection: Collection, ranges: Synthesis, shape: Sequence[int], spacing_mm: float, device: torch.device
) -> tuple[SyntheticPairs, SyntheticPairs]:
    """Pairs of the training subjects and of those of validation, all in one pose.

    Where the maps share structures the pose is found from those; else each body is centred on its content.
    """
    anatomy = Anatomy.of(collection.structures, ranges.structures, ranges.kept)
    subjects = [*collection.training, *collection.validation]
    count = len(collection.structures) + 1
    middles = np.stack([centroids(each.labels, each.matrix, count) for each in subjects])
    posed = common_pose(middles[:, list(anatomy.structures)])
    if posed is None:
        posed = [np.block([[np.eye(3), each.centre[:, None]], [np.zeros(3), 1]]) for each in subjects]
    to_index = np.stack([np.linalg.inv(each.matrix) @ pose for each, pose in zip(subjects, posed, strict=True)])
    split = len(collection.training)
    # What is measured stays comparable: whole anatomies.
    parts = (slice(split), True), (slice(split, None), False)
    training, validation = (
        SyntheticPairs(
            LabelMaps.of([torch.as_tensor(each.labels, device=device) for each in subjects[part]]),
            to_index[part],
            anatomy,
            ranges,
            shape,
            spacing_mm,
            zooms,
        )
        for part, zooms in parts
    )
    return training, validation
