"""Point lists of the scene as landmark pairs of the engine."""

from __future__ import annotations

import numpy as np
from deepregister.errors import InputError
from deepregister.landmarks import LandmarkPairs

from .frame import flippedPoints, transformedPoints, transformToFrame


def landmarksFromNodes(fixedNode, movingNode, frame=None) -> LandmarkPairs:
    """Two point lists as pairs: the first point with the first, and so on; in the world, LPS mm.

    Args:
        fixedNode: point list on the fixed volume.
        movingNode: point list on the moving volume.
        frame: transform node that counts as the world; see `transformToFrame`.

    Raises:
        InputError: a list is missing or empty, a point was never placed, or the numbers differ.
    """
    if fixedNode is None or movingNode is None:
        given = fixedNode or movingNode
        raise InputError(
            f"Only one landmark list was given ({given.GetName()}). Landmarks come in pairs: choose a list for the "
            "fixed and one for the moving volume, or none."
        )
    if fixedNode is movingNode:
        raise InputError(
            f"{fixedNode.GetName()} was given as both landmark lists. Choose one list for each of the two volumes."
        )
    return LandmarkPairs(_points(fixedNode, frame), _points(movingNode, frame))


def _points(node, frame) -> np.ndarray:
    if not node.IsA("vtkMRMLMarkupsNode"):
        raise InputError(f"{node.GetName()} is a {node.GetTypeDisplayName()}, not a point list. Choose a point list.")
    count = node.GetNumberOfControlPoints()
    if count == 0:
        raise InputError(f"The landmark list {node.GetName()} is empty. Place points in it, or leave landmarks out.")
    points = np.empty((count, 3))
    for index in range(count):
        if node.GetNthControlPointPositionStatus(index) != node.PositionDefined:
            raise InputError(
                f"The point {node.GetNthControlPointLabel(index)} of {node.GetName()} was never placed. Place it, or "
                "delete it together with its partner."
            )
        node.GetNthControlPointPosition(index, points[index])
    points = flippedPoints(points)
    toWorld = transformToFrame(node, frame)
    return points if toWorld is None else transformedPoints(toWorld, points)
