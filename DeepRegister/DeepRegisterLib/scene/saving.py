"""A result as a file: what Slicer, ITK and other programs read as the transform from the fixed to the moving volume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from deepregister import Geometry
from deepregister.errors import FileError
from deepregister.paperwork import write
from deepregister.transforms import LinearTransform
from deepregister.transforms.files import FIELD_ENDINGS

from .current import CurrentResult
from .enginetransform import engineTransform
from .grids import atMost
from .volumes import volumeFromNode

# What the panel offers, and Slicer reads back as a transform.
ENDINGS = (".h5", ".tfm", ".nrrd", ".nii.gz")
# An inverse that nobody knows yet is solved for on so many points at most, which takes some seconds.
_MOST_POINTS = 2**18


def saveTransform(current: CurrentResult, path: str | os.PathLike, inverse: bool = False) -> None:
    """Write a result as a file that maps fixed to moving points, as Slicer and ITK expect it; or its inverse.

    In the session that registered the file holds what the engine found: as .h5 or .tfm an affine transform and the
    field that comes before it, so that ITK, which knows no displacement outside a field, has the affine there. From a
    loaded scene, or where the transform node was changed since, it holds what the node does, its parents included. A
    displacement field lies on the grid of the volume that it maps from.

    Args:
        current: the registration.
        path: .h5 or .tfm (ITK transforms), .nrrd or .nii.gz (displacement fields, mm).
        inverse: write what maps moving to fixed points.

    Raises:
        InputError: the result or one of its volumes has left the scene.
        FileError: an ending that names no format, or a place that cannot be written.
        TransformError: the transform has no value somewhere on the volume.
    """
    write("transform", {"path": str(path), **savingRequest(current, path, inverse)})


def savingRequest(current: CurrentResult, path: str | os.PathLike, inverse: bool) -> dict[str, Any]:
    """What has to be written where, as `paperwork.write` takes it; the path itself left out."""
    name = Path(path).name.lower()
    if not name.endswith(ENDINGS):
        raise FileError(
            f"{Path(path).name}: no transform format has this ending. Use {' or '.join(ENDINGS[:2])} for an ITK "
            f"transform, {' or '.join(ENDINGS[2:])} for a displacement field."
        )
    transform, known, grid = engineTransform(current)
    solveOn = None
    if inverse:
        # Where the moving volume was: it may be under the result now.
        grid = volumeFromNode(current.movingNode, current.transformNode)[0].geometry
        if known is not None:
            transform = known
        elif isinstance(transform, LinearTransform):
            transform = transform.inverse()
        else:
            solveOn = _asCoarseAs(current.transformNode, grid)
    return {"transform": transform, "onto": grid if name.endswith(FIELD_ENDINGS) else None, "inverse_on": solveOn}


def _asCoarseAs(node, geometry: Geometry) -> Geometry:
    """A grid over the same box with the spacing of the node's own field: the inverse is as smooth as that."""
    field = node.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    spacing = np.asarray(geometry.spacing)
    if field is not None:
        spacing = np.maximum(spacing, min(field.GetDisplacementGrid().GetSpacing()))
    return atMost(_MOST_POINTS, geometry.with_spacing(spacing))
