"""`ResultPart`: what came out, the verdict in plain words first, then the numbers."""

from __future__ import annotations

from ..scene.current import CurrentResult
from . import words
from .i18n import _
from .part import Part


class ResultPart(Part):
    """Shows the verdict, the direction of the transform and the measures of the current result."""

    uiFile = "Result.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self.ui.resultButton.visible = False

    def showResult(self, current: CurrentResult | None) -> None:
        """Speak of this registration."""
        self.ui.resultButton.visible = current is not None
        if current is not None:
            self.ui.resultLabel.text = self._text(current)

    def leaveScene(self) -> None:
        """Forget the result."""
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
