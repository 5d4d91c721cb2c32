"""Pictures of every way in which the Look section compares two volumes, drawn as Slicer's views draw them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PySide6 import QtCore, QtGui
from slicepictures import Window

# File name, button, and title. The flicker is no picture.
WAYS = (
    ("before", "fade", "Before the registration"),
    ("fade", "fade", "Fade"),
    ("checkerboard", "checkerboard", "Checkerboard"),
    ("reveal", "reveal", "Reveal, before the registration"),
    ("side-by-side", "sideBySide", "Side by side"),
    ("difference", "difference", "Difference"),
    ("displacement", "displacement", "Displacement"),
    ("volume-change", "volumeChange", "Volume change"),
    ("expected-error", "expectedError", "Expected error"),
    ("grid", "fade", "Warped grid"),
    ("arrows", "fade", "Arrows"),
)
_HEAD = 22
_GAP = 4


def comparisons(qtHost, headless, look, size: int = 360, mouse: tuple[int, int] | None = None) -> Iterator[tuple]:
    """Press one button after the other and draw the views: (file name, title, pictures of the views).

    Args:
        qtHost: the `Host`.
        headless: the `HeadlessSlicer` with three slice views.
        look: the panel's `LookPart`, which speaks of a result.
        size: of a view, pixels.
        mouse: pixel of the first view at which the circle is shown, counted from the lower left.
    """
    logics = headless.sliceLogics()
    crosshair = headless.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode") or headless.scene.AddNewNodeByClass(
        "vtkMRMLCrosshairNode"
    )
    for logic in logics:
        logic.ResizeSliceNode(size, size)
    windows = [Window(headless, logic) for logic in logics]
    try:
        for name, mode, title in WAYS:
            for kind in ("grid", "arrows"):
                getattr(look.ui, f"{kind}CheckBox").checked = name == kind
            if not getattr(look.ui, f"{mode}Button").checked:
                getattr(look.ui, f"{mode}Button").click()
            qtHost.wait(lambda: look.ready, 600)
            look.ui.warpSlider.value = 0 if name in ("before", "reveal") else 100
            look.ui.fadeSlider.value = 0 if name in ("grid", "arrows") else 50
            if mode == "reveal":
                x, y = mouse or (size // 2, size // 2)
                crosshair.SetCursorPositionXYZ((float(x), float(y), 0.0), logics[0].GetSliceNode())
            shown = windows[:2] if mode == "sideBySide" else windows
            yield name, title, [_image(window.pixels()) for window in shown]
    finally:
        look.ui.arrowsCheckBox.checked = False
        look.ui.restoreViewsButton.click()
        for window in windows:
            window.close()


def sheet(ways: list[tuple], columns: int = 2) -> QtGui.QImage:
    """All of them on one page, each under its title."""
    width = max(sum(picture.width() + _GAP for picture in pictures) for _, _, pictures in ways)
    height = max(picture.height() for _, _, pictures in ways for picture in pictures) + _HEAD + _GAP
    rows = -(-len(ways) // columns)
    page = QtGui.QImage(columns * width + _GAP, rows * height + _GAP, QtGui.QImage.Format_RGB888)
    page.fill(QtGui.QColor("#202428"))
    painter = QtGui.QPainter(page)
    painter.setPen(QtGui.QColor("#e8e8e8"))
    for number, (_name, title, pictures) in enumerate(ways):
        left, top = _GAP + (number % columns) * width, _GAP + (number // columns) * height
        painter.drawText(QtCore.QRect(left, top, width, _HEAD), QtCore.Qt.AlignVCenter, title)
        for picture in pictures:
            painter.drawImage(left, top + _HEAD, picture)
            left += picture.width() + _GAP
    painter.end()
    return page


def _image(pixels: np.ndarray) -> QtGui.QImage:
    rows, columns, _ = pixels.shape
    upright = np.ascontiguousarray(pixels[::-1])
    return QtGui.QImage(upright.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()
