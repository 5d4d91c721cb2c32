"""The warped grid and the arrows of a result, by Slicer's own transform display."""

from __future__ import annotations

import slicer
from deepregister import DisplacementField, Geometry

from ..grids import displacementGrid
from .helpers import Helpers

# Lines of the grid, and arrows, along the longest side of the fixed volume; bends of a line between two others.
_LINES = 16
_ARROWS = 24
_BENDS = 6


class Pattern:
    """A transform node of its own that is drawn: no display of the result's own node is touched.

    Args:
        geometry: grid of the fixed volume in the world, which sets the distance of lines and arrows.
    """

    def __init__(self, helpers: Helpers, geometry: Geometry):
        self._helpers = helpers
        self._longest = float(max(geometry.extent_mm))
        self._displays: dict[str, object] = {}
        self._node = None
        self._field: DisplacementField | None = None

    def show(self, grid: bool, arrows: bool) -> None:
        """Show a grid, arrows, both or neither, of what `draw` is given."""
        for kind, shown in (("grid", grid), ("arrows", arrows)):
            if shown and kind not in self._displays:
                self._displays[kind] = self._make(kind)
            elif not shown and kind in self._displays:
                self._helpers.remove(self._displays.pop(kind))

    @property
    def shown(self) -> bool:
        """Whether anything is drawn."""
        return bool(self._displays)

    def draw(self, field: DisplacementField, amount: float) -> None:
        """Draw so much of a displacement of fixed space."""
        node = self._transformNode()
        if field is not self._field:
            self._field = field
            node.SetAndObserveTransformFromParent(displacementGrid(field, field.geometry))
        node.GetTransformFromParent().SetDisplacementScale(amount)

    def _transformNode(self):
        if self._node is None:
            self._node = self._helpers.add("vtkMRMLGridTransformNode", "DeepRegister pattern")
        return self._node

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
        self._transformNode().AddAndObserveDisplayNodeID(display.GetID())
        return display
