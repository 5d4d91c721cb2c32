"""A result as a file: what Slicer, ITK and other programs read as the transform from the fixed to the moving volume."""

from __future__ import annotations

import os
from pathlib import Path

import slicer
from deepregister import Geometry
from deepregister.errors import FileError
from deepregister.transforms import LinearTransform
from deepregister.transforms.inversion import inverse_on
from deepregister.writing import replacing

from .current import CurrentResult
from .grids import NodeTransform, atMost, displacementGrid, nodeTransform
from .transforms import setNodeTransform, transformFromNode
from .volumes import volumeFromNode

# What may hold any transform, and what holds a displacement at each voxel of a grid.
TRANSFORM_ENDINGS = (".h5", ".tfm")
FIELD_ENDINGS = (".nrrd", ".nii.gz", ".nii")
# A field that had to be sampled for a file: as fine as the volume, up to so many voxels (200 MB).
_MOST_VOXELS = 2**24
_MARGIN_VOXELS = 2


def saveTransform(current: CurrentResult, path: str | os.PathLike, inverse: bool = False) -> None:
    """Write a result as a file that maps fixed to moving points, as Slicer and ITK expect it; or its inverse.

    The file does what the transform node does. A matrix, or one displacement grid as a result has it, is written as it
    is. What a format cannot hold, such as a matrix as a field, or what most programs cannot read, such as an inverse
    that is yet to be computed, is sampled on the volume that it maps from; an inverse is then solved for, which takes
    some seconds for a large volume. Outside its grid Slicer carries on with the edge of a field, ITK with nothing.

    Args:
        current: the registration.
        path: .h5 or .tfm (ITK transforms), .nrrd or .nii.gz (displacement fields, mm).
        inverse: write what maps moving to fixed points.

    Raises:
        InputError: the result or one of its volumes has left the scene.
        FileError: an ending that names no format, or a place that cannot be written.
        TransformError: the transform has no value somewhere on the volume.
    """
    path = Path(path)
    name = path.name.lower()
    isField = name.endswith(FIELD_ENDINGS)
    if not isField and not name.endswith(TRANSFORM_ENDINGS):
        raise FileError(
            f"{path.name}: no transform format has this ending. Use {' or '.join(TRANSFORM_ENDINGS)} for an ITK "
            f"transform, {' or '.join(FIELD_ENDINGS[:2])} for a displacement field."
        )
    current.checkAlive()
    storage = slicer.vtkMRMLTransformStorageNode()
    with replacing(path) as aside:
        storage.SetFileName(str(aside))
        if not storage.WriteData(_written(current, inverse, isField)):
            raise OSError(storage.GetUserMessages().GetAllMessagesAsString() or "Slicer's writer refused")


def _written(current: CurrentResult, inverse: bool, isField: bool):
    """A transform node that the file can hold; one of the scene if that is one."""
    node = current.inverseTransformNode if inverse else current.transformNode
    if node is not None and _canStay(node, isField):
        return node
    geometry = _grid(current.fixedNode)
    transform = transformFromNode(current.transformNode, geometry)
    if inverse:
        geometry = _grid(current.movingNode, current.transformNode)
        transform = inverse_on(transform, geometry)
    if isField or not isinstance(transform, LinearTransform):
        prepared = NodeTransform(displacementGrid(transform, geometry))
    else:
        prepared = nodeTransform(transform, geometry)
    written = getattr(slicer, prepared.nodeClass)()
    setNodeTransform(written, prepared)
    return written


def _canStay(node, isField: bool) -> bool:
    """Whether Slicer writes the node so that every program reads it."""
    if node.GetParentTransformNode() is not None:
        return False
    if node.IsTransformToWorldLinear():
        return not isField
    # None for a grid that is only the inverse of what the node holds.
    return node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True) is not None


def _grid(volumeNode, frame=None) -> Geometry:
    return atMost(_MOST_VOXELS, volumeFromNode(volumeNode, frame)[0].geometry).padded(_MARGIN_VOXELS)
