"""The engine's report page of a result in the scene."""

from __future__ import annotations

import os

from deepregister import Geometry, Volume
from deepregister.errors import InputError
from deepregister.page import check_packages, write_page

from .results import RegistrationNodes
from .volumes import volumeFromNode

# By so much a voxel may lie elsewhere than at the time of the registration, mm: matrices round.
_TOLERANCE_MM = 0.01


def writeReport(result: RegistrationNodes, path: str | os.PathLike) -> None:
    """Write the report page of a registration, with the volumes as the engine saw them; the scene is not changed.

    Args:
        result: what a registration left in the scene.
        path: the .html file.

    Raises:
        MissingPackageError: a package that draws the page is not in Slicer's Python; the text has the command.
        InputError: a volume has left the scene or lies elsewhere than when it was registered.
        FileError: the place cannot be written.
    """
    check_packages()
    transformNode = result.transformNode
    fixed = _asRegistered(result, "fixed", transformNode.GetFixedNodeReferenceRole())
    moving = _asRegistered(result, "moving", transformNode.GetMovingNodeReferenceRole())
    write_page(path, result.registration, fixed, moving)


def _asRegistered(result: RegistrationNodes, side: str, role: str) -> Volume:
    node = result.transformNode.GetNodeReference(role)
    if node is None:
        raise InputError(
            f"The {side} volume is not in the scene any more, so its slices cannot be shown. Load it and register "
            "again."
        )
    # The moving volume sits under the result now; that place is what was found, not what was registered.
    volume, _ = volumeFromNode(node, result.transformNode)
    was = result.registration.inputs.get(side)
    if was is not None:
        geometry = Geometry(was["size"], was["spacing_mm"], was["origin_lps_mm"], tuple(map(tuple, was["direction"])))
        if not volume.geometry.same_grid(geometry, _TOLERANCE_MM):
            raise InputError(
                f"{node.GetName()} lies elsewhere than when it was registered: it had {geometry.describe()} around "
                f"{_rounded(geometry.centre)} (LPS mm), now {volume.geometry.describe()} around "
                f"{_rounded(volume.geometry.centre)}. Undo what moved it (a hardened transform, for instance), or "
                "register again."
            )
    return volume


def _rounded(point) -> tuple[float, ...]:
    return tuple(round(float(value), 1) for value in point)
