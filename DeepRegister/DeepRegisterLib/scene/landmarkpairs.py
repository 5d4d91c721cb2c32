"""Landmark pairs in the scene: two point lists whose points belong together, and how far apart a result leaves them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import slicer
from deepregister.errors import InputError
from deepregister.evaluation import error_statistics
from deepregister.landmarks import LandmarkPairs

from .edit import SceneEdit
from .frame import flippedPoints, transformedPoints, transformToFrame
from .hierarchy import placeBeside
from .parents import VOLUME_ROLE

_COLOURS = {"fixed": (0.2, 0.8, 0.3), "moving": (1.0, 0.6, 0.1)}


@dataclass(frozen=True, eq=False)
class PairErrors:
    """How far the partners of landmark pairs lie apart.

    Attributes:
        names: of the pairs: the labels of the fixed points.
        identifiers: of the fixed points in the scene; they stay the same when points are added, removed or sorted.
        pairs: the points in the world, LPS mm, the moving ones without the result; None where there is no whole pair.
        before: (n,), mm: as the volumes lie without the result.
        after: (n,), mm: under the result; None without one.
    """

    names: tuple[str, ...]
    identifiers: tuple[str, ...]
    pairs: LandmarkPairs | None
    before: np.ndarray
    after: np.ndarray | None

    def __len__(self) -> int:
        return len(self.names)

    def statistics(self, stage: str, chosen: np.ndarray | None = None) -> dict[str, float] | None:
        """Mean, median, maximum and more (see `evaluation.error_statistics`) of "before" or "after".

        Args:
            stage: which errors.
            chosen: (n,) of bool, to look at some pairs only.

        Returns:
            None where there is nothing to count.
        """
        errors = getattr(self, stage)
        if errors is not None and chosen is not None:
            errors = errors[chosen]
        return None if errors is None or not len(errors) else error_statistics(errors)


def makeLists(fixedVolume, movingVolume, fixedNode=None, movingNode=None):
    """Two point lists for pairs, one on each volume and moving with it; returns the fixed and the moving one.

    `fixedNode` and `movingNode` are lists that are there already: only what is missing is made, and is empty.
    """
    lists = []
    with SceneEdit(fixedVolume.GetScene()) as edit:
        for side, volume, there in (("fixed", fixedVolume, fixedNode), ("moving", movingVolume, movingNode)):
            if there is not None:
                lists.append(there)
                continue
            node = edit.add("vtkMRMLMarkupsFiducialNode", f"{volume.GetName()} landmarks")
            node.SetControlPointLabelFormat("%d")
            edit.addDisplayNode(node)
            display = node.GetDisplayNode()
            if display is not None:
                display.SetSelectedColor(*_COLOURS[side])
                display.SetColor(*_COLOURS[side])
            node.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
            node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
            placeBeside(node, volume, edit)
            lists.append(node)
    return tuple(lists)


def keepWithVolume(node) -> None:
    """Put a list that `makeLists` made under the transform that its volume sits under now; others are left alone."""
    volume = None if node is None else node.GetNodeReference(VOLUME_ROLE)
    if volume is not None and node.GetTransformNodeID() != volume.GetTransformNodeID():
        # The points are in the volume's own coordinates: they stay on the same anatomy.
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())


def placedPoints(node) -> list[int]:
    """The numbers of the points of a list that have a place; one that follows the mouse has none yet."""
    if node is None:
        return []
    return [
        index
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined
    ]


def pairErrors(fixedNode, movingNode, transformNode=None) -> PairErrors:
    """The errors of all whole pairs: the first placed point of one list with the first of the other, and so on.

    A point whose partner was not placed yet is left out. Two hundred pairs take a few milliseconds.

    Args:
        fixedNode: point list on the fixed volume, or None.
        movingNode: point list on the moving volume, or None.
        transformNode: the result; None measures before only.

    Raises:
        InputError: one list was given as both.
    """
    if fixedNode is not None and fixedNode is movingNode:
        raise InputError(
            f"{fixedNode.GetName()} was given as both landmark lists. Choose one list for each of the two volumes."
        )
    first, second = placedPoints(fixedNode), placedPoints(movingNode)
    count = min(len(first), len(second))
    if not count:
        return PairErrors((), (), None, np.zeros(0), None if transformNode is None else np.zeros(0))
    fixed = _positions(fixedNode, first[:count], transformNode)
    moving = _positions(movingNode, second[:count], transformNode)
    names = tuple(fixedNode.GetNthControlPointLabel(index) or str(n) for n, index in enumerate(first[:count], 1))
    after = None
    if transformNode is not None:
        carried = transformedPoints(transformNode.GetTransformFromParent(), fixed)
        after = np.linalg.norm(carried - moving, axis=1)
    return PairErrors(
        names,
        tuple(f"{fixedNode.GetID()} {fixedNode.GetNthControlPointID(index)}" for index in first[:count]),
        LandmarkPairs(fixed, moving, names),
        np.linalg.norm(fixed - moving, axis=1),
        after,
    )


def addPartner(fixedNode, index: int, movingNode, transformNode=None) -> int:
    """Add the partner of a fixed point where the result takes it; without a result, at the same place in the world.

    Args:
        fixedNode: list of the fixed point.
        index: its number in it.
        movingNode: list that gets the partner, with the same label.
        transformNode: the result, or None.

    Returns:
        The partner's number in its list.
    """
    guess = _positions(fixedNode, [index], transformNode)
    if transformNode is not None:
        guess = transformedPoints(transformNode.GetTransformFromParent(), guess)
    toFrame = transformToFrame(movingNode, transformNode)
    if toFrame is not None:
        guess = transformedPoints(toFrame.GetInverse(), guess)
    added = movingNode.AddControlPoint(*map(float, flippedPoints(guess[0])))
    movingNode.SetNthControlPointLabel(added, fixedNode.GetNthControlPointLabel(index))
    return added


def removePairs(fixedNode, movingNode, rows: Collection[int]) -> None:
    """Remove whole pairs, by their rows in `pairErrors`."""
    placed = placedPoints(fixedNode), placedPoints(movingNode)
    for row in sorted(rows, reverse=True):
        for node, numbers in zip((fixedNode, movingNode), placed, strict=True):
            node.RemoveNthControlPoint(numbers[row])


def jumpTo(errors: PairErrors, row: int, scene, centred: bool = True) -> None:
    """Show the fixed point of a pair in all slice views of a scene; under the result the moving volume is there too.

    `centred` also brings it into the middle of the views; else only their slices move.
    """
    place = flippedPoints(errors.pairs.fixed[row])
    sliceNode = slicer.vtkMRMLSliceNode
    mode = sliceNode.CenteredJumpSlice if centred else sliceNode.OffsetJumpSlice
    sliceNode.JumpAllSlices(scene, *map(float, place), mode)


def _positions(node, numbers: list[int], frame) -> np.ndarray:
    """Points (n, 3) of a list in the frame, LPS mm."""
    points = np.empty((len(numbers), 3))
    for row, number in enumerate(numbers):
        node.GetNthControlPointPosition(number, points[row])
    points = flippedPoints(points)
    toFrame = transformToFrame(node, frame)
    return points if toFrame is None else transformedPoints(toFrame, points)
