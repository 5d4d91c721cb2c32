"""`rigid` and `affine`: a search over many starts, then ascent of mutual information over a pyramid.

No single start is trusted (`pose_search.py`), and the winner is followed to the very top at fine resolution, so that
every start near it ends in the same place. The similarity is normalised mutual information over the overlap of both
masks, which survives a change of contrast or modality.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ..landmarks import LandmarkPairs
from ..preparation import Pair, Prepared
from ..progress import Monitor
from ..settings import Settings
from ..transforms import Affine, Composite, LinearTransform, Rigid, Transform
from .ascent import climb, polish
from .pose import Poses
from .pose_search import Halving, search
from .sampling import Sampled, objective

# Voxels along the middle axis of the content: to tell poses from each other, to place them, to polish.
COARSE, MIDDLE, FINE = 20, 40, 90
# Of the wanted spacing: standard deviation of the blur before polishing. Without it the score of two images on grids of
# their own has so many small peaks that where the ascent ends is left to chance.
BLUR = 0.45
# Where one side shows less than this share of the other, its points are the ones to follow.
SMALLER = 0.6
# Where the content is thinner than this part of its middle extent, its size across can hardly be seen: stretching costs
# the more, the thinner it is. Elsewhere it is free, for between two subjects any price would draw the result to itself.
THIN, STIFFNESS = 0.5, 0.6


@dataclass(frozen=True)
class Effort:
    """How hard to look: candidates, samples and iterations of each step."""

    halving: Halving = field(default_factory=Halving)
    refine_samples: int = 12000
    refine_iterations: int = 25
    polish_samples: int = 50000
    polish_iterations: int = 40


EFFORTS = {
    "fast": Effort(Halving(candidates=40, iterations=12), 8000, 20, 25000, 25),
    "balanced": Effort(),
    "accurate": Effort(Halving(candidates=80, iterations=25), 12000, 25, 150000, 60),
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
        # Where the samples lie, and with it where the ascent ends, must not depend on how the voxels are stored.
        pair = Pair(pair.fixed.canonical(), pair.moving.canonical(), pair.landmarks)
        first = None if start is None else _linear_part(start)
        # Points of the larger side would lie beyond the smaller one, most of them.
        turned = _volume(pair.moving) < SMALLER * _volume(pair.fixed)
        if turned:
            landmarks = None
            if pair.landmarks is not None:
                landmarks = LandmarkPairs(pair.landmarks.moving, pair.landmarks.fixed)
            pair = Pair(pair.moving, pair.fixed, landmarks)
            first = None if first is None else first.inverse()
        matrix = self._matrix(pair, first, settings, device, monitor)
        found = Rigid(_orthonormalised(matrix)) if self.kind == "rigid" else Affine(matrix)
        return found.inverse() if turned else found

    def _matrix(
        self, pair: Pair, start: LinearTransform | None, settings: Settings, device: torch.device, monitor: Monitor
    ) -> np.ndarray:
        effort = EFFORTS[settings.quality]
        extents = np.sort(pair.fixed.content.extent_mm)
        extent = float(extents[1])
        stiffness = STIFFNESS * max(0.0, 1 - float(extents[0]) / extent / THIN)
        free = 12 if self.kind == "affine" else 6
        poses = Poses(pair.fixed.content.centre, extent / 2, pair.landmarks, settings.landmark_sigma_mm, stiffness)

        def stage(voxels: int, samples: int, blur: float = 0.0) -> Sampled:
            return Sampled(pair, extent / voxels, samples, settings.seed, device, blur)

        middle = stage(MIDDLE, effort.refine_samples)
        if start is not None:
            places = poses.parameters_of(start.matrix)[None]
        else:
            monitor.report("align", 0.0, "Searching for the pose")
            coarse = stage(COARSE, effort.halving.samples)
            places = search(coarse, middle, poses, pair, effort.halving, free, monitor)
        monitor.report("align", 0.6, "Aligning")
        look = objective(middle, poses, monitor)
        places = climb(look, places, effort.refine_iterations, extent / 160, free)
        place = places[int(look(places)[0].argmax())]
        monitor.report("align", 0.8, "Polishing")
        fine = stage(FINE, effort.polish_samples, BLUR)
        place = polish(
            objective(fine, poses, monitor), place, effort.polish_iterations, extent / 80, extent / 1e4, free
        )
        return poses.matrices(place[None])[0].numpy()


def _volume(side: Prepared) -> float:
    return float(np.prod(side.content.extent_mm))


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
