"""The busy cursor, for the moments in which Slicer's interface must wait for the scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import qt


@contextmanager
def busy() -> Iterator[None]:
    """Show the busy cursor inside the block.

    `slicer.util.WaitCursor` also handles waiting events as it begins: a second click on the button that is at work, or
    the end of the scene, would come in between.
    """
    qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        yield
    finally:
        qt.QApplication.restoreOverrideCursor()
