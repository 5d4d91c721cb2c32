"""A transform on its way from nothing to full, for the animation of a warp."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from deepregister import DisplacementField, Geometry
from deepregister.errors import TransformError

from ..frame import matrixArray, vtkMatrix
from ..grids import atMost, displacementGrid
from ..transforms import transformFromNode

# Voxels of the grid that stands for a transform of another kind.
_SAMPLES = 200_000


class Warp:
    """What a transform node does to a volume under it, by parts.

    A displacement grid grows evenly; a linear transform turns, shifts and scales steadily, by the logarithm of its
    matrix; a sequence of both goes through its steps together. Any other transform is sampled as a grid.

    Args:
        transformNode: maps the moving volume into the world.
        geometry: grid of the fixed volume in the world, over which another kind is sampled.
    """

    def __init__(self, transformNode, geometry: Geometry):
        self._fromParent = transformNode.GetTransformFromParent()
        self._steps = _steps(self._fromParent)
        if self._steps is None:
            field = transformFromNode(transformNode, atMost(_SAMPLES, geometry))
            if not isinstance(field, DisplacementField):
                raise TransformError(f"{transformNode.GetName()} holds no transform. Register the volumes again.")
            self._steps = [displacementGrid(field, field.geometry)]

    def at(self, amount: float) -> vtk.vtkAbstractTransform:
        """The from-parent transform at `amount`: 0 is nothing, 1 all of it."""
        if len(self._steps) == 1:
            return _part(self._steps[0], amount)
        together = vtk.vtkGeneralTransform()
        together.PostMultiply()
        for step in self._steps:
            together.Concatenate(_part(step, amount))
        return together


def _steps(transform) -> list | None:
    """Grids and matrices that make up a transform, in the order in which a point goes through them; None if others."""
    if isinstance(transform, vtk.vtkLinearTransform):
        return [_Powers(matrixArray(transform.GetMatrix()))]
    if isinstance(transform, slicer.vtkOrientedGridTransform):
        return None if transform.GetInverseFlag() else [transform]
    if isinstance(transform, vtk.vtkGeneralTransform) and not transform.GetInverseFlag():
        steps: list = []
        for number in range(transform.GetNumberOfConcatenatedTransforms()):
            inner = _steps(transform.GetConcatenatedTransform(number))
            if inner is None:
                return None
            steps += inner
        return steps or None
    return None


def _part(step, amount: float) -> vtk.vtkAbstractTransform:
    if isinstance(step, _Powers):
        return step.at(amount)
    grid = slicer.vtkOrientedGridTransform()
    # The same voxels, not a copy: a frame of the animation costs no memory.
    grid.SetDisplacementGridData(step.GetDisplacementGrid())
    grid.SetGridDirectionMatrix(step.GetGridDirectionMatrix())
    grid.SetInterpolationMode(step.GetInterpolationMode())
    grid.SetDisplacementScale(step.GetDisplacementScale() * amount)
    grid.SetDisplacementShift(step.GetDisplacementShift() * amount)
    return grid


class _Powers:
    """A matrix raised to any power between 0 and 1."""

    def __init__(self, matrix: np.ndarray):
        # When it is needed: scipy is no part of what Slicer promises to have at its start.
        from scipy.linalg import expm, logm

        self._matrix, self._exponential = matrix, expm
        logarithm = logm(matrix)
        # A mirroring, or half a turn with it, has no real logarithm: such a one grows evenly instead.
        exact = np.allclose(np.imag(logarithm), 0, atol=1e-6) and np.allclose(expm(logarithm), matrix, atol=1e-6)
        self._logarithm = np.real(logarithm) if exact else None

    def at(self, amount: float) -> vtk.vtkTransform:
        """The matrix to the power of `amount`."""
        if self._logarithm is None:
            matrix = np.eye(4) + amount * (self._matrix - np.eye(4))
        else:
            matrix = self._exponential(amount * self._logarithm)
        transform = vtk.vtkTransform()
        transform.SetMatrix(vtkMatrix(matrix))
        return transform
