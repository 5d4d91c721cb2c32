"""Choosing: volumes, model, quality, device, output, the rest under Advanced; kept in the scene."""

from dataclasses import replace

import numpy as np
import pytest
import qt
import slicer
from deepregister.models.registry import Figure, find_model, list_models
from deepregister.settings import DEVICES, QUALITIES
from DeepRegisterLib.scene.parameters import OUTPUTS, Parameters
from DeepRegisterLib.selftest import addPhantom
from driving import choose, composites, load, saved


def rows(selector):
    return [(selector.itemText(row).strip(), selector.itemData(row)) for row in range(selector.count)]


def learned(name, **entries):
    """The card of a learned model that was never run."""
    values = {"architecture": "voxelmorph", "family": "unsupervised", "experimental": False, "spacing_mm": 4.0}
    return replace(find_model("deformable"), name=name, title=name.capitalize(), **(values | entries))


@pytest.fixture
def withModels(monkeypatch, qt_host, module):
    """Opens the panel of a module that has these cards besides those without training."""
    opened, untrained = [], [card for card in list_models() if not card.learned]

    def open(*cards):
        monkeypatch.setattr(module.DeepRegisterLogic, "models", lambda self: [*untrained, *cards])
        opened.append(qt_host.open(module))
        return opened[-1].panel.choose

    yield open
    for widget in opened:
        qt_host.close(widget)


def test_without_volumes_it_says_what_is_missing(panel):
    assert not panel.run.ui.runButton.enabled
    assert panel.run.ui.statusLabel.text == "Choose a fixed and a moving volume."
    assert panel.run.ui.runButton.toolTip == "Choose a fixed and a moving volume."
    assert panel.choose.ui.advancedButton.collapsed


def test_defaults_are_sensible(panel):
    ui = panel.choose.ui
    assert ui.modelSelector.itemData(ui.modelSelector.currentIndex) == "auto"
    assert (ui.qualitySelector.currentText, ui.deviceSelector.currentText) == ("Balanced", "Automatic")
    assert ui.outputSelector.currentText == "Transform and registered volume"
    assert ui.spacingSpinBox.text == "By the quality"
    for selector, choices in (
        (ui.qualitySelector, QUALITIES),
        (ui.deviceSelector, DEVICES),
        (ui.outputSelector, OUTPUTS),
    ):
        assert [selector.itemData(row) for row in range(selector.count)] == list(choices)


def test_models_are_those_of_the_registry_in_groups_with_what_they_do(panel):
    ui = panel.choose.ui
    listed = rows(ui.modelSelector)
    names = [name for _text, name in listed if name]
    usual = [card.name for card in list_models() if not card.learned]
    assert names[: len(usual) + 1] == ["auto", *usual]
    assert sorted(names[1:]) == sorted(card.name for card in list_models() if not card.experimental)
    assert ("Shift, turn and scale", None) in listed
    rigid = listed.index(("Rigid", "rigid"))
    assert listed[rigid + 1] == ("turns and shifts the moving volume", None)
    for row, (_text, name) in enumerate(listed):
        item = ui.modelSelector.model().item(row)
        assert item.isEnabled() is (name is not None)
        if name not in (None, "auto"):
            card = next(card for card in list_models() if card.name == name)
            choose(ui.modelSelector, name)
            assert ui.modelSummary.text == card.summary
            assert item.toolTip() == card.summary


def test_details_show_the_card(panel):
    ui = panel.choose.ui
    assert not ui.modelDetails.visible
    assert not ui.detailsButton.enabled
    choose(ui.modelSelector, "rigid")
    ui.detailsButton.click()
    card = next(card for card in list_models() if card.name == "rigid")
    shown = ui.modelDetails.plainText
    assert all(text in shown for text in (card.summary, card.paper, card.licence, card.family))
    assert "Architecture" not in shown
    choose(ui.modelSelector, "deformable")
    assert "cross-correlation" in ui.modelDetails.plainText
    choose(ui.modelSelector, "auto")
    assert not ui.modelDetails.visible


def test_experimental_models_are_offered_only_on_request(withModels, scene):
    part = withModels(learned("trial", experimental=True))
    selector = part.ui.modelSelector
    assert selector.findData("trial") == -1
    part.ui.experimentalCheckBox.checked = True
    assert selector.itemText(selector.findData("trial")) == "Trial (experimental)"
    choose(selector, "trial")
    # A scene that names it shows it all the same.
    part.ui.experimentalCheckBox.checked = False
    assert selector.itemData(selector.currentIndex) == "trial"
    assert Parameters.ofScene(scene).model == "trial"
    choose(selector, "rigid")
    assert selector.findData("trial") == -1


