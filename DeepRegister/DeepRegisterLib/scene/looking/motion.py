"""What a result does to the fixed volume, place by place: all of it, and the change of shape that is left of it when
the whole is not shifted and turned any more. Where the scanner had its origin says nothing about anatomy.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import vtk
from deepregister import DisplacementField, Geometry, Volume

from ..frame import transformedPoints
from ..grids import atMost

# Voxels of a map of the transform, which is smooth: about 2 mm in a brain.
_VOXELS = 400_000
# Points taken through a grid in one step: some 20 ms.
_STEP = 40_000
# What rounding leaves of a rigid transform, mm.
_NOTHING_MM = 0.01


class Motion:
    """The displacement of a result, sampled in small steps.

    Attributes:
        whole: all of it, a field on a grid over the fixed volume; None before `steps` has run.
        shape: the change of shape alone; the same as `whole` where a result only shifts and turns.
        empty: True at the voxels of that grid where the fixed volume is empty, as around a brain without its skull.
    """

    def __init__(self, transformNode, fixed: Volume):
        self._transformNode = transformNode
        self._fixed = fixed
        self.whole: DisplacementField | None = None
        self.shape: DisplacementField | None = None
        self.empty: np.ndarray | None = None

    def steps(self) -> Generator[float, None, None]:
        """Compute it, yielding the share that is done; nothing the second time."""
        if self.whole is not None:
            return
        onto = atMost(_VOXELS, self._fixed.geometry)
        fromWorld = vtk.vtkGeneralTransform()
        self._transformNode.GetTransformFromWorld(fromWorld)
        displacement = np.empty((*onto.shape, 3), dtype=np.float32)
        layers = max(1, _STEP // int(np.prod(onto.size[:2])))
        for start in range(0, len(displacement), layers):
            stop = min(start + layers, len(displacement))
            points = onto.cropped((0, 0, start), (*onto.size[:2], stop)).points()
            displacement[start:stop] = transformedPoints(fromWorld, points) - points
            yield stop / len(displacement)
        whole = DisplacementField(displacement, onto)
        self.empty = _empty(self._fixed, onto)
        self.shape = _withoutPose(whole, ~self.empty)
        self.whole = whole


def _withoutPose(field: DisplacementField, counted: np.ndarray) -> DisplacementField:
    """The field after the shift and turn that fit it best, over the voxels that count, are taken back."""
    points = field.geometry.points()
    moved = points + field.displacement
    here, there = points[counted], moved[counted]
    middles = here.mean(axis=0), there.mean(axis=0)
    left, _, right = np.linalg.svd((here - middles[0]).T @ (there - middles[1]))
    turn = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
    back = (moved - middles[1]) @ turn.T + middles[0]
    shape = (back - points).astype(np.float32)
    if np.abs(shape).max() < _NOTHING_MM:
        return field
    return DisplacementField(shape, field.geometry)


def _empty(fixed: Volume, onto: Geometry) -> np.ndarray:
    """Where the fixed volume has the value that its surroundings were filled with; nowhere if nothing was filled.

    Only that one value counts: dark is not empty, or the air in a lung would be.
    """
    first = fixed.geometry.point_to_index(onto.index_to_point((0, 0, 0)))
    last = fixed.geometry.point_to_index(onto.index_to_point(np.asarray(onto.size) - 1))
    nearest = []
    for axis, count in enumerate(fixed.geometry.size):
        index = np.round(np.linspace(first[axis], last[axis], onto.size[axis])).astype(int)
        nearest.append(np.clip(index, 0, count - 1))
    seen = fixed.data[np.ix_(*nearest[::-1])]
    empty = seen == fixed.data.min()
    faces = [np.take(empty, end, axis) for axis in range(3) for end in (0, -1)]
    # Surroundings are at the border of the image.
    return empty if np.mean(np.concatenate([face.ravel() for face in faces])) > 0.5 else np.zeros_like(empty)
