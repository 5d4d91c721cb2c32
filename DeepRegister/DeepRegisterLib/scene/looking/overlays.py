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

DIFFERENCE, DISPLACEMENT, VOLUME_CHANGE = "difference", "displacement", "volumeChange"
KINDS = (DIFFERENCE, DISPLACEMENT, VOLUME_CHANGE)


@dataclass(frozen=True)
class _Look:
    name: str
    table: np.ndarray
    title: str
    labelFormat: str


_LOOKS = {
    DIFFERENCE: _Look("Difference", colours.difference(), "Moving minus fixed", "%.0f"),
    DISPLACEMENT: _Look("Displacement", colours.lengths(), "Displacement (mm)", "%.1f"),
    VOLUME_CHANGE: _Look("Volume change", colours.volumeChange(), "Volume change (times)", "%.2f"),
}


class Overlays:
    """Makes them, and keeps those that were made.

    Args:
        fixedVolume: the fixed volume as it lies in the world.
        transformNode: of the result, or None.
    """

    def __init__(self, helpers: Helpers, fixedNode, fixedVolume: Volume, transformNode):
        self._helpers = helpers
        self._fixedNode = fixedNode
        self._fixed = fixedVolume
        self._transform = transformNode
        self._nodes: dict[tuple, object] = {}
        self._windows: dict[tuple, tuple] = {}

    def get(self, kind: str, amount: float):
        """The node that was made of this kind, for the difference at this amount of the warp; None before `make`."""
        return self._nodes.get(self._key(kind, amount))

    def make(self, kind: str, movingImage, viewIDs: list[str]) -> Generator[float, None, None]:
        """Compute one in small steps, yielding the share that is done; at once if it is there and still true.

        Args:
            movingImage: the `MovingImage` as it is to be seen.
            viewIDs: of the slice views that get a legend.
        """
        key = self._key(kind, movingImage.amount)
        windows = (maps.windowOf(self._fixedNode), maps.windowOf(movingImage.node))
        if key in self._nodes and (kind != DIFFERENCE or windows == self._windows[key]):
            return
        if kind == DIFFERENCE:
            steps = maps.differenceSteps(self._fixed, windows[0], movingImage.node)
        elif kind == DISPLACEMENT:
            steps = maps.displacementSteps(self._transform, self._fixed.geometry)
        else:
            steps = maps.volumeChangeSteps(self._transform, self._fixed.geometry)
        volume, low, high = yield from steps
        look = _LOOKS[kind]
        self._nodes[key] = _colouredVolume(self._helpers, volume, look, low, high)
        self._windows[key] = windows
        _addLegend(self._helpers, self._nodes[key], look, viewIDs)

    def _key(self, kind: str, amount: float) -> tuple:
        # The other two show all of the transform at any stage.
        return (kind, amount) if kind == DIFFERENCE else (kind,)


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


def _addLegend(helpers: Helpers, volumeNode, look: _Look, viewIDs: list[str]) -> None:
    """Slicer's own colour legend for a volume, in the views named."""
    legend = helpers.add("vtkMRMLColorLegendDisplayNode", f"{volumeNode.GetName()} legend")
    with slicer.util.NodeModify(legend):
        legend.SetAndObservePrimaryDisplayNode(volumeNode.GetDisplayNode())
        legend.SetTitleText(look.title)
        legend.SetLabelFormat(look.labelFormat)
        for identifier in viewIDs:
            legend.AddViewNodeID(identifier)
        legend.SetVisibility(True)
    volumeNode.AddAndObserveDisplayNodeID(legend.GetID())
