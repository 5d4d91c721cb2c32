"""Running from the panel with the real worker: progress, cancel, a crash with its log, errors, deleted nodes."""

import os
import signal

import numpy as np
import pytest
import slicer
from deepregister.errors import DeepRegisterError
from DeepRegisterLib.scene.frame import vtkMatrix
from DeepRegisterLib.scene.parameters import Parameters
from driving import choose, composites, register, startLong


def test_runs_and_shows_and_runs_again_in_the_same_worker(qt_host, widget, ready, pair):
    moving = pair[1]
    run, choices, result = ready.run.ui, ready.choose.ui, ready.result.ui
    views = composites()
    views[0].SetBackgroundVolumeID(moving.GetID())
    seen, stages, lines = [], [], []
    run.progressBar.connect("valueChanged(int)", seen.append)
    run.runButton.click()
    assert ready.running
    assert run.runButton.text == "Cancel"
    assert run.progressBar.visible
    assert not choices.chooseButton.enabled

    def done():
        stages.append(run.stageLabel.text)
        lines.append(run.statusLabel.text)
        return not ready.running

    qt_host.wait(done)
    assert not run.errorFrame.visible, run.errorLabel.text
    assert not run.progressBar.visible
    assert run.runButton.text == "Register"
    assert choices.chooseButton.enabled
    # The last value is the bar's reset after the run.
    assert len(seen) > 3
    assert seen[:-1] == sorted(seen[:-1])
    assert any(text.startswith("Prepare › ") and "<b>Align</b>" in text for text in stages)
    assert any("left" in line for line in lines)
    transform = moving.GetParentTransformNode()
    text = result.resultLabel.text
    assert f"<b>{transform.GetName()}</b> maps the moving volume <b>After surgery</b>" in text
    assert "onto the fixed volume <b>Before surgery</b>" in text
    assert "Similarity" in text
    assert text.index("Good") < text.index("Similarity")

    # Again, with the user in another module meanwhile.
    worker = ready.logic.client.pid
    choices.transformSelector.setCurrentNode(transform)
    run.runButton.click()
    qt_host.leave(widget)
    qt_host.wait(lambda: not ready.running)
    qt_host.enter(widget)
    assert not run.errorFrame.visible, run.errorLabel.text
    assert result.resultButton.visible
    assert run.runButton.enabled
    assert ready.logic.client.pid == worker
    assert moving.GetParentTransformNode() is transform


@pytest.mark.parametrize("output", ["transform", "volume", "both"])
def test_the_output_is_what_was_chosen(qt_host, ready, pair, scene, output):
    choose(ready.choose.ui.outputSelector, output)
    volumes = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    register(qt_host, ready)
    made = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") - volumes
    assert made == (0 if output == "transform" else 1)
    transform = ready.current.transformNode
    assert pair[1].GetParentTransformNode() is (None if output == "volume" else transform)
    assert "<b>After surgery</b>" in ready.result.ui.resultLabel.text
    if output == "volume":
        assert "After surgery was left where it is." in ready.result.ui.resultLabel.text


def test_cancel_changes_nothing(qt_host, ready, scene):
    run = ready.run.ui
    nodes = scene.GetNumberOfNodes()
    startLong(qt_host, ready)
    run.runButton.click()
    assert run.statusLabel.text == "Cancelling…"
    assert not run.runButton.enabled
    qt_host.wait(lambda: not ready.running)
    assert run.statusLabel.text == "Cancelled: nothing was changed."
    assert not run.errorFrame.visible
    assert scene.GetNumberOfNodes() == nodes
    assert run.runButton.enabled
    assert run.runButton.text == "Register"


def test_an_error_is_shown_unchanged(ready, pair):
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks")
    points.AddControlPoint(1.0, 2.0, 3.0)
    ready.choose.ui.fixedLandmarksSelector.setCurrentNode(points)
    with pytest.raises(DeepRegisterError) as raised:
        ready.logic.start(*pair, "rigid", "fast", fixedLandmarksNode=points)
    ready.run.ui.runButton.click()
    assert not ready.running
    assert ready.run.ui.errorLabel.text == str(raised.value)
    assert ready.run.ui.errorFrame.visible
    # The process had no part in it.
    assert not ready.run.ui.logButton.visible
    ready.choose.ui.fixedLandmarksSelector.setCurrentNode(None)
    assert ready.run.ui.runButton.enabled


