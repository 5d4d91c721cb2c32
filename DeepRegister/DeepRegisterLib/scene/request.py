"""What one registration is asked to do: nodes of the scene, checked, and the engine values they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from deepregister import Settings, Transform, Volume
from deepregister.errors import InputError
from deepregister.landmarks import LandmarkPairs
from deepregister.models.registry import find_model

from .grids import atMost
from .landmarkpairs import pairErrors
from .landmarks import landmarksFromNodes
from .masks import maskFromNode, regionsFromNode
from .parents import checkOutput, parentChain
from .transforms import checkHolds, transformFromNode
from .volumes import volumeFromNode

# A non-linear starting transform is handed over on the fixed volume's grid, or where that is larger, a coarser one.
_MOST_INITIAL_VOXELS = 2**23
_INITIAL_MARGIN_VOXELS = 4


@dataclass(frozen=True)
class Request:
    """One registration: the nodes it is about, and what the engine gets.

    `notes` are sentences for the user about how the inputs were understood; `pulledBy` names the points that draw the
    result (see `landmarkpairs.PairErrors.identifiers`). Where the output transform has a registered volume or an
    inverse that follow it, `registeredVolumeNode` and `inverseTransformNode` are overwritten instead of made.
    """

    fixedNode: object
    movingNode: object
    outputTransformNode: object | None
    createRegisteredVolume: bool
    applyTransform: bool
    createInverse: bool
    fixed: Volume
    moving: Volume
    settings: Settings
    fixedMask: Volume | None
    movingMask: Volume | None
    regions: Volume | None
    initial: Transform | None
    landmarks: LandmarkPairs | None
    notes: tuple[str, ...]
    pulledBy: tuple[str, ...] = ()
    registeredVolumeNode: object | None = None
    inverseTransformNode: object | None = None

    def checkNodes(self) -> None:
        """Raise `InputError` if a node that the result is about has left the scene meanwhile."""
        nodes = {
            "fixed volume": self.fixedNode,
            "moving volume": self.movingNode,
            "output transform": self.outputTransformNode,
        }
        for role, node in nodes.items():
            if node is not None and (node.GetScene() is None or not node.GetScene().IsNodePresent(node)):
                raise InputError(
                    f"The {role} {node.GetName()} was removed from the scene during the registration, so the result "
                    "has no place. Nothing was changed. Load it and run again."
                )


def requestFromNodes(
    fixedNode,
    movingNode,
    settings: Settings,
    *,
    fixedMaskNode=None,
    movingMaskNode=None,
    regionsNode=None,
    initialTransformNode=None,
    fixedLandmarksNode=None,
    movingLandmarksNode=None,
    outputTransformNode=None,
    createRegisteredVolume: bool = True,
    applyTransform: bool = True,
    createInverse: bool = False,
) -> Request:
    """Check the nodes of a registration and read them into engine values. The scene is not changed.

    Raises:
        InputError: a node that is missing, of the wrong kind, empty, or that cannot be combined with the others.
    """
    for side, node in (("fixed", fixedNode), ("moving", movingNode)):
        if node is None:
            raise InputError(f"There is no {side} volume. Choose one.")
        if node.GetScene() is None:
            raise InputError(f"The {side} volume {node.GetName()} is in no scene. Add it to the scene first.")
    if fixedNode is movingNode:
        raise InputError(f"{fixedNode.GetName()} was given as fixed and as moving volume. Choose two volumes.")
    if outputTransformNode is not None:
        checkOutput(outputTransformNode, fixedNode, movingNode)
        linear = settings.model != "auto" and find_model(settings.model).transform != "deformable"
        checkHolds(outputTransformNode, linear)

    # Where the moving volume sits under the output already, an earlier result is about to be replaced.
    earlier = outputTransformNode
    fixed, notes = volumeFromNode(fixedNode)
    moving, more = volumeFromNode(movingNode, earlier)
    notes += more
    masks = {}
    for side, node in (("fixed", fixedMaskNode), ("moving", movingMaskNode)):
        masks[side], more = (None, ()) if node is None else maskFromNode(node, earlier)
        notes += more
    regions, more = (None, ()) if regionsNode is None else regionsFromNode(regionsNode, earlier)
    notes += more
    initial = None
    if initialTransformNode is not None:
        if initialTransformNode in parentChain(movingNode, earlier):
            notes += (
                f"The moving volume sits under {initialTransformNode.GetName()} already, so that it was not applied "
                "a second time as initial transform.",
            )
        else:
            onto = atMost(_MOST_INITIAL_VOXELS, fixed.geometry).padded(_INITIAL_MARGIN_VOXELS)
            initial = transformFromNode(initialTransformNode, onto)
    landmarks, pulledBy = None, ()
    if fixedLandmarksNode is not None or movingLandmarksNode is not None:
        landmarks = landmarksFromNodes(fixedLandmarksNode, movingLandmarksNode, earlier)
        pulledBy = pairErrors(fixedLandmarksNode, movingLandmarksNode).identifiers
    return Request(
        fixedNode,
        movingNode,
        outputTransformNode,
        createRegisteredVolume,
        applyTransform,
        createInverse,
        fixed,
        moving,
        settings,
        masks["fixed"],
        masks["moving"],
        regions,
        initial,
        landmarks,
        notes,
        pulledBy,
    )
