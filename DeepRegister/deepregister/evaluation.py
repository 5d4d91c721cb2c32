"""How good a transform is, by all that is known of the truth: landmarks, label maps, its own smoothness and inverse.

Before means the volumes as their headers place them, after means through the transform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import InputError
from .labelscores import STAGES, LabelScore, label_scores
from .landmarks import LandmarkPairs
from .quality import landmark_errors, over_volume, sample_points
from .transforms import Composite, DisplacementField, Rigid, Transform
from .transforms.inversion import inverse_at
from .volume import Geometry, Volume

FORMAT = 1
# Scales the median absolute deviation to the standard deviation of a normal distribution.
MAD_TO_DEVIATION = 1.4826022185056018
TRIMMED_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class LandmarkScores:
    """Target registration errors.

    Attributes:
        pairs: the landmarks.
        carried: (n, 3), where the transform takes the fixed points: in moving space, LPS mm.
        before, after: (n,), distance to the partner, mm.
    """

    pairs: LandmarkPairs
    carried: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @property
    def names(self) -> list[str]:
        """A name for each pair: its label, or its number from 1."""
        labels = self.pairs.labels or [""] * len(self.pairs)
        return [label or str(number) for number, label in enumerate(labels, start=1)]

    def to_dict(self) -> dict[str, Any]:
        points = zip(self.names, self.pairs.fixed, self.pairs.moving, self.carried, strict=True)
        return {
            "count": len(self.pairs),
            "before": error_statistics(self.before),
            "after": error_statistics(self.after),
            "improved_fraction": float(np.mean(self.after < self.before)),
            "points": [
                {
                    "label": name,
                    "fixed_mm": fixed.tolist(),
                    "moving_mm": moving.tolist(),
                    "carried_mm": carried.tolist(),
                    "before_mm": float(self.before[n]),
                    "after_mm": float(self.after[n]),
                }
                for n, (name, fixed, moving, carried) in enumerate(points)
            ],
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found; a part is None or empty where what it needs was not given.

    Attributes:
        landmarks: target registration errors.
        labels: overlap and surface distances by structure.
        deformation: folding, volume change and displacement over the fixed volume; see `quality.over_volume`.
        inverse: how far there and back misses the start; see `inverse_consistency`.
        warnings: what the user should know, one sentence each.
    """

    landmarks: LandmarkScores | None = None
    labels: tuple[LabelScore, ...] = ()
    deformation: Mapping[str, float] = field(default_factory=dict)
    inverse: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def label_means(self, stage: str) -> dict[str, float | None]:
        """The mean of each label measure over the structures that have it: Dice over all, distances over those found
        on both sides."""
        scores = [score.measures(stage) for score in self.labels]
        found = {name: [score[name] for score in scores if score[name] is not None] for name in scores[0]}
        return {name: float(np.mean(values)) if values else None for name, values in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the content of `evaluation.json`."""
        labels = None
        if self.labels:
            means = {stage: self.label_means(stage) for stage in STAGES}
            labels = {"mean": means, "by_label": [score.to_dict() for score in self.labels]}
        return {
            "format": FORMAT,
            "coordinates": "LPS, mm",
            "landmarks": None if self.landmarks is None else self.landmarks.to_dict(),
            "labels": labels,
            "deformation": dict(self.deformation) or None,
            "inverse": dict(self.inverse) or None,
            "warnings": list(self.warnings),
        }

    def rows(self) -> Iterator[tuple[str, str, str, float | None, float | None]]:
        """One row for each number: kind, of what, measure, before, after; None where there is no number."""
        if self.landmarks is not None:
            before, after = (error_statistics(getattr(self.landmarks, stage)) for stage in STAGES)
            yield from (("landmarks", "all", name, before[name], after[name]) for name in before)
            improved = float(np.mean(self.landmarks.after < self.landmarks.before))
            yield "landmarks", "all", "improved_fraction", None, improved
            errors = zip(self.landmarks.names, self.landmarks.before, self.landmarks.after, strict=True)
            yield from (("landmark", name, "error_mm", float(old), float(new)) for name, old, new in errors)
        if self.labels:
            before, after = (self.label_means(stage) for stage in STAGES)
            yield from (("labels", "mean", name, before[name], after[name]) for name in before)
        for score in self.labels:
            before, after = (score.measures(stage) for stage in STAGES)
            yield from (("label", score.title, name, before[name], after[name]) for name in before)
        yield from (("deformation", "all", name, None, value) for name, value in self.deformation.items())
        yield from (("inverse", "all", name, None, value) for name, value in self.inverse.items())


def evaluate(
    transform: Transform,
    *,
    fixed: Geometry | None = None,
    inverse: Transform | None = None,
    landmarks: LandmarkPairs | None = None,
    fixed_labels: Volume | None = None,
    moving_labels: Volume | None = None,
    labels: Sequence[int] | None = None,
    names: Mapping[int, str] | None = None,
    mask: Volume | None = None,
) -> Evaluation:
    """Measure a transform with all that is given.

    Args:
        transform: fixed to moving.
        fixed: grid of the fixed volume; None takes that of `fixed_labels`, else of the transform's own dense field.
        inverse: moving to fixed, as it was saved; None solves for the inverse point by point.
        landmarks: pairs that the registration did not use.
        fixed_labels, moving_labels: label maps of the two volumes, on any grids; the moving one is carried onto the
            fixed one's grid by nearest neighbour.
        labels: which labels to compare; None takes all but 0 that both maps hold.
        names: of labels.
        mask: in fixed space; folding, volume change, displacement and inverse are measured where it is not 0.

    Raises:
        InputError: one label map without the other, maps without a common label or without one that was asked for, a
            mask that selects nothing, or nothing to measure with.
    """
    if (fixed_labels is None) != (moving_labels is None):
        raise InputError("A label map was given for one volume only. Give both, or neither.")
    warnings: list[str] = []
    scores = ()
    if fixed_labels is not None:
        scores = label_scores(transform, fixed_labels, moving_labels, fixed, labels, names, warnings)
    over = fixed or (fixed_labels.geometry if fixed_labels is not None else _own_grid(transform))
    if over is None and landmarks is None:
        raise InputError(
            "There is nothing to measure this transform with. Give the fixed volume, landmarks or label maps."
        )
    measured, consistency = {}, {}
    if over is None:
        warnings.append("Without the fixed volume, folding, volume change and the inverse were not measured.")
    else:
        inside = None if mask is None else Rigid.identity().resample(mask, over, "nearest").data != 0
        measured = over_volume(transform, over, inside)
        consistency = inverse_consistency(transform, sample_points(over, mask=inside), inverse)
    if landmarks is not None and over is not None:
        warnings += _far_landmarks(landmarks, over)
    return Evaluation(
        None if landmarks is None else landmark_scores(transform, landmarks),
        scores,
        measured,
        consistency,
        tuple(warnings),
    )


def landmark_scores(transform: Transform, pairs: LandmarkPairs) -> LandmarkScores:
    """Target registration error of each pair before and after: how far a fixed landmark lands from its partner."""
    carried = transform.apply_to_points(pairs.fixed)
    return LandmarkScores(pairs, carried, landmark_errors(pairs), landmark_errors(pairs, transform))


def error_statistics(errors: np.ndarray) -> dict[str, float]:
    """Of errors in mm: mean, median, standard deviation, percentiles, largest, and two that outliers do not sway.

    "p70_mm" is what the Learn2Reg challenge calls TRE30: three tenths of the errors are larger (Hering et al., IEEE TMI
    2023). "trimmed_mean_mm" leaves out the largest and the smallest tenth (rounded down); "mad_deviation_mm" is 1.4826
    times the median absolute deviation from the median, the standard deviation where errors are normal.
    """
    ordered = np.sort(np.asarray(errors, dtype=float))
    cut = int(TRIMMED_SHARE * len(ordered))
    median = np.median(ordered)
    return {
        "mean_mm": float(ordered.mean()),
        "median_mm": float(median),
        "deviation_mm": float(ordered.std()),
        "p25_mm": float(np.percentile(ordered, 25)),
        "p70_mm": float(np.percentile(ordered, 70)),
        "p75_mm": float(np.percentile(ordered, 75)),
        "p95_mm": float(np.percentile(ordered, 95)),
        "max_mm": float(ordered[-1]),
        "trimmed_mean_mm": float(ordered[cut : len(ordered) - cut].mean()),
        "mad_deviation_mm": float(MAD_TO_DEVIATION * np.median(np.abs(ordered - median))),
    }


def inverse_consistency(
    transform: Transform, points: np.ndarray, inverse: Transform | None = None
) -> dict[str, float | None]:
    """How far there and back misses the start.

    Args:
        transform: fixed to moving.
        points: (n, 3) in fixed space, LPS mm.
        inverse: moving to fixed; None solves for it at each point.

    Returns:
        "error_mean_mm", "error_p95_mm", "error_max_mm" over the points that have an inverse, and "known_fraction":
        how many have; without `inverse` some may not, as where the transform folds.
    """
    there = transform.apply_to_points(points)
    known = np.ones(len(points), dtype=bool)
    if inverse is None:
        back, known = inverse_at(transform, there)
    else:
        back = inverse.apply_to_points(there)
    missed = np.linalg.norm(back - points, axis=1)[known]
    return {
        "known_fraction": float(known.mean()),
        "error_mean_mm": float(missed.mean()) if len(missed) else None,
        "error_p95_mm": float(np.percentile(missed, 95)) if len(missed) else None,
        "error_max_mm": float(missed.max()) if len(missed) else None,
    }


def _own_grid(transform: Transform) -> Geometry | None:
    """The grid of a dense field that lies in fixed space: of one that other parts come before, it does not."""
    first = transform.parts[0] if isinstance(transform, Composite) else transform
    return first.geometry if isinstance(first, DisplacementField) else None


def _far_landmarks(landmarks: LandmarkPairs, over: Geometry) -> list[str]:
    index = over.point_to_index(landmarks.fixed)
    outside = np.any((index < -0.5) | (index > np.asarray(over.size) - 0.5), axis=1)
    if not outside.any():
        return []
    return [
        f"{np.count_nonzero(outside)} of {len(landmarks)} fixed landmarks lie outside of the fixed volume. Check that "
        "they belong to it and that their coordinates (LPS or RAS) are what the file says."
    ]
