"""`CurrentResult`: the registration that the panel speaks of, found again in a scene that was saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepregister import Settings
from deepregister.errors import InputError
from deepregister.result import Registration

from .parameters import Parameters
from .provenance import INVERSE, REGISTERED, recordedSettings, recordedSummary
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
