"""Where to begin: poses on a lattice of rotations and shifts, climbed together, half of them dropped again and again.

Successive halving spends the time on what looks promising (Jamieson and Talwalkar, AISTATS 2016). Turns of up to 50
degrees come first; where none stands out, the header may be wrong, and the right one a quarter or half a turn away.
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


def _ball(radius: float) -> np.ndarray:
    """Whole numbers (n, 3) of at most this length, the nearest to zero first."""
    axis = np.arange(-int(radius), int(radius) + 1)
    points = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    length = np.linalg.norm(points, axis=1)
    return points[np.argsort(length, kind="stable")][: (length <= radius).sum()]


def _far_turns() -> np.ndarray:
    """Quarters and halves of a turn about the axes of space, and what brings one into another, with some leeway."""
    cube = [turn for turn in Rotation.create_group("O") if turn.magnitude() > 1]
    near = Rotation.from_rotvec(np.radians(24) * _ball(1.0))
    return np.concatenate([(each * near).as_rotvec() for each in cube])


LARGEST_TURN, TURN_STEP = np.radians(50), np.radians(24)
# Rotation vectors, and shifts as shares of half of the content.
TURNS, SHIFTS = TURN_STEP * _ball(LARGEST_TURN / TURN_STEP), _ball(3.0) / 3
FAR_TURNS, FAR_SHIFTS = _far_turns(), _ball(1.8) / 3
# Where another place fits this nearly as well as the best, a wrong header is thought of; and it is believed only where
# the turned image fits so many times better, for two bodies that merely look alike may do so either way round.
DOUBT, FAR_GAIN = 0.8, 1.25
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
    starts = _lattice(coarse, poses, pair, TURNS, SHIFTS, effort.candidates - 2, monitor)
    places, rival = _halved(coarse, middle, poses, torch.cat([_known(poses, pair), starts]), effort, free, monitor)
    if pair.landmarks is not None:
        # The user has chosen the place.
        return places
    if rival > DOUBT:
        starts = _lattice(coarse, poses, pair, FAR_TURNS, FAR_SHIFTS, effort.candidates // 2, monitor)
        far, _ = _halved(coarse, middle, poses, starts, effort, free, monitor)
        look = objective(middle, poses, monitor)
        best, other = (float(look(these)[0].max()) for these in (places, far))
        if other > FAR_GAIN * best:
            places, rival = far, best / other
    monitor.note("rival", rival)
    return places


def _halved(
    coarse: Sampled, middle: Sampled, poses: Poses, starts: torch.Tensor, effort: Halving, free: int, monitor: Monitor
) -> tuple[torch.Tensor, float]:
    """The two best places (2, 12) that starts (B, 12) lead to, and the `_rival` of the first."""
    # With scales already free: a pose that would win at the right size must not lose at the wrong one.
    scaled = min(free, 9)
    length = poses.radius / 20
    look = objective(coarse, poses, monitor)
    rough = objective(coarse.thinned(2), poses, monitor)
    places = climb(rough, starts, effort.iterations, length, scaled)
    rival = _rival(look(places)[0], places, poses)
    places = _distinct(look, poses, places, max(4, effort.candidates // 4))
    places = climb(look, places, 2 * effort.iterations, length, scaled)
    look = objective(middle.thinned(2), poses, monitor)
    places = _distinct(look, poses, places, max(3, effort.candidates // 10))
    places = climb(look, places, 2 * effort.iterations, length / 2, free)
    return _distinct(look, poses, places, 2), rival


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


def _lattice(
    stage: Sampled, poses: Poses, pair: Pair, turns: np.ndarray, shifts: np.ndarray, count: int, monitor: Monitor
) -> torch.Tensor:
    """The best poses (count, 12) of all turns (rotation vectors) and shifts (shares of half of the content)."""
    reach = 0.5 * np.maximum(pair.fixed.content.extent_mm, pair.moving.content.extent_mm).max()
    matched = pair.moving.content.centre - pair.fixed.content.centre
    places, scores = [], []
    for number, turn in enumerate(turns):
        monitor.report("align", 0.2 * number / len(turns), "Searching for the pose")
        these = torch.zeros((len(shifts), 12), dtype=torch.float64)
        these[:, 0:3] = torch.as_tensor(turn * poses.radius)
        these[:, 3:6] = torch.as_tensor(matched + reach * shifts)
        places.append(these)
        scores.append(stage.rough_score(poses, these))
    everything, score = torch.cat(places), torch.cat(scores)
    order = torch.argsort(score, descending=True, stable=True)[:count]
    return everything[order]


def _known(poses: Poses, pair: Pair) -> torch.Tensor:
    """The header's own alignment and matched centres are often right: they always get a chance to climb."""
    known = torch.zeros((2, 12), dtype=torch.float64)
    known[1, 3:6] = torch.as_tensor(pair.moving.content.centre - pair.fixed.content.centre)
    if pair.landmarks is None:
        return known
    return torch.cat([known, poses.parameters_of(_best_rigid(pair.landmarks))[None]])


def _best_rigid(landmarks: LandmarkPairs) -> np.ndarray:
    """The least-squares rigid matrix of the pairs (Kabsch 1976); a pure shift below three of them."""
    fixed, moving = np.asarray(landmarks.fixed), np.asarray(landmarks.moving)
    matrix = np.eye(4)
    if len(fixed) >= 3:
        rotation, _ = Rotation.align_vectors(moving - moving.mean(0), fixed - fixed.mean(0))
        matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = moving.mean(0) - matrix[:3, :3] @ fixed.mean(0)
    return matrix
