"""A finished registration into the scene: transform, registered volume, inverse, and the moving volume's new place."""

from __future__ import annotations

from dataclasses import dataclass

from deepregister import Volume
from deepregister.result import Registration

from .edit import SceneEdit
from .grids import NodeTransform, linearPart, nodeTransform
from .hierarchy import placeBeside, placeInStudy
from .parents import checkOutput, putUnder
from .provenance import INVERSE, REGISTERED, record, recordNotes, recordPulledBy
from .request import Request
from .transforms import setNodeTransform
from .volumes import copyDisplay, setVolume


@dataclass(frozen=True)
class RegistrationNodes:
    """What a registration left in the scene.

    Attributes:
        transformNode: world to world; its from-parent is the engine's fixed to moving.
        registeredVolumeNode: the moving volume on the fixed volume's grid in the world, or None.
        inverseTransformNode: the engine's inverse as a transform of its own, or None; a volume under it goes from
            the fixed to the moving volume's place.
        registration: the engine's own result.
        message: what was done, in sentences for the user.
        notes: those of the sentences that a table of the measures does not say, one by one: the moving volume's new
            place, how the inputs were understood, and the engine's warnings; before them what lowered the confidence.
    """

    transformNode: object
    registeredVolumeNode: object | None
    inverseTransformNode: object | None
    registration: Registration
    message: str
    notes: tuple[str, ...]


def insertResult(request: Request, registration: Registration) -> RegistrationNodes:
    """Put a result into the scene, wholly or, if anything fails, not at all.

    Raises:
        InputError: a node was removed, or given another place, so that the result cannot be inserted.
    """
    request.checkNodes()
    fixedNode, movingNode, transformNode = request.fixedNode, request.movingNode, request.outputTransformNode
    # All that takes time or can fail by itself comes before the first change.
    # "auto" may end with an affine; a node that is a grid then holds it as one.
    isGrid = transformNode is not None and bool(transformNode.IsA("vtkMRMLGridTransformNode"))
    forward = nodeTransform(registration.transform, request.fixed.geometry, oneGrid=isGrid)
    inverse = _inverse(request, registration) if request.createInverse else None
    registered = _registered(request, registration) if request.createRegisteredVolume else None
    if transformNode is not None:
        checkOutput(transformNode, fixedNode, movingNode)
    model = registration.settings.model

    with SceneEdit(fixedNode.GetScene()) as edit:
        if transformNode is None:
            name = f"{movingNode.GetName()} to {fixedNode.GetName()} ({model})"
            transformNode = edit.add(forward.nodeClass, name)
            placeBeside(transformNode, movingNode, edit)
        else:
            edit.keep(transformNode)
        _fill(transformNode, forward)
        record(transformNode, registration, fixedNode, movingNode)
        recordPulledBy(transformNode, request.pulledBy)
        place = (
            putUnder(movingNode, transformNode, edit)
            if request.applyTransform
            else f"{movingNode.GetName()} was left where it is."
        )

        registeredNode = None
        if registered is not None and _isPresent(request.registeredVolumeNode):
            registeredNode = request.registeredVolumeNode
            edit.keep(registeredNode)
            setVolume(registeredNode, registered)
        elif registered is not None:
            registeredNode = edit.add(
                "vtkMRMLLabelMapVolumeNode" if _isLabelMap(movingNode) else "vtkMRMLScalarVolumeNode",
                f"{movingNode.GetName()} registered",
            )
            setVolume(registeredNode, registered)
            edit.addDisplayNode(registeredNode)
            copyDisplay(movingNode, registeredNode)
            placeInStudy(registeredNode, fixedNode, movingNode, edit)

        inverseNode = None
        if inverse is not None and _isPresent(request.inverseTransformNode):
            inverseNode = request.inverseTransformNode
            edit.keep(inverseNode)
            _fill(inverseNode, inverse)
            record(inverseNode, registration, movingNode, fixedNode)
        elif inverse is not None:
            name = f"{fixedNode.GetName()} to {movingNode.GetName()} ({model}, inverse)"
            inverseNode = edit.add(inverse.nodeClass, name)
            _fill(inverseNode, inverse)
            record(inverseNode, registration, movingNode, fixedNode)
            placeBeside(inverseNode, movingNode, edit)
        # Also where there is none: what an earlier run into the same transform made is not this result's.
        for role, node in ((REGISTERED, registeredNode), (INVERSE, inverseNode)):
            transformNode.SetNodeReferenceID(role, node.GetID() if node is not None else None)
    summary = (
        f"{movingNode.GetName()} was registered to {fixedNode.GetName()} ({model}, "
        f"{registration.settings.quality}, {sum(registration.seconds.values()):.0f} s on {registration.device})."
    )
    doubts = registration.confidence.sentences
    notes = (*doubts, place, *request.notes, *registration.warnings)
    recordNotes(transformNode, notes)
    # Whoever reads one sentence only must read this one.
    message = " ".join((*doubts, summary, *notes[len(doubts) :]))
    return RegistrationNodes(transformNode, registeredNode, inverseNode, registration, message, notes)


def _inverse(request: Request, registration: Registration) -> NodeTransform:
    # One grid even where VTK cannot invert it: its inverse is there, as the forward transform.
    bends = linearPart(registration.inverse) is None
    return nodeTransform(registration.inverse, request.moving.geometry, oneGrid=bends)


def _fill(node, prepared: NodeTransform) -> None:
    setNodeTransform(node, prepared)
    node.SetAttribute("DeepRegister.GridLossMm", f"{prepared.lossMm:.4f}")


def _isPresent(node) -> bool:
    return node is not None and node.GetScene() is not None and bool(node.GetScene().IsNodePresent(node))


def _isLabelMap(node) -> bool:
    return bool(node.IsA("vtkMRMLLabelMapVolumeNode"))


def _registered(request: Request, registration: Registration) -> Volume:
    if registration.registered is not None and not _isLabelMap(request.movingNode):
        return registration.registered
    # The engine resamples images; between two labels there is no third one.
    interpolation = "label" if _isLabelMap(request.movingNode) else "linear"
    return registration.transform.resample(request.moving, request.fixed.geometry, interpolation)