def test_a_setting_that_cannot_be_is_said(ready, scene):
    Parameters.ofScene(scene).node.SetParameter("similarity", "beauty")
    ready.run.ui.runButton.click()
    assert not ready.running
    assert "'beauty'" in ready.run.ui.errorLabel.text


def test_a_worker_that_dies_is_reported_with_its_log_and_replaced(qt_host, ready, scene):
    run = ready.run.ui
    nodes = scene.GetNumberOfNodes()
    startLong(qt_host, ready)
    dead = ready.logic.client.pid
    os.kill(dead, signal.SIGTERM)
    qt_host.wait(lambda: not ready.running)
    assert run.errorFrame.visible
    assert "exit code" in run.errorLabel.text
    assert "memory" in run.errorLabel.text
    assert scene.GetNumberOfNodes() == nodes
    assert run.runButton.enabled
    run.copyButton.click()
    assert run.errorLabel.text in slicer.app.clipboard().text()

    choose(ready.choose.ui.modelSelector, "rigid")
    choose(ready.choose.ui.qualitySelector, "fast")
    register(qt_host, ready)
    assert ready.logic.client.pid not in (None, dead)


def test_the_log_of_a_crash_is_at_hand(qt_host, ready, monkeypatch):
    """A worker that writes its last words and dies."""
    import sys

    from deepregister.client import EngineClient

    last = "import sys; print('no more memory for tensor 7', file=sys.stderr); sys.exit(3)"
    ready.logic._client = EngineClient([sys.executable, "-c", last])
    run = ready.run.ui
    run.runButton.click()
    qt_host.wait(lambda: not ready.running)
    assert "exit code 3" in run.errorLabel.text
    assert run.logButton.visible
    assert not run.logText.visible
    run.logButton.click()
    assert run.logText.visible
    assert "no more memory for tensor 7" in run.logText.plainText
    assert run.logButton.text == "Hide the log"
    run.copyButton.click()
    assert "no more memory for tensor 7" in slicer.app.clipboard().text()


@pytest.mark.parametrize("which", [0, 1])
def test_a_volume_that_is_deleted_ends_its_run(qt_host, ready, pair, scene, which):
    startLong(qt_host, ready)
    name = pair[which].GetName()
    scene.RemoveNode(pair[which])
    nodes = scene.GetNumberOfNodes()
    qt_host.wait(lambda: not ready.running)
    assert f"{name} was removed from the scene" in ready.run.ui.errorLabel.text
    assert scene.GetNumberOfNodes() == nodes
    assert not ready.run.ui.runButton.enabled
    assert ready.run.ui.statusLabel.text == "Choose a fixed and a moving volume."


def test_an_output_transform_that_is_deleted_ends_its_run(qt_host, ready, pair, scene):
    output = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Output")
    ready.choose.ui.transformSelector.setCurrentNode(output)
    startLong(qt_host, ready)
    scene.RemoveNode(output)
    qt_host.wait(lambda: not ready.running)
    assert "Output was removed from the scene" in ready.run.ui.errorLabel.text
    assert ready.run.ui.runButton.enabled
    assert pair[1].GetParentTransformNode() is None


def test_volumes_under_parent_transforms_are_registered_where_they_are(qt_host, ready, pair, scene):
    matrix = np.eye(4)
    matrix[:3, 3] = (40.0, -25.0, 10.0)
    parents = []
    for node in pair:
        parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"Parent of {node.GetName()}")
        parent.SetMatrixTransformToParent(vtkMatrix(matrix))
        node.SetAndObserveTransformNodeID(parent.GetID())
        parents.append(parent)
    register(qt_host, ready)
    transform = ready.current.transformNode
    assert pair[0].GetParentTransformNode() is parents[0]
    assert pair[1].GetParentTransformNode() is parents[1]
    assert parents[1].GetParentTransformNode() is transform
    # Both were moved alike, so that the known shift of the pair remains.
    from DeepRegisterLib.selftest import SHIFT_RAS_MM

    shift = np.subtract(transform.GetTransformFromParent().TransformPoint((40, -25, 10)), (40, -25, 10))
    assert np.abs(shift - SHIFT_RAS_MM).max() < 1.0
