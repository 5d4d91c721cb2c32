"""`ResultPart`: what came out, the verdict in plain words first, then the numbers."""

from __future__ import annotations

import slicer

from ..scene.comparison import Comparison
from ..scene.current import CurrentResult
from . import words
from .i18n import _
from .part import Part


class ResultPart(Part):
    """Shows the verdict, the direction of the transform and the measures of the current result."""

    uiFile = "Result.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self._comparison = Comparison(slicer.mrmlScene)
        self._current: CurrentResult | None = None
        self.ui.resultButton.visible = False
        self.ui.blendSlider.connect("valueChanged(int)", self._compare)
        self.ui.restoreViewsButton.connect("clicked()", self._comparison.reset)

    def showResult(self, current: CurrentResult | None) -> None:
        """Speak of this registration, and show it in the views."""
        new = current is not None and (
            self._current is None or current.transformNode is not self._current.transformNode
        )
        self._current = current
        self.ui.resultButton.visible = current is not None
        if current is not None:
            self.ui.resultLabel.text = self._text(current)
            if new:
                self._compare(self.ui.blendSlider.value)

    def leaveScene(self) -> None:
        """Forget the result."""
        self._comparison = Comparison(slicer.mrmlScene)
        self.showResult(None)

    def _text(self, current: CurrentResult) -> str:
        settings, seconds = current.settings, sum(current.summary.get("seconds", {}).values())
        rows = [
            *words.measureRows(current.measures),
            (_("Model"), f"{settings.model}, {settings.quality}"),
            (_("Time"), _("{time} on {device}").format(time=words.duration(seconds), device=current.summary["device"])),
        ]
        return words.resultText(
            current.fixedNode.GetName(),
            current.movingNode.GetName(),
            current.transformNode.GetName(),
            rows,
            current.verdict,
            [note for note in current.notes if note not in (*current.warnings, *current.confidence.sentences)],
        )

    def _compare(self, percent: int) -> None:
        # Another module's views are not this panel's to change.
        if self.parameters is not None and self._current is not None and self._current.alive:
            shown = self._current.shownVolumeNode or self._current.movingNode
            self._comparison.show(self._current.fixedNode, shown, percent / 100)
