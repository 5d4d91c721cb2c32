"""`SequencePart`: a 4D sequence registered frame by frame."""

from __future__ import annotations

from ..scene.sequences import SequenceResult
from .i18n import _
from .part import Part


class SequencePart(Part):
    """Chooses a sequence and the frame that stays, and registers all others to it."""

    uiFile = "Sequence.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self._isRunning = False
        self.ui.sequenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._update)
        self.ui.ontoFixedCheckBox.connect("toggled(bool)", self._update)
        self.ui.registerSequenceButton.connect("clicked()", self._register)
        self._update()

    def attach(self, parameters) -> None:
        """Offer what the scene holds now."""
        super().attach(parameters)
        self._update()

    def leaveScene(self) -> None:
        """Forget what was done."""
        self.ui.sequenceResultLabel.text = ""

    def setRunning(self, running: bool) -> None:
        """The worker does one thing at a time."""
        self._isRunning = running
        self._update()

    def _update(self, *_changed) -> None:
        sequence = self.ui.sequenceSelector.currentNode()
        count = sequence.GetNumberOfDataNodes() if sequence is not None else 0
        self.ui.referenceSpinBox.maximum = max(0, count - 1)
        self.ui.referenceSpinBox.enabled = count > 0 and not self.ui.ontoFixedCheckBox.checked
        self.ui.registerSequenceButton.enabled = count > 0 and self.parameters is not None and not self._isRunning

    def _register(self) -> None:
        sequence, parameters = self.ui.sequenceSelector.currentNode(), self.parameters
        fixed = parameters.fixedVolume if self.ui.ontoFixedCheckBox.checked else None
        if self.ui.ontoFixedCheckBox.checked and fixed is None:
            self.onError(_("There is no fixed volume to bring the frames onto. Choose one above, or take a frame."))
            return
        reference = self.ui.referenceSpinBox.value
        self.ui.sequenceResultLabel.text = ""
        self.onStart(
            lambda: self.logic.startSequence(sequence, reference, fixed, parameters.settings()), self._showOutcome
        )

    def _showOutcome(self, result: SequenceResult) -> None:
        done = sum(registration is not None for registration in result.registrations)
        name = result.transformSequenceNode.GetName()
        lines = [_("{count} frames were registered; their transforms are in {name}.").format(count=done, name=name)]
        lines += [
            _("Frame {number} was not: {reason}").format(number=number, reason=error)
            for number, error in result.errors.items()
        ]
        self.ui.sequenceResultLabel.text = "\n".join(lines)
