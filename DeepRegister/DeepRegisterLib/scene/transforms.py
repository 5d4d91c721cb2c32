"""Engine transforms onto transform nodes, and transform nodes as engine transforms.

A transform node shows an image through "from parent", which is the engine's direction: fixed to moving. "To parent",
its inverse, moves points, models and segmentations of the moving volume.
"""

from __future__ import annotations

import numpy as np
import vtk
from deepregister import Affine, DisplacementField, Geometry, Rigid, Transform
from deepregister.errors import TransformError

from .frame import flippedMatrix, matrixArray, transformedPoints
from .grids import NodeTransform


def setNodeTransform(node, prepared: NodeTransform) -> None:
    """Put what `nodeTransform` prepared onto a transform node; see `checkHolds` for which classes can have it."""
    if prepared.isLinear:
        node.SetMatrixTransformFromParent(prepared.fromParent.GetMatrix())
    else:
        node.SetAndObserveTransformFromParent(prepared.fromParent)


def checkHolds(node, linear: bool) -> None:
    """Refuse a node whose class promises another kind of transform; Slicer's node selectors rely on the class.

    Raises:
        TransformError: a linear node for a transform that may be deformable, or a B-spline node.
    """
    if node.IsA("vtkMRMLBSplineTransformNode") or (node.IsA("vtkMRMLLinearTransformNode") and not linear):
        raise TransformError(
            f"The output {node.GetName()} is a {node.GetTypeDisplayName()}, which cannot hold the displacement grid of "
            "a result. Let a new transform be made, or choose one of the general or the grid kind."
        )


def transformFromNode(node, onto: Geometry) -> Transform:
    """What a transform node does to a volume placed under it, its own parents included, as an engine transform.

    Args:
        node: any transform node: linear, grid, B-spline, thin-plate, composite, inverted or not.
        onto: grid in the world over which a non-linear transform is sampled; a linear one needs none.

    Returns:
        `Rigid` or `Affine` where it is linear, else a `DisplacementField` on `onto`; fixed to moving, LPS mm.

    Raises:
        TransformError: the transform flattens space, or cannot be evaluated everywhere on `onto`.
    """
    if node.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        node.GetMatrixTransformFromWorld(matrix)
        linear = flippedMatrix(matrixArray(matrix))
        try:
            return Rigid(linear)
        except TransformError:
            return Affine(linear)
    fromWorld = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(fromWorld)
    displacement = np.empty((*onto.shape, 3), dtype=np.float32)
    # Layer by layer: VTK's copies of all points at once would not fit for a large volume.
    for k, layer in enumerate(displacement):
        points = onto.cropped((0, 0, k), (*onto.size[:2], k + 1)).points()[0]
        layer[:] = transformedPoints(fromWorld, points) - points
    if not np.all(np.isfinite(displacement)):
        raise TransformError(
            f"The transform {node.GetName()} has no value at some points of the fixed volume. Choose another, or "
            "convert it to a displacement field in Slicer's Transforms module."
        )
    return DisplacementField(displacement, onto)
