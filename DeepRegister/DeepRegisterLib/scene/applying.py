"""A result, or its inverse, applied to other nodes: volumes, segmentations, models and markups.

Nobody has to think about the direction of a transform here, only about where a node lies now. What lies on the moving
volume comes onto the fixed one by the result, what lies on the fixed volume onto the moving one by the inverse,
whatever it is: under one and the same transform node Slicer samples images through "from parent" and moves points
through "to parent".
"""

from __future__ import annotations

from dataclasses import dataclass

import vtk
from deepregister.errors import InputError

from .current import CurrentResult
from .edit import SceneEdit
from .hierarchy import placeBeside, placeInStudy
from .parents import parentChain, putUnder
from .provenance import INVERSE
from .volumes import copyDisplay, resampledOnto, setVolume, volumeFromNode

# What can become of a node: shown at its new place until it is taken out again, changed for good, or left as it is
# beside a new node.
SHOWN, HARDENED, COPIED = "shown", "hardened", "copied"
WAYS = (SHOWN, HARDENED, COPIED)
CLASSES = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode", "vtkMRMLMarkupsNode")


@dataclass(frozen=True)
class Applied:
    """What was done.

    Attributes:
        node: what lies at the new place now: the node itself, or for `COPIED` the new one.
        transformNode: the transform that was applied.
        message: one sentence for the user.
    """

    node: object
    transformNode: object
    message: str


def applyResult(current: CurrentResult, node, inverse: bool = False, way: str = SHOWN) -> Applied:
    """Bring a node from the moving volume onto the fixed one, or with `inverse` the other way round.

    Args:
        current: the registration.
        node: a volume, segmentation, model or markups node, where it lies now: on the moving volume, and for the
            inverse on the fixed one. Transforms that it sits under already stay with it.
        inverse: from the fixed volume onto the moving one.
        way: `SHOWN`, `HARDENED` or `COPIED`; the copy of a volume is resampled onto the grid of the volume that it is
            brought onto.

    Raises:
        InputError: the node cannot be brought there; the text says why. Nothing is changed then.
    """
    if way not in WAYS:
        raise InputError(f"{way!r} is no way to apply a transform. Choose one of {', '.join(WAYS)}.")
    _check(current, node, inverse, way)
    onto = current.movingNode if inverse else current.fixedNode
    with SceneEdit(node.GetScene()) as edit:
        transformNode = inverseTransform(current, edit) if inverse else current.transformNode
        if way == SHOWN and transformNode in parentChain(node):
            message = f"{node.GetName()} was under {transformNode.GetName()} already."
        elif way == SHOWN:
            message = putUnder(node, transformNode, edit)
        elif way == HARDENED:
            _harden(node, transformNode)
            message = f"{node.GetName()} lies on {onto.GetName()} now, for good."
        else:
            source, node = node, _copied(current, node, transformNode, onto, edit)
            message = f"{node.GetName()} was made; {source.GetName()} was left as it is."
    return Applied(node, transformNode, message)


def inverseTransform(current: CurrentResult, edit: SceneEdit):
    """The transform node from the fixed onto the moving volume.

    The engine's own inverse, if it was asked for; else a new node with the result turned round, which Slicer inverts
    point by point. The result remembers it, so that the next call finds it again.
    """
    if current.inverseTransformNode is not None:
        return current.inverseTransformNode
    result = current.transformNode
    name = f"{current.fixedNode.GetName()} to {current.movingNode.GetName()} ({current.settings.model}, inverse)"
    node = edit.add(result.GetClassName(), name)
    node.CopyContent(result)
    node.Inverse()
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), current.movingNode.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), current.fixedNode.GetID())
    placeBeside(node, current.movingNode, edit)
    edit.afterwards(lambda: result.SetNodeReferenceID(INVERSE, None))
    result.SetNodeReferenceID(INVERSE, node.GetID())
    return node


def _check(current: CurrentResult, node, inverse: bool, way: str) -> None:
    current.checkAlive()
    if node is None:
        raise InputError("There is nothing to apply the transform to. Choose a volume, segmentation, model or markups.")
    name = node.GetName()
    if not any(node.IsA(kind) for kind in CLASSES):
        raise InputError(
            f"{name} is a {node.GetTypeDisplayName()}, which no transform moves. Choose a volume, "
            "segmentation, model or markups."
        )
    if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is None:
        raise InputError(f"{name} holds no image data. Load the volume, or choose one that is loaded.")
    if way == COPIED and node.IsA("vtkMRMLVolumeNode") and node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise InputError(
            f"{name} is a {node.GetTypeDisplayName()}, which cannot be copied onto another grid. Show or harden it."
        )
    onto, source = (current.fixedNode, current.movingNode) if not inverse else (current.movingNode, current.fixedNode)
    if node is onto:
        raise InputError(
            f"{name} is the volume that others are brought onto. To bring it onto {source.GetName()}, take the other "
            "direction."
        )
    opposite = current.transformNode if inverse else current.inverseTransformNode
    if opposite in parentChain(node):
        raise InputError(
            f"{name} was brought onto {source.GetName()} by {opposite.GetName()}. To undo that, take it out of there "
            "in Slicer's Transforms module."
        )


def _harden(node, transformNode) -> None:
    chain = parentChain(node)
    if transformNode in chain:
        node.HardenTransform()
        return
    # What it sits under comes first, and stays where it is for whatever else is there.
    if chain:
        node.HardenTransform()
    node.SetAndObserveTransformNodeID(transformNode.GetID())
    node.HardenTransform()


def _copied(current: CurrentResult, node, transformNode, onto, edit: SceneEdit):
    """A new node that lies where `node` would lie under the transform."""
    copy = edit.add(node.GetClassName(), f"{node.GetName()} on {onto.GetName()}")
    if node.IsA("vtkMRMLVolumeNode"):
        further = None
        if transformNode not in parentChain(node):
            further = vtk.vtkGeneralTransform()
            transformNode.GetTransformToWorld(further)
        # The moving volume may be under the result; its own place is what counts here.
        geometry = volumeFromNode(onto, current.transformNode)[0].geometry
        setVolume(copy, resampledOnto(node, geometry, further))
        edit.addDisplayNode(copy)
        copyDisplay(node, copy)
        placeInStudy(copy, onto, node, edit)
        return copy
    copy.CopyContent(node)
    edit.addDisplayNode(copy)
    if node.GetDisplayNode() is not None:
        copy.GetDisplayNode().CopyContent(node.GetDisplayNode())
    copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    _harden(copy, transformNode)
    placeBeside(copy, onto, edit)
    return copy
