"""`UsePart`: the result brought to other data and into files."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from deepregister.errors import DeepRegisterError

from ..scene.applying import COPIED, HARDENED, SHOWN
from ..scene.current import CurrentResult
from ..scene.dicom import newSeriesFolder
from ..scene.hierarchy import itemOf
from .busy import busy
from .i18n import _
from .part import Part


class UsePart(Part):
    """Applies the current result or its inverse, saves it, and writes the report page and the registered volume."""

    uiFile = "Use.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self._current: CurrentResult | None = None
        self._isRunning = False
        for text, inverse in (
            (_("Onto the fixed volume (result)"), False),
            (_("Onto the moving volume (inverse)"), True),
        ):
            self.ui.directionSelector.addItem(text, inverse)
        for text, way in (
            (_("Under the transform"), SHOWN),
            (_("Hardened, for good"), HARDENED),
            (_("As a copy"), COPIED),
        ):
            self.ui.waySelector.addItem(text, way)
        self.ui.directionSelector.connect("currentIndexChanged(int)", self._update)
        self.ui.nodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._update)
        self.ui.applyButton.connect("clicked()", self._apply)
        self.ui.saveButton.connect("clicked()", self._save)
        self.ui.reportButton.connect("clicked()", self._report)
        self.ui.dicomButton.connect("clicked()", self._exportDicom)
        self.ui.slicerDicomButton.connect("clicked()", self._openSlicersExport)
        self._update()

    def attach(self, parameters) -> None:
        """Offer what the scene holds now."""
        super().attach(parameters)
        self._update()

    def leaveScene(self) -> None:
        """Forget the result."""
        self.showResult(None)

    def setRunning(self, running: bool) -> None:
        """A result must not be moved or written while it may be replaced, and the worker does one thing at a time."""
        self._isRunning = running
        self._update()

    def showResult(self, current: CurrentResult | None) -> None:
        """Use this registration from now on."""
        self._current = current
        self.ui.appliedLabel.text = self.ui.savedLabel.text = ""
        self._update()

    @property
    def _inverse(self) -> bool:
        return bool(self.ui.directionSelector.itemData(self.ui.directionSelector.currentIndex))

    def _update(self, *_changed) -> None:
        """Say what the direction means here, and enable what can be done."""
        current, ui = self._current, self.ui
        there = current is not None and current.alive
        free = there and not self._isRunning
        source, onto = ("", "")
        if there:
            names = [current.movingNode.GetName(), current.fixedNode.GetName()]
            source, onto = names[::-1] if self._inverse else names
        ui.directionText.text = (
            _("What lies on {source} now is brought onto {onto}.").format(source=source, onto=onto)
            if there
            else _("Register two volumes first.")
        )
        ui.applyButton.enabled = free and ui.nodeSelector.currentNode() is not None
        ui.saveButton.enabled = free
        ui.reportButton.enabled = free and current.registration is not None
        volume = current.registeredVolumeNode if there else None
        ui.dicomButton.enabled = free and volume is not None
        ui.slicerDicomButton.enabled = ui.dicomButton.enabled and hasattr(slicer, "qSlicerDICOMExportDialog")
        if there and current.registration is None:
            ui.savedLabel.text = _("The report page needs more than a saved scene holds: register again for one.")
        elif there and volume is None:
            ui.savedLabel.text = _(
                "There is no registered volume: register again with one among the outputs for DICOM."
            )

    def _apply(self) -> None:
        way = self.ui.waySelector.itemData(self.ui.waySelector.currentIndex)
        node = self.ui.nodeSelector.currentNode()
        self.onError("")
        try:
            # Slicer resamples and hardens in its own process; a large volume takes a moment.
            with busy():
                applied = self.logic.applyResult(self._current, node, self._inverse, way)
        except DeepRegisterError as error:
            self.onError(str(error))
        else:
            self.ui.appliedLabel.text = applied.message

    def _save(self) -> None:
        name = self._current.transformNode.GetName()
        if self._inverse:
            name = _("{name} inverse").format(name=name)
        formats = (_("ITK transform"), "*.h5 *.tfm"), (_("Displacement field"), "*.nrrd *.nii.gz")
        filters = ";;".join(f"{title} ({endings})" for title, endings in formats)
        path = self._askForFile(_("Save the transform"), f"{name}.h5", filters)
        if path:
            self.onStart(lambda: self.logic.startSaving(self._current, path, self._inverse), self._showSaved)

    def _showSaved(self, files: list[Path]) -> None:
        self.ui.savedLabel.text = _("The transform is in {path}.").format(path=files[0])

    def _report(self) -> None:
        path = self._askForFile(_("Write the report page"), f"{self._current.transformNode.GetName()}.html", "(*.html)")
        if path:
            self.onStart(lambda: self.logic.startReport(self._current, path), self._showPage)

    def _showPage(self, files: list[Path]) -> None:
        self.ui.savedLabel.text = _("The report page is {path}.").format(path=files[0])
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(files[0])))

    def _exportDicom(self) -> None:
        parent = qt.QFileDialog.getExistingDirectory(self, _("Folder for the DICOM series"))
        if parent:
            volume = self._current.registeredVolumeNode
            folder = newSeriesFolder(parent, volume)
            self.onStart(lambda: self.logic.startDicomExport(volume, folder), self._showSeries)

    def _showSeries(self, files: list[Path]) -> None:
        text = _("{count} DICOM files are in {folder}.").format(count=len(files), folder=files[0].parent)
        self.ui.savedLabel.text = text

    def _openSlicersExport(self) -> None:
        _hierarchy, item = itemOf(self._current.registeredVolumeNode)
        dialog = slicer.qSlicerDICOMExportDialog()
        dialog.setMRMLScene(slicer.mrmlScene)
        dialog.execDialog(item)

    def _askForFile(self, title: str, name: str, formats: str) -> str:
        """A file to write, "" where the user thought better of it."""
        name = "".join(letter if letter not in '/\\:*?"<>|' else "_" for letter in name)
        # Under PythonQt the answer is the path alone.
        return qt.QFileDialog.getSaveFileName(self, title, name, formats)
