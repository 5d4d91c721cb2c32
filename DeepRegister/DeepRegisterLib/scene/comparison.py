"""The slice views as a place to compare: the fixed volume behind, the moving one blended over it."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from .frame import nodesOfClass


@dataclass(frozen=True)
class _Layers:
    compositeNode: object
    background: str | None
    foreground: str | None
    foregroundOpacity: float


class Comparison:
    """Shows two volumes over each other in all slice views and gives the views back as they were."""

    def __init__(self, scene):
        self._scene = scene
        self._before: list[_Layers] = []

    def show(self, fixedNode, movingNode, opacity: float = 0.5) -> None:
        """Fixed volume in the background, moving (or registered) one in the foreground.

        Args:
            opacity: of the foreground: 0 shows the fixed volume alone, 1 the moving one.
        """
        nodes = nodesOfClass(self._scene, "vtkMRMLSliceCompositeNode")
        if not self._before:
            self._before = [
                _Layers(node, node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity())
                for node in nodes
            ]
        for node in nodes:
            with slicer.util.NodeModify(node):
                node.SetBackgroundVolumeID(fixedNode.GetID())
                node.SetForegroundVolumeID(movingNode.GetID())
                node.SetForegroundOpacity(opacity)

    def reset(self) -> None:
        """Show again what the views showed before the first `show`; a view that is gone is left out."""
        for layers in self._before:
            node = layers.compositeNode
            if self._scene.IsNodePresent(node):
                with slicer.util.NodeModify(node):
                    node.SetBackgroundVolumeID(layers.background)
                    node.SetForegroundVolumeID(layers.foreground)
                    node.SetForegroundOpacity(layers.foregroundOpacity)
        self._before = []
