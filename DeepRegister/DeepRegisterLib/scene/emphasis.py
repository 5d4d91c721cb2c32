"""A segmentation on the fixed volume, to paint where a result went wrong."""

from __future__ import annotations

import slicer

from .edit import SceneEdit
from .hierarchy import placeBeside


def makeRegion(fixedNode, name: str):
    """A segmentation with one empty segment of this name, on the grid and in the place of the fixed volume."""
    with SceneEdit(fixedNode.GetScene()) as edit:
        node = edit.add("vtkMRMLSegmentationNode", f"{fixedNode.GetName()}: {name}")
        edit.addDisplayNode(node)
        node.SetReferenceImageGeometryParameterFromVolumeNode(fixedNode)
        node.SetAndObserveTransformNodeID(fixedNode.GetTransformNodeID())
        segmentation = node.GetSegmentation()
        binary = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
        segmentation.SetSourceRepresentationName(binary)
        segmentation.AddEmptySegment("region", name)
        placeBeside(node, fixedNode, edit)
    return node
