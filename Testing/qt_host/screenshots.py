"""Pictures of the panel in each of its states, and of the comparisons in the slice views, made anew.

    PYTHONPATH=DeepRegister:Testing python -m qt_host.screenshots FIXED MOVING Resources/Screenshots --pairs PAIRS.csv

The views are drawn by Slicer's own slice logic; their place beside the panel imitates Slicer's layout. Commands that
name the Python of this machine name PythonSlicer instead, as they do in Slicer.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import slicer
from deepregister.doctor import installing
from headless_slicer import HeadlessSlicer
from PySide6 import QtCore, QtGui
from slicepictures import Window

from .host import Host
from .lookpictures import comparisons, sheet

MODULE = Path(__file__).resolve().parents[2] / "DeepRegister" / "DeepRegister.py"

VIEWS = (("Red", "Axial", "#f34a33"), ("Yellow", "Sagittal", "#edd54c"), ("Green", "Coronal", "#6eb04b"))
SIZE = 360
GAP = 4
HEAD = 22
PANEL = 460


class Views:
    """The three slice views, as pictures."""

    def __init__(self, headless):
        self._logics = [headless.addSliceView(name) for name, _orientation, _colour in VIEWS]
        self._windows = [Window(headless, logic) for logic in self._logics]

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
        for window in self._windows:
            pixels = window.pixels()[::-1].copy()
            rows, columns, _ = pixels.shape
            yield QtGui.QImage(pixels.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()

    def close(self):
        for window in self._windows:
            window.close()


class Camera:
    """Takes pictures of the panel into a folder."""

    def __init__(self, host, widget, folder):
        self._host, self._widget, self._folder = host, widget, folder

    def panel(self):
        """The panel as high as what is in it."""
        parent = self._widget.parent
        # Folding labels know their height only when they know their width; some of it only once they are laid out.
        for _ in range(3):
            self._host.pump()
            parent.resize(PANEL, max(200, parent.heightForWidth(PANEL)))
        self._host.pump()
        self._host.check()
        return self._widget.parent.grab()

    def take(self, name):
        self.panel().save(str(self._folder / f"{name}.png"))

    def unfold(self, *parts):
        """Show the sections of these parts, and fold away all others."""
        for part in self._widget.panel.parts:
            for section in vars(part.ui).values():
                if hasattr(section, "collapsed"):
                    section.collapsed = part not in parts or section.name == "advancedButton"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=Path, help="landmark pairs as the section Check exports them")
    parser.add_argument("--model", default="deformable")
    parser.add_argument("--quality", default="fast")
    parser.add_argument("--window", type=float)
    parser.add_argument("--level", type=float)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    installing.python = lambda: "PythonSlicer"

    headless = HeadlessSlicer()
    views = Views(headless)
    host = Host()
    fixed = load(options.fixed)
    load(options.moving)
    views.look_at(fixed, options.window, options.level)
    widget = host.open(host.load(MODULE))
    panel, camera = widget.panel, Camera(host, widget, options.folder)

    choosing(camera, panel, options)
    missing(camera, panel)
    crashing(host, camera, panel)
    panel.look.ui.fadeButton.click()
    before = list(views.pictures())
    running(host, camera, panel)
    after = list(views.pictures())
    camera.unfold(panel.choose, panel.result)
    picture = camera.panel()
    compose(picture, before, after).save(str(options.folder / "panel.png"))
    camera.unfold(panel.result, panel.look)
    camera.take("panel-result")
    sheet([*comparisons(host, headless, panel.look, 240)]).save(str(options.folder / "comparisons.png"))
    if options.pairs is not None:
        checking(host, camera, panel, options.pairs)
    camera.unfold(panel.use, panel.sequence)
    camera.take("panel-use")
    host.close(widget)
    views.close()


def choosing(camera, panel, options):
    """The panel as it opens; and with all that it hides."""
    camera.take("panel-choose")
    for selector, value in (
        (panel.choose.ui.modelSelector, options.model),
        (panel.choose.ui.qualitySelector, options.quality),
    ):
        selector.currentIndex = selector.findData(value)
    panel.choose.ui.detailsButton.click()
    panel.choose.ui.advancedButton.collapsed = False
    camera.take("panel-advanced")
    panel.choose.ui.detailsButton.click()
    panel.choose.ui.advancedButton.collapsed = True


def missing(camera, panel):
    """PyTorch is not there, and the user does not want it installed now."""
    from DeepRegisterLib.panel import installation

    there, ask = installation.torchVersion, slicer.util.confirmOkCancelDisplay
    installation.torchVersion, slicer.util.confirmOkCancelDisplay = lambda: None, lambda *unused: False
    panel.run.ui.runButton.click()
    camera.take("panel-without-pytorch")
    installation.torchVersion, slicer.util.confirmOkCancelDisplay = there, ask
    panel.run.showError("")
    panel.checkup.ui.checkupButton.collapsed = True


def crashing(host, camera, panel):
    """The process of a registration is killed."""
    panel.run.ui.runButton.click()
    host.wait(lambda: panel.run.ui.progressBar.value > 0, 600)
    os.kill(panel.logic.client.pid, signal.SIGTERM)
    host.wait(lambda: not panel.running, 600)
    text = panel.run.ui.errorLabel.text.replace(sys.executable, "PythonSlicer")
    panel.run.showError(text, panel.logic.workerLog)
    camera.take("panel-crash")
    panel.run.showError("")


def running(host, camera, panel):
    """A run in the middle, and then to its end."""
    panel.run.ui.runButton.click()
    host.wait(lambda: panel.run.ui.progressBar.value > 300, 3600)
    camera.take("panel-running")
    host.wait(lambda: not panel.running, 3600)
    if panel.run.ui.errorFrame.visible:
        raise SystemExit(panel.run.ui.errorLabel.text)


def checking(host, camera, panel, pairs):
    """Landmark pairs from a file, measured; the field inspected."""
    from DeepRegisterLib.scene.landmarkpairs import makeLists
    from DeepRegisterLib.scene.pairfiles import addPairs, readPairs

    parameters = panel.check.parameters
    parameters.fixedPoints, parameters.movingPoints = makeLists(parameters.fixedVolume, parameters.movingVolume)
    addPairs(*panel.check._lists, readPairs(pairs), panel.current.transformNode)
    panel.check.update()
    panel.check.ui.inspectButton.click()
    host.wait(lambda: not panel.running, 600)
    camera.unfold(panel.check, panel.improve)
    camera.take("panel-check")


def load(path):
    """A volume node of an image file."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name.split(".")[0])
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    if not node.GetStorageNode().ReadData(node):
        raise SystemExit(f"{path} cannot be read")
    node.CreateDefaultDisplayNodes()
    return node