def test_models_made_for_the_chosen_volumes_come_first(withModels, pair):
    fits = learned("mri", modalities=("MR",), anatomies=("head",), extent_mm=(50, 200), thickest_mm=5.0)
    others = (
        learned("scan", modalities=("CT",)),
        learned("whole", extent_mm=(400, 900)),
        learned("thin", thickest_mm=1.0),
    )
    part = withModels(*others, fits)
    selector = part.ui.modelSelector
    named = [name for _text, name in rows(selector)]
    assert named.index("mri") < named.index("scan")
    texts = [text for text, _name in rows(selector)]
    assert texts.index("Made for other volumes") == named.index("scan") - 1
    # After "Automatic" and what that does, above the models that suit all volumes.
    assert named.index("mri") == 3
    assert texts[2] == "Made for such volumes"
    choose(selector, "scan")
    assert "It was made for other volumes: the fixed volume does not look like CT" in part.ui.modelSummary.text
    choose(selector, "whole")
    assert "mm across, not 400 to 900 mm" in part.ui.modelSummary.text
    # Without volumes nothing speaks for or against a model.
    part.ui.movingSelector.setCurrentNode(None)
    texts = [text for text, _name in rows(selector)]
    assert "Trained network, unsupervised" in texts
    assert not {"Made for other volumes", "Made for such volumes"} & {*texts}


def test_ct_is_seen_as_ct(withModels, pair, scene):
    part = withModels(learned("scan", modalities=("CT",)))
    for node in pair:
        slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) * 10 - 1000)
    part.models.forget()
    part.ui.swapButton.click()
    assert "Made for other volumes" not in [text for text, _name in rows(part.ui.modelSelector)]


def test_the_card_of_a_learned_model_shows_what_was_measured(withModels):
    part = withModels(
        learned("mri", figures={"dice": Figure(0.8, "Dice over 10 pairs.")}, known_failures=("Blurred.",))
    )
    choose(part.ui.modelSelector, "mri")
    part.ui.detailsButton.click()
    assert "0.8: Dice over 10 pairs." in part.ui.modelDetails.plainText
    assert "Blurred." in part.ui.modelDetails.plainText


def test_a_model_that_is_not_installed_here_is_named(panel, pair, scene):
    Parameters.ofScene(scene).model = "elsewhere"
    ui = panel.choose.ui
    assert ui.modelSelector.currentText == "elsewhere (not installed)"
    assert "not installed here" in ui.modelSummary.text
    assert Parameters.ofScene(scene).model == "elsewhere"


def test_every_parameter_has_a_widget(panel):
    bound = {
        widget.property("SlicerParameterName")
        for part in panel.parts
        for widget in vars(part.ui).values()
        if widget.property("SlicerParameterName")
    }
    assert bound == set(Parameters.names()) - {"resultTransform"}
    assert panel.choose.binding.names <= bound


def test_every_widget_that_can_be_used_has_a_tooltip(panel):
    for part in panel.parts:
        for name, widget in vars(part.ui).items():
            if isinstance(widget, qt.QLabel):
                continue
            if name.endswith(("Selector", "SpinBox", "CheckBox", "Slider", "Text")) or (
                name.endswith("Button") and not hasattr(widget, "collapsed")
            ):
                assert widget.toolTip, f"{type(part).__name__}.{name}"


def test_every_selector_gets_the_scene(panel, scene):
    selectors = [widget for widget in vars(panel.choose.ui).values() if hasattr(widget, "noneEnabled")]
    assert len(selectors) == 9
    assert all(selector.mrmlScene() is scene for selector in selectors)


def test_the_first_two_volumes_are_chosen_on_entering(qt_host, widget, pair):
    qt_host.leave(widget)
    qt_host.enter(widget)
    ui = widget.panel.choose.ui
    assert (ui.fixedSelector.currentNode(), ui.movingSelector.currentNode()) == pair
    assert widget.panel.run.ui.runButton.enabled


