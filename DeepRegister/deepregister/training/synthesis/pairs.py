"""Batches of synthesised pairs, of three kinds: between subjects, one subject moved by a known field, random shapes.

A body is a label map with a map from a common pose. An image shows a body through an affine map, of which each side of
a pair has one half, and a smooth motion; so a pair is as likely as the one with its images exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...spatial import exponentiate, resample
from ..batch import Batch, joined
from ..collection import Collection
from .anatomy import Anatomy
from .draw import Draw
from .fields import STEPS, affine, coarse_stride, field_of, places, random_affine, smooth_motion, transformed
from .labels import bordered, centroids, common_pose, labels_at, probabilities
from .ranges import Synthesis
from .shapes import random_shapes, shape_anatomy
from .views import Views, views

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Body:
    """One label map on the training device.

    Attributes:
        labels: (d, h, w) of uint8, places as in `Anatomy`, with a border of one voxel that is held beyond it.
        to_index: (4, 4) from the common pose, mm, to voxel indices of the map without its border.
        mirrored: whether left is shown as right.
    """

    labels: Tensor
    to_index: np.ndarray
    mirrored: bool = False


class SyntheticPairs:
    """Draws batches of pairs from label maps.

    Args:
        bodies: the label maps.
        anatomy: what their labels mean.
        ranges: what is drawn from.
        shape: D, H, W of the pairs.
        spacing_mm: of their voxels.
        device: where they are made.
    """

    def __init__(
        self,
        bodies: Sequence[Body],
        anatomy: Anatomy,
        ranges: Synthesis,
        shape: Sequence[int],
        spacing_mm: float,
        device: torch.device,
    ):
        self.bodies, self.anatomy, self.ranges = list(bodies), anatomy, ranges
        self.shape, self.spacing_mm, self.device = tuple(shape), spacing_mm, torch.device(device)
        self.shape_anatomy = shape_anatomy(ranges.shape)
        # From voxels to mm about the middle of the grid.
        self.to_mm = np.diag([spacing_mm] * 3 + [1.0])
        self.to_mm[:3, 3] = -spacing_mm * (np.asarray(self.shape[::-1]) - 1) / 2
        self._stride = min(coarse_stride(each, spacing_mm) for each in (ranges.motion, ranges.variation))

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """A batch of `count` pairs of one kind, which is drawn first. The generator is the CPU's."""
        ranges = self.ranges
        weights = (ranges.between_subjects, ranges.one_subject, ranges.shapes)
        kind = Draw(generator, torch.device("cpu")).choice(weights)
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
        return _together([self._between_subjects(chosen, draw) for _ in range(count)])

    def one_subject(self, count: int, generator: torch.Generator) -> Batch:
        """One body in two contrasts; with the true field."""
        draw = Draw(generator, self.device)
        pairs = []
        for _ in range(count):
            body = self._posed(draw.order(len(self.bodies))[0], self._pose(draw), draw)
            pairs.append(self._known(body, self.anatomy, (), draw, varied=True))
        return _together(pairs)

    def random_shapes(self, count: int, generator: torch.Generator) -> Batch:
        """Random shapes in two contrasts; with the true field, and probabilities of the shapes."""
        draw = Draw(generator, self.device)
        chosen = self._structures(self.shape_anatomy, draw)
        shape = [length + 2 for length in self.shape]
        pairs = []
        for _ in range(count):
            labels = random_shapes(self.ranges.shape, shape, self.spacing_mm, draw)
            body = Body(labels, np.linalg.inv(self.to_mm))
            # Random as they are, they need no variation.
            pairs.append(self._known(body, self.shape_anatomy, chosen, draw, varied=False))
        return _together(pairs)

    def _between_subjects(self, chosen: Sequence[int], draw: Draw) -> Batch:
        order = draw.order(len(self.bodies))
        pose, residual = self._pose(draw), random_affine(self.ranges.residual, draw)
        labels, probable = [], []
        for number, share in ((order[0], 0.5), (order[-1], -0.5)):
            body = self._posed(number, pose @ affine(residual, share), draw)
            field = smooth_motion(self.ranges.variation, 1, self.shape, self.spacing_mm, draw).field()
            labels.append(labels_at(body.labels, places(body.to_index @ self.to_mm, field)))
            probable.append(self._probabilities(labels[-1], self.anatomy, chosen, body.mirrored))
        seen = self._views(labels, self.anatomy, draw)
        return Batch(**seen.images(), fixed_labels=probable[0], moving_labels=probable[1])

    def _known(self, body: Body, anatomy: Anatomy, chosen: Sequence[int], draw: Draw, varied: bool) -> Batch:
        """g(x) = B(x + w(x)) as the moving image and g(T(x)) as the fixed one, where T(x) = A(x + u(x))."""
        size = (1, self.shape, self.spacing_mm, draw, self._stride)
        motion = smooth_motion(self.ranges.motion, *size)
        residual = random_affine(self.ranges.residual, draw)
        across = np.linalg.inv(self.to_mm) @ affine(residual) @ self.to_mm
        to_index = body.to_index @ affine(residual, -0.5) @ self.to_mm
        flow = exponentiate(motion.velocity, STEPS)
        moved = places(across, motion.fine(flow))
        truth = field_of(moved)
        if varied:
            variation = exponentiate(smooth_motion(self.ranges.variation, *size).velocity, STEPS)
            here = places(to_index, motion.fine(variation))
            # w(T(x)) is as smooth as w: it too is made on the coarse grid.
            coarse = motion.to_coarse @ across @ np.linalg.inv(motion.to_coarse)
            along = motion.fine(resample(variation, coarse, variation.shape[2:], field=flow))
            there = transformed(to_index, [point + part for point, part in zip(moved, along.unbind(1), strict=True)])
        else:
            here, there = places(to_index, torch.zeros_like(truth)), transformed(to_index, moved)
        labels = [labels_at(body.labels, points) for points in (there, here)]
        seen = self._views(labels, anatomy, draw)
        probable = (
            [self._probabilities(each, anatomy, chosen, body.mirrored) for each in labels] if chosen else [None] * 2
        )
        return Batch(
            **seen.images(),
            fixed_labels=probable[0],
            moving_labels=probable[1],
            field=truth,
            field_weight=(seen.fixed_shown & _within(moved, seen.moving_view)).float(),
        )

    def _views(self, labels: Sequence[Tensor], anatomy: Anatomy, draw: Draw) -> Views:
        ranges = self.ranges
        return views(labels[0], labels[1], anatomy, ranges.contrast, ranges.acquisition, self.spacing_mm, draw)

    def _pose(self, draw: Draw) -> np.ndarray:
        return affine(random_affine(self.ranges.pose, draw))

    def _posed(self, number: int, pose: np.ndarray, draw: Draw) -> Body:
        body = self.bodies[number]
        mirrored = self.anatomy.mirror is not None and draw.chance(self.ranges.mirrored)
        return Body(body.labels, body.to_index @ (MIRROR if mirrored else np.eye(4)) @ pose, mirrored)

    def _structures(self, anatomy: Anatomy, draw: Draw) -> list[int]:
        """Places of the structures whose overlap this batch compares."""
        order = draw.order(len(anatomy.structures))[: self.ranges.channels or None]
        return [anatomy.structures[number] for number in sorted(order)]

    def _probabilities(self, labels: Tensor, anatomy: Anatomy, chosen: Sequence[int], mirrored: bool) -> Tensor:
        channel = anatomy.channels(chosen)
        channel = channel[list(anatomy.mirror)] if mirrored else channel
        return probabilities(labels, channel, len(chosen), self.ranges.overlap_stride)


