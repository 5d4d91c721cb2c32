"""`SceneEdit`: changes to the scene that happen all together or not at all."""

from __future__ import annotations

from collections.abc import Callable


class SceneEdit:
    """Context manager: what is done through it is undone, last first, if the block raises."""

    def __init__(self, scene):
        self._scene = scene
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> SceneEdit:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None:
            while self._undo:
                self._undo.pop()()

    def add(self, className: str, name: str):
        """A new node; its name gets a number where another node has it already."""
        node = self._scene.AddNewNodeByClass(className, self._scene.GenerateUniqueName(name))
        self._undo.append(lambda: self._scene.RemoveNode(node))
        return node

    def addDisplayNode(self, node) -> None:
        """The default display node of `node`, a node that `add` has made."""
        # Some have it already: the Markups module's logic makes one for each node that comes into the scene.
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        self._undo.append(lambda: self._scene.RemoveNode(display))

    def keep(self, node) -> None:
        """Remember content, attributes and references of a node that is about to be overwritten."""
        before = self._scene.CreateNodeByClass(node.GetClassName())
        before.UnRegister(None)
        before.Copy(node)
        self._undo.append(lambda: node.Copy(before))

    def setParentTransform(self, node, transformNode) -> None:
        """Put `node` under `transformNode`, or under none."""
        before = node.GetTransformNodeID()
        self._undo.append(lambda: node.SetAndObserveTransformNodeID(before))
        node.SetAndObserveTransformNodeID(transformNode.GetID() if transformNode else None)

    def afterwards(self, undo: Callable[[], None]) -> None:
        """Register how to undo a change that was made otherwise."""
        self._undo.append(undo)
