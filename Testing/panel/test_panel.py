"""The panel as the user sees it: choose, run with the real worker, cancel, errors, closing the scene."""

import os
import signal

import pytest
import slicer
from deepregister.errors import DeepRegisterError
from deepregister.models.registry import list_models
from DeepRegisterLib.scene.parameters import Parameters


def choose(selector, value):
    selector.currentIndex = selector.findData(value)


def composites():
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


@pytest.fixture
def ready(panel, pair):
    """The panel with the pair chosen, and the quickest way to register it."""
    panel.ui.fixedSelector.setCurrentNode(pair[0])
    panel.ui.movingSelector.setCurrentNode(pair[1])
    choose(panel.ui.modelSelector, "rigid")
    choose(panel.ui.qualitySelector, "fast")
    return panel


def test_without_volumes_it_says_what_is_missing(panel):
    assert not panel.ui.runButton.enabled
    assert panel.ui.statusLabel.text == "Choose a fixed and a moving volume."
    assert not panel.ui.resultButton.visible
    assert panel.ui.advancedButton.collapsed


def test_models_are_those_of_the_registry_with_their_summaries(panel):
    selector = panel.ui.modelSelector
    listed = [(selector.itemData(row), selector.itemText(row)) for row in range(selector.count)]
    marks = {True: " (experimental)", False: ""}
    assert listed == [
        ("auto", "Automatic"),
        *((card.name, card.title + marks[card.experimental]) for card in list_models()),
    ]
    for card in list_models():
        choose(selector, card.name)
        assert panel.ui.modelSummary.text == card.summary


def test_experimental_models_are_offered_only_on_request(monkeypatch, qt_host, module):
    from dataclasses import replace

    tried = replace(list_models()[0], name="trial", title="Trial", experimental=True)
    monkeypatch.setattr(module.DeepRegisterLogic, "models", lambda self: [*list_models(), tried])
    widget = qt_host.open(module)
    try:
        ui = widget.panel.ui
        row = ui.modelSelector.findData("trial")
        assert ui.modelSelector.itemText(row) == "Trial (experimental)"
        assert ui.modelSelector.view().isRowHidden(row)
        ui.experimentalCheckBox.checked = True
        assert not any(ui.modelSelector.view().isRowHidden(n) for n in range(ui.modelSelector.count))
    finally:
        qt_host.close(widget)


def test_every_parameter_has_a_widget(panel):
    assert panel.binding.names == set(Parameters.names()) - {"resultTransform"}


def test_every_selector_gets_the_scene(panel, scene):
    selectors = [widget for widget in vars(panel.ui).values() if hasattr(widget, "noneEnabled")]
    assert len(selectors) == 8
    assert all(selector.mrmlScene() is scene for selector in selectors)


def test_the_first_two_volumes_are_chosen_on_entering(qt_host, widget, pair):
    qt_host.leave(widget)
    qt_host.enter(widget)
    assert (widget.panel.ui.fixedSelector.currentNode(), widget.panel.ui.movingSelector.currentNode()) == pair
    assert widget.panel.ui.runButton.enabled


def test_one_volume_cannot_be_both(ready, pair):
    assert ready.ui.runButton.enabled
    ready.ui.movingSelector.setCurrentNode(pair[0])
    assert not ready.ui.runButton.enabled
    assert "same" in ready.ui.statusLabel.text


def test_choices_go_to_the_parameter_node_and_come_from_it(ready, scene, pair):
    parameters = Parameters.ofScene(scene)
    assert (parameters.fixedVolume, parameters.movingVolume) == pair
    assert (parameters.model, parameters.quality) == ("rigid", "fast")
    ready.ui.inverseCheckBox.checked = True
    assert parameters.createInverse

    parameters.quality = "accurate"
    parameters.createRegisteredVolume = False
    parameters.movingVolume = None
    assert ready.ui.qualitySelector.currentText == "Accurate"
    assert not ready.ui.registeredCheckBox.checked
    assert ready.ui.movingSelector.currentNode() is None
    assert not ready.ui.runButton.enabled


def test_left_it_does_not_follow_and_entered_it_does(qt_host, widget, ready, scene):
    qt_host.leave(widget)
    Parameters.ofScene(scene).quality = "accurate"
    assert ready.ui.qualitySelector.currentText == "Fast"
    qt_host.enter(widget)
    assert ready.ui.qualitySelector.currentText == "Accurate"


