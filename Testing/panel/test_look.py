"""The Look section: one click for each way of comparing, before a result and with one; the views as they were after."""

import numpy as np
import pytest
import slicer
import vtk
from deepregister import Settings
from driving import composites, register
from headless_slicer import HeadlessSlicer
from slicepictures import pixels

MODES = ("fade", "flicker", "checkerboard", "reveal", "sideBySide", "difference", "displacement", "volumeChange")


@pytest.fixture
def look(panel):
    """The section, in the panel."""
    return panel.look


@pytest.fixture
def current(pair):
    """A result that was not computed: the moving volume shifted and squeezed onto the fixed one."""
    from DeepRegisterLib.scene.current import CurrentResult

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "result")
    matrix = vtk.vtkMatrix4x4()
    for axis, (scale, shift) in enumerate(((1.1, 6.0), (0.9, -3.0), (1.0, 2.0))):
        matrix.SetElement(axis, axis, scale)
        matrix.SetElement(axis, 3, shift)
    node.SetMatrixTransformFromParent(matrix)
    pair[1].SetAndObserveTransformNodeID(node.GetID())
    return CurrentResult(node, *pair, Settings(), {})


def click(qt_host, look, mode):
    """Press the button of a mode, and wait for what has to be computed."""
    getattr(look.ui, f"{mode}Button").click()
    qt_host.wait(lambda: look.ready)


def pressed(look):
    return [mode for mode in MODES if getattr(look.ui, f"{mode}Button").checked]


def shown():
    return [
        (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity())
        for node in composites()
    ]


def picture():
    return [pixels(logic) for logic in HeadlessSlicer.current.sliceLogics()]


def visible(look, name):
    return not getattr(look.ui, name).isHidden()


def test_without_volumes_it_says_what_is_missing(qt_host, panel, look):
    click(qt_host, look, "fade")
    assert "Choose a fixed and a moving volume first." in panel.run.ui.errorLabel.text
    assert pressed(look) == []


def test_the_chosen_volumes_are_compared_before_there_is_a_result(qt_host, ready, look, pair):
    before = shown()
    for name in ("displacementButton", "expectedErrorButton", "warpSlider", "playButton", "gridCheckBox"):
        assert not getattr(look.ui, name).enabled
    click(qt_host, look, "fade")
    assert shown() == [(pair[0].GetID(), pair[1].GetID(), 0.5)] * 3
    look.ui.fadeSlider.value = 20
    assert shown() == [(pair[0].GetID(), pair[1].GetID(), 0.2)] * 3
    look.ui.fadeButton.click()
    assert shown() == before
    assert pressed(look) == []


def test_the_ways_stand_in_full_rows_those_of_a_result_in_the_last(qt_host, ready, look):
    rows = {}
    for mode in (*MODES, "expectedError"):
        button = getattr(look.ui, f"{mode}Button")
        rows.setdefault(button.y, []).append(button.enabled)
    assert [rows[height] for height in sorted(rows)] == [[True] * 3, [True] * 3, [False] * 3]


def test_each_mode_shows_what_it_needs(qt_host, ready, look, current):
    ready.look.showResult(current)
    needs = {
        "fadeSlider": ("fade",),
        "speedSlider": ("flicker",),
        "tileSlider": ("checkerboard",),
        "radiusSlider": ("reveal",),
        "orientationSelector": ("sideBySide",),
        "overlaySlider": ("difference", "displacement", "volumeChange"),
        "wholeCheckBox": ("displacement",),
    }
    texts = set()
    for mode in MODES:
        click(qt_host, look, mode)
        assert pressed(look) == [mode]
        for widget, modes in needs.items():
            assert visible(look, widget) == (mode in modes), (widget, mode)
        assert look.ui.warpSlider.enabled == (mode not in needs["overlaySlider"])
        texts.add(look.ui.explanationLabel.text)
    assert len(texts) == len(MODES)
    # What a saved scene holds of a result has no such map.
    assert not look.ui.expectedErrorButton.enabled


def test_a_result_is_shown_at_once_and_the_views_come_back(qt_host, widget, ready, look, pair):
    for node in composites():
        node.SetBackgroundVolumeID(pair[0].GetID())
    before, pictures = shown(), picture()
    register(qt_host, ready)
    registered = ready.current.registeredVolumeNode
    assert shown() == [(pair[0].GetID(), registered.GetID(), 0.5)] * 3
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    for mode in (*MODES, "expectedError"):
        click(qt_host, look, mode)
    assert pressed(look) == [] and look.ui.expectedErrorButton.checked
    look.ui.gridCheckBox.checked = True
    qt_host.wait(lambda: look.ready)
    assert slicer.mrmlScene.GetNumberOfNodes() > nodes
    qt_host.leave(widget)
    assert shown() == before
    assert all(np.array_equal(*both) for both in zip(picture(), pictures, strict=True))
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert not look.ui.restoreViewsButton.enabled

    # Entered again the views stay, until they are asked for.
    qt_host.enter(widget)
    assert shown() == before
    click(qt_host, look, "fade")
    assert shown() != before


