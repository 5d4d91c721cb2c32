"""The table of landmark pairs: one row each, with a mark for those that are held back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import qt

from ..scene.landmarkpairs import PairErrors
from . import checkwords
from .i18n import _

_HELD = 3


class PairsTable:
    """Shows errors in a `QTableWidget`; cells are kept and rewritten, so that two hundred rows follow the mouse.

    Args:
        widget: the table.

    Attributes:
        onRow: `onRow(row)`: a row was clicked.
        onHeld: `onHeld(row, held)`: the mark of a row was changed.
    """

    def __init__(self, widget):
        self._widget = widget
        self.onRow: Callable[[int], None] = lambda row: None
        self.onHeld: Callable[[int, bool], None] = lambda row, held: None
        # Qt owns the cells, and ends those of rows that go; here they are at hand to be rewritten.
        self._cells: list[list] = []
        self._filling = False
        widget.setColumnCount(len(checkwords.PAIRS))
        widget.setHorizontalHeaderLabels(list(checkwords.PAIRS))
        widget.verticalHeader().setVisible(False)
        widget.verticalHeader().setDefaultSectionSize(24)
        widget.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        widget.connect("cellClicked(int,int)", lambda row, column: self.onRow(row))
        widget.connect("cellChanged(int,int)", self._changed)

    def show(self, errors: PairErrors, held: np.ndarray, drawn: np.ndarray) -> None:
        """Fill the table.

        Args:
            errors: one row each.
            held: (n,), whether a pair is held back.
            drawn: (n,), whether it drew the current result and so cannot be held back.
        """
        self._filling = True
        try:
            while len(self._cells) > len(errors):
                self._cells.pop()
            self._widget.setRowCount(len(errors))
            for row in range(len(errors)):
                if row == len(self._cells):
                    self._cells.append([qt.QTableWidgetItem() for _title in checkwords.PAIRS])
                    for column, cell in enumerate(self._cells[row]):
                        self._widget.setItem(row, column, cell)
                cells = self._cells[row]
                for cell, text in zip(cells, checkwords.pairCells(errors, row), strict=False):
                    if cell.text() != text:
                        cell.setText(text)
                state = qt.Qt.Checked if held[row] else qt.Qt.Unchecked
                if cells[_HELD].checkState() != state or not cells[_HELD].data(qt.Qt.CheckStateRole):
                    cells[_HELD].setCheckState(state)
                role = _("drew the result") if drawn[row] else ""
                if cells[_HELD].text() != role:
                    cells[_HELD].setText(role)
        finally:
            self._filling = False

    def selectedRows(self) -> set[int]:
        """The rows that are selected."""
        return {index.row() for index in self._widget.selectionModel().selectedRows()}

    def _changed(self, row: int, column: int) -> None:
        if column == _HELD and not self._filling:
            self.onHeld(row, self._cells[row][_HELD].checkState() == qt.Qt.Checked)
