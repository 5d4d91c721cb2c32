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
# Voxels that the shift and turn of the whole are fitted to.
_FITTED = 20_000
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
        layers = max(1, _STEP // int(np.prod(onto.size[:2])))
        slabs = [slice(start, min(start + layers, onto.size[2])) for start in range(0, onto.size[2], layers)]
        whole, shape = (np.empty((*onto.shape, 3), dtype=np.float32) for _ in range(2))
        for slab in slabs:
            points = _points(onto, slab)
            whole[slab] = transformedPoints(fromWorld, points) - points
            yield 0.9 * slab.stop / onto.size[2]
        empty = _empty(self._fixed, onto)
        turn, shift = _pose(onto, whole, ~empty)
        for slab in slabs:
            points = _points(onto, slab)
            shape[slab] = (points + whole[slab]) @ turn.T + shift - points
            yield 0.9 + 0.1 * slab.stop / onto.size[2]
        self.empty = empty
        self.whole = self.shape = DisplacementField(whole, onto)
        if max(shape.max(), -shape.min()) > _NOTHING_MM:
            self.shape = DisplacementField(shape, onto)


def _points(geometry: Geometry, slab: slice) -> np.ndarray:
    return geometry.cropped((0, 0, slab.start), (*geometry.size[:2], slab.stop)).points()


def _pose(geometry: Geometry, displacement: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The turn (3, 3) and shift (3,) that best take back where the voxels that count were brought."""
    index = np.argwhere(counted)
    index = index[:: max(1, len(index) // _FITTED)]
    here = geometry.index_to_point(index[:, ::-1].astype(float))
    there = here + displacement[tuple(index.T)]
    left, _, right = np.linalg.svd((here - here.mean(axis=0)).T @ (there - there.mean(axis=0)))
    turn = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
    return turn, here.mean(axis=0) - turn @ there.mean(axis=0)


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
