"""`CheckupPart`: what keeps registrations from running here, and how to mend it."""

from __future__ import annotations

import qt
import slicer
from deepregister.errors import DeepRegisterError

from . import installation
from .i18n import _
from .part import Part

POLL_MS = 200


class CheckupPart(Part):
    """Checks the installation in a process of its own, and installs PyTorch when it is told to."""

    uiFile = "Checkup.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self._diagnosis = None
        self.ui.checkText.visible = self.ui.copyCheckButton.visible = False
        self.ui.checkButton.connect("clicked()", self._checkOrStop)
        self.ui.installButton.connect("clicked()", self._install)
        self.ui.wheelsButton.connect("clicked()", self._installFromFolder)
        self.ui.copyCheckButton.connect("clicked()", self._copy)
        self.ui.checkupButton.connect("contentsCollapsed(bool)", self._showTorch)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def checking(self) -> bool:
        """Whether a check is under way."""
        return self._diagnosis is not None

    def open(self) -> None:
        """Unfold the section: something has to be installed."""
        self.ui.checkupButton.collapsed = False
        self._showTorch()

    def setRunning(self, running: bool) -> None:
        """PyTorch is not replaced under a run that computes with it."""
        self.ui.installButton.enabled = self.ui.wheelsButton.enabled = not running

    def cleanup(self) -> None:
        """End a check that is under way."""
        self._timer.stop()
        if self.checking:
            self._diagnosis.end()
            self._diagnosis = None

    def _showTorch(self, collapsed: bool = False) -> None:
        if not collapsed:
            self.ui.torchLabel.text = installation.state()

    def _checkOrStop(self) -> None:
        if self.checking:
            self.cleanup()
            self._showChecking(_("The check was stopped."))
            return
        try:
            self._diagnosis = self.logic.startDiagnosis(offline=True)
        except DeepRegisterError as error:
            self._showChecking(str(error))
        else:
            self._showChecking(_("Checking… Slicer can be used meanwhile."))
            self._timer.start()

    def _poll(self) -> None:
        if not self._diagnosis.done:
            return
        self._timer.stop()
        diagnosis, self._diagnosis = self._diagnosis, None
        try:
            self._showChecking(diagnosis.text())
        except DeepRegisterError as error:
            self._showChecking(str(error))

    def _showChecking(self, text: str) -> None:
        self.ui.checkText.setPlainText(text)
        self.ui.checkText.visible = True
        self.ui.copyCheckButton.visible = not self.checking
        self.ui.checkButton.text = _("Stop the check") if self.checking else _("Check my installation")

    def _install(self) -> None:
        if installation.agreed():
            self._do(installation.install)

    def _installFromFolder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self, _("Folder with the wheels (.whl files) of PyTorch"))
        if folder:
            self._do(lambda: installation.installFromFolder(folder))

    def _do(self, install) -> None:
        """Install, and say what came of it. The worker in use has the old files open: it is ended first."""
        self.onError("")
        self.logic.close()
        # Slicer goes on drawing and taking clicks while pip installs.
        self.setRunning(True)
        try:
            with slicer.util.WaitCursor():
                install()
        except DeepRegisterError as error:
            self.onError(str(error))
        finally:
            self.setRunning(False)
        self._showTorch()

    def _copy(self) -> None:
        slicer.app.clipboard().setText(self.ui.checkText.plainText)
