"""`ImprovePart`: the current result refined with landmarks and painted regions, and the way back."""

from __future__ import annotations

import slicer
from deepregister.errors import DeepRegisterError

from ..scene.current import CurrentResult
from ..scene.emphasis import makeRegion
from ..scene.heldback import heldBack, pulled
from ..scene.improving import RunningRefinement
from ..scene.landmarkpairs import PairErrors, pairErrors
from . import checkwords
from .binding import Binding
from .busy import busy
from .i18n import _
from .part import Part


class ImprovePart(Part):
    """Starts refinements under the panel's progress bar; undo and redo put results back where they were."""

    uiFile = "Improve.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self._current: CurrentResult | None = None
        self._errors: PairErrors = pairErrors(None, None)
        self._isRunning = False
        self._refinement: RunningRefinement | None = None
        self._outcome = ""
        self.binding = Binding(self.ui, self._update)
        for name, slot in (
            ("refineButton", self._refine),
            ("paintButton", self._paint),
            ("undoButton", lambda: self._goTo(self.logic.undoRefinement)),
            ("redoButton", lambda: self._goTo(self.logic.redoRefinement)),
        ):
            getattr(self.ui, name).connect("clicked()", slot)
        self._update()

    def attach(self, parameters) -> None:
        """Follow these parameters."""
        super().attach(parameters)
        self.binding.attach(parameters)

    def detach(self) -> None:
        """Stop following them."""
        self.binding.detach()
        super().detach()

    def leaveScene(self) -> None:
        """Forget the result."""
        self.showPairs(pairErrors(None, None))
        self.showResult(None)

    def setRunning(self, running: bool) -> None:
        """One thing at a time, and a result that may be replaced is not taken back."""
        self._isRunning = running
        self._update()

    def showResult(self, current: CurrentResult | None) -> None:
        """Improve this registration from now on."""
        self._current = current
        self.ui.outcomeLabel.text, self._outcome = self._outcome, ""
        self._update()

    def showPairs(self, errors: PairErrors) -> None:
        """These are the landmark pairs now."""
        self._errors = errors
        self._update()

    def _update(self) -> None:
        ui, p = self.ui, self.parameters
        there = self._current is not None and self._current.alive
        free = there and not self._isRunning
        transform = self._current.transformNode if there else None
        held = heldBack(self._errors, p.fixedPoints if p is not None else None, transform)
        count = len(self._errors)
        ui.pairsLabel.text = checkwords.rolesText(count, int(held.sum()), int(pulled(self._errors, transform).sum()))
        region = p is not None and p.emphasis is not None
        ui.refineButton.enabled = free and p is not None and (region or bool((~held).any()))
        ui.paintButton.enabled = free
        ui.undoButton.enabled = free and self.logic.canUndoRefinement(self._current)
        ui.redoButton.enabled = free and self.logic.canRedoRefinement(self._current)
        ui.outcomeLabel.visible = bool(ui.outcomeLabel.text)

    def _refine(self) -> None:
        current, p = self._current, self.parameters

        def start() -> RunningRefinement:
            self._refinement = self.logic.startRefinement(
                current,
                p.fixedPoints,
                p.movingPoints,
                p.emphasis,
                fixedMaskNode=p.fixedMask,
                movingMaskNode=p.movingMask,
                regionsNode=p.slidingRegions,
                settings=p.settings(),
            )
            return self._refinement

        self.onStart(
            start, lambda nodes: self._take(nodes, self._refinement.outcome or (_("The result was refined."),))
        )

    def _take(self, nodes, outcome: tuple[str, ...]) -> None:
        """Show what a refinement, or the way back, has left."""
        self._outcome = checkwords.sentencesText(outcome)
        self.onResult(nodes)

    def _goTo(self, step) -> None:
        self.onError("")
        try:
            # A field, and perhaps a volume, are copied back.
            with busy():
                nodes = step(self._current)
        except DeepRegisterError as error:
            self.onError(str(error))
        else:
            self._take(nodes, (nodes.message,))

    def _paint(self) -> None:
        self.parameters.emphasis = makeRegion(self._current.fixedNode, _("Where it went wrong"))
        slicer.util.selectModule("SegmentEditor")
