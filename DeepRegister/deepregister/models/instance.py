"""`deformable`: the deep iterative family's optimiser, for one pair at a time and without training.

Small compositive updates of the field by the smoothed gradient of a similarity, coarse to fine, as in Avants et al.
(Med. Image Anal. 2008) and greedy (Yushkevich et al., 2016). Each step is short and smooth enough that space cannot
fold. The similarity sits behind one door (`similarity.forces`): local correlation, MIND-SSC, or learned features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..landmarks import LandmarkPairs
from ..preparation import CONTENT_THRESHOLD, Pair, Prepared
from ..progress import Monitor
from ..quality import landmark_errors
from ..settings import Settings
from ..similarity.contrast import linear_share
from ..similarity.forces import CorrelationForce, FeatureForce, Force
from ..similarity.mind import mind_ssc
from ..spatial import (
    compose,
    compose_step,
    field_from_mm,
    field_to_mm,
    index_map,
    lengths,
    regrid_field,
    resample,
    unfolded,
    warp,
)
from ..transforms import Affine, Composite, DisplacementField, LinearTransform, Transform
from ..volume import Geometry
from .discrete import coupled_convex
from .landmark_pull import LandmarkPull
from .layers import Layers

# Smoothing of each update and of the whole field, in voxels of the level, at the first of its steps.
UPDATE_SIGMA = 2.1
FIELD_SIGMA = 0.9
# Longest step of the bulk of voxels, in voxels: with the smoothing above its derivative stays well below 1.
STEP = 0.5
# Over a level the step shrinks to this share, and both smoothings with its root, as a diffusion of that time would:
# coarse motion first, and at the end none of the noise that long steps leave.
LAST_STEP = 0.2
# When the last iterations together gained less than this share of the similarity, a part of the schedule is skipped.
PATIENCE, LEAST_GAIN, SKIP = 8, 1e-3, 0.25
# Pairs of one contrast have a linear share of intensities of 0.77 and more where it is measured, also under other
# windows, bias and noise; two MR contrasts of heads have 0.2 to 0.67.
ONE_CONTRAST, CONTRAST_LEVEL = 0.72, 2
# Where the coarsest level agrees less than this, or moves farther than this (mm, and share of the content's extent),
# gradients alone are not trusted: a discrete search, on grids of so many voxels with a lattice that reaches so far,
# starts a second run, and the better one at the settling level goes on.
DOUBTFUL_AGREEMENT, DOUBTFUL_MM, DOUBTFUL_SHARE = 0.5, 12.0, 0.048
DISCRETE, SETTLING_LEVEL = ((60_000, 5), (100_000, 3), (200_000, 3)), 2
# The search has seen all motion within its reach, gradients only what is near: it is kept unless it is clearly worse.
TOLERATED_LOSS = 0.01
MARGIN_VOXELS = 5
# Landmarks refine a dense start on levels up to this share of the largest error that it leaves them: there a pull
# reaches so far that what it bends stays smooth, and what was right elsewhere is not lost on coarser ones.
LANDMARK_LEVEL = 0.4
# Where a user asks for it, the images weigh so many times as much as elsewhere.
EMPHASIS = 4.0
# Of a level, voxels across the content, for another one of half the resolution to be worth while.
LEAST_CONTENT = 20


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
    while not levels or (len(levels) < 4 and min(levels[0].geometry.size) - 2 * MARGIN_VOXELS >= LEAST_CONTENT):
        # A thick slice is not cut into many: it holds no more detail. But smoothing needs some voxels across it.
        axes = np.clip(native, spacing, 2 * spacing)
        geometry = content.with_spacing(axes).padded(MARGIN_VOXELS)
        affordable = int(most_work / np.prod(geometry.size, dtype=float))
        count = ITERATIONS[min(len(levels), len(ITERATIONS) - 1)]
        levels.insert(0, Level(geometry, max(FEWEST_ITERATIONS, min(count, affordable))))
        spacing *= 2
    return levels


def fine_levels(levels: list[Level], coarsest_mm: float) -> list[Level]:
    """The levels whose spacing is at most `coarsest_mm`; at least the finest."""
    return [level for level in levels[:-1] if min(level.geometry.spacing) < 1.01 * coarsest_mm] + levels[-1:]


class InstanceOptimisation:
    """Dense, diffeomorphic registration of one pair by instance optimisation."""

    def run(
        self,
        pair: Pair,
        start: Transform | None,
        settings: Settings,
        device: torch.device,
        monitor: Monitor,
        coarsest_mm: float | None = None,
    ) -> Composite:
        """The transform x -> A(x + u(x)), fixed to moving, A being the linear part of `start`.

        Args:
            pair: prepared volumes.
            start: linear, dense, or a composite of both; None starts from the identity.
            settings: `quality`, `similarity`, `field_spacing_mm` and `landmark_sigma_mm` matter here.
            device: where to compute.
            monitor: progress and cancellation.
            coarsest_mm: only refine a dense start, on the levels that are no coarser than this: on others the detail
                that it has already would be lost. None takes all levels.
        """
        with torch.inference_mode():
            linear, residual = split_start(start)
            field, geometry = self._optimise(pair, linear, residual, settings, device, monitor, coarsest_mm)
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
        coarsest_mm: float | None,
    ) -> tuple[torch.Tensor, Geometry]:
        levels = pyramid(pair.fixed, settings)
        similarity = settings.similarity
        if similarity == "auto":
            similarity = choose_similarity(pair, levels, linear, device)
        stage = "deform"
        if coarsest_mm is not None:
            levels, stage = fine_levels(levels, coarsest_mm), "refine"
        elif residual is not None and pair.landmarks is not None:
            left = landmark_errors(pair.landmarks, Composite((residual, linear)))
            levels = fine_levels(levels, LANDMARK_LEVEL * float(left.max()))
        ascent = _Ascent(pair, levels, linear, similarity, settings.landmark_sigma_mm, device, monitor, stage)
        geometry = levels[0].geometry
        field = torch.zeros((1, 3, *geometry.shape), device=device)
        if residual is not None:
            geometry = levels[-1].geometry
            field = field_from_mm(residual.sampled_on(geometry).displacement, geometry, device)
        state = ascent.level(0, State.of(field, geometry, ascent.layers(0)), judged=True)
        next_level = 1
        if residual is None and _doubtful(state, pair.fixed.content):
            settling = min(SETTLING_LEVEL, len(levels) - 1)
            for number in range(1, settling + 1):
                state = ascent.level(number, state, judged=number == settling)
            # Straight to the settling level: on the coarser ones fine structure would pull it back.
            other = ascent.level(settling, _discrete(pair, linear, device, monitor), judged=True)
            if other.similarity > (1 - TOLERATED_LOSS) * state.similarity:
                state = other
            next_level = settling + 1
        for number in range(next_level, len(levels)):
            state = ascent.level(number, state)
        return ascent.layers(len(levels) - 1).joined(state.fields), state.geometry


@dataclass
class State:
    """Where the optimisation stands.

    Attributes:
        fields: (1, 3, D, H, W) for each layer of motion, in voxels of the grid.
        geometry: the grid.
        similarity, agreement: of the images under the fields, where they were asked for.
    """

    fields: list[torch.Tensor]
    geometry: Geometry
    similarity: float = -math.inf
    agreement: float = 0.0

    @classmethod
    def of(cls, field: torch.Tensor, geometry: Geometry, layers: Layers) -> State:
        """Every layer moving by the same field."""
        return cls([field.clone() for _ in range(len(layers))], geometry)


class _Ascent:
    """Takes a state through one level of the pyramid."""

    def __init__(
        self,
        pair: Pair,
        levels: list[Level],
        linear: LinearTransform,
        similarity: str,
        landmark_sigma_mm: float,
        device: torch.device,
        monitor: Monitor,
        stage: str,
    ):
        self.pair, self.levels, self.linear, self.similarity = pair, levels, linear, similarity
        self.landmark_sigma_mm, self.device, self.monitor, self.stage = landmark_sigma_mm, device, monitor, stage
        self.work = np.cumsum([0] + [level.voxels * level.iterations for level in levels])

    def layers(self, number: int) -> Layers:
        return Layers(self.pair.regions, self.levels[number].geometry, self.device)

    def level(self, number: int, state: State, judged: bool = False) -> State:
        """The state after level `number`; how good it is costs two more passes over the images."""
        level = self.levels[number]
        geometry, layers = level.geometry, self.layers(number)
        force = _LevelImages(self.pair, geometry, self.linear, self.device).force(self.similarity)
        pulls = [
            LandmarkPull(landmarks, self.linear, geometry, self.landmark_sigma_mm, self.device)
            for landmarks in _shared_out(self.pair)
        ]

        def report(share: float, value: float) -> None:
            done = self.work[number] + share * level.voxels * level.iterations
            message = f"Level {number + 1} of {len(self.levels)}, similarity {value:.3f}"
            self.monitor.report(self.stage, done / self.work[-1], message)

        fields = [regrid_field(field, state.geometry, geometry) for field in state.fields]
        fields = _ascend(force, pulls, layers, fields, geometry, level.iterations, report)
        # Single steps cannot fold space, but many of them, smoothed and interpolated, can in single voxels.
        fields = [unfolded(field) for field in fields]
        if not judged:
            return State(fields, geometry)
        together = layers.joined(fields)
        return State(fields, geometry, force.value(together), force.agreement(together))


def _shared_out(pair: Pair) -> list[LandmarkPairs | None]:
    """The landmarks of each layer: those that lie in its region."""
    if pair.regions is None or pair.landmarks is None:
        return [pair.landmarks] * (1 if pair.regions is None else len(pair.regions.values))
    labels = pair.regions.at(pair.landmarks.fixed)
    return [
        LandmarkPairs(pair.landmarks.fixed[labels == value], pair.landmarks.moving[labels == value])
        if np.any(labels == value)
        else None
        for value in pair.regions.values
    ]


def _discrete(pair: Pair, linear: LinearTransform, device: torch.device, monitor: Monitor) -> State:
    """What the discrete search finds: each stage searches around what the one before it found."""
    content = pair.fixed.content
    state = State([], content)
    for voxels, reach in DISCRETE:
        spacing = max((float(np.prod(content.extent_mm)) / voxels) ** (1 / 3), float(min(content.spacing)))
        grid = content.with_spacing((spacing,) * 3)
        images, layers = _LevelImages(pair, grid, linear, device), Layers(pair.regions, grid, device)
        features = mind_ssc(images.fixed)
        found = []
        for number, mask in enumerate(layers.masks):
            field = torch.zeros((1, 3, *grid.shape), device=device)
            if state.fields:
                field = regrid_field(state.fields[number], state.geometry, grid)
            moved = mind_ssc(warp(images.moving, field))
            found.append(compose(coupled_convex(features, moved, reach, monitor, mask), field))
        state = State(found, grid)
    return State([unfolded(field) for field in state.fields], state.geometry)


class _LevelImages:
    """Both images, the moving one through the linear start, and their cost masks on one grid."""

    def __init__(self, pair: Pair, geometry: Geometry, linear: LinearTransform, device: torch.device):
        spacing = float(np.mean(geometry.spacing))
        self.fixed, self.fixed_weight = _on_grid(pair.fixed, geometry, None, spacing, device)
        self.moving, self.moving_weight = _on_grid(pair.moving, geometry, linear.matrix, spacing, device)
        if pair.emphasis is not None:
            # Less elsewhere, not more there: a weight above 1 would make the steps longer, not the images weightier.
            inside = torch.as_tensor(pair.emphasis.data, dtype=torch.float32, device=device)[None, None]
            inside = resample(inside, index_map(geometry, pair.emphasis.geometry), geometry.shape, "zeros")
            share = 1 / EMPHASIS + (1 - 1 / EMPHASIS) * inside
            self.fixed_weight = share if self.fixed_weight is None else self.fixed_weight * share

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
    images = _LevelImages(pair, levels[min(CONTRAST_LEVEL, len(levels) - 1)].geometry, linear, device)
    shown = (images.fixed > CONTENT_THRESHOLD) & (images.moving > CONTENT_THRESHOLD)
    return "lncc" if linear_share(images.fixed[shown], images.moving[shown]) > ONE_CONTRAST else "mind"


def _ascend(
    force: Force,
    pulls: list[LandmarkPull],
    layers: Layers,
    fields: list[torch.Tensor],
    geometry: Geometry,
    iterations: int,
    report: Callable[[float, float], None],
) -> list[torch.Tensor]:
    """Compositive gradient ascent with steps of bounded, shrinking length; the field of each layer after it."""
    spacing = np.asarray(geometry.spacing)
    ratio = float(spacing.min()) / spacing
    per_axis = torch.tensor(ratio, dtype=torch.float32, device=fields[0].device).view(1, 3, 1, 1, 1)
    # Landmarks may have to pull against the image: then its similarity says nothing of the progress.
    free = all(pull.points is None for pull in pulls)
    done, values = 0.0, []
    while done < 1:
        value, update = force.value_and_force(layers.joined(fields))
        values.append(value)
        report(done, value)
        if free and len(values) > PATIENCE and value - values[-1 - PATIENCE] < LEAST_GAIN * abs(value):
            done += SKIP
            values.clear()
        share = 1 - (1 - LAST_STEP) * min(done, 1.0)
        step, narrower = STEP * share, math.sqrt(share)
        # Steepest in mm, not in voxels, whose sides differ; then lengths in units of the shortest side.
        update.mul_(per_axis)
        sigma = tuple(UPDATE_SIGMA * narrower * ratio)
        updates = [layers.smooth(number, layers.own(number, update), sigma) for number in range(len(layers))]
        typical = _typical_length(layers.joined(updates), force.least)
        sigma = tuple(FIELD_SIGMA * narrower * ratio)
        for number, pull in enumerate(pulls):
            bounded = _bounded(updates[number], step, typical)
            bounded = pull.joined(bounded, fields[number], step).mul_(per_axis)
            fields[number] = layers.smooth(number, compose_step(bounded, fields[number]), sigma, zero_border=True)
        done += 1 / iterations
    return fields


def _typical_length(update: torch.Tensor, least: float) -> float:
    """The length that all but the steepest hundredth of an update stay below."""
    length = lengths(update)
    thinned = length.flatten()[:: max(1, length.numel() // 100_000)]
    # Torch sorts all for a quantile. Where both images agree already only noise is left to follow: the step shrinks.
    return max(float(thinned.topk(max(1, thinned.numel() // 100)).values[-1]), least)


def _bounded(update: torch.Tensor, step: float, typical: float) -> torch.Tensor:
    """Scaled so that what is shorter than `typical` moves less than `step`, and all else exactly `step`."""
    return update.mul_(step / lengths(update).clamp_(min=typical))


def _doubtful(state: State, content: Geometry) -> bool:
    moved = lengths(state.fields[0]).flatten()[:: max(1, state.fields[0][0, 0].numel() // 100_000)]
    far = float(torch.quantile(moved, 0.98)) * min(state.geometry.spacing)
    least = max(DOUBTFUL_MM, DOUBTFUL_SHARE * float(np.median(content.extent_mm)))
    return far > least or state.agreement < DOUBTFUL_AGREEMENT


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
    extended, wide = faded(field, geometry)
    return DisplacementField(field_to_mm(extended, wide), wide)


def faded(field: torch.Tensor, geometry: Geometry) -> tuple[torch.Tensor, Geometry]:
    """As `tapered`, still in voxels: the field and its grid with the margin."""
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
    return extended, wide
