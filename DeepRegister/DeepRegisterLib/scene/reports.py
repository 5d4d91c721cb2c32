"""The engine's report page of a result in the scene."""

from __future__ import annotations

from typing import Any

from deepregister import Geometry, Volume
from deepregister.errors import InputError
from deepregister.page import check_packages

from .current import CurrentResult
from .results import RegistrationNodes
from .volumes import volumeFromNode

# By so much a voxel may lie elsewhere than at the time of the registration, mm: matrices round.
_TOLERANCE_MM = 0.01


def pageContent(result: CurrentResult | RegistrationNodes) -> dict[str, Any]:
    """What the report page of a registration shows, as `deepregister.page.write_page` takes it; the scene is not
    changed.

    Args:
        result: the registration, in the session that made it.

    Raises:
        MissingPackageError: a package that draws the page is not in Slicer's Python; the text has the command.
        InputError: the scene was loaded from a file, which does not hold all that the page shows; or a volume has left
            the scene or lies elsewhere than when it was registered.
    """
    check_packages()
    transformNode = result.transformNode
    if result.registration is None:
        raise InputError(
            f"The report page shows more of {transformNode.GetName()} than a saved scene holds. Register again, with "
            "the same settings, and write the page then."
        )
    fixed = _asRegistered(result, "fixed", transformNode.GetFixedNodeReferenceRole())
    moving = _asRegistered(result, "moving", transformNode.GetMovingNodeReferenceRole())
    return {"registration": result.registration, "fixed": fixed, "moving": moving}


def _asRegistered(result: CurrentResult | RegistrationNodes, side: str, role: str) -> Volume:
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
