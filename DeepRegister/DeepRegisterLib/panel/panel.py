"""`RegistrationPanel`: choose two volumes, register them, stop it, see the result."""

from __future__ import annotations

import qt
import slicer
from deepregister.errors import Cancelled, DeepRegisterError
from deepregister.settings import DEVICES, QUALITIES

from ..scene.comparison import Comparison
from ..scene.parameters import Parameters
from . import installation, words
from .binding import Binding

POLL_MS = 50

_DEVICES = {"auto": "Automatic", "cpu": "Processor (CPU)", "cuda": "NVIDIA graphics card", "mps": "Apple graphics"}
_AUTOMATIC_SUMMARY = "Bends the moving volume where that helps; only shifts, turns and scales it where it does not."


class RegistrationPanel(qt.QWidget):
    """The module's panel over a logic. It computes nothing: it starts a run, polls it, and shows what comes.

    Args:
        logic: a `RegistrationLogic`, or what behaves like one.
        uiPath: of the .ui file.
    """

    def __init__(self, logic, uiPath: str, parent=None):
        super().__init__(parent)
        self.logic = logic
        self._running = None
        self._comparison = Comparison(slicer.mrmlScene)
        self._pair = (None, None)
        form = slicer.util.loadUI(uiPath)
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self._fillChoices()
        for widget in (self.ui.progressBar, self.ui.errorFrame, self.ui.resultButton):
            widget.visible = False
        icon = self.style().standardIcon(qt.QStyle.SP_MessageBoxWarning)
        self.ui.errorIcon.setPixmap(icon.pixmap(qt.QSize(24, 24)))
        self.binding = Binding(self.ui, self._update)
        self.ui.runButton.connect("clicked()", self._runOrCancel)
        self.ui.blendSlider.connect("valueChanged(int)", self._compare)
        self.ui.restoreViewsButton.connect("clicked()", self._restoreViews)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def running(self) -> bool:
        """Whether a registration that this panel started has not ended yet."""
        return self._running is not None

    def attach(self) -> None:
        """Show and follow the scene's parameters: the module is entered, or another scene is there."""
        parameters = Parameters.ofScene(slicer.mrmlScene)
        if parameters.fixedVolume is None and parameters.movingVolume is None:
            # Nothing chosen yet: the first two volumes save the usual clicks.
            for name, index in (("fixedVolume", 0), ("movingVolume", 1)):
                setattr(parameters, name, self.ui.fixedSelector.nodeFromIndex(index))
        self.binding.attach(parameters)

    def detach(self) -> None:
        """Stop following the parameters: the module is left. A run goes on."""
        self.binding.detach()

    def leaveScene(self) -> None:
        """Stop the run and forget the result: the scene is about to be closed, and their nodes with it."""
        self.detach()
        if self.running:
            self._cancel()
        self._comparison = Comparison(slicer.mrmlScene)
        self._pair = (None, None)
        self.ui.resultButton.visible = self.ui.errorFrame.visible = False

    def cleanup(self) -> None:
        """End everything that is under way; the panel is not used afterwards."""
        self._timer.stop()
        self.leaveScene()
        self.logic.close()

    def _fillChoices(self) -> None:
        self.ui.modelSelector.addItem("Automatic", "auto")
        self._summaries = {"auto": _AUTOMATIC_SUMMARY}
        self._experimental = []
        for card in self.logic.models():
            title = f"{card.title} (experimental)" if card.experimental else card.title
            if card.experimental:
                self._experimental.append(self.ui.modelSelector.count)
            self.ui.modelSelector.addItem(title, card.name)
            self._summaries[card.name] = card.summary
        self.ui.experimentalCheckBox.visible = bool(self._experimental)
        self.ui.experimentalCheckBox.connect("toggled(bool)", self._listExperimental)
        self._listExperimental(False)
        for quality in QUALITIES:
            self.ui.qualitySelector.addItem(quality.capitalize(), quality)
        for device in DEVICES:
            self.ui.deviceSelector.addItem(_DEVICES[device], device)

    def _listExperimental(self, listed: bool) -> None:
        """Offer experimental models or not; one that the scene names is shown all the same."""
        for row in self._experimental:
            self.ui.modelSelector.view().setRowHidden(row, not listed)

    def _update(self) -> None:
        """Say what the choices mean and whether they suffice."""
        model = self.ui.modelSelector.itemData(self.ui.modelSelector.currentIndex)
        self.ui.modelSummary.text = self._summaries[model]
        parameters = self.binding.parameters
        missing = ""
        if parameters.fixedVolume is None or parameters.movingVolume is None:
            missing = "Choose a fixed and a moving volume."
        elif parameters.fixedVolume is parameters.movingVolume:
            missing = "The fixed and the moving volume are the same one. Choose two."
        self.ui.runButton.toolTip = missing or "Bring the moving volume onto the fixed one."
        if not self.running:
            self.ui.runButton.enabled = not missing
            self._say(missing)

    def _runOrCancel(self) -> None:
        if self.running:
            self._cancel()
        else:
            self._run()

    def _run(self) -> None:
        self.ui.errorFrame.visible = self.ui.resultButton.visible = False
        try:
            if not self._torchIsThere():
                return
            self._showRunning(True)
            # Starting the worker and handing it the volumes takes a moment in which nothing is drawn.
            self.ui.statusLabel.repaint()
            p = self.binding.parameters
            self._running = self.logic.start(
                p.fixedVolume,
                p.movingVolume,
                p.model,
                p.quality,
                p.device,
                fixedMaskNode=p.fixedMask,
                movingMaskNode=p.movingMask,
                initialTransformNode=p.initialTransform,
                fixedLandmarksNode=p.fixedLandmarks,
                movingLandmarksNode=p.movingLandmarks,
                outputTransformNode=p.outputTransform,
                createRegisteredVolume=p.createRegisteredVolume,
                createInverse=p.createInverse,
            )
        except Exception as error:
            self._fail(error)
        else:
            self._pair = (p.fixedVolume, p.movingVolume)
            self._timer.start()

    def _torchIsThere(self) -> bool:
        version = installation.torchVersion()
        if installation.isUsable(version):
            return True
        # While Slicer is tested it answers its questions itself, with yes.
        asked = not slicer.app.testingEnabled()
        if not (asked and slicer.util.confirmOkCancelDisplay(installation.question(version))):
            self._showError(f"Nothing was installed. {installation.byHand()}")
            return False
        with slicer.util.WaitCursor():
            installation.install()
        if slicer.util.confirmYesNoDisplay("PyTorch is installed. Restart Slicer now?"):
            slicer.util.restart()
            return False
        return True

    def _cancel(self) -> None:
        self._running.cancel()
        self.ui.runButton.enabled = False
        self._say("Cancelling…")

    def _poll(self) -> None:
        try:
            reports = self._running.poll()
            if reports:
                self.ui.progressBar.value = round(1000 * reports[-1].fraction)
                # After a click on Cancel the last reports of the run would take its acknowledgement away.
                if self.ui.runButton.enabled:
                    self._say(words.progressLine(reports[-1]))
            if not self._running.done:
                return
            self._timer.stop()
            nodes = self._running.finish()
        except Exception as error:
            self._timer.stop()
            self._fail(error)
        else:
            self._showRunning(False)
            self._showResult(nodes)

    def _fail(self, error: Exception) -> None:
        self._showRunning(False)
        if isinstance(error, Cancelled):
            self._say(str(error))
        elif isinstance(error, DeepRegisterError):
            self._showError(str(error))
        else:
            self._showError(f"{type(error).__name__}: {error}. Slicer's Python console has the details.")
            raise error

    def _say(self, text: str) -> None:
        self.ui.statusLabel.text = text
        self.ui.statusLabel.visible = bool(text)

    def _showError(self, text: str) -> None:
        self.ui.errorLabel.text = text
        self.ui.errorFrame.visible = True

    def _showRunning(self, running: bool) -> None:
        """The panel as it is during a run, or as it is between runs."""
        for section in (self.ui.volumesButton, self.ui.methodButton, self.ui.outputsButton, self.ui.advancedButton):
            section.enabled = not running
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = running
        self.ui.runButton.text = "Cancel" if running else "Register"
        self._say("Starting…" if running else "")
        if running:
            self.ui.runButton.enabled = True
        else:
            self._running = None
            # Enabled again, or not, by what is chosen now; the parameters of a closed scene are gone.
            if self.binding.parameters is not None:
                self._update()

    def _showResult(self, nodes) -> None:
        registration = nodes.registration
        settings = registration.settings
        seconds = words.duration(sum(registration.seconds.values()))
        self.ui.resultLabel.text = words.resultText(
            self._pair[0].GetName(),
            self._pair[1].GetName(),
            nodes.transformNode.GetName(),
            words.measureRows(registration.measures)
            + [("Model", f"{settings.model}, {settings.quality}"), ("Time", f"{seconds} on {registration.device}")],
            [note for note in nodes.notes if note not in (*registration.warnings, *registration.confidence.sentences)],
            registration.warnings,
            registration.confidence,
        )
        self.ui.resultButton.visible = True
        # Another module's views are not this panel's to change.
        if self.binding.parameters is not None:
            self._compare(self.ui.blendSlider.value)

    def _compare(self, percent: int) -> None:
        if all(node is not None and slicer.mrmlScene.IsNodePresent(node) for node in self._pair):
            self._comparison.show(*self._pair, percent / 100)

    def _restoreViews(self) -> None:
        self._comparison.reset()
