"""Landmark pairs placed in turn: a click in the fixed volume, then its partner in the moving one, guessed at first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import slicer
from deepregister.errors import InputError

from .frame import nodesOfClass
from .landmarkpairs import addPartner, jumpTo, pairErrors, placedPoints

FIXED, PARTNER = "fixed", "partner"


@dataclass(frozen=True)
class _Layers:
    compositeNode: object
    background: str | None
    foreground: str | None
    opacity: float


class PairPlacing:
    """Leads through pair after pair: the views show the fixed volume for a click, then the moving one for its partner.

    The partner is there at once, where the current result takes the point, and can be dragged. `next` keeps it and
    goes on; `clickPartner` sets it by a click instead. Fixed points that have no partner yet come first.

    Args:
        fixedNode, movingNode: the point lists.
        fixedVolume, movingVolume: what the views show in turn.
        transformNode: the current result, or None.
        later: calls a function soon, but not from within the event that a click causes: Slicer itself ends its place
            mode after that event.
        onChange: called when another step has begun, and at the end.
    """

    def __init__(
        self,
        fixedNode,
        movingNode,
        fixedVolume,
        movingVolume,
        transformNode=None,
        later: Callable[[Callable[[], None]], None] = lambda function: function(),
        onChange: Callable[[], None] = lambda: None,
    ):
        self._lists = {FIXED: fixedNode, PARTNER: movingNode}
        self._volumes = (fixedVolume, movingVolume)
        self._transformNode = transformNode
        self._later, self._onChange = later, onChange
        self._scene = fixedVolume.GetScene()
        self._interaction = self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        self._observations: list[tuple[object, int]] = []
        self._before: list[_Layers] = []
        self._stage: str | None = None
        self._clicking = False

    @property
    def stage(self) -> str | None:
        """`FIXED` while a point in the fixed volume is wanted, `PARTNER` while its partner can be moved, else None."""
        return self._stage

    @property
    def number(self) -> int:
        """Which pair is being placed, from 1."""
        return len(placedPoints(self._lists[PARTNER])) + (self._stage == FIXED)

    @property
    def clicking(self) -> bool:
        """Whether the next click sets the partner."""
        return self._clicking

    def start(self) -> None:
        """Begin with the first point that has no partner, or with a new pair.

        Raises:
            InputError: there are more moving points than fixed ones, so that it is not clear which belong together.
        """
        counts = [len(placedPoints(node)) for node in self._lists.values()]
        if counts[1] > counts[0]:
            raise InputError(
                f"{self._lists[PARTNER].GetName()} has {counts[1]} points, {self._lists[FIXED].GetName()} only "
                f"{counts[0]}. Remove the moving points that have no partner, then place further pairs."
            )
        defined = slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent
        changed = slicer.vtkMRMLInteractionNode.InteractionModeChangedEvent
        for node, event in (
            (self._lists[FIXED], defined),
            (self._lists[PARTNER], defined),
            (self._interaction, changed),
        ):
            self._observations.append((node, node.AddObserver(event, self._happened)))
        self._before = [
            _Layers(node, node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity())
            for node in nodesOfClass(self._scene, "vtkMRMLSliceCompositeNode")
        ]
        self._proceed()

    def next(self) -> None:
        """Keep the partner where it is and go on with the next pair."""
        if self._stage == PARTNER:
            self._proceed()

    def clickPartner(self) -> None:
        """Let the next click in a view set the partner; the next pair follows then by itself."""
        if self._stage == PARTNER:
            self._clicking = True
            self._placeMode(self._lists[PARTNER])
            self._onChange()

    def stop(self) -> None:
        """Leave the placing: the pairs stay, also the last one as it stands, and the views are as they were before."""
        if self._stage is None:
            return
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []
        self._stage, self._clicking = None, False
        self._interaction.SetCurrentInteractionMode(self._interaction.ViewTransform)
        for layers in self._before:
            node = layers.compositeNode
            if self._scene.IsNodePresent(node):
                with slicer.util.NodeModify(node):
                    node.SetBackgroundVolumeID(layers.background)
                    node.SetForegroundVolumeID(layers.foreground)
                    node.SetForegroundOpacity(layers.opacity)
        self._before = []
        self._onChange()

    def _happened(self, caller, _event) -> None:
        # Whatever it was: what is to be done follows from the points and the mode as they are then.
        self._later(self._react)

    def _react(self) -> None:
        if self._stage is None:
            return
        fixed, moving = (placedPoints(self._lists[side]) for side in (FIXED, PARTNER))
        placing = self._interaction.GetCurrentInteractionMode() == self._interaction.Place
        if self._stage == FIXED and len(fixed) > len(moving):
            self._proceed()
        elif self._stage == FIXED and not placing:
            # Escape, or another tool of Slicer's toolbar.
            self.stop()
        elif self._clicking and len(moving) > self._count:
            self._moveTo(moving[self._count - 1], moving[self._count])
            self._proceed()
        elif self._clicking and not placing:
            self._clicking = False
            self._onChange()

    def _moveTo(self, partner: int, clicked: int) -> None:
        """Put the partner where the click was, and take the point away that the click made."""
        node = self._lists[PARTNER]
        node.SetNthControlPointPosition(partner, *node.GetNthControlPointPosition(clicked))
        node.RemoveNthControlPoint(clicked)

    def _proceed(self) -> None:
        self._clicking = False
        fixed, moving = (placedPoints(self._lists[side]) for side in (FIXED, PARTNER))
        if len(fixed) > len(moving):
            self._stage = PARTNER
            addPartner(self._lists[FIXED], fixed[len(moving)], self._lists[PARTNER], self._transformNode)
            self._count = len(moving) + 1
            self._interaction.SetCurrentInteractionMode(self._interaction.ViewTransform)
            # Not centred: the view that was clicked into must not slip away under the mouse.
            jumpTo(pairErrors(*self._lists.values(), self._transformNode), len(moving), self._scene, centred=False)
        else:
            self._stage = FIXED
            self._placeMode(self._lists[FIXED])
        self._showVolume(self._stage)
        self._onChange()

    def _placeMode(self, node) -> None:
        selection = self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        self._interaction.SetPlaceModePersistence(0)
        self._interaction.SetCurrentInteractionMode(self._interaction.Place)

    def _showVolume(self, stage: str) -> None:
        for layers in self._before:
            node = layers.compositeNode
            if self._scene.IsNodePresent(node):
                with slicer.util.NodeModify(node):
                    node.SetBackgroundVolumeID(self._volumes[0].GetID())
                    node.SetForegroundVolumeID(self._volumes[1].GetID())
                    node.SetForegroundOpacity(0.0 if stage == FIXED else 1.0)
