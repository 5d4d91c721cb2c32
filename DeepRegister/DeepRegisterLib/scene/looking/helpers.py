"""Nodes that only serve looking: never saved, offered in no list, gone when looking ends."""

from __future__ import annotations


class Helpers:
    """Makes such nodes and takes all of them out of the scene again."""

    def __init__(self, scene):
        self._scene = scene
        self._nodes: list = []

    def add(self, className: str, name: str):
        """A new node of this class."""
        node = self._scene.CreateNodeByClass(className)
        node.UnRegister(None)
        node.SetName(name)
        # Before it is in the scene: the subject hierarchy and the node selectors look when a node is added.
        node.SetHideFromEditors(True)
        return self.adopt(self._scene.AddNode(node))

    def adopt(self, node):
        """Make a helper of a node that something else has made."""
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        self._nodes.append(node)
        return node

    def remove(self, node) -> None:
        """Take one of them out of the scene."""
        self._nodes.remove(node)
        if self._scene.IsNodePresent(node):
            self._scene.RemoveNode(node)

    def clear(self) -> None:
        """Take all of them out of the scene."""
        while self._nodes:
            # The last first: what was made later may show, or stand under, what was made before.
            self.remove(self._nodes[-1])
