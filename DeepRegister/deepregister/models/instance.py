"""`deformable`: the deep iterative family's optimiser, for one pair at a time and without training.

Small compositive updates of the field by the smoothed gradient of a similarity, coarse to fine, as in Avants et al.
(Med. Image Anal. 2008) and greedy (Yushkevich et al., 2016). Each step is short and smooth enough that space cannot
fold. The similarity sits behind one door (`similarity.forces`): local correlation, MIND-SSC, or learned features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..landmarks import LandmarkPairs
from ..preparation import CONTENT_THRESHOLD, Pair, Prepared
from ..progress import Monitor
from ..settings import Settings
from ..similarity.contrast import linear_share
from ..similarity.forces import CorrelationForce, FeatureForce, Force
from ..similarity.mind import mind_ssc
from ..spatial import (
    compose,
    field_from_mm,
    field_to_mm,
    identity_axes,
    index_map,
    lengths,
    normalised,
    regrid_field,
    resample,
    sample,
    smooth,
    unfolded,
)
from ..transforms import Affine, Composite, DisplacementField, LinearTransform, Transform
from ..volume import Geometry
from .discrete import coupled_convex

# Smoothing of each update and of the whole field, in voxels of the level, at the first of its steps.
UPDATE_SIGMA = 1.9
FIELD_SIGMA = 0.87
# Longest step of the bulk of voxels, in voxels: with the smoothing above its derivative stays well below 1.
STEP = 0.5
# Over a level the step shrinks to this share, and both smoothings with its root, as a diffusion of that time would:
# coarse motion first, and at the end none of the noise that long steps leave.
LAST_STEP = 0.2
# When the last iterations together gained less than this share of the similarity, a part of the schedule is skipped.
PATIENCE, LEAST_GAIN, SKIP = 8, 1e-3, 0.25
# T1 brains of two people, crops of one structure and CTs have a linear share of intensities above 0.9; T1, T2 and PD of
# one head have 0.1 to 0.82.
ONE_CONTRAST = 0.85
# Below this agreement at the coarsest level, or beyond this motion there (voxels), gradients alone are not trusted.
DOUBTFUL_AGREEMENT, DOUBTFUL_MOTION = 0.5, 1.8
DISCRETE_REACH, DISCRETE_VOXELS = 4, 12_000
MARGIN_VOXELS = 5
# How far around it a landmark pulls (standard deviation), voxels of the level.
LANDMARK_REACH = 3.4


@dataclass(frozen=True)
class Level:
    """One step of the pyramid."""

    geometry: Geometry
    iterations: int

    @property
    def voxels(self) -> int:
        return int(np.prod(self.geometry.size))


# Voxels of the finest level, and the voxels times iterations after which a level has cost enough: on a large grid the
# last few iterations refine what the levels before have found.
BUDGETS = {"fast": (1_000_000, 15e6), "balanced": (2_000_000, 40e6), "accurate": (5_000_000, 65e6)}
# Most iterations of the finest level, of the one before it and of all coarser ones, and the fewest of any.
ITERATIONS, FEWEST_ITERATIONS = (40, 30, 40), 8


def pyramid(fixed: Prepared, settings: Settings) -> list[Level]:
    """The levels for a fixed volume, coarsest first; their axes are the fixed volume's."""
    content = fixed.content
    budget, most_work = BUDGETS[settings.quality]
    native = np.asarray(content.spacing)
    wanted = settings.field_spacing_mm or (float(np.prod(content.extent_mm)) / budget) ** (1 / 3)
    spacing = max(wanted, float(native.min()))
    levels: list[Level] = []
    while not levels or (len(levels) < 4 and min(levels[0].geometry.size) - 2 * MARGIN_VOXELS >= 20):
        # A thick slice is not cut into many: it holds no more detail. But smoothing needs some voxels across it.
        axes = np.clip(native, spacing, 2 * spacing)
        geometry = content.with_spacing(axes).padded(MARGIN_VOXELS)
        affordable = int(most_work / np.prod(geometry.size, dtype=float))
        count = ITERATIONS[min(len(levels), len(ITERATIONS) - 1)]
        levels.insert(0, Level(geometry, max(FEWEST_ITERATIONS, min(count, affordable))))
        spacing *= 2
    return levels