def test_runs_and_shows_and_runs_again_in_the_same_worker(qt_host, widget, ready, pair):
    fixed, moving = pair
    views = composites()
    views[0].SetBackgroundVolumeID(moving.GetID())
    seen = []
    ready.ui.progressBar.connect("valueChanged(int)", seen.append)
    ready.ui.runButton.click()
    assert ready.running
    assert ready.ui.runButton.text == "Cancel"
    assert ready.ui.progressBar.visible
    assert not ready.ui.volumesButton.enabled
    qt_host.wait(lambda: not ready.running)

    assert not ready.ui.errorFrame.visible, ready.ui.errorLabel.text
    assert not ready.ui.progressBar.visible
    assert ready.ui.runButton.text == "Register"
    assert ready.ui.volumesButton.enabled
    # The last value is the bar's reset after the run.
    assert len(seen) > 3
    assert seen[:-1] == sorted(seen[:-1])
    transform = moving.GetParentTransformNode()
    text = ready.ui.resultLabel.text
    assert f"<b>{transform.GetName()}</b> maps the moving volume <b>After surgery</b>" in text
    assert "onto the fixed volume <b>Before surgery</b>" in text
    assert "Similarity" in text

    layers = {(view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) for view in views}
    assert layers == {(fixed.GetID(), moving.GetID())}
    assert {view.GetForegroundOpacity() for view in views} == {0.5}
    ready.ui.blendSlider.value = 80
    assert {view.GetForegroundOpacity() for view in views} == {0.8}
    ready.ui.restoreViewsButton.click()
    assert views[0].GetBackgroundVolumeID() == moving.GetID()
    assert views[0].GetForegroundVolumeID() is None

    # Again, with the user in another module meanwhile.
    worker = ready.logic.client.pid
    ready.ui.transformSelector.setCurrentNode(transform)
    ready.ui.runButton.click()
    qt_host.leave(widget)
    qt_host.wait(lambda: not ready.running)
    assert views[0].GetForegroundVolumeID() is None
    qt_host.enter(widget)
    assert not ready.ui.errorFrame.visible, ready.ui.errorLabel.text
    assert ready.ui.resultButton.visible
    assert ready.ui.runButton.enabled
    assert ready.logic.client.pid == worker
    assert moving.GetParentTransformNode() is transform

    # A volume that is gone cannot be shown.
    slicer.mrmlScene.RemoveNode(fixed)
    ready.ui.blendSlider.value = 20
    assert views[0].GetForegroundVolumeID() is None


def test_cancel_changes_nothing(qt_host, ready, scene):
    choose(ready.ui.modelSelector, "deformable")
    choose(ready.ui.qualitySelector, "accurate")
    nodes = scene.GetNumberOfNodes()
    ready.ui.runButton.click()
    qt_host.wait(lambda: ready.ui.progressBar.value > 0)
    ready.ui.runButton.click()
    assert ready.ui.statusLabel.text == "Cancelling…"
    assert not ready.ui.runButton.enabled
    qt_host.wait(lambda: not ready.running)
    assert ready.ui.statusLabel.text == "Cancelled: nothing was changed."
    assert not ready.ui.errorFrame.visible
    assert scene.GetNumberOfNodes() == nodes
    assert ready.ui.runButton.enabled
    assert ready.ui.runButton.text == "Register"


def test_an_error_is_shown_unchanged(ready, pair):
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks")
    points.AddControlPoint(1.0, 2.0, 3.0)
    ready.ui.fixedLandmarksSelector.setCurrentNode(points)
    with pytest.raises(DeepRegisterError) as raised:
        ready.logic.start(*pair, "rigid", "fast", fixedLandmarksNode=points)
    ready.ui.runButton.click()
    assert not ready.running
    assert ready.ui.errorLabel.text == str(raised.value)
    assert ready.ui.errorFrame.visible
    ready.ui.fixedLandmarksSelector.setCurrentNode(None)
    assert ready.ui.runButton.enabled


def test_a_worker_that_dies_is_reported(qt_host, ready):
    choose(ready.ui.modelSelector, "deformable")
    choose(ready.ui.qualitySelector, "accurate")
    ready.ui.runButton.click()
    qt_host.wait(lambda: ready.ui.progressBar.value > 0)
    os.kill(ready.logic.client.pid, signal.SIGTERM)
    qt_host.wait(lambda: not ready.running)
    assert ready.ui.errorFrame.visible
    assert "exit code" in ready.ui.errorLabel.text
    assert ready.ui.runButton.enabled


def test_closing_the_scene_stops_the_run(qt_host, ready, scene):
    choose(ready.ui.modelSelector, "deformable")
    choose(ready.ui.qualitySelector, "accurate")
    # The views of Slicer have transform nodes of their own.
    transforms = scene.GetNumberOfNodesByClass("vtkMRMLTransformNode")
    ready.ui.runButton.click()
    qt_host.wait(lambda: ready.ui.progressBar.value > 0)
    scene.Clear(0)
    qt_host.wait(lambda: not ready.running)
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == transforms
    assert not ready.ui.errorFrame.visible, ready.ui.errorLabel.text
    assert not ready.ui.resultButton.visible
    assert not ready.ui.runButton.enabled
    assert ready.binding.parameters.fixedVolume is None


def test_a_saved_scene_brings_the_choices_back(ready, scene, pair):
    # The other way round than the panel itself would choose them.
    ready.ui.fixedSelector.setCurrentNode(pair[1])
    ready.ui.movingSelector.setCurrentNode(pair[0])
    choose(ready.ui.qualitySelector, "accurate")
    ready.ui.registeredCheckBox.checked = False
    scene.SetSaveToXMLString(1)
    scene.Commit()
    saved = scene.GetSceneXMLString()
    scene.Clear(0)
    assert ready.ui.movingSelector.currentNode() is None

    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(saved)
    scene.Import()
    assert ready.ui.fixedSelector.currentNode().GetName() == "After surgery"
    assert ready.ui.movingSelector.currentNode().GetName() == "Before surgery"
    assert ready.ui.modelSelector.currentText == "Rigid"
    assert ready.ui.qualitySelector.currentText == "Accurate"
    assert not ready.ui.registeredCheckBox.checked


def test_closing_the_panel_ends_the_worker(qt_host, module, pair):
    opened = qt_host.open(module)
    opened.panel.logic.client.start()
    worker = opened.panel.logic.client.pid
    qt_host.close(opened)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
