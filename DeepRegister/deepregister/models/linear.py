"""`rigid` and `affine`: a search over many starts, then gradient ascent of mutual information over a pyramid.

No single start is trusted: poses are tried on a lattice of rotations and shifts, the best are climbed together in one
batch, and only the winner is polished at fine resolution. The similarity is normalised mutual information over the
overlap of both masks, which survives a change of contrast or modality.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ..landmarks import LandmarkPairs
from ..preparation import Pair, Prepared
from ..progress import Monitor
from ..settings import Settings
from ..similarity.mutual_information import bin_weights, mutual_information, normalised_information
from ..spatial import normalised, sample
from ..transforms import Affine, Composite, LinearTransform, Rigid, Transform

SEARCH_BINS, SEARCH_SAMPLES = 12, 1200
# How much of the smaller content must be seen by both sides for a pose to count in full.
WANTED_OVERLAP = 0.6
ADAM_MEAN, ADAM_SQUARE = 0.8, 0.95
# One landmark pair at one sigma weighs as much as this gain of mutual information.
LANDMARK_WEIGHT = 0.02
# Candidates that ended this share of the radius apart, by shift and arc of the turn, stand for two places.
RIVAL_DISTANCE = 0.3


@dataclass(frozen=True)
class Effort:
    """How hard to look: samples and iterations of each step."""

    climb_samples: int = 3000
    polish_samples: int = 20000
    climbers: int = 48
    climb_iterations: int = 40
    polish_iterations: int = 60


EFFORTS = {
    "fast": Effort(climbers=32, climb_iterations=30, polish_samples=10000, polish_iterations=40),
    "balanced": Effort(),
    "accurate": Effort(climbers=64, climb_iterations=50, polish_samples=40000, polish_iterations=100),
}


class LinearModel:
    """The classical linear registration.

    Args:
        kind: "rigid" (6 parameters) or "affine" (12).
    """

    def __init__(self, kind: str):
        self.kind = kind

    def run(
        self, pair: Pair, start: Transform | None, settings: Settings, device: torch.device, monitor: Monitor
    ) -> LinearTransform:
        """The best linear transform, fixed to moving.

        Args:
            pair: prepared volumes.
            start: a transform whose linear part is improved instead of searching, or None.
            settings: `quality` sets the effort, `seed` the samples, `landmark_sigma_mm` the pull of landmarks.
            device: where to compute.
            monitor: progress and cancellation.
        """
        effort = EFFORTS[settings.quality]
        extent = float(np.median(pair.fixed.content.extent_mm))
        stages = [_Stage(pair, extent / n, count, settings.seed, device) for n, count in _stage_plan(effort)]
        pose = _Pose(pair.fixed.content.centre, extent / 2, pair.landmarks, settings.landmark_sigma_mm, device)

        free = 12 if self.kind == "affine" else 6
        if start is not None:
            candidates = pose.parameters_of(_linear_part(start).matrix)[None]
        else:
            monitor.report("align", 0.0, "Searching for the pose")
            candidates = _search(stages[0], pose, pair, effort.climbers, monitor)
            # With scales already free: a pose that would win at the right size must not lose at the wrong one.
            coarse = min(free, 9)
            candidates = _climb(stages[0], pose, candidates, effort.climb_iterations, extent / 40, coarse, monitor, 0.1)
            candidates = _distinct(stages[1], pose, candidates, 6)
            candidates = _climb(stages[1], pose, candidates, effort.climb_iterations, extent / 80, free, monitor, 0.4)
            if pair.landmarks is None:
                # With landmarks the user has chosen the place.
                monitor.note("rival", _rival(stages[1], pose, candidates))
            candidates = _distinct(stages[1], pose, candidates, 2)
        rate = extent / 160
        candidates = _climb(stages[1], pose, candidates, effort.climb_iterations, rate, free, monitor, 0.6)
        best = _distinct(stages[2], pose, candidates, 1)
        best = _climb(stages[2], pose, best, effort.polish_iterations, rate / 2, free, monitor, 0.8)
        matrix = pose.matrices(best)[0].double().cpu().numpy()
        return Rigid(_orthonormalised(matrix)) if self.kind == "rigid" else Affine(matrix)


def _stage_plan(effort: Effort) -> list[tuple[int, int]]:
    # Voxels along the middle axis of the content, and samples.
    return [(20, effort.climb_samples), (40, 2 * effort.climb_samples), (90, effort.polish_samples)]


class _Stage:
    """Samples of the fixed image and the moving image as tensors, at one resolution."""

    def __init__(self, pair: Pair, spacing_mm: float, count: int, seed: int, device: torch.device):
        fixed, moving = pair.fixed.reduced(spacing_mm), pair.moving.reduced(spacing_mm)
        points, values = _fixed_samples(fixed, count, seed)
        self.points = torch.as_tensor(points, dtype=torch.float32, device=device)
        self.fixed_values = torch.as_tensor(values, dtype=torch.float32, device=device)
        self.fixed_weights = bin_weights(self.fixed_values)
        image = torch.as_tensor(moving.image.data, dtype=torch.float32, device=device)[None, None]
        weight = torch.ones_like(image)
        if moving.weight is not None:
            weight = torch.as_tensor(moving.weight.data, dtype=torch.float32, device=device)[None, None]
        self.image = torch.cat([image, weight], 1)
        self.known_outside = moving.contained and moving.weight is None
        self.to_index = np.linalg.inv(moving.geometry.matrix)

    def look_up(self, matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Moving values and weights (B, N) at the points moved by `matrices` (B, 4, 4), LPS mm."""
        to_index = torch.as_tensor(self.to_index, dtype=torch.float32, device=matrices.device)
        through = to_index @ matrices
        index = torch.einsum("brc,nc->bnr", through[:, :3, :3], self.points) + through[:, None, :3, 3]
        size = self.image.shape[:1:-1]
        grid = torch.stack([normalised(index[..., axis], size[axis]) for axis in range(3)], -1)
        # Zero padding fades the weight to nothing at the border, so that the overlap changes smoothly.
        values = sample(self.image, grid[None, :, :, None], padding="zeros")[0, :, :, :, 0]
        weight = values[1]
        if self.known_outside:
            return values[0], torch.ones_like(weight)
        return values[0] / weight.clamp(min=1e-3), weight