class InstanceOptimisation:
    """Dense, diffeomorphic registration of one pair by instance optimisation."""

    def run(
        self, pair: Pair, start: Transform | None, settings: Settings, device: torch.device, monitor: Monitor
    ) -> Composite:
        """The transform x -> A(x + u(x)), fixed to moving, A being the linear part of `start`.

        Args:
            pair: prepared volumes.
            start: linear, dense, or a composite of both; None starts from the identity.
            settings: `quality`, `similarity`, `field_spacing_mm` and `landmark_sigma_mm` matter here.
            device: where to compute.
            monitor: progress and cancellation.
        """
        with torch.inference_mode():
            linear, residual = split_start(start)
            field, geometry = self._optimise(pair, linear, residual, settings, device, monitor)
            dense = tapered(field, geometry)
        return Composite((dense, Affine(linear.matrix)))

    def _optimise(
        self,
        pair: Pair,
        linear: LinearTransform,
        residual: Transform | None,
        settings: Settings,
        device: torch.device,
        monitor: Monitor,
    ) -> tuple[torch.Tensor, Geometry]:
        levels = pyramid(pair.fixed, settings)
        work = np.cumsum([0] + [level.voxels * level.iterations for level in levels])
        geometry = levels[0].geometry
        field = torch.zeros((1, 3, *geometry.shape), device=device)
        if residual is not None:
            geometry = levels[-1].geometry
            field = field_from_mm(residual.sampled_on(geometry).displacement, geometry, device)
        similarity = settings.similarity
        if similarity == "auto":
            similarity = choose_similarity(pair, levels, linear, device)
        for number, level in enumerate(levels):
            field = regrid_field(field, geometry, level.geometry)
            geometry = level.geometry
            images = _LevelImages(pair, geometry, linear, device)
            force = images.force(similarity)
            pull = LandmarkPull(pair.landmarks, linear, geometry, settings.landmark_sigma_mm, device)

            def report(share: float, value: float, number: int = number, level: Level = level) -> None:
                done = work[number] + share * level.voxels * level.iterations
                message = f"Level {number + 1} of {len(levels)}, similarity {value:.3f}"
                monitor.report("deform", done / work[-1], message)

            before = field
            field, value = _ascend(force, pull, field, geometry, level.iterations, report)
            if number == 0 and residual is None and _doubtful(force, field):
                found = _discrete(pair, geometry, linear, device, monitor)
                other, other_value = _ascend(force, pull, before + found, geometry, level.iterations, report)
                if other_value > value:
                    field = other
            # Single steps cannot fold space, but many of them, smoothed and interpolated, can in single voxels.
            field = unfolded(field)
        return field, geometry


def _discrete(
    pair: Pair, onto: Geometry, linear: LinearTransform, device: torch.device, monitor: Monitor
) -> torch.Tensor:
    """The field of the discrete search, made on a grid of its own that it can afford, on the grid `onto`."""
    content = pair.fixed.content
    spacing = (float(np.prod(content.extent_mm)) / DISCRETE_VOXELS) ** (1 / 3)
    grid = content.with_spacing((spacing,) * 3)
    images = _LevelImages(pair, grid, linear, device)
    found = coupled_convex(mind_ssc(images.fixed), mind_ssc(images.moving), DISCRETE_REACH, monitor)
    return regrid_field(found, grid, onto)


class _LevelImages:
    """Both images, the moving one through the linear start, and their cost masks on one grid."""

    def __init__(self, pair: Pair, geometry: Geometry, linear: LinearTransform, device: torch.device):
        spacing = float(np.mean(geometry.spacing))
        self.fixed, self.fixed_weight = _on_grid(pair.fixed, geometry, None, spacing, device)
        self.moving, self.moving_weight = _on_grid(pair.moving, geometry, linear.matrix, spacing, device)

    def force(self, similarity: str) -> Force:
        weights = self.fixed_weight, self.moving_weight
        if similarity == "mind":
            return FeatureForce(mind_ssc(self.fixed), mind_ssc(self.moving), *weights)
        return CorrelationForce(self.fixed, self.moving, *weights)


