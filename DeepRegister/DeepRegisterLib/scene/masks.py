"""Label maps and segmentations of the scene as masks of the engine."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from deepregister import Volume
from deepregister.errors import InputError
from vtk.util.numpy_support import vtk_to_numpy

from .frame import lpsFromRAS, matrixArray, transformToFrame
from .volumes import placedInWorld, volumeFromNode


def maskFromNode(node, frame=None) -> tuple[Volume, tuple[str, ...]]:
    """The mask that a node describes, in the world: 1 inside, 0 outside.

    Args:
        node: a label map or scalar volume, where every voxel that is not 0 counts; or a segmentation, where the
            union of the segments that are shown counts.
        frame: transform node that counts as the world; see `transformToFrame`.

    Returns:
        The mask (uint8) and what the user should know about its preparation.

    Raises:
        InputError: the node is neither, or the mask is empty.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        data, toLocal = _shownSegments(node)
        volume, warnings = placedInWorld(data, toLocal, transformToFrame(node, frame), node.GetName(), labels=True)
    elif node.IsA("vtkMRMLScalarVolumeNode"):
        volume, warnings = volumeFromNode(node, frame)
    else:
        raise InputError(
            f"{node.GetName()} is a {node.GetTypeDisplayName()} and cannot be a mask. Choose a label map or a "
            "segmentation."
        )
    inside = (volume.data != 0).astype(np.uint8)
    if not inside.any():
        raise InputError(f"The mask {node.GetName()} is empty. Fill it, or leave it out.")
    return Volume(inside, volume.geometry, node.GetName()), warnings


def _shownSegments(node) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (k, j, i) of the union of the shown segments, and the matrix from their indices to the node's LPS mm."""
    segmentation = node.GetSegmentation()
    binary = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    if not segmentation.GetNumberOfSegments() or not segmentation.ContainsRepresentation(binary):
        raise InputError(
            f"The segmentation {node.GetName()} has no binary label map. Create that representation in Slicer's "
            "Segmentations module, or leave the mask out."
        )
    shown = vtk.vtkStringArray()
    display = node.GetDisplayNode()
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegmentID(index)
        if display is None or display.GetSegmentVisibility(segment):
            shown.InsertNextValue(segment)
    if not shown.GetNumberOfValues():
        raise InputError(
            f"No segment of {node.GetName()} is shown. Show the segments that make up the mask, or leave it out."
        )
    image = slicer.vtkOrientedImageData()
    union = slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS
    if not node.GenerateMergedLabelmapForAllSegments(image, union, None, shown) or min(image.GetDimensions()) < 1:
        raise InputError(f"The mask {node.GetName()} is empty. Fill it, or leave it out.")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    toLocal = lpsFromRAS(matrixArray(matrix))
    # The label map ends where the segments end, and does not begin at voxel 0. A rim of one empty voxel keeps
    # a segment of a single slice a volume.
    first = np.array(image.GetExtent()[::2]) - 1
    toLocal[:3, 3] += toLocal[:3, :3] @ first
    data = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return np.pad(data, 1), toLocal
