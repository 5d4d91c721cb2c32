"""`RunPart`: the one button that starts and stops, how far the run is, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from deepregister.errors import Cancelled, DeepRegisterError, WorkerError

from . import installation, words
from .busy import busy
from .i18n import _
from .part import Part

POLL_MS = 50


class RunPart(Part):
    """Runs one thing at a time in the worker process and shows how it goes; the registration itself, and what the
    other parts hand it through `Part.onStart`.

    Attributes:
        onRunning: `onRunning(running)` says that a run begins or has ended.
        onInstallation: PyTorch is missing, and the user did not want it installed now.
    """

    uiFile = "Run.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self.onRunning: Callable[[bool], None] = lambda running: None
        self.onInstallation: Callable[[], None] = lambda: None
        self._running = None
        self._finished: Callable[[object], None] | None = None
        self._installing = False
        self._missing = ""
        self._stages: list[str] = []
        for widget in (self.ui.progressBar, self.ui.stageLabel, self.ui.statusLabel, self.ui.errorFrame):
            widget.visible = False
        icon = self.style().standardIcon(qt.QStyle.SP_MessageBoxWarning)
        self.ui.errorIcon.setPixmap(icon.pixmap(qt.QSize(24, 24)))
        self.ui.runButton.connect("clicked()", self._runOrCancel)
        self.ui.logButton.connect("toggled(bool)", self._showLog)
        self.ui.copyButton.connect("clicked()", self._copy)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def running(self) -> bool:
        """Whether something runs that has not ended yet."""
        return self._running is not None

    def setMissing(self, missing: str) -> None:
        """Say what keeps a registration from being started, in a sentence; empty if nothing."""
        self._missing = missing
        if not self.running:
            self.ui.runButton.enabled = self.parameters is not None and not missing
            self.ui.runButton.toolTip = missing or _("Bring the moving volume onto the fixed one.")
            self.showStatus(missing)

    def start(self, start: Callable[[], object], finished: Callable[[object], None] | None = None) -> None:
        """Run something; see `Part.onStart`. What is wrong with it is shown."""
        # Slicer goes on drawing and taking clicks while pip installs.
        if self.running or self._installing:
            self.showError(_("Something is still running. Wait for it, or cancel it first."))
            return
        self.showError("")
        try:
            if not self._torchIsThere():
                return
            self._finished = finished
            self._show(True)
            # Starting the worker and handing it the volumes takes a moment in which nothing is drawn.
            self.ui.statusLabel.repaint()
            with busy():
                self._running = start()
        except Exception as error:
            self._fail(error)
        else:
            self._timer.start()

    def cancel(self) -> None:
        """Stop what runs, if anything does; it ends a moment later and leaves the scene as it was."""
        if self.running:
            self._running.cancel()
            self.ui.runButton.enabled = False
            self.showStatus(_("Cancelling…"))

    def leaveScene(self) -> None:
        """Stop the run: the nodes that it is about go with the scene."""
        self.cancel()
        self.showError("")

    def cleanup(self) -> None:
        """Stop following the run; the logic ends its process."""
        self._timer.stop()

    def showStatus(self, text: str) -> None:
        """One line below the button; an empty one takes it away."""
        self.ui.statusLabel.text = text
        self.ui.statusLabel.visible = bool(text)

    def showError(self, text: str, log: str = "") -> None:
        """What went wrong, unchanged, with the log of the process at hand; an empty text takes it away."""
        self.ui.errorLabel.text = text
        self.ui.logText.setPlainText(log)
        self.ui.logButton.checked = False
        self.ui.logButton.visible = bool(log)
        self._showLog(False)
        self.ui.errorFrame.visible = bool(text)

    def _runOrCancel(self) -> None:
        if self.running:
            self.cancel()
        else:
            p = self.parameters
            self.start(lambda: self.logic.start(p.fixedVolume, p.movingVolume, **p.options()))

    def _torchIsThere(self) -> bool:
        if installation.isUsable(installation.torchVersion()):
            return True
        if not installation.agreed():
            self.showError(_("Nothing was installed. {advice}").format(advice=installation.byHand()))
            self.onInstallation()
            return False
        self._installing = True
        try:
            with slicer.util.WaitCursor():
                installation.install()
        finally:
            self._installing = False
        if slicer.util.confirmYesNoDisplay(_("PyTorch is installed. Restart Slicer now?")):
            slicer.util.restart()
            return False
        return True

    def _poll(self) -> None:
        try:
            reports = self._running.poll()
            if reports:
                self._showProgress(reports)
            if not self._running.done:
                return
            self._timer.stop()
            # The result goes into the scene in one piece, which a large field takes a moment for.
            with busy():
                outcome = self._running.finish()
        except Exception as error:
            self._timer.stop()
            self._fail(error)
        else:
            finished = self._finished or self.onResult
            self._show(False)
            finished(outcome)

    def _showProgress(self, reports: list) -> None:
        self._stages += dict.fromkeys(each.stage for each in reports if each.stage not in self._stages)
        self.ui.progressBar.value = round(1000 * reports[-1].fraction)
        # After a click on Cancel the last reports of the run would take its acknowledgement away.
        if self.ui.runButton.enabled:
            self.ui.stageLabel.text = words.stagesText(self._stages)
            self.showStatus(words.progressLine(reports[-1]))

    def _fail(self, error: Exception) -> None:
        self._show(False)
        if isinstance(error, Cancelled):
            self.showStatus(str(error))
        elif isinstance(error, DeepRegisterError):
            # The log says more where the process itself failed.
            self.showError(str(error), self.logic.workerLog if isinstance(error, WorkerError) else "")
        else:
            details = _("Slicer's Python console has the details.")
            self.showError(f"{type(error).__name__}: {error}. {details}", self.logic.workerLog)
            raise error

    def _show(self, running: bool) -> None:
        """The part as it is during a run, or as it is between runs."""
        self._stages = []
        self.ui.stageLabel.text = ""
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = self.ui.stageLabel.visible = running
        self.ui.runButton.text = _("Cancel") if running else _("Register")
        if running:
            self.ui.runButton.enabled = True
            self.ui.runButton.toolTip = _("Stop the run. The scene stays as it was.")
            self.showStatus(_("Starting…"))
        else:
            self._running = self._finished = None
            self.setMissing(self._missing)
        self.onRunning(running)

    def _showLog(self, shown: bool) -> None:
        self.ui.logText.visible = shown
        self.ui.logButton.text = _("Hide the log") if shown else _("Show the log")

    def _copy(self) -> None:
        texts = (self.ui.errorLabel.text, self.ui.logText.plainText)
        slicer.app.clipboard().setText("\n\n".join(text for text in texts if text))