def _together(pairs: list[Batch]) -> Batch:
    # A single pair is not copied: its probabilities alone can be 100 MB.
    return pairs[0] if len(pairs) == 1 else joined(pairs)


def _seeded(kind: Callable[[int, torch.Generator], Batch], seed: int) -> Batch:
    return kind(1, torch.Generator().manual_seed(seed))


def _within(points: Sequence[Tensor], view: Sequence[slice]) -> Tensor:
    """(1, 1, D, H, W) of bool: which points, along i, j, k, lie in the part `view`, of D, H, W, of a grid."""
    inside = None
    for point, part in zip(points, view[::-1], strict=True):
        along = (point >= part.start) & (point <= part.stop - 1)
        inside = along if inside is None else inside.logical_and_(along)
    return inside[:, None]


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
    bodies = []
    for number, subject in enumerate(subjects):
        to_mm = np.eye(4)
        to_mm[:3, 3] = subject.centre
        if posed is not None:
            to_mm = posed[number]
        labels = bordered(torch.as_tensor(subject.labels, device=device))
        bodies.append(Body(labels, np.linalg.inv(subject.matrix) @ to_mm))
    split = len(collection.training)
    training, validation = (
        SyntheticPairs(part, anatomy, ranges, shape, spacing_mm, device) for part in (bodies[:split], bodies[split:])
    )
    return training, validation
