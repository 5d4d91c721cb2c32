"""`RegistrationPanel`: the column of parts, in the order of the work, and what happens around them."""

from __future__ import annotations

import qt
import slicer

from ..scene.current import CurrentResult
from ..scene.parameters import Parameters
from ..scene.results import RegistrationNodes
from .check import CheckPart
from .checkup import CheckupPart
from .choose import ChoosePart
from .improve import ImprovePart
from .look import LookPart
from .result import ResultPart
from .run import RunPart
from .sequence import SequencePart
from .use import UsePart


class RegistrationPanel(qt.QWidget):
    """The module's panel over a logic: it makes the parts and tells them what happens.

    Args:
        logic: a `RegistrationLogic`, or what behaves like one.
        uiFolder: holds the .ui files of the parts.

    Attributes:
        choose, run, result, look, check, improve, use, sequence, checkup: the parts.
    """

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(parent)
        self.logic = logic
        self._current: CurrentResult | None = None
        self._observation: int | None = None
        self.choose = ChoosePart(logic, uiFolder)
        self.run = RunPart(logic, uiFolder)
        self.result = ResultPart(logic, uiFolder)
        self.look = LookPart(logic, uiFolder)
        self.check = CheckPart(logic, uiFolder)
        self.improve = ImprovePart(logic, uiFolder)
        self.use = UsePart(logic, uiFolder)
        self.sequence = SequencePart(logic, uiFolder)
        self.checkup = CheckupPart(logic, uiFolder)
        self.parts = (
            self.choose,
            self.run,
            self.result,
            self.look,
            self.check,
            self.improve,
            self.use,
            self.sequence,
            self.checkup,
        )
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in self.parts:
            part.onError = self.run.showError
            part.onStatus = self.run.showStatus
            part.onStart = self.run.start
            part.onResult = self._takeResult
            layout.addWidget(part)
        layout.addStretch(1)
        self.choose.onChange = self.run.setMissing
        self.run.onRunning = self._setRunning
        self.run.onInstallation = self.checkup.open
        self.check.onPlacing = self.look.release
        self.check.onPairs = self.improve.showPairs

    @property
    def running(self) -> bool:
        """Whether something that this panel started has not ended yet."""
        return self.run.running

    @property
    def current(self) -> CurrentResult | None:
        """The registration that the panel speaks of."""
        return self._current

    def attach(self) -> None:
        """Show and follow the scene's parameters: the module is entered, or another scene is there."""
        parameters = Parameters.ofScene(slicer.mrmlScene)
        # The Run part needs them before the Choose part reports what they lack.
        for part in (self.run, *(part for part in self.parts if part is not self.run)):
            part.attach(parameters)
        if self._observation is None:
            scene = slicer.mrmlScene
            self._observation = scene.AddObserver(scene.NodeRemovedEvent, self._onNodeRemoved)
        if self._current is None or self._current.transformNode is not parameters.resultTransform:
            self._current = CurrentResult.ofScene(parameters)
        self._tell()

    def detach(self) -> None:
        """Stop following the parameters: the module is left. A run goes on."""
        if self._observation is not None:
            slicer.mrmlScene.RemoveObserver(self._observation)
            self._observation = None
        for part in self.parts:
            part.detach()

    def leaveScene(self) -> None:
        """Stop the run and forget the result: the scene is about to be closed, and their nodes with it."""
        self.detach()
        self._current = None
        for part in self.parts:
            part.leaveScene()

    def cleanup(self) -> None:
        """End everything that is under way; the panel is not used afterwards."""
        self.leaveScene()
        for part in self.parts:
            part.cleanup()
        self.logic.close()

    def _setRunning(self, running: bool) -> None:
        for part in self.parts:
            part.setRunning(running)

    def _takeResult(self, nodes: RegistrationNodes) -> None:
        self._current = CurrentResult.of(nodes)
        Parameters.ofScene(slicer.mrmlScene).resultTransform = nodes.transformNode
        self._tell()

    def _tell(self) -> None:
        if self._current is not None and not self._current.alive:
            self._current = None
        for part in self.parts:
            part.showResult(self._current)

    def _onNodeRemoved(self, caller, event) -> None:
        if self._current is not None and not self._current.alive:
            self._tell()
