"""What is laid over the fixed volume in colours: a volume node with its own colour table and Slicer's colour legend."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import slicer
from deepregister import Volume

from ..volumes import setVolume
from . import colours, maps
from .helpers import Helpers
from .motion import Motion

DIFFERENCE, DISPLACEMENT, VOLUME_CHANGE = "difference", "displacement", "volumeChange"
EXPECTED_ERROR = "expectedError"
_WHOLE = "whole displacement"
KINDS = (DIFFERENCE, DISPLACEMENT, VOLUME_CHANGE, EXPECTED_ERROR)


@dataclass(frozen=True)
class _Look:
    name: str
    table: np.ndarray
    title: str
    labelFormat: str


_LOOKS = {
    DIFFERENCE: _Look("Difference", colours.difference(), "Moving - fixed", "%.0f"),
    DISPLACEMENT: _Look("Displacement", colours.lengths(), "Shape (mm)", "%.1f"),
    _WHOLE: _Look("Displacement", colours.lengths(), "Whole (mm)", "%.1f"),
    VOLUME_CHANGE: _Look("Volume change", colours.volumeChange(), "Volume (times)", "%.2f"),
    EXPECTED_ERROR: _Look("Expected error", colours.errors(), "Error (mm)", "%.1f"),
}


class Overlays:
    """Makes them, and keeps those that were made.

    Args:
        fixedVolume: the fixed volume as it lies in the world.
        motion: of the result, or None.
        expectedError: its map in the world, or None.
    """

    def __init__(
        self, helpers: Helpers, fixedNode, fixedVolume: Volume, motion: Motion | None, expectedError: Volume | None
    ):
        self._helpers = helpers
        self._fixedNode = fixedNode
        self._fixed = fixedVolume
        self._motion = motion
        self._expectedError = expectedError
        self._nodes: dict[tuple, object] = {}
        self._legends: dict[tuple, object] = {}
        self._windows: dict[tuple, tuple] = {}

    def get(self, kind: str, amount: float, whole: bool):
        """The node that was made of this kind; None before `make`. See there."""
        return self._nodes.get(_key(kind, amount, whole))

    def make(self, kind: str, movingImage, whole: bool, viewIDs: list[str]) -> Generator[float, None, None]:
        """Compute one in small steps, yielding the share that is done; nothing if it is there and still true.

        After the share 1 what is left, the volume into the scene, is one longer step.

        Args:
            movingImage: the `MovingImage` as it is to be seen: a difference is of one stage of the warp.
            whole: a displacement with the shift and turn of the whole.
            viewIDs: of the slice views that get a legend.
        """
        key = _key(kind, movingImage.amount, whole)
        windows = (maps.windowOf(self._fixedNode), maps.windowOf(movingImage.sampled))
        if key in self._nodes and (kind != DIFFERENCE or windows == self._windows[key]):
            return
        look = _LOOKS[kind]
        if kind == DIFFERENCE:
            volume, low, high = yield from maps.differenceSteps(self._fixed, windows[0], movingImage.sampled)
        else:
            yield from self._motion.steps()
            yield 1.0
            if kind == EXPECTED_ERROR:
                volume, low, high = maps.expectedErrorMap(self._expectedError, self._motion, self._fixed)
            elif kind == VOLUME_CHANGE:
                volume, low, high = maps.volumeChangeMap(self._motion)
            else:
                volume, low, high = maps.displacementMap(self._motion, whole)
                look = _LOOKS[_WHOLE] if whole or self._motion.shape is self._motion.whole else look
        self._nodes[key] = _colouredVolume(self._helpers, volume, look, low, high)
        self._windows[key] = windows
        self._legends[key] = _addLegend(self._helpers, self._nodes[key], look, viewIDs)

    def showLegend(self, volumeNode) -> None:
        """Show the legend of this one alone; None: of none."""
        for key, legend in self._legends.items():
            legend.SetVisibility(self._nodes[key] is volumeNode)
            # Slicer looks for what a view shows only when the legend itself is modified.
            legend.Modified()


def _key(kind: str, amount: float, whole: bool) -> tuple:
    return {DIFFERENCE: (kind, amount), DISPLACEMENT: (kind, whole)}.get(kind, (kind,))


def _colouredVolume(helpers: Helpers, volume: Volume, look: _Look, low: float, high: float):
    """A volume node in its colours, from `low` to `high`."""
    node = helpers.add("vtkMRMLScalarVolumeNode", look.name)
    setVolume(node, volume)
    table = helpers.add("vtkMRMLColorTableNode", f"{look.name} colours")
    table.SetTypeToUser()
    table.SetNumberOfColors(colours.COUNT)
    for index, (red, green, blue, alpha) in enumerate(look.table.tolist()):
        table.SetColor(index, str(index), red, green, blue, alpha)
    display = helpers.add("vtkMRMLScalarVolumeDisplayNode", f"{look.name} display")
    with slicer.util.NodeModify(display):
        display.SetAndObserveColorNodeID(table.GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(high - low, (high + low) / 2)
        display.SetInterpolate(True)
    node.SetAndObserveDisplayNodeID(display.GetID())
    return node


def _addLegend(helpers: Helpers, volumeNode, look: _Look, viewIDs: list[str]):
    """Slicer's own colour legend for a volume, in the views named."""
    legend = helpers.add("vtkMRMLColorLegendDisplayNode", f"{volumeNode.GetName()} legend")
    with slicer.util.NodeModify(legend):
        legend.SetAndObservePrimaryDisplayNode(volumeNode.GetDisplayNode())
        legend.SetTitleText(look.title)
        legend.SetLabelFormat(look.labelFormat)
        # Small, in the upper right corner: Slicer's own annotations are in the others.
        legend.SetSize(0.12, 0.36)
        legend.SetPosition(0.99, 0.86)
        for identifier in viewIDs:
            legend.AddViewNodeID(identifier)
        legend.SetVisibility(False)
    volumeNode.AddAndObserveDisplayNodeID(legend.GetID())
    return legend
