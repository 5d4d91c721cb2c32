"""Where to begin: poses on a lattice of rotations and shifts, climbed together, half of them dropped again and again.

Successive halving spends the time on what looks promising (Jamieson and Talwalkar, AISTATS 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ..landmarks import LandmarkPairs
from ..preparation import Pair
from ..progress import Monitor
from .ascent import Objective, climb
from .pose import Poses
from .sampling import Sampled, objective

LARGEST_TURN, TURN_STEP = np.radians(50), np.radians(24)
# Shifts lie within half of the content, so many to the radius.
SHIFTS = 3
# Candidates nearer to each other than this part of the radius are one.
SAME = 0.1
# Candidates that ended this far apart (shift and arc of the turn) stand for two places.
RIVAL_DISTANCE = 0.3


@dataclass(frozen=True)
class Halving:
    """How many candidates climb, for how many iterations, on how many samples."""

    candidates: int = 60
    iterations: int = 16
    samples: int = 3000


def search(
    coarse: Sampled, middle: Sampled, poses: Poses, pair: Pair, effort: Halving, free: int, monitor: Monitor
) -> torch.Tensor:
    """The two most promising places (2, 12), close enough to be refined.

    Args:
        coarse, middle: the pair at the resolutions that tell poses from each other and that place them.
        poses: what the parameters mean.
        pair: prepared volumes, and landmarks that suggest a pose.
        effort: how many candidates.
        free: how many parameters may change.
        monitor: progress and cancellation; "rival" is noted, see `_rival`.
    """
    starts = _lattice(coarse, poses, pair, effort.candidates, monitor)
    # With scales already free: a pose that would win at the right size must not lose at the wrong one.
    scaled = min(free, 9)
    length = poses.radius / 20
    look = objective(coarse, poses, monitor)
    rough = objective(coarse.thinned(2), poses, monitor)
    places = climb(rough, starts, effort.iterations, length, scaled)
    if pair.landmarks is None:
        # With landmarks the user has chosen the place.
        monitor.note("rival", _rival(look(places)[0], places, poses))
    places = _distinct(look, poses, places, max(4, effort.candidates // 4))
    monitor.report("align", 0.3, "Searching for the pose")
    places = climb(look, places, 2 * effort.iterations, length, scaled)
    monitor.report("align", 0.4, "Searching for the pose")
    look = objective(middle.thinned(2), poses, monitor)
    places = _distinct(look, poses, places, max(3, effort.candidates // 10))
    places = climb(look, places, 2 * effort.iterations, length / 2, free)
    return _distinct(look, poses, places, 2)


def _rival(score: torch.Tensor, places: torch.Tensor, poses: Poses) -> float:
    """The best score of candidates that ended far from the best one, over its score: near 1 where starts disagree."""
    best = int(score.argmax())
    far = (places[:, :6] - places[best, :6]).norm(dim=1) > RIVAL_DISTANCE * poses.radius
    return float(score[far].max() / score[best].clamp(min=1e-6)) if bool(far.any()) else 0.0


def _distinct(look: Objective, poses: Poses, places: torch.Tensor, count: int) -> torch.Tensor:
    """The best `count` places that are not the same twice, best first."""
    score = look(places)[0]
    chosen: list[int] = []
    for index in torch.argsort(score, descending=True, stable=True).tolist():
        apart = (places[chosen, :6] - places[index, :6]).norm(dim=1)
        if bool((apart >= SAME * poses.radius).all()):
            chosen.append(index)
        if len(chosen) == count:
            break
    return places[chosen]


def _lattice(stage: Sampled, poses: Poses, pair: Pair, count: int, monitor: Monitor) -> torch.Tensor:
    """The best poses (count, 12) of a lattice, and those that landmarks and headers suggest."""
    shift = pair.moving.content.centre - pair.fixed.content.centre
    reach = 0.5 * np.maximum(pair.fixed.content.extent_mm, pair.moving.content.extent_mm).max()
    shifts = shift + reach / SHIFTS * _ball(SHIFTS)
    turns = TURN_STEP * _ball(LARGEST_TURN / TURN_STEP)
    places, scores = [], []
    for number, turn in enumerate(turns):
        monitor.report("align", 0.2 * number / len(turns), "Searching for the pose")
        these = torch.zeros((len(shifts), 12), dtype=torch.float64)
        these[:, 0:3] = torch.as_tensor(turn * poses.radius)
        these[:, 3:6] = torch.as_tensor(shifts)
        places.append(these)
        scores.append(stage.rough_score(poses, these))
    everything, score = torch.cat(places), torch.cat(scores)
    best = everything[torch.argsort(score, descending=True, stable=True)[: count - 2]]
    # The header's own alignment and matched centres are often right: they always get a chance to climb.
    known = torch.zeros((2, 12), dtype=torch.float64)
    known[1, 3:6] = torch.as_tensor(shift)
    if pair.landmarks is not None:
        known = torch.cat([known, poses.parameters_of(_best_rigid(pair.landmarks))[None]])
    return torch.cat([known, best])


def _ball(radius: float) -> np.ndarray:
    """Whole numbers (n, 3) of at most this length, the nearest to zero first."""
    axis = np.arange(-int(radius), int(radius) + 1)
    points = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    length = np.linalg.norm(points, axis=1)
    return points[np.argsort(length, kind="stable")][: (length <= radius).sum()]


def _best_rigid(landmarks: LandmarkPairs) -> np.ndarray:
    """The least-squares rigid matrix of the pairs (Kabsch 1976); a pure shift below three of them."""
    fixed, moving = np.asarray(landmarks.fixed), np.asarray(landmarks.moving)
    matrix = np.eye(4)
    if len(fixed) >= 3:
        rotation, _ = Rotation.align_vectors(moving - moving.mean(0), fixed - fixed.mean(0))
        matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = moving.mean(0) - matrix[:3, :3] @ fixed.mean(0)
    return matrix
