"""The inverse of a transform where it is wanted: at given points, or on a given grid.

`Transform.inverse` keeps a field on its own grid, in fixed space. A field that carries things far away (an affine part
baked in, as 3D Slicer and many programs save it) has no inverse there; it has one where the moving volume lies.
"""

from __future__ import annotations

import numpy as np

from ..errors import TransformError
from ..geometry import Geometry
from .base import Transform
from .composite import Composite
from .field import DisplacementField
from .linear import Affine, LinearTransform

MOST_NODES = 100_000
# Errors below this end the search; errors above the second, below what a landmark can be placed to, are told.
SETTLED_MM = 1e-4
KNOWN_MM = 0.5


def inverse_at(transform: Transform, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The fixed points that `transform` maps to `points`, solved for these alone: no grid limits the accuracy.

    Args:
        transform: fixed to moving.
        points: (n, 3), in moving space, LPS mm.

    Returns:
        (n, 3) points in fixed space, LPS mm; (n,) of bool, False where the inverse is not known: beyond the border of
        a field that does not come to rest there, or where no solution was found; the points there are guesses.
    """
    known = np.ones(len(points), dtype=bool)
    for part in reversed(_parts(transform)):
        if isinstance(part, LinearTransform):
            points = part.inverse().apply_to_points(points)
        else:
            points, found = _solve(part, points)
            known &= found
    return points, known


def inverse_on(transform: Transform, geometry: Geometry) -> Transform:
    """The inverse of `transform`, to resample onto the grid `geometry` in moving space.

    A linear transform is inverted exactly; otherwise the result is one dense field that covers `geometry`, as finely
    as the transform's own fields.
    """
    fields = [part for part in _parts(transform) if isinstance(part, DisplacementField)]
    if not fields:
        return transform.inverse()
    finest = min(min(field.geometry.spacing) for field in fields)
    grid = geometry.with_spacing(np.maximum(finest, geometry.spacing)).padded(1)
    points = grid.points()
    found, _ = inverse_at(transform, points.reshape(-1, 3))
    return DisplacementField((found.reshape(points.shape) - points).astype(np.float32), grid)


def _parts(transform: Transform) -> tuple[Transform, ...]:
    return transform.parts if isinstance(transform, Composite) else (transform,)


def _solve(field: DisplacementField, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fixed-point iteration, led by the affine transform nearest to the field, so that a baked-in one does no harm."""
    back = _nearest_affine(field).inverse()
    start = back.apply_to_points(points)
    found = field.preimage(points, start, back.linear, tolerance_mm=SETTLED_MM)
    known = np.linalg.norm(field.apply_to_points(found) - points, axis=-1) < KNOWN_MM
    if _border_mm(field) > KNOWN_MM:
        index = field.geometry.point_to_index(found)
        known &= np.all((index >= -0.5) & (index <= np.asarray(field.geometry.size) - 0.5), axis=-1)
    return np.where(known[:, None], found, start), known


def _nearest_affine(field: DisplacementField) -> LinearTransform:
    step = max(1, int(np.ceil((np.prod(field.geometry.size) / MOST_NODES) ** (1 / 3))))
    nodes = field.geometry.points()[::step, ::step, ::step].reshape(-1, 3)
    moved = nodes + field.displacement[::step, ::step, ::step].reshape(-1, 3)
    fitted = np.linalg.lstsq(np.column_stack([nodes, np.ones(len(nodes))]), moved, rcond=None)[0]
    matrix = np.eye(4)
    matrix[:3] = fitted.T
    try:
        return Affine(matrix)
    except TransformError:
        # A grid of one slice says nothing of the direction across it.
        return LinearTransform.identity()


def _border_mm(field: DisplacementField) -> float:
    """The longest displacement on the six faces of the grid: outside of it there is none."""
    faces = (np.take(field.displacement, (0, -1), axis=axis) for axis in range(3))
    return max(float(np.linalg.norm(face, axis=-1).max()) for face in faces)