class _Pose:
    """Twelve parameters in mm, (turn, shift, scale, shear), about a centre, and the landmarks they should respect."""

    def __init__(
        self, centre: np.ndarray, radius: float, landmarks: LandmarkPairs | None, sigma_mm: float, device: torch.device
    ):
        self.centre = centre
        self.radius = radius
        self.device = device
        self.sigma = sigma_mm
        self.landmarks = None
        if landmarks is not None:
            self.landmarks = [
                torch.as_tensor(np.array(p), dtype=torch.float32, device=device)
                for p in (landmarks.fixed, landmarks.moving)
            ]

    def matrices(self, parameters: torch.Tensor) -> torch.Tensor:
        """(B, 4, 4) matrices of parameters (B, 12): x -> R S (x - c) + c + t."""
        turn, shift = parameters[:, 0:3] / self.radius, parameters[:, 3:6]
        scale, shear = torch.exp(parameters[:, 6:9] / self.radius), parameters[:, 9:12] / self.radius
        batch = parameters.shape[0]
        skew = torch.zeros((batch, 3, 3), dtype=parameters.dtype, device=parameters.device)
        skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -turn[:, 2], turn[:, 1], -turn[:, 0]
        rotation = torch.linalg.matrix_exp(skew - skew.transpose(1, 2))
        stretch = torch.diag_embed(scale)
        upper = torch.zeros_like(stretch)
        upper[:, 0, 1], upper[:, 0, 2], upper[:, 1, 2] = shear[:, 0], shear[:, 1], shear[:, 2]
        linear = rotation @ (stretch + upper)
        centre = torch.as_tensor(self.centre, dtype=parameters.dtype, device=parameters.device)
        matrix = torch.zeros((batch, 4, 4), dtype=parameters.dtype, device=parameters.device)
        matrix[:, :3, :3] = linear
        matrix[:, :3, 3] = centre + shift - linear @ centre
        matrix[:, 3, 3] = 1
        return matrix

    def parameters_of(self, matrix: np.ndarray) -> torch.Tensor:
        """The (12,) parameters of a (4, 4) matrix."""
        orthogonal, upper = np.linalg.qr(matrix[:3, :3])
        signs = np.sign(np.diag(upper))
        orthogonal, upper = orthogonal * signs, signs[:, None] * upper
        turn = Rotation.from_matrix(orthogonal).as_rotvec()
        shift = matrix[:3, :3] @ self.centre + matrix[:3, 3] - self.centre
        shear = upper[[0, 0, 1], [1, 2, 2]]
        values = np.concatenate([turn * self.radius, shift, np.log(np.diag(upper)) * self.radius, shear * self.radius])
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def landmark_penalty(self, matrices: torch.Tensor) -> torch.Tensor | float:
        """(B,) penalty for landmarks that miss their partners, in units of mutual information."""
        if self.landmarks is None:
            return 0.0
        fixed, moving = self.landmarks
        moved = torch.einsum("brc,nc->bnr", matrices[:, :3, :3], fixed) + matrices[:, None, :3, 3]
        return LANDMARK_WEIGHT * (((moved - moving) / self.sigma) ** 2).sum(-1).mean(1)


