"""Where MRML and the engine meet: RAS and LPS, VTK's matrices and transforms, the frame that counts as world, nodes.

Every change between Slicer's RAS and the engine's LPS millimetres is made in this file.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from deepregister import Geometry
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

# Its own inverse: RAS and LPS differ in the sign of the first two axes.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def flippedPoints(points: np.ndarray) -> np.ndarray:
    """Points or vectors (..., 3) from RAS to LPS or back."""
    return np.asarray(points) * np.array([-1, -1, 1], dtype=np.asarray(points).dtype)


def flippedMatrix(matrix: np.ndarray) -> np.ndarray:
    """A (4, 4) matrix between spaces that are both RAS, as one between spaces that are both LPS, or back."""
    return _FLIP @ np.asarray(matrix, dtype=float) @ _FLIP


def lpsFromRAS(matrix: np.ndarray) -> np.ndarray:
    """A (4, 4) matrix from voxel indices to RAS mm, as one to LPS mm."""
    return _FLIP @ np.asarray(matrix, dtype=float)


def rasFromLPS(matrix: np.ndarray) -> np.ndarray:
    """A (4, 4) matrix from voxel indices to LPS mm, as one to RAS mm."""
    return _FLIP @ np.asarray(matrix, dtype=float)


def ijkToRAS(geometry: Geometry) -> np.ndarray:
    """(4, 4) matrix from the voxel indices of a grid to RAS mm."""
    return rasFromLPS(geometry.matrix)


def vtkMatrix(matrix: np.ndarray) -> vtk.vtkMatrix4x4:
    """A VTK matrix with the values of a (4, 4) array."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result


def matrixArray(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A (4, 4) array with the values of a VTK matrix."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def transformedPoints(transform: vtk.vtkAbstractTransform, points: np.ndarray) -> np.ndarray:
    """LPS points (..., 3) taken through a transform of the scene, which works in RAS."""
    points = np.asarray(points, dtype=float)
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    after.SetDataTypeToDouble()
    flat = np.ascontiguousarray(flippedPoints(points).reshape(-1, 3))
    before.SetData(numpy_to_vtk(flat, deep=True))
    transform.TransformPoints(before, after)
    return flippedPoints(vtk_to_numpy(after.GetData())).reshape(points.shape)


def transformToFrame(node, frame=None) -> vtk.vtkAbstractTransform | None:
    """The full transform from a node's own coordinates to the frame, RAS; None where the node sits there already.

    Args:
        node: any transformable node.
        frame: a transform node whose own coordinates count as the world for what sits under it; it changes nothing
            for other nodes. Re-running a registration into the transform that the moving volume already sits under
            needs it: the earlier result must not count as part of the volume's place.

    Returns:
        A `vtkTransform` where the whole chain is linear, else a `vtkGeneralTransform`.
    """
    parent = node.GetParentTransformNode()
    if parent is None or parent is frame:
        return None
    if frame is not None and not parent.IsTransformNodeMyParent(frame):
        frame = None
    # Asked first: MRML reports an error where it is asked for the matrix of what has none.
    if parent.IsTransformToNodeLinear(frame):
        linear = vtk.vtkTransform()
        matrix = vtk.vtkMatrix4x4()
        slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, frame, matrix)
        linear.SetMatrix(matrix)
        return linear
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, frame, general)
    return general


def nodesOfClass(scene, className: str) -> list:
    """All nodes of a class and its subclasses. `slicer.util.getNodesByClass` of Slicer 5.10 ignores its scene."""
    return [scene.GetNthNodeByClass(number, className) for number in range(scene.GetNumberOfNodesByClass(className))]