def test_before_and_after(qt_host, ready, look, pair, current):
    look.showResult(current)
    click(qt_host, look, "fade")
    look.ui.fadeSlider.value = 100
    after = picture()
    assert shown()[0][0] == pair[1].GetID()
    look.ui.beforeButton.click()
    assert look.ui.warpSlider.value == 0
    before = picture()
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    pair[1].SetAndObserveTransformNodeID(None)
    look.ui.beforeButton.click()
    assert all(np.array_equal(*both) for both in zip(picture(), after, strict=True))
    look.showResult(None)
    click(qt_host, look, "fade")
    assert all(np.array_equal(*both) for both in zip(picture(), before, strict=True))


def test_the_warp_is_played_from_nothing_to_full(qt_host, ready, look, current):
    look.showResult(current)
    seen = []
    look.ui.warpSlider.connect("valueChanged(int)", seen.append)
    look.ui.playButton.click()
    assert look.ui.playButton.checked
    qt_host.wait(lambda: not look.ui.playButton.checked)
    assert pressed(look) == ["fade"]
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[0] < 50
    assert seen[-1] == 100
    assert look.ui.warpSlider.value == 100


def test_flicker_changes_by_itself_as_fast_as_it_is_told(qt_host, ready, look):
    look.ui.speedSlider.value = 8
    assert look.ui.speedValue.text == "4 each second"
    click(qt_host, look, "flicker")
    for opacity in (1.0, 0.0, 1.0):
        qt_host.wait(lambda opacity=opacity: shown()[0][2] == opacity)
    click(qt_host, look, "fade")
    assert not look._flicker.active
    assert shown()[0][2] == 0.5


def test_the_difference_of_before_and_after(qt_host, ready, look, current):
    look.showResult(current)
    click(qt_host, look, "difference")
    after = shown()[0][1]
    look.ui.beforeButton.click()
    qt_host.wait(lambda: look.ready)
    before = shown()[0][1]
    assert before != after
    look.ui.beforeButton.click()
    assert shown()[0][1] == after


def test_computing_leaves_the_interface_free(qt_host, ready, look, current, monkeypatch):
    from DeepRegisterLib.scene.looking import maps

    # One layer of voxels in each step.
    monkeypatch.setattr(maps, "_STEP", 1)
    look.showResult(current)
    lines = []
    look.onStatus = lines.append
    look.ui.differenceButton.click()
    assert pressed(look) == ["difference"]
    assert shown()[0][1] is None
    qt_host.wait(lambda: look.ready)
    assert len([line for line in lines if line.endswith(" %")]) > 5
    assert lines[-1] == ""

    # Another choice while it computes: the first is dropped.
    look.ui.beforeButton.click()
    assert not look.ready
    look.ui.fadeButton.click()
    assert look.ready
    assert pressed(look) == ["fade"]


def test_grid_and_arrows_are_slicers_own(qt_host, ready, look, current):
    look.showResult(current)
    look.ui.gridCheckBox.click()
    qt_host.wait(lambda: look.ready)
    displays = slicer.util.getNodesByClass("vtkMRMLTransformDisplayNode")
    assert [node.GetVisualizationMode() for node in displays if node.GetVisibility()] == [displays[0].VIS_MODE_GRID]
    assert pressed(look) == ["fade"]
    assert visible(look, "wholeCheckBox")
    look.ui.gridCheckBox.click()
    qt_host.wait(lambda: look.ready)
    assert slicer.util.getNodesByClass("vtkMRMLTransformDisplayNode") == []
    assert pressed(look) == ["fade"]


def test_a_volume_that_goes_ends_it(qt_host, ready, look, pair):
    click(qt_host, look, "flicker")
    slicer.mrmlScene.RemoveNode(pair[1])
    assert pressed(look) == []
    assert not look._flicker.active
    assert shown()[0][1] is None


def test_the_end_of_the_scene_ends_it(qt_host, ready, look, current):
    look.showResult(current)
    click(qt_host, look, "difference")
    look.ui.playButton.click()
    slicer.mrmlScene.Clear(0)
    assert pressed(look) == []
    assert not look.ui.displacementButton.enabled
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    assert slicer.util.getNodesByClass("vtkMRMLTransformDisplayNode") == []


def test_the_console_looks_too(qt_host, ready, pair):
    before = shown()
    looking = ready.logic.looking()
    looking.begin(*pair)
    looking.show("fade")
    assert shown() == [(pair[0].GetID(), pair[1].GetID(), 0.5)] * 3
    looking.reset()
    assert shown() == before