def _score(stage: _Stage, pose: _Pose, parameters: torch.Tensor) -> torch.Tensor:
    """(B,) normalised mutual information over the overlap, less where the overlap is small."""
    matrices = pose.matrices(parameters)
    values, weight = stage.look_up(matrices)
    overlap = (weight.mean(1) / WANTED_OVERLAP).clamp(max=1)
    return mutual_information(stage.fixed_weights, values, weight) * overlap - pose.landmark_penalty(matrices)


def _climb(
    stage: _Stage,
    pose: _Pose,
    parameters: torch.Tensor,
    iterations: int,
    rate_mm: float,
    free: int,
    monitor: Monitor,
    progress: float,
) -> torch.Tensor:
    """Adam (Kingma and Ba, 2015) on all candidates at once; each keeps the best place it saw."""
    # By hand: importing torch.optim takes as long as half of the alignment.
    parameters = parameters.clone().requires_grad_(True)
    mean, square = torch.zeros_like(parameters), torch.zeros_like(parameters)
    best = parameters.detach().clone()
    best_score = torch.full((len(best),), -torch.inf, device=best.device)
    for iteration in range(iterations):
        if iteration % 10 == 0:
            monitor.report("align", progress + 0.2 * iteration / iterations, "Aligning")
        monitor.check()
        score = _score(stage, pose, parameters)
        (gradient,) = torch.autograd.grad(score.sum(), parameters)
        with torch.no_grad():
            better = score > best_score
            best[better], best_score[better] = parameters[better], score[better]
            gradient[:, free:] = 0
            mean.lerp_(gradient, 1 - ADAM_MEAN)
            square.lerp_(gradient**2, 1 - ADAM_SQUARE)
            fraction = iteration / iterations
            rate = rate_mm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))
            unbiased = mean / (1 - ADAM_MEAN ** (iteration + 1))
            spread = (square / (1 - ADAM_SQUARE ** (iteration + 1))).sqrt()
            parameters += rate * unbiased / (spread + 1e-12)
    return best


def _distinct(stage: _Stage, pose: _Pose, parameters: torch.Tensor, count: int) -> torch.Tensor:
    """The best `count` candidates that are not the same place twice."""
    with torch.no_grad():
        score = _score(stage, pose, parameters)
    chosen: list[int] = []
    for index in torch.argsort(score, descending=True).tolist():
        near = [float((parameters[index, :6] - parameters[other, :6]).norm()) < 0.1 * pose.radius for other in chosen]
        if not any(near):
            chosen.append(index)
        if len(chosen) == count:
            break
    return parameters[chosen]


def _rival(stage: _Stage, pose: _Pose, parameters: torch.Tensor) -> float:
    """The best score of candidates that ended far from the best one, over its score: near 1 where starts disagree."""
    with torch.no_grad():
        score = _score(stage, pose, parameters)
    best = int(score.argmax())
    far = (parameters[:, :6] - parameters[best, :6]).norm(dim=1) > RIVAL_DISTANCE * pose.radius
    return float(score[far].max() / score[best].clamp(min=1e-6)) if bool(far.any()) else 0.0


def _search(stage: _Stage, pose: _Pose, pair: Pair, count: int, monitor: Monitor) -> torch.Tensor:
    """The most promising poses (count, 12) on a lattice of rotations and shifts, and from landmarks and headers."""
    device = stage.points.device
    shift = pair.moving.content.centre - pair.fixed.content.centre
    reach = 0.5 * np.maximum(pair.fixed.content.extent_mm, pair.moving.content.extent_mm).max()
    offsets = np.linspace(-reach, reach, 7)
    shifts = shift + np.stack(np.meshgrid(offsets, offsets, offsets), -1).reshape(-1, 3)
    turns = _rotation_lattice(np.radians(50), np.radians(24))
    poses, scores = [], []
    for number, turn in enumerate(turns):
        monitor.report("align", 0.1 * number / len(turns), "Searching for the pose")
        parameters = torch.zeros((len(shifts), 12), device=device)
        parameters[:, 0:3] = torch.as_tensor(turn * pose.radius, dtype=torch.float32)
        parameters[:, 3:6] = torch.as_tensor(shifts, dtype=torch.float32)
        poses.append(parameters)
        scores.append(_lattice_score(stage, pose, parameters))
    everything, score = torch.cat(poses), torch.cat(scores)
    best = everything[torch.argsort(score, descending=True)[: count - 2]]
    # The header's own alignment and matched centres are often right: they always get a chance to climb.
    known = torch.zeros((2, 12), device=device)
    known[1, 3:6] = torch.as_tensor(shift, dtype=torch.float32)
    if pair.landmarks is not None:
        matrix = _best_rigid(pair.landmarks)
        known = torch.cat([known, pose.parameters_of(matrix)[None]])
    return torch.cat([known, best])