def canvas(width, height):
    """A dark picture, and what draws on it."""
    picture = QtGui.QImage(width, height, QtGui.QImage.Format_RGB888)
    picture.fill(QtGui.QColor("#2b2b2b"))
    return picture, QtGui.QPainter(picture)


def titled(painter, left, top, image, title, colour):
    """A picture under a coloured head with its title."""
    painter.fillRect(left, top, SIZE, HEAD, QtGui.QColor(colour))
    painter.setPen(QtGui.QColor("black"))
    painter.drawText(QtCore.QRect(left + 8, top, SIZE, HEAD), QtCore.Qt.AlignVCenter, title)
    painter.drawImage(left, top + HEAD, image)


def compose(panel, before, after):
    """Panel on the left; on the right a row of views before the run and one after it."""
    height = max(2 * (SIZE + HEAD + GAP) + GAP, panel.height())
    picture, painter = canvas(PANEL + 3 * (SIZE + GAP) + GAP, height)
    painter.drawPixmap(0, 0, panel)
    for row, (images, when) in enumerate(((before, "before"), (after, "after"))):
        for column, (image, (_name, orientation, colour)) in enumerate(zip(images, VIEWS, strict=True)):
            left, top = PANEL + GAP + column * (SIZE + GAP), GAP + row * (SIZE + HEAD + GAP)
            titled(painter, left, top, image, f"{orientation}, fixed and moving at half each, {when}", colour)
    painter.end()
    return picture


if __name__ == "__main__":
    main()
