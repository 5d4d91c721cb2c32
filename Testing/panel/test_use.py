"""The result put to use from the panel: applied, saved, reported, exported; and a sequence, frame by frame."""

import numpy as np
import pydicom
import pytest
import qt
import slicer
from deepregister import Rigid, Settings
from deepregister.preparation import describe_inputs
from deepregister.result import Registration
from deepregister.transforms.files import read_transform
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.selftest import SHIFT_RAS_MM, addPhantom
from driving import choose, choosePair, load, register, saved

SHIFT_LPS_MM = SHIFT_RAS_MM * [-1, -1, 1]


@pytest.fixture
def result(panel, pair):
    """The panel with the true result of the pair, as if it had been registered."""
    asked = requestFromNodes(*pair, Settings(model="rigid", quality="fast"))
    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT_LPS_MM
    transform = Rigid(matrix)
    found = Registration(
        transform,
        transform.inverse(),
        transform.resample(asked.moving, asked.fixed.geometry),
        asked.settings,
        {"similarity_after": 0.9},
        {"deform": 1.0},
        "CPU",
        versions={"deepregister": "0.1.0"},
        inputs=describe_inputs(fixed=asked.fixed, moving=asked.moving),
    )
    nodes = insertResult(asked, found)
    panel.run.onResult(nodes)
    return nodes


def addPoint(name="Point"):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.AddControlPoint(1.0, 2.0, 3.0)
    return node


def place(node):
    position = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(0, position)
    return np.array(position) - (1, 2, 3)


def answering(monkeypatch, path):
    """The user picks `path` in whatever dialog asks for a file or folder."""
    for question in ("getSaveFileName", "getExistingDirectory"):
        monkeypatch.setattr(qt.QFileDialog, question, lambda *unused: str(path))


def idle(panel):
    return not panel.running


def test_without_a_result_nothing_can_be_used(panel, pair):
    ui = panel.use.ui
    assert ui.directionText.text == "Register two volumes first."
    ui.nodeSelector.setCurrentNode(pair[0])
    buttons = (ui.applyButton, ui.saveButton, ui.reportButton, ui.dicomButton, ui.slicerDicomButton)
    assert not any(button.enabled for button in buttons)
    assert ui.useButton.collapsed and panel.sequence.ui.sequenceButton.collapsed


def test_each_direction_says_what_it_does_and_does_it(panel, result):
    ui = panel.use.ui
    assert ui.directionText.text == "What lies on After surgery now is brought onto Before surgery."
    for inverse, sign in ((False, -1), (True, 1)):
        choose(ui.directionSelector, inverse)
        for way in ("shown", "hardened", "copied"):
            node = addPoint(f"{way} {inverse}")
            ui.nodeSelector.setCurrentNode(node)
            choose(ui.waySelector, way)
            assert ui.applyButton.enabled
            ui.applyButton.click()
            assert not panel.run.ui.errorFrame.visible, panel.run.ui.errorLabel.text
            there = node
            if way == "copied":
                onto = "After surgery" if inverse else "Before surgery"
                there = slicer.util.getNode(f"{node.GetName()} on {onto}")
                np.testing.assert_allclose(place(node), 0, atol=1e-6)
            np.testing.assert_allclose(place(there), sign * SHIFT_RAS_MM, atol=1e-4)
            assert (there.GetParentTransformNode() is not None) == (way == "shown")
            assert node.GetName() in ui.appliedLabel.text
    assert ui.directionText.text == "What lies on Before surgery now is brought onto After surgery."


def test_a_refusal_is_shown_unchanged(panel, result, pair):
    ui = panel.use.ui
    ui.nodeSelector.setCurrentNode(pair[0])
    ui.applyButton.click()
    assert "Before surgery is the volume that others are brought onto" in panel.run.ui.errorLabel.text
    ui.nodeSelector.setCurrentNode(addPoint())
    ui.applyButton.click()
    assert not panel.run.ui.errorFrame.visible


def test_the_transform_and_its_inverse_are_saved(qt_host, panel, result, tmp_path, monkeypatch):
    ui = panel.use.ui
    for inverse, sign in ((False, 1), (True, -1)):
        choose(ui.directionSelector, inverse)
        for ending in (".h5", ".nrrd"):
            path = tmp_path / f"{inverse}{ending}"
            answering(monkeypatch, path)
            ui.saveButton.click()
            qt_host.wait(lambda: idle(panel))
            assert str(path) in ui.savedLabel.text
            moved = read_transform(path).apply_to_points(np.zeros((1, 3)))[0]
            np.testing.assert_allclose(moved, sign * SHIFT_LPS_MM, atol=1e-3)
    answering(monkeypatch, tmp_path / "result.docx")
    ui.saveButton.click()
    assert "no transform format has this ending" in panel.run.ui.errorLabel.text
    assert not panel.running
    answering(monkeypatch, "")
    ui.saveButton.click()
    assert not panel.running


