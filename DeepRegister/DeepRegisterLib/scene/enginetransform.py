"""The transform of the current result as the engine knows it, or as the scene has it where that is not the same."""

from __future__ import annotations

import numpy as np
import vtk
from deepregister import Affine, Composite, DisplacementField, Geometry, Transform
from deepregister.transforms import LinearTransform

from .current import CurrentResult
from .frame import transformedPoints
from .grids import atMost
from .transforms import transformFromNode
from .volumes import volumeFromNode

# A field that only the scene has is handed to the engine on a grid of at most so many voxels, with a margin.
_MOST_VOXELS, _MARGIN_VOXELS = 2**21, 4
_PROBES = 500
# The scene's grid may be so far from the engine's own field, mm, beside what is noted as lost on the node.
_TOLERANCE_MM = 0.02


def engineTransform(current: CurrentResult) -> tuple[Transform, Transform | None, Geometry]:
    """What the current result does.

    Returns:
        Fixed to moving, LPS mm, the affine part last where it has one; moving to fixed where that is known; and the
        fixed volume's grid in the world.

    Raises:
        InputError: the result or one of its volumes has left the scene.
        TransformError: the transform has no value somewhere on the fixed volume.
    """
    current.checkAlive()
    fixed = volumeFromNode(current.fixedNode)[0].geometry
    registration = current.registration
    if registration is not None and _agree(registration.transform, current.transformNode, fixed):
        return registration.transform, registration.inverse, fixed
    found = transformFromNode(current.transformNode, atMost(_MOST_VOXELS, fixed).padded(_MARGIN_VOXELS))
    return found if isinstance(found, LinearTransform) else _affineLast(found), None, fixed


def _agree(transform: Transform, node, fixed: Geometry) -> bool:
    """Whether the node still does what the engine found: somebody may have edited or inverted it."""
    points = fixed.index_to_point(np.random.default_rng(0).uniform(0, np.asarray(fixed.size) - 1, (_PROBES, 3)))
    # Its own parents count too, should somebody have put it under others.
    fromWorld = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(fromWorld)
    apart = np.linalg.norm(transformedPoints(fromWorld, points) - transform.apply_to_points(points), axis=1)
    return bool(apart.max() <= float(node.GetAttribute("DeepRegister.GridLossMm") or 0) + _TOLERANCE_MM)


def _affineLast(whole: DisplacementField) -> Composite:
    """A field with an affine part in it, as the field without it and then that part, as the engine makes its results.

    The engine lets a field fall to zero at its border, and one that carries a volume far away would have far to fall.
    """
    points = whole.geometry.with_spacing(whole.geometry.extent_mm / 12).points().reshape(-1, 3)
    matrix = np.eye(4)
    homogeneous = np.column_stack([points, np.ones(len(points))])
    matrix[:3] = np.linalg.lstsq(homogeneous, whole.apply_to_points(points), rcond=None)[0].T
    affine = Affine(matrix)
    residual = np.empty_like(whole.displacement)
    back = affine.inverse()
    for k, layer in enumerate(residual):
        here = whole.geometry.cropped((0, 0, k), (*whole.geometry.size[:2], k + 1)).points()[0]
        layer[:] = back.apply_to_points(here + whole.displacement[k]) - here
    return Composite((DisplacementField(residual, whole.geometry), affine))
