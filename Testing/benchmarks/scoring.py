"""One scoring for every method: overlap or landmark error, folds and smoothness of the map from fixed to moving."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from datasets import BenchmarkPair, labels
from deepregister import Composite, DisplacementField, Transform, quality


def score(transform: Transform | None, pair: BenchmarkPair) -> dict[str, float]:
    """Figures of one result; None scores what the headers alone give."""
    from deepregister import Rigid

    through = transform or Rigid.identity()
    result: dict[str, float] = {}
    if pair.fixed_labels is not None:
        fixed, moving = _labels(pair.fixed_labels), _labels(pair.moving_labels)
        # Nearest neighbour: with a hundred labels there is no in-between.
        moved = through.resample(moving, fixed.geometry, "nearest")
        result["dice"] = float(np.mean(list(quality.dice(moved.data, fixed.data, _common(pair)).values())))
        inside = fixed.data > 0
    if pair.landmarks is not None:
        for name, landmarks in pair.landmarks().items():
            errors = through.apply_to_points(landmarks.fixed) - landmarks.moving
            prefix = "" if name == "all" else f"{name.replace(' ', '_')}_"
            lengths = np.linalg.norm(errors, axis=1)
            result[f"{prefix}tre_mean_mm"] = float(lengths.mean())
            result[f"{prefix}tre_median_mm"] = float(np.median(lengths))
            result[f"{prefix}tre_in_plane_mean_mm"] = float(np.linalg.norm(errors[:, :2], axis=1).mean())
    parts = transform.parts if isinstance(transform, Composite) else (transform,)
    for part in parts:
        if isinstance(part, DisplacementField):
            determinant = part.jacobian_determinant()
            folded = (determinant <= 0) | (part.corner_jacobian_determinants() <= 0)
            if pair.fixed_labels is not None:
                index = np.rint(fixed.geometry.point_to_index(part.geometry.points())).astype(int)
                within = np.all((index >= 0) & (index < fixed.geometry.size), axis=-1)
                clipped = np.clip(index, 0, np.subtract(fixed.geometry.size, 1))
                within &= inside[clipped[..., 2], clipped[..., 1], clipped[..., 0]]
            else:
                within = np.ones(determinant.shape, dtype=bool)
            result["folded_percent"] = 100 * float(folded[within].mean())
            result["sdlogj"] = float(np.log(np.clip(determinant[within], 1e-3, None)).std())
    return result


@cache
def _labels(path: Path):
    return labels(path)


def _common(pair: BenchmarkPair) -> list[int]:
    # A structure that one of the two does not have cannot overlap.
    found = [set(np.unique(_labels(path).data).tolist()) for path in (pair.fixed_labels, pair.moving_labels)]
    return sorted((found[0] & found[1]) - {0})
