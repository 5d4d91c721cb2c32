"""`CurrentResult`: the registration that the panel speaks of, found again in a scene that was saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepregister import Settings, Volume
from deepregister.confidence import Confidence
from deepregister.errors import InputError
from deepregister.page.verdict import Verdict, judge
from deepregister.result import Registration

from .parameters import Parameters
from .parents import parentChain
from .provenance import INVERSE, REGISTERED, recordedNotes, recordedSettings, recordedSummary
from .results import RegistrationNodes


@dataclass(frozen=True, eq=False)
class CurrentResult:
    """A registration by the transform node that holds it.

    Attributes:
        transformNode: world to world; its from-parent takes fixed points to moving ones.
        fixedNode: the volume that stayed.
        movingNode: the volume that was brought onto it.
        settings: what reproduces the run.
        summary: settings, measures, confidence, device and more, as `Registration.summary` has them.
        registration: the engine's own result, in the session that made it; None after the scene was loaded again.
    """

    transformNode: object
    fixedNode: object
    movingNode: object
    settings: Settings
    summary: Mapping[str, Any]
    registration: Registration | None = None

    @classmethod
    def of(cls, nodes: RegistrationNodes) -> CurrentResult:
        """The result that has just been put into the scene."""
        current = cls.ofTransform(nodes.transformNode, nodes.registration)
        if current is None:
            raise ValueError(f"{nodes.transformNode.GetName()} was not made by a registration.")
        return current

    @classmethod
    def ofScene(cls, parameters: Parameters) -> CurrentResult | None:
        """The result that the parameters name; None where they name none, or its volumes are gone."""
        return cls.ofTransform(parameters.resultTransform)

    @classmethod
    def ofTransform(cls, transformNode, registration: Registration | None = None) -> CurrentResult | None:
        """The registration that a transform node came from; None for another transform, or without its volumes."""
        settings = None if transformNode is None else recordedSettings(transformNode)
        if settings is None:
            return None
        fixedNode = transformNode.GetNodeReference(transformNode.GetFixedNodeReferenceRole())
        movingNode = transformNode.GetNodeReference(transformNode.GetMovingNodeReferenceRole())
        if fixedNode is None or movingNode is None:
            return None
        return cls(transformNode, fixedNode, movingNode, settings, recordedSummary(transformNode) or {}, registration)

    @property
    def measures(self) -> Mapping[str, Any]:
        """Quality measures by name."""
        return self.summary.get("measures", {})

    @property
    def confidence(self) -> Confidence:
        """How far it may be trusted, and why not further."""
        return Confidence.from_dict(self.summary.get("confidence", Confidence().to_dict()))

    @property
    def expectedError(self) -> Volume | None:
        """The map of how far each place may be off, mm; None for a scene that was loaded: it does not hold the map."""
        return None if self.registration is None else self.registration.expected_error

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the engine warned of, sentences."""
        return tuple(self.summary.get("warnings", ()))

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What was registered: names, geometries, options that are not settings."""
        return self.summary.get("inputs", {})

    @property
    def verdict(self) -> Verdict:
        """The verdict in plain words, as the report has it."""
        return judge(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user was told about the run, sentences: see `RegistrationNodes.notes`."""
        return recordedNotes(self.transformNode)

    @property
    def shownVolumeNode(self):
        """What shows the moving volume on the fixed one: itself under the transform, else the registered volume.

        None where the moving volume was left in its place, or was taken back to it, and no registered volume is there.
        """
        if self.transformNode in parentChain(self.movingNode):
            return self.movingNode
        return self.registeredVolumeNode

    @property
    def registeredVolumeNode(self):
        """The moving volume on the fixed volume's grid; None if it was not asked for, or is gone."""
        return self.transformNode.GetNodeReference(REGISTERED)

    @property
    def inverseTransformNode(self):
        """The inverse as a transform of its own; None likewise."""
        return self.transformNode.GetNodeReference(INVERSE)

    @property
    def alive(self) -> bool:
        """Whether transform, fixed and moving volume are all still in the scene."""
        scene = self.transformNode.GetScene()
        nodes = (self.transformNode, self.fixedNode, self.movingNode)
        return scene is not None and all(scene.IsNodePresent(node) for node in nodes)

    def checkAlive(self) -> None:
        """Raise `InputError` where something of the registration has left the scene."""
        if not self.alive:
            raise InputError("The result, or one of its volumes, is not in the scene any more. Register again.")
