"""`CheckPart`: landmark pairs, structures and the field of the current result, and the verdict in plain words."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
import vtk
from deepregister import Geometry
from deepregister.errors import DeepRegisterError

from ..scene.checking import Findings
from ..scene.current import CurrentResult
from ..scene.heldback import heldBack, pulled, setHeldBack
from ..scene.judgement import judge
from ..scene.landmarkpairs import PairErrors, jumpTo, keepWithVolume, makeLists, pairErrors, removePairs
from ..scene.pairfiles import addPairs, readPairs, writePairs
from ..scene.placing import PARTNER, PairPlacing
from ..scene.volumes import volumeFromNode
from . import checkwords
from .binding import Binding
from .i18n import _
from .pairstable import PairsTable
from .part import Part

# Points that follow the mouse report every pixel.
UPDATE_MS = 30


class CheckPart(Part):
    """Measures the current result with what the user places and draws, and says how good it is.

    Attributes:
        onPlacing: `onPlacing()`: pairs are about to be placed, for which this part needs the slice views.
        onPairs: `onPairs(errors)`: the pairs, or their roles, have changed.
    """

    uiFile = "Check.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self.onPlacing: Callable[[], None] = lambda: None
        self.onPairs: Callable[[PairErrors], None] = lambda errors: None
        self.errors: PairErrors = pairErrors(None, None)
        self._current: CurrentResult | None = None
        self._fixed: Geometry | None = None
        self._findings: Findings | None = None
        self._placing: PairPlacing | None = None
        self._isRunning = False
        self._observations: list[tuple[object, int]] = []
        self.table = PairsTable(self.ui.pairsTable)
        self.table.onRow = self._jump
        self.table.onHeld = self._hold
        ui = self.ui
        ui.structuresTable.setColumnCount(len(checkwords.STRUCTURES))
        ui.structuresTable.setHorizontalHeaderLabels(list(checkwords.STRUCTURES))
        ui.structuresTable.verticalHeader().setVisible(False)
        ui.structuresTable.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        self._structureCells: list = []
        for name, slot in (
            ("placeButton", self._place),
            ("nextButton", lambda: self._placing.next()),
            ("clickButton", lambda: self._placing.clickPartner()),
            ("removeButton", self._remove),
            ("exportButton", self._export),
            ("importButton", self._import),
            ("inspectButton", self._inspect),
        ):
            getattr(ui, name).connect("clicked()", slot)
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.setInterval(UPDATE_MS)
        self._later.connect("timeout()", self.update)
        self.binding = Binding(ui, self._listsChanged)
        self._showFindings(None)
        self._enable()

    def attach(self, parameters) -> None:
        """Follow these parameters, and the points that they name."""
        super().attach(parameters)
        self.binding.attach(parameters)

    def detach(self) -> None:
        """Stop following the points; what is being placed is left as it is."""
        self._stopPlacing()
        self._watch()
        self._later.stop()
        self.binding.detach()
        super().detach()

    def leaveScene(self) -> None:
        """Forget the result and what was found."""
        self.showResult(None)

    def setRunning(self, running: bool) -> None:
        """A result that may be replaced is not measured, and the worker does one thing at a time."""
        self._isRunning = running
        if running:
            self._stopPlacing()
        self._enable()

    def showResult(self, current: CurrentResult | None) -> None:
        """Measure this registration from now on."""
        if current is not self._current:
            self._stopPlacing()
            self._current = current
            self._fixed = _gridOf(current)
            self._showFindings(None)
        if self.parameters is not None:
            keepWithVolume(self.parameters.fixedPoints)
            keepWithVolume(self.parameters.movingPoints)
        self._listsChanged()

    def update(self) -> None:
        """Measure the pairs and show them: what a benchmark of the table calls."""
        fixed, moving = self._lists
        transform = self._transform
        try:
            self.errors = pairErrors(fixed, moving, transform)
        except DeepRegisterError as error:
            self.errors = pairErrors(None, None)
            self.onError(str(error))
        drawn = pulled(self.errors, transform)
        self.table.show(self.errors, heldBack(self.errors, fixed, transform), drawn)
        self.ui.errorsLabel.text = checkwords.errorsText(self.errors, drawn)
        self._judge()
        self._enable()
        self.onPairs(self.errors)

    @property
    def _transform(self):
        return self._current.transformNode if self._current is not None and self._current.alive else None

    @property
    def _lists(self) -> tuple:
        if self.parameters is None:
            return None, None
        return self.parameters.fixedPoints, self.parameters.movingPoints

    def _judge(self) -> None:
        there = self._transform is not None and self._fixed is not None
        self.ui.verdictLabel.visible = there
        if there:
            drawn = pulled(self.errors, self._transform)
            tolerance = self.ui.toleranceSpinBox.value
            found = judge(self._current, self._fixed, self.errors, self._findings, drawn, tolerance)
            self.ui.verdictLabel.text = checkwords.verdictText(found)

    def _enable(self) -> None:
        ui, free, there = self.ui, not self._isRunning, self._transform is not None
        placing = self._placing is not None
        parameters = self.parameters
        volumes = there or (parameters is not None and None not in (parameters.fixedVolume, parameters.movingVolume))
        ui.placeButton.enabled = ui.importButton.enabled = free and parameters is not None and volumes
        ui.placeButton.checked = placing
        ui.nextButton.visible = ui.clickButton.visible = placing
        ui.nextButton.enabled = ui.clickButton.enabled = placing and self._placing.stage == PARTNER
        ui.removeButton.enabled = ui.exportButton.enabled = len(self.errors) > 0
        ui.inspectButton.enabled = free and there
        guide = "" if not placing else self._placing
        ui.guideLabel.text = guide and checkwords.guideText(guide.stage, guide.number, guide.clicking)
        ui.guideLabel.visible = placing

    def _listsChanged(self) -> None:
        self._watch(*self._lists, self._transform)
        self.update()

    def _watch(self, *nodes) -> None:
        """Follow these nodes and no others."""
        for node, tag in self._observations:
            node.RemoveObserver(tag)
        self._observations = []
        markups = slicer.vtkMRMLMarkupsNode
        points = (vtk.vtkCommand.ModifiedEvent, markups.PointModifiedEvent, markups.PointRemovedEvent)
        for node in nodes:
            if node is not None:
                events = points if node.IsA("vtkMRMLMarkupsNode") else (node.TransformModifiedEvent,)
                self._observations += [(node, node.AddObserver(event, self._changed)) for event in events]

    def _changed(self, *_event) -> None:
        if not self._later.active:
            self._later.start()

    def _jump(self, row: int) -> None:
        if row < len(self.errors):
            jumpTo(self.errors, row, slicer.mrmlScene)

    def _hold(self, row: int, held: bool) -> None:
        setHeldBack(self.errors, self._lists[0], row, held)
        self.update()

    def _volumes(self) -> tuple:
        """The volumes that pairs are placed on."""
        if self._transform is not None:
            return self._current.fixedNode, self._current.movingNode
        return self.parameters.fixedVolume, self.parameters.movingVolume

    def _ensureLists(self) -> tuple:
        """The point lists, made if one is missing."""
        fixed, moving = self._lists
        if fixed is None or moving is None:
            made = makeLists(*self._volumes(), fixed, moving)
            self.parameters.fixedPoints, self.parameters.movingPoints = made
        return self._lists

    def _place(self) -> None:
        if self._placing is not None:
            self._stopPlacing()
            return
        self.onError("")
        self.onPlacing()
        try:
            placing = PairPlacing(
                *self._ensureLists(),
                *self._volumes(),
                self._transform,
                later=lambda function: qt.QTimer.singleShot(0, function),
                onChange=self._placingChanged,
            )
            self._placing = placing
            placing.start()
        except DeepRegisterError as error:
            self._placing = None
            self.onError(str(error))
        self._enable()

    def _placingChanged(self) -> None:
        if self._placing is not None and self._placing.stage is None:
            self._placing = None
        self.update()

    def _stopPlacing(self) -> None:
        if self._placing is not None:
            self._placing.stop()

    def _remove(self) -> None:
        rows = {row for row in self.table.selectedRows() if row < len(self.errors)}
        removePairs(*self._lists, rows)
        self.update()

    def _export(self) -> None:
        path = qt.QFileDialog.getSaveFileName(self, _("Export landmark pairs"), "landmarks.csv", "CSV (*.csv)")
        if path:
            self._try(lambda: writePairs(self.errors, path))

    def _import(self) -> None:
        path = qt.QFileDialog.getOpenFileName(self, _("Import landmark pairs"), "", "CSV (*.csv)")
        if path:
            self._try(lambda: self._add(readPairs(path)))

    def _add(self, pairs) -> None:
        addPairs(*self._ensureLists(), pairs, self._transform)
        self.update()

    def _inspect(self) -> None:
        current, p = self._current, self.parameters
        self.onStart(
            lambda: self.logic.startCheck(current, p.fixedSegmentation, p.movingSegmentation),
            lambda findings: self._found(current, findings),
        )

    def _found(self, current: CurrentResult, findings: Findings) -> None:
        # Of another result, or one whose nodes were removed meanwhile, it would say nothing.
        if current is self._current and self._transform is not None:
            self._showFindings(findings)
            self._judge()

    def _showFindings(self, findings: Findings | None) -> None:
        self._findings = findings
        ui = self.ui
        ui.fieldLabel.visible = findings is not None
        ui.fieldLabel.text = "" if findings is None else checkwords.fieldText(findings)
        structures = () if findings is None else findings.structures
        ui.structuresTable.visible = bool(structures)
        ui.structuresTable.setRowCount(len(structures))
        self._structureCells = []
        for row, entry in enumerate(structures):
            for column, text in enumerate(checkwords.structureCells(entry)):
                cell = qt.QTableWidgetItem(text)
                self._structureCells.append(cell)
                ui.structuresTable.setItem(row, column, cell)

    def _try(self, function: Callable[[], None]) -> None:
        self.onError("")
        try:
            function()
        except DeepRegisterError as error:
            self.onError(str(error))


def _gridOf(current: CurrentResult | None) -> Geometry | None:
    """The fixed volume's grid; None without a result, or where a scene was loaded whose file of it was not found."""
    if current is None or current.fixedNode.GetImageData() is None:
        return None
    return volumeFromNode(current.fixedNode)[0].geometry
