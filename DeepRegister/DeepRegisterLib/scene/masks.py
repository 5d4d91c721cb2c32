"""Label maps and segmentations of the scene as masks and region maps of the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from deepregister import Volume
from deepregister.errors import InputError
from deepregister.regions import Regions
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
    volume, warnings = _labelsFromNode(node, frame, "mask")
    inside = (volume.data != 0).astype(np.uint8)
    if not inside.any():
        raise InputError(f"The mask {node.GetName()} is empty. Fill it, or leave it out.")
    return Volume(inside, volume.geometry, node.GetName()), warnings


def regionsFromNode(node, frame=None) -> tuple[Volume, tuple[str, ...]]:
    """The map of regions that may slide along each other that a node describes, in the world.

    Args:
        node: a label map or scalar volume, whose values are kept; or a segmentation, whose shown segments become
            1 to n in their order, the later on top. What is in none of them is 0.
        frame: transform node that counts as the world; see `transformToFrame`.

    Returns:
        The label map (int16) and what the user should know about its preparation.

    Raises:
        InputError: the node is neither, or what it holds are no regions; see `deepregister.regions`.
    """
    volume, warnings = _labelsFromNode(node, frame, "region map")
    return Regions(volume).labels, warnings


def _labelsFromNode(node, frame, role: str) -> tuple[Volume, tuple[str, ...]]:
    """The labels of a node in the world; `role` says in messages what they are for."""
    if node.IsA("vtkMRMLSegmentationNode"):
        data, toLocal = _shownSegments(node, role)
        return placedInWorld(data, toLocal, transformToFrame(node, frame), node.GetName(), labels=True)
    if node.IsA("vtkMRMLScalarVolumeNode"):
        return volumeFromNode(node, frame)
    raise InputError(
        f"{node.GetName()} is a {node.GetTypeDisplayName()} and cannot be a {role}. Choose a label map or a "
        "segmentation."
    )


def _shownSegments(node, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (k, j, i), 1 to n in each shown segment, and the matrix from their indices to the node's LPS mm."""
    checkSegments(node, role)
    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    segments = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    shown = [segment for segment in segments if display is None or display.GetSegmentVisibility(segment)]
    if not shown:
        raise InputError(
            f"No segment of {node.GetName()} is shown. Show the segments that make up the {role}, or leave it out."
        )
    return segmentVoxels(node, shown, role)


def checkSegments(node, role: str) -> None:
    """Refuse a segmentation without voxels.

    Raises:
        InputError: it has no segment, or none as a binary label map.
    """
    segmentation = node.GetSegmentation()
    binary = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    if not segmentation.GetNumberOfSegments() or not segmentation.ContainsRepresentation(binary):
        raise InputError(
            f"The segmentation {node.GetName()} has no binary label map. Create that representation in Slicer's "
            f"Segmentations module, or leave the {role} out."
        )


def segmentVoxels(node, segments: Sequence[str], role: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (k, j, i), 1 to n in segments given by their identifiers, the later on top, and as `_shownSegments`.

    Raises:
        InputError: there is not one voxel in them; `role` says in the message what they are for.
    """
    identifiers = vtk.vtkStringArray()
    for segment in segments:
        identifiers.InsertNextValue(segment)
    image = slicer.vtkOrientedImageData()
    union = slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS
    if not node.GenerateMergedLabelmapForAllSegments(image, union, None, identifiers) or min(image.GetDimensions()) < 1:
        raise InputError(f"The {role} {node.GetName()} is empty. Fill it, or leave it out.")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    toLocal = lpsFromRAS(matrixArray(matrix))
    # The label map ends where the segments end, and does not begin at voxel 0. A rim of one empty voxel keeps
    # a segment of a single slice a volume.
    first = np.array(image.GetExtent()[::2]) - 1
    toLocal[:3, 3] += toLocal[:3, :3] @ first
    data = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return np.pad(data, 1), toLocal
