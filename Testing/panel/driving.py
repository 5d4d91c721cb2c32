"""What the panel's tests do with it, as a user would."""

import slicer


def choose(selector, value):
    """Pick the row of a combo box that stands for `value`."""
    row = selector.findData(value)
    assert row >= 0, f"{value!r} is not listed"
    selector.currentIndex = row


def choosePair(panel, pair, model="rigid", quality="fast"):
    """Choose two volumes, a model and a quality."""
    ui = panel.choose.ui
    ui.fixedSelector.setCurrentNode(pair[0])
    ui.movingSelector.setCurrentNode(pair[1])
    choose(ui.modelSelector, model)
    choose(ui.qualitySelector, quality)


def startLong(qt_host, panel):
    """Start a run that takes a while, and wait until it computes."""
    choose(panel.choose.ui.modelSelector, "deformable")
    choose(panel.choose.ui.qualitySelector, "accurate")
    panel.run.ui.runButton.click()
    qt_host.wait(lambda: panel.run.ui.progressBar.value > 0)


def register(qt_host, panel):
    """Run what is chosen to its end, and see that nothing went wrong."""
    panel.run.ui.runButton.click()
    qt_host.wait(lambda: not panel.running)
    assert not panel.run.ui.errorFrame.visible, panel.run.ui.errorLabel.text


def saved(scene) -> str:
    """The scene as text."""
    scene.SetSaveToXMLString(1)
    scene.Commit()
    scene.SetSaveToXMLString(0)
    return scene.GetSceneXMLString()


def load(scene, text: str) -> None:
    """Read a scene from text, as opening a file does."""
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(text)
    scene.Import()
    scene.SetLoadFromXMLString(0)


def composites() -> list:
    """The layers of the slice views."""
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
