"""`Part`: one section of the panel, over the logic and a .ui file of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from ..scene.current import CurrentResult
from ..scene.parameters import Parameters
from ..scene.results import RegistrationNodes


def _ignore(*_arguments, **_options) -> None:
    """What a part that stands alone, outside the panel, tells to nobody."""


class Part(qt.QWidget):
    """A section of the panel: widgets that show what the scene says and call the logic. It computes nothing.

    The panel makes each part, calls the methods below as things happen around it, and replaces the callables that a
    part tells it things through. Each method does nothing here; a part overrides those that concern it.

    Args:
        logic: a `RegistrationLogic`, or what behaves like one.
        uiFolder: holds the .ui file that `uiFile` names, whose root is a `qMRMLWidget` with a collapsible button in it.

    Attributes:
        ui: the widgets of the .ui file, by name.
        parameters: those that the part follows, between `attach` and `detach`; else None.
        onError: `onError(text)` shows what went wrong, unchanged; an empty text takes it away.
        onStatus: `onStatus(text)` shows one line beside the Register button; an empty text takes it away.
        onResult: `onResult(nodes)` says that a registration has put `RegistrationNodes` into the scene: they become the
            current result, and every part gets `showResult`.
        onStart: `onStart(start, finished=None)` runs something long under the panel's one progress bar and Cancel
            button. `start()` returns what behaves like a `RunningRegistration` (`poll`, `done`, `cancel`, `finish`);
            what its `finish` returns goes to `finished`, without one to `onResult`. All parts get `setRunning`.
    """

    uiFile = ""

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(parent)
        self.logic = logic
        self.parameters: Parameters | None = None
        self.onError: Callable[[str], None] = _ignore
        self.onStatus: Callable[[str], None] = _ignore
        self.onResult: Callable[[RegistrationNodes], None] = _ignore
        self.onStart: Callable[..., None] = _ignore
        form = slicer.util.loadUI(str(Path(uiFolder) / self.uiFile))
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)

    def attach(self, parameters: Parameters) -> None:
        """Show and follow these parameters: the module is entered, or another scene is there. May come repeatedly."""
        self.parameters = parameters

    def detach(self) -> None:
        """Stop following the scene: the module is left. What runs goes on; the widgets keep what they show."""
        self.parameters = None

    def leaveScene(self) -> None:
        """Forget all nodes: the scene is about to be closed. Comes after `detach`."""

    def setRunning(self, running: bool) -> None:
        """A registration begins or has ended: disable what would disturb it, or enable it again."""

    def showResult(self, current: CurrentResult | None) -> None:
        """Speak of this registration from now on; None: of none."""

    def cleanup(self) -> None:
        """Let go of timers, observers and views: the panel is about to be destroyed. Comes after `leaveScene`."""
