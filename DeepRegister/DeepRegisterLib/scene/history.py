"""The results that refinements replaced, so that each can be taken back, and brought again."""

from __future__ import annotations

from dataclasses import dataclass

from deepregister.errors import InputError
from deepregister.result import Registration

from .current import CurrentResult
from .edit import SceneEdit
from .provenance import recordedNotes
from .results import RegistrationNodes

# Each holds a field and perhaps a volume in memory.
_MOST_STEPS = 5
_MARK = "DeepRegister.Summary"


@dataclass(frozen=True, eq=False)
class _Kept:
    """A result as it was: copies of its nodes, outside of the scene."""

    copies: tuple[tuple[object, object], ...]
    registration: Registration | None
    mark: str

    @classmethod
    def of(cls, current: CurrentResult) -> _Kept:
        nodes = (current.transformNode, current.registeredVolumeNode, current.inverseTransformNode)
        copies = tuple((node, _copy(node)) for node in nodes if node is not None)
        return cls(copies, current.registration, current.transformNode.GetAttribute(_MARK))

    def restore(self, message: str) -> RegistrationNodes:
        """Put it back into its nodes, as far as these are still in the scene."""
        transformNode = self.copies[0][0]
        scene = transformNode.GetScene()
        with SceneEdit(scene) as edit:
            for node, copy in self.copies:
                if scene.IsNodePresent(node):
                    edit.keep(node)
                    node.Copy(copy)
        current = CurrentResult.ofTransform(transformNode, self.registration)
        return RegistrationNodes(
            transformNode,
            current.registeredVolumeNode,
            current.inverseTransformNode,
            self.registration,
            message,
            recordedNotes(transformNode),
        )


@dataclass(eq=False)
class _Step:
    before: _Kept
    # Copied only when it is taken back.
    after: _Kept | None
    mark: str


class History:
    """The refinements of a session that can be taken back, the last first.

    What has changed the result since by other means, as another registration into the same transform does, ends that.
    """

    def __init__(self):
        self._done: list[_Step] = []
        self._undone: list[_Step] = []

    def keep(self, current: CurrentResult) -> _Kept:
        """A copy of a result that is about to be replaced, for `add`."""
        return _Kept.of(current)

    def add(self, before: _Kept, transformNode) -> None:
        """The result `before` has been replaced by what the transform node holds now."""
        self._done = [*self._done[1 - _MOST_STEPS :], _Step(before, None, transformNode.GetAttribute(_MARK))]
        self._undone = []

    def canUndo(self, current: CurrentResult | None) -> bool:
        """Whether the current result is a refinement whose earlier result is known."""
        return bool(self._done) and _is(current, self._done[-1].before, self._done[-1].mark)

    def canRedo(self, current: CurrentResult | None) -> bool:
        """Whether the current result is one that `undo` returned to."""
        return bool(self._undone) and _is(current, self._undone[-1].before, self._undone[-1].before.mark)

    def undo(self, current: CurrentResult) -> RegistrationNodes:
        """Return to the result before the last refinement.

        Raises:
            InputError: there is none to return to.
        """
        if not self.canUndo(current):
            raise InputError("There is no refinement of this result to take back.")
        step = self._done[-1]
        after = _Kept.of(current)
        nodes = step.before.restore("The last refinement was taken back: this is the earlier result.")
        step.after = after
        self._undone.append(self._done.pop())
        return nodes

    def redo(self, current: CurrentResult) -> RegistrationNodes:
        """Bring the refinement again that `undo` took back.

        Raises:
            InputError: there is none.
        """
        if not self.canRedo(current):
            raise InputError("There is no refinement of this result to bring back.")
        nodes = self._undone[-1].after.restore("The refinement was brought back.")
        self._done.append(self._undone.pop())
        return nodes


def _copy(node):
    copy = node.GetScene().CreateNodeByClass(node.GetClassName())
    copy.UnRegister(None)
    copy.Copy(node)
    return copy


def _is(current: CurrentResult | None, kept: _Kept, mark: str) -> bool:
    if current is None or not current.alive or current.transformNode is not kept.copies[0][0]:
        return False
    return current.transformNode.GetAttribute(_MARK) == mark