def _on_grid(
    side: Prepared, geometry: Geometry, matrix: np.ndarray | None, spacing: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    reduced = side.reduced(spacing)
    to_index = index_map(geometry, reduced.geometry, matrix)
    image = torch.as_tensor(reduced.image.data, dtype=torch.float32, device=device)[None, None]
    weight = None
    if reduced.weight is not None:
        weight = torch.as_tensor(reduced.weight.data, dtype=torch.float32, device=device)[None, None]
        weight = resample(weight, to_index, geometry.shape, "zeros")
    elif not side.contained:
        # What lies beyond the field of view is unknown, not air: it must not count.
        weight = resample(torch.ones_like(image), to_index, geometry.shape, "zeros")
    return resample(image, to_index, geometry.shape), weight


def choose_similarity(pair: Pair, levels: list[Level], linear: LinearTransform, device: torch.device) -> str:
    """ "lncc" for images of one contrast, whatever their ranges; "mind" for two contrasts or modalities."""
    images = _LevelImages(pair, levels[min(1, len(levels) - 1)].geometry, linear, device)
    shown = (images.fixed > CONTENT_THRESHOLD) & (images.moving > CONTENT_THRESHOLD)
    return "lncc" if linear_share(images.fixed[shown], images.moving[shown]) > ONE_CONTRAST else "mind"


def _ascend(
    force: Force, pull: LandmarkPull, field: torch.Tensor, geometry: Geometry, iterations: int, report
) -> tuple[torch.Tensor, float]:
    """Compositive gradient ascent with steps of bounded, shrinking length; returns the field and its similarity."""
    spacing = np.asarray(geometry.spacing)
    ratio = float(spacing.min()) / spacing
    per_axis = torch.tensor(ratio, dtype=torch.float32, device=field.device).view(1, 3, 1, 1, 1)
    done, values = 0.0, []
    while done < 1:
        value, update = force.value_and_force(field)
        values.append(value)
        report(done, value)
        # Landmarks may have to pull against the image: then its similarity says nothing of the progress.
        stalled = len(values) > PATIENCE and value - values[-1 - PATIENCE] < LEAST_GAIN * abs(value)
        if stalled and pull.points is None:
            done += SKIP
            values.clear()
        share = 1 - (1 - LAST_STEP) * min(done, 1.0)
        step, narrower = STEP * share, math.sqrt(share)
        # Steepest in mm, not in voxels, whose sides differ; then lengths in units of the shortest side.
        update = smooth(update.mul_(per_axis), tuple(UPDATE_SIGMA * narrower * ratio))
        update = pull.joined(_bounded(update, step, force.least), field, step)
        field = smooth(compose(update.mul_(per_axis), field), tuple(FIELD_SIGMA * narrower * ratio), zero_border=True)
        done += 1 / iterations
    return field, force.value(field)


def _bounded(update: torch.Tensor, step: float, least: float) -> torch.Tensor:
    """Scaled so that all but the steepest hundredth move less than `step`, and that hundredth exactly `step`."""
    length = lengths(update)
    thinned = length.flatten()[:: max(1, length.numel() // 100_000)]
    # Where both images agree already only noise is left to follow: the step shrinks with the force.
    typical = torch.quantile(thinned, 0.99).clamp(min=least)
    return update.mul_(step / length.clamp_(min=float(typical)))


class LandmarkPull:
    """A soft constraint: near each fixed landmark the field is drawn so that it lands on the partner.

    Args:
        landmarks: the pairs, or None for no pull.
        linear: the linear part that follows the field.
        geometry: the level's grid.
        sigma_mm: how exactly the pairs were placed: at 1 mm a pair and the image around it weigh alike.
        device: where to compute.
    """

    def __init__(
        self,
        landmarks: LandmarkPairs | None,
        linear: LinearTransform,
        geometry: Geometry,
        sigma_mm: float,
        device: torch.device,
    ):
        self.points = None
        if landmarks is None:
            return
        ratio = np.asarray(geometry.spacing) / min(geometry.spacing)
        start = geometry.point_to_index(landmarks.fixed)
        target = geometry.point_to_index(linear.inverse().apply_to_points(landmarks.moving))
        self.points = torch.as_tensor(start, dtype=torch.float32, device=device)
        self.targets = torch.as_tensor(target, dtype=torch.float32, device=device)
        self.ratio = torch.as_tensor(ratio, dtype=torch.float32, device=device)
        self.share = 1 / (1 + sigma_mm**2)
        kernel = torch.zeros((1, 1, *geometry.shape), device=device)
        axes = identity_axes(geometry.shape, device)
        self.kernels = []
        for point in self.points:
            squared = sum(((axes[a] - point[a]) * self.ratio[a]) ** 2 for a in range(3))
            gaussian = torch.exp(-squared / (2 * LANDMARK_REACH**2))
            self.kernels.append(gaussian)
            kernel += gaussian
        self.crowding = kernel.clamp(min=1.0)
        self.near = (kernel * self.share).clamp(max=self.share)

    def joined(self, update: torch.Tensor, field: torch.Tensor, step: float) -> torch.Tensor:
        """The image's update (1, 3, D, H, W), in units of the shortest voxel side, given way to near landmarks."""
        if self.points is None:
            return update
        size = field.shape[:1:-1]
        where = torch.stack([normalised(self.points[:, a], size[a]) for a in range(3)], -1)
        displacement = sample(field, where[None, :, None, None])[0, :, :, 0, 0].T
        missing = (self.targets - self.points - displacement) * self.ratio
        missing = self.share * missing * (step / missing.norm(dim=1, keepdim=True).clamp(min=step))
        pull = torch.zeros_like(field)
        for vector, kernel in zip(missing, self.kernels, strict=True):
            pull += vector.view(1, 3, 1, 1, 1) * kernel
        return update * (1 - self.near) + pull / self.crowding


def _doubtful(force: Force, field: torch.Tensor) -> bool:
    moved = lengths(field).flatten()[:: max(1, field[0, 0].numel() // 100_000)]
    far = float(torch.quantile(moved, 0.98)) > DOUBTFUL_MOTION
    return far or force.agreement(field) < DOUBTFUL_AGREEMENT


def split_start(start: Transform | None) -> tuple[LinearTransform, Transform | None]:
    """A start as (linear part A, dense part or None) with start(x) = A(dense(x))."""
    if start is None:
        return Affine.identity(), None
    if isinstance(start, LinearTransform):
        return start, None
    if isinstance(start, Composite) and isinstance(start.parts[-1], LinearTransform):
        return start.parts[-1], Composite(start.parts[:-1])
    return Affine.identity(), start


def tapered(field: torch.Tensor, geometry: Geometry) -> DisplacementField:
    """The field in mm, on a grid with a margin in which it falls to zero, so that it ends without a jump.

    ITK knows no displacement outside a field; Slicer repeats the border. With zero at the border both agree.
    """
    border = max(
        float(field.narrow(dim, index, 1).abs().max()) for dim in (2, 3, 4) for index in (0, field.shape[dim] - 1)
    )
    # A fall over three times its height has a slope of at most a half: no fold.
    width = int(np.ceil(3 * border)) + 2
    wide = geometry.padded(width)
    extended = regrid_field(field, geometry, wide)
    for axis, length in enumerate(wide.size):
        ramp = torch.arange(length, dtype=torch.float32, device=field.device)
        ramp = torch.minimum(ramp, ramp.flip(0)).div_(width).clamp_(max=1)
        shape = [1, 1, 1, 1, 1]
        shape[4 - axis] = length
        extended = extended * (ramp**2 * (3 - 2 * ramp)).view(shape)
    return DisplacementField(field_to_mm(extended, wide), wide)