def test_report_and_dicom_are_written_by_the_worker(qt_host, panel, result, tmp_path, monkeypatch):
    ui, opened = panel.use.ui, []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    answering(monkeypatch, tmp_path / "report.html")
    ui.reportButton.click()
    assert panel.running and not ui.saveButton.enabled and not ui.reportButton.enabled
    qt_host.wait(lambda: idle(panel))
    assert opened == [str(tmp_path / "report.html")]
    assert "After surgery" in (tmp_path / "report.html").read_text(encoding="utf-8")
    worker = panel.logic.client.pid

    answering(monkeypatch, tmp_path)
    ui.dicomButton.click()
    qt_host.wait(lambda: idle(panel))
    assert not panel.run.ui.errorFrame.visible, panel.run.ui.errorLabel.text
    folder = tmp_path / "After surgery registered"
    assert str(folder) in ui.savedLabel.text and ui.saveButton.enabled
    headers = [pydicom.dcmread(file) for file in folder.iterdir()]
    assert {header.SeriesDescription for header in headers} == {"After surgery registered"}
    assert panel.logic.client.pid == worker


def test_a_loaded_scene_says_what_cannot_be_done_any_more(panel, result, pair, scene, qt_host, widget):
    choosePair(panel, pair)
    text = saved(scene)
    scene.Clear(0)
    assert panel.use.ui.directionText.text == "Register two volumes first."
    load(scene, text)
    ui = panel.use.ui
    assert ui.saveButton.enabled and not ui.reportButton.enabled
    assert "register again" in ui.savedLabel.text
    slicer.mrmlScene.RemoveNode(panel.current.registeredVolumeNode)
    qt_host.leave(widget)
    qt_host.enter(widget)
    assert not ui.dicomButton.enabled


def addSequence(shifts, name="Breathing"):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    for number, shift in enumerate(shifts):
        frame = addPhantom(f"frame {number}", np.asarray(shift, float))
        sequence.SetDataNodeAtValue(frame, str(number))
        slicer.mrmlScene.RemoveNode(frame)
    return sequence


def test_a_sequence_is_registered_with_progress_and_can_be_stopped(qt_host, panel, pair, scene):
    choosePair(panel, pair)
    ui, seen = panel.sequence.ui, []
    assert not ui.registerSequenceButton.enabled
    sequence = addSequence([(0, 0, 0), SHIFT_RAS_MM, SHIFT_RAS_MM / 2])
    ui.sequenceSelector.setCurrentNode(sequence)
    assert ui.referenceSpinBox.maximum == 2
    ui.referenceSpinBox.value = 1
    panel.run.ui.progressBar.connect("valueChanged(int)", seen.append)
    ui.registerSequenceButton.click()
    assert panel.running and not ui.registerSequenceButton.enabled
    qt_host.wait(lambda: idle(panel))
    assert not panel.run.ui.errorFrame.visible, panel.run.ui.errorLabel.text
    assert ui.sequenceResultLabel.text.startswith("2 frames were registered; their transforms are in Breathing")
    assert max(seen) > 800 and seen[:-1] == sorted(seen[:-1])
    transforms = slicer.util.getNode("Breathing transforms*")
    moved = transforms.GetNthDataNode(0).GetTransformFromParent().TransformPoint(*-SHIFT_RAS_MM)
    # From the frame that stays to the one that stood there first.
    np.testing.assert_allclose(moved, -2 * SHIFT_RAS_MM, atol=1.0)

    # Onto the fixed volume, stopped.
    choosePair(panel, pair, "deformable", "accurate")
    ui.ontoFixedCheckBox.checked = True
    assert not ui.referenceSpinBox.enabled
    nodes = scene.GetNumberOfNodes()
    ui.registerSequenceButton.click()
    qt_host.wait(lambda: panel.run.ui.progressBar.value > 0)
    panel.run.ui.runButton.click()
    qt_host.wait(lambda: idle(panel))
    assert panel.run.ui.statusLabel.text == "Cancelled: nothing was changed."
    assert scene.GetNumberOfNodes() == nodes and ui.registerSequenceButton.enabled

    choosePair(panel, (None, pair[1]))
    ui.registerSequenceButton.click()
    assert "no fixed volume to bring the frames onto" in panel.run.ui.errorLabel.text


def test_after_a_real_run_the_result_can_be_used_at_once(qt_host, ready):
    register(qt_host, ready)
    assert all(
        button.enabled for button in (ready.use.ui.saveButton, ready.use.ui.reportButton, ready.use.ui.dicomButton)
    )
    node = addPoint()
    ready.use.ui.nodeSelector.setCurrentNode(node)
    ready.use.ui.applyButton.click()
    np.testing.assert_allclose(place(node), -SHIFT_RAS_MM, atol=1.0)
