"""What a transform node remembers of its registration: enough to show it and to run it again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deepregister import Settings
from deepregister.result import Registration

_PREFIX = "DeepRegister."

# Node references of a transform node to what else its registration made.
REGISTERED = "DeepRegister.registeredVolume"
INVERSE = "DeepRegister.inverseTransform"


def record(node, registration: Registration, fixedNode, movingNode) -> None:
    """Note on a transform node what it was made from and how; `fixedNode` and `movingNode` in the node's own sense."""
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixedNode.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), movingNode.GetID())
    summary = registration.summary()
    values = {
        "Model": registration.settings.model,
        "Quality": registration.settings.quality,
        "Device": registration.device,
        "Confidence": registration.confidence.level,
        "EngineVersion": registration.versions.get("deepregister", ""),
        "Settings": json.dumps(registration.settings.to_dict()),
        "Summary": json.dumps(summary),
    }
    for name, value in values.items():
        node.SetAttribute(_PREFIX + name, value)


def recordNotes(node, notes: Iterable[str]) -> None:
    """Note the sentences that the user was told about the run."""
    node.SetAttribute(_PREFIX + "Notes", json.dumps(list(notes)))


def recordedNotes(node) -> tuple[str, ...]:
    """What `recordNotes` noted."""
    return tuple(json.loads(node.GetAttribute(_PREFIX + "Notes") or "[]"))


def recordPulledBy(node, identifiers: Iterable[str]) -> None:
    """Note which landmark pairs drew the result towards them: their errors say little of it."""
    node.SetAttribute(_PREFIX + "PulledBy", json.dumps(sorted(identifiers)))


def recordedPulledBy(node) -> frozenset[str]:
    """What `recordPulledBy` noted."""
    return frozenset(json.loads(node.GetAttribute(_PREFIX + "PulledBy") or "[]"))


def recordedSettings(node) -> Settings | None:
    """The settings that reproduce the registration a transform node came from; None for another transform."""
    text = node.GetAttribute(_PREFIX + "Settings")
    return Settings.from_dict(json.loads(text)) if text else None


def recordedSummary(node) -> dict[str, Any] | None:
    """Settings, measures, confidence, device and more, as `Registration.summary` has them; None likewise."""
    text = node.GetAttribute(_PREFIX + "Summary")
    return json.loads(text) if text else None