@torch.no_grad()
def _lattice_score(stage: _Stage, pose: _Pose, parameters: torch.Tensor) -> torch.Tensor:
    """As `_score`, but with nearest neighbours and hard bins: thousands of poses in a second."""
    keep = slice(0, SEARCH_SAMPLES)
    matrices = pose.matrices(parameters)
    to_index = torch.as_tensor(stage.to_index, dtype=torch.float32, device=matrices.device)
    through = to_index @ matrices
    index = torch.einsum("brc,nc->bnr", through[:, :3, :3], stage.points[keep]) + through[:, None, :3, 3]
    index = index.round_().long()
    depth, height, width = stage.image.shape[2:]
    i, j, k = index.unbind(-1)
    inside = (i >= 0) & (i < width) & (j >= 0) & (j < height) & (k >= 0) & (k < depth)
    flat = (k.clamp(0, depth - 1) * height + j.clamp(0, height - 1)) * width + i.clamp(0, width - 1)
    values, weight = stage.image[0, 0].flatten()[flat], stage.image[0, 1].flatten()[flat]
    if stage.known_outside:
        values, weight = values * inside, torch.ones_like(values)
    else:
        weight = weight * inside
    rows = (stage.fixed_values[keep] * (SEARCH_BINS - 1) + 0.5).long()
    columns = (values * (SEARCH_BINS - 1) + 0.5).long()
    batch = len(parameters)
    bins = (torch.arange(batch, device=flat.device)[:, None] * SEARCH_BINS + rows) * SEARCH_BINS + columns
    joint = torch.bincount(bins.flatten(), weights=weight.flatten(), minlength=batch * SEARCH_BINS**2)
    joint = joint.view(batch, SEARCH_BINS, SEARCH_BINS).float()
    overlap = (weight.mean(1) / WANTED_OVERLAP).clamp(max=1)
    return normalised_information(joint) * overlap - pose.landmark_penalty(matrices)


def _fixed_samples(fixed: Prepared, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in LPS mm and values (n,) from the box around the content where the mask allows."""
    margin = 0.1 * fixed.content.extent_mm
    corners = np.array([fixed.content.index_to_point(c) for c in ([0, 0, 0], np.asarray(fixed.content.size) - 1)])
    low, high = np.sort(fixed.geometry.point_to_index(corners), axis=0)
    steps = margin / np.asarray(fixed.geometry.spacing)
    start = np.clip(np.floor(low - steps), 0, None).astype(int)
    stop = np.minimum(np.ceil(high + steps).astype(int) + 1, fixed.geometry.size)
    box = tuple(slice(a, b) for a, b in zip(start[::-1], stop[::-1], strict=True))
    allowed = np.ones(fixed.geometry.shape, dtype=bool) if fixed.weight is None else fixed.weight.data > 0.5
    flags = np.zeros(fixed.geometry.shape, dtype=bool)
    flags[box] = allowed[box]
    candidates = np.flatnonzero(flags if flags.any() else allowed)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(candidates)[:count]
    k, j, i = np.unravel_index(chosen, fixed.geometry.shape)
    values = fixed.image.data.ravel()[chosen]
    points = fixed.geometry.index_to_point(np.stack([i, j, k], -1))
    return points, values


def _rotation_lattice(largest: float, step: float) -> np.ndarray:
    """Rotation vectors (n, 3) of up to `largest` radians, about `step` apart, none first."""
    axis = np.arange(-np.floor(largest / step), np.floor(largest / step) + 1) * step
    vectors = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    length = np.linalg.norm(vectors, axis=1)
    vectors = vectors[length <= largest]
    return vectors[np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")]


def _best_rigid(landmarks: LandmarkPairs) -> np.ndarray:
    """The least-squares rigid matrix of the pairs (Kabsch 1976); a pure shift below three of them."""
    fixed, moving = np.asarray(landmarks.fixed), np.asarray(landmarks.moving)
    matrix = np.eye(4)
    if len(fixed) >= 3:
        rotation, _ = Rotation.align_vectors(moving - moving.mean(0), fixed - fixed.mean(0))
        matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = moving.mean(0) - matrix[:3, :3] @ fixed.mean(0)
    return matrix


def _linear_part(transform: Transform) -> LinearTransform:
    if isinstance(transform, LinearTransform):
        return transform
    if isinstance(transform, Composite) and isinstance(transform.parts[-1], LinearTransform):
        return transform.parts[-1]
    return Affine.identity()


def _orthonormalised(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix[:3, :3])
    result = matrix.copy()
    result[:3, :3] = left @ right
    return result
