"""The warped grid and the arrows of a transform, by Slicer's own transform display."""

from __future__ import annotations

import slicer
from deepregister import Geometry

from .helpers import Helpers

# Lines of the grid, and arrows, along the longest side of the fixed volume; bends of a line between two others.
_LINES = 16
_ARROWS = 24
_BENDS = 6


class TransformPattern:
    """Display nodes beside those that a transform node may have already, which are not touched.

    Args:
        geometry: grid of the fixed volume in the world, which sets the distance of lines and arrows.
    """

    def __init__(self, helpers: Helpers, geometry: Geometry):
        self._helpers = helpers
        self._longest = float(max(geometry.extent_mm))
        self._displays: dict[str, object] = {}
        self._transformNode = None

    def show(self, grid: bool, arrows: bool) -> None:
        """Show a grid, arrows, both or neither."""
        for kind, shown in (("grid", grid), ("arrows", arrows)):
            if shown and kind not in self._displays:
                self._displays[kind] = self._make(kind)
                if self._transformNode is not None:
                    self._transformNode.AddAndObserveDisplayNodeID(self._displays[kind].GetID())
            elif not shown and kind in self._displays:
                self._helpers.remove(self._displays.pop(kind))

    def attach(self, transformNode) -> None:
        """Show them of this transform from now on."""
        if transformNode is self._transformNode:
            return
        for display in self._displays.values():
            self._takeOff(display)
            if transformNode is not None:
                transformNode.AddAndObserveDisplayNodeID(display.GetID())
        self._transformNode = transformNode

    def _takeOff(self, display) -> None:
        node = self._transformNode
        if node is not None:
            for number in reversed(range(node.GetNumberOfDisplayNodes())):
                if node.GetNthDisplayNodeID(number) == display.GetID():
                    node.RemoveNthDisplayNodeID(number)

    def _make(self, kind: str):
        display = self._helpers.add("vtkMRMLTransformDisplayNode", f"DeepRegister {kind}")
        with slicer.util.NodeModify(display):
            if kind == "grid":
                spacing = self._longest / _LINES
                display.SetVisualizationMode(display.VIS_MODE_GRID)
                display.SetGridSpacingMm(spacing)
                display.SetGridResolutionMm(spacing / _BENDS)
            else:
                display.SetVisualizationMode(display.VIS_MODE_GLYPH)
                display.SetGlyphSpacingMm(self._longest / _ARROWS)
            display.SetVisibility(True)
            display.SetVisibility2D(True)
            display.SetVisibility3D(False)
        return display
