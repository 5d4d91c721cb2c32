"""The screenshot of the extension: the panel after a run in the Qt host, beside what the slice views then show.

    PYTHONPATH=DeepRegister:Testing python -m qt_host.screenshots FIXED MOVING Resources/Screenshots/panel.png

The views are drawn by Slicer's own slice logic; their place beside the panel imitates Slicer's layout.
"""

import argparse
from pathlib import Path

import numpy as np
import slicer
from headless_slicer import HeadlessSlicer
from PySide6 import QtCore, QtGui
from vtk.util.numpy_support import vtk_to_numpy

from .host import Host

MODULE = Path(__file__).resolve().parents[2] / "DeepRegister" / "DeepRegister.py"

VIEWS = (("Red", "Axial", "#f34a33"), ("Yellow", "Sagittal", "#edd54c"), ("Green", "Coronal", "#6eb04b"))
SIZE = 360
GAP = 4
HEAD = 22
PANEL = 440


class Views:
    """The three slice views, as pictures."""

    def __init__(self, headless):
        self._logics = [headless.addSliceView(name) for name, _orientation, _colour in VIEWS]

    def look_at(self, volume, window, level):
        """Centre the views on a volume, as Slicer does when it is loaded."""
        for logic, (_name, orientation, _colour) in zip(self._logics, VIEWS, strict=True):
            node = logic.GetSliceNode()
            node.SetOrientation(orientation)
            node.SetDimensions(SIZE, SIZE, 1)
            logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
            logic.FitSliceToBackground()
        for shown in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if window is not None:
                shown.GetDisplayNode().SetAutoWindowLevel(False)
                shown.GetDisplayNode().SetWindowLevel(window, level)

    def pictures(self):
        """One image for each view."""
        for logic in self._logics:
            logic.UpdatePipeline()
            producer = logic.GetImageDataConnection().GetProducer()
            producer.Update()
            image = producer.GetOutputDataObject(logic.GetImageDataConnection().GetIndex())
            columns, rows, _ = image.GetDimensions()
            pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 4)[::-1]
            # Slicer draws them over black: outside the volumes nothing is opaque.
            pixels = (pixels[..., :3] * (pixels[..., 3:] / 255.0)).astype(np.uint8)
            yield QtGui.QImage(pixels.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()


def main():
    parser = argparse.ArgumentParser(description="Take the screenshot of the extension.")
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="deformable")
    parser.add_argument("--quality", default="fast")
    parser.add_argument("--window", type=float)
    parser.add_argument("--level", type=float)
    options = parser.parse_args()

    headless = HeadlessSlicer()
    views = Views(headless)
    host = Host()
    fixed, moving = (load(path) for path in (options.fixed, options.moving))
    views.look_at(fixed, options.window, options.level)
    module = host.load(MODULE)
    widget = host.open(module)
    panel = widget.panel
    for selector, value in ((panel.ui.modelSelector, options.model), (panel.ui.qualitySelector, options.quality)):
        selector.currentIndex = selector.findData(value)
    panel._comparison.show(fixed, moving)
    before = list(views.pictures())
    panel.ui.runButton.click()
    host.wait(lambda: not panel.running, 3600)
    if panel.ui.errorFrame.visible:
        raise SystemExit(panel.ui.errorLabel.text)
    after = list(views.pictures())

    height = 2 * (SIZE + HEAD + GAP) + GAP
    widget.parent.resize(PANEL, height)
    host.pump()
    compose(widget.parent.grab(), before, after, height).save(str(options.output))
    host.close(widget)


def load(path):
    """A volume node of an image file."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name.split(".")[0])
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    if not node.GetStorageNode().ReadData(node):
        raise SystemExit(f"{path} cannot be read")
    node.CreateDefaultDisplayNodes()
    return node


def compose(panel, before, after, height):
    """Panel on the left; on the right a row of views before the run and one after it."""
    picture = QtGui.QImage(PANEL + 3 * (SIZE + GAP) + GAP, height, QtGui.QImage.Format_RGB888)
    picture.fill(QtGui.QColor("#2b2b2b"))
    painter = QtGui.QPainter(picture)
    painter.drawPixmap(0, 0, panel)
    for row, (images, when) in enumerate(((before, "before"), (after, "after"))):
        top = GAP + row * (SIZE + HEAD + GAP)
        for column, (image, (_name, orientation, colour)) in enumerate(zip(images, VIEWS, strict=True)):
            left = PANEL + GAP + column * (SIZE + GAP)
            painter.fillRect(left, top, SIZE, HEAD, QtGui.QColor(colour))
            box = QtCore.QRect(left + 8, top, SIZE, HEAD)
            painter.setPen(QtGui.QColor("black"))
            painter.drawText(box, QtCore.Qt.AlignVCenter, f"{orientation}, fixed and moving at half each, {when}")
            painter.drawImage(left, top + HEAD, image)
    painter.end()
    return picture


if __name__ == "__main__":
    main()
