"""Segmentations or label maps of both volumes as structures of the engine: partners are those of one name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer
from deepregister import Volume
from deepregister.errors import InputError
from deepregister.labelmaps import Structures

from .frame import transformToFrame
from .masks import checkSegments, segmentVoxels
from .volumes import placedInWorld, volumeFromNode

_ROLE = "segmentation"


@dataclass(frozen=True)
class _Named:
    """The structures of a node.

    Attributes:
        node: a segmentation or a label map.
        keys: by name: the segment's identifier, or the label.
        layers: by name; structures of one layer do not overlap.
    """

    node: object
    keys: dict[str, object]
    layers: dict[str, int]

    @classmethod
    def of(cls, node) -> _Named:
        if node.IsA("vtkMRMLSegmentationNode"):
            checkSegments(node, _ROLE)
            segmentation = node.GetSegmentation()
            binary = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
            segments = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
            names = [segmentation.GetSegment(segment).GetName() for segment in segments]
            layers = [segmentation.GetLayerIndex(segment, binary) for segment in segments]
            return cls(node, dict(zip(names, segments, strict=True)), dict(zip(names, layers, strict=True)))
        if node.IsA("vtkMRMLLabelMapVolumeNode"):
            labels = [int(value) for value in np.unique(volumeFromNode(node)[0].data) if value != 0]
            display = node.GetDisplayNode()
            colours = None if display is None else display.GetColorNode()
            names = [(colours.GetColorName(label) if colours else "") or f"label {label}" for label in labels]
            return cls(node, dict(zip(names, labels, strict=True)), dict.fromkeys(names, 0))
        raise InputError(
            f"{node.GetName()} is a {node.GetTypeDisplayName()}, which holds no structures. Choose a segmentation or a "
            "label map."
        )

    def volume(self, names: Sequence[str], frame) -> tuple[Volume, tuple[str, ...]]:
        """A label map with 1 to n for these structures in the world, and what the user should know of it."""
        keys = [self.keys[name] for name in names]
        if self.node.IsA("vtkMRMLSegmentationNode"):
            data, toLocal = segmentVoxels(self.node, keys, _ROLE)
            return placedInWorld(data, toLocal, transformToFrame(self.node, frame), self.node.GetName(), labels=True)
        whole, notes = volumeFromNode(self.node, frame)
        data = np.zeros(whole.data.shape, np.int32)
        for number, key in enumerate(keys, start=1):
            data[whole.data == key] = number
        return Volume(data, whole.geometry, whole.name), notes


def structuresFromNodes(fixedNode, movingNode=None, frame=None) -> tuple[list[Structures], tuple[str, ...]]:
    """The structures of the fixed volume, each with its partner in the moving one where that has one of its name.

    Args:
        fixedNode: segmentation or label map of the fixed volume.
        movingNode: the same of the moving volume, or None.
        frame: transform node that counts as the world, the result; see `transformToFrame`.

    Returns:
        Groups of structures that do not overlap, and sentences for the user.

    Raises:
        InputError: a node that is neither or is empty, one node given twice, or no name in common.
    """
    if fixedNode is None:
        raise InputError(
            f"Only {movingNode.GetName()}, the segmentation of the moving volume, was given. Choose one of the fixed "
            "volume too: structures are looked at where they lie there."
        )
    if fixedNode is movingNode:
        raise InputError(
            f"{fixedNode.GetName()} was given as the segmentation of both volumes. Choose one for each of them."
        )
    fixed = _Named.of(fixedNode)
    moving = None if movingNode is None else _Named.of(movingNode)
    common = [] if moving is None else [name for name in fixed.keys if name in moving.keys]
    notes: tuple[str, ...] = ()
    if moving is not None:
        if not common:
            raise InputError(
                f"{fixedNode.GetName()} ({_listed(fixed.keys)}) and {movingNode.GetName()} ({_listed(moving.keys)}) "
                "have no structure of one name. Give equal structures equal names."
            )
        for one, other in ((fixed, moving), (moving, fixed)):
            alone = [name for name in one.keys if name not in other.keys]
            if alone:
                notes += (f"Only {one.node.GetName()} has {_listed(alone)}: not compared.",)
    groups: dict[tuple, list[str]] = {}
    for name in fixed.keys:
        key = (fixed.layers[name], moving.layers[name] if name in common else None)
        groups.setdefault(key, []).append(name)
    found = []
    for (_, layer), names in groups.items():
        here, said = fixed.volume(names, frame)
        there = None
        if layer is not None:
            there, more = moving.volume(names, frame)
            said += more
        notes += said
        found.append(Structures(dict(enumerate(names, start=1)), here, there))
    return found, tuple(dict.fromkeys(notes))


def structureAt(groups: Sequence[Structures], point: np.ndarray) -> str | None:
    """The name of the structure of the fixed volume at a point (LPS mm), or None outside of all."""
    for group in groups:
        index = np.rint(group.fixed.geometry.point_to_index(point)).astype(int)
        if np.all(index >= 0) and np.all(index < group.fixed.geometry.size):
            name = group.names.get(int(group.fixed.data[tuple(index[::-1])]))
            if name is not None:
                return name
    return None


def _listed(names) -> str:
    shown = list(names)
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