def test_what_the_views_show_is_chosen(qt_host, widget, pair):
    third = addPhantom("Third", np.zeros(3))
    qt_host.leave(widget)
    for view in composites():
        view.SetBackgroundVolumeID(third.GetID())
        view.SetForegroundVolumeID(pair[1].GetID())
    qt_host.enter(widget)
    ui = widget.panel.choose.ui
    assert (ui.fixedSelector.currentNode(), ui.movingSelector.currentNode()) == (third, pair[1])


def test_a_volume_that_comes_later_is_the_partner(qt_host, widget, scene):
    first = addPhantom("First", np.zeros(3))
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    qt_host.leave(widget)
    qt_host.enter(widget)
    ui = widget.panel.choose.ui
    assert (ui.fixedSelector.currentNode(), ui.movingSelector.currentNode()) == (first, None)
    second = addPhantom("Second", np.zeros(3))
    qt_host.leave(widget)
    qt_host.enter(widget)
    assert (ui.fixedSelector.currentNode(), ui.movingSelector.currentNode()) == (first, second)


def test_one_volume_cannot_be_both(ready, pair):
    assert ready.run.ui.runButton.enabled
    ready.choose.ui.movingSelector.setCurrentNode(pair[0])
    assert not ready.run.ui.runButton.enabled
    assert "same" in ready.run.ui.statusLabel.text


def test_the_volumes_can_be_exchanged(ready, pair, scene):
    ready.choose.ui.swapButton.click()
    parameters = Parameters.ofScene(scene)
    assert (parameters.fixedVolume, parameters.movingVolume) == pair[::-1]
    assert ready.choose.ui.fixedSelector.currentNode() is pair[1]
    assert ready.run.ui.runButton.enabled


def test_choices_go_to_the_parameter_node_and_come_from_it(ready, scene, pair):
    parameters = Parameters.ofScene(scene)
    ui = ready.choose.ui
    assert (parameters.fixedVolume, parameters.movingVolume) == pair
    assert (parameters.model, parameters.quality) == ("rigid", "fast")
    ui.inverseCheckBox.checked = True
    assert parameters.createInverse
    ui.spacingSpinBox.value = 3.5
    assert parameters.settings().field_spacing_mm == 3.5
    choose(ui.refinementSelector, "no")
    assert parameters.settings().refine is False

    parameters.quality = "accurate"
    parameters.output = "volume"
    parameters.landmarkSigmaMm = 2.5
    parameters.movingVolume = None
    assert ui.qualitySelector.currentText == "Accurate"
    assert ui.outputSelector.itemData(ui.outputSelector.currentIndex) == "volume"
    assert ui.sigmaSpinBox.value == 2.5
    assert ui.movingSelector.currentNode() is None
    assert not ready.run.ui.runButton.enabled


def test_left_it_does_not_follow_and_entered_it_does(qt_host, widget, ready, scene):
    qt_host.leave(widget)
    Parameters.ofScene(scene).quality = "accurate"
    assert ready.choose.ui.qualitySelector.currentText == "Fast"
    qt_host.enter(widget)
    assert ready.choose.ui.qualitySelector.currentText == "Accurate"


def test_a_saved_scene_brings_the_choices_back(ready, scene, pair):
    ui = ready.choose.ui
    # The other way round than the panel itself would choose them.
    ui.fixedSelector.setCurrentNode(pair[1])
    ui.movingSelector.setCurrentNode(pair[0])
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Landmarks")
    ui.fixedLandmarksSelector.setCurrentNode(points)
    choose(ui.qualitySelector, "accurate")
    choose(ui.outputSelector, "transform")
    choose(ui.deviceSelector, "cpu")
    ui.spacingSpinBox.value = 4.5
    text = saved(scene)
    scene.Clear(0)
    assert ui.movingSelector.currentNode() is None
    assert ui.spacingSpinBox.value == 0

    load(scene, text)
    assert ui.fixedSelector.currentNode().GetName() == "After surgery"
    assert ui.movingSelector.currentNode().GetName() == "Before surgery"
    assert ui.fixedLandmarksSelector.currentNode().GetName() == "Landmarks"
    assert ui.modelSelector.itemData(ui.modelSelector.currentIndex) == "rigid"
    assert (ui.qualitySelector.currentText, ui.deviceSelector.currentText) == ("Accurate", "Processor (CPU)")
    assert ui.outputSelector.currentText == "Transform"
    assert ui.spacingSpinBox.value == 4.5
