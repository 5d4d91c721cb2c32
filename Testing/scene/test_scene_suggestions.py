"""What is suggested to begin with: the volumes that are meant, and the models that were made for them."""

from dataclasses import replace

import numpy as np
import pytest
import slicer
from deepregister import Settings, Volume
from deepregister.models.registry import find_model
from deepregister.models.suitability import Shown
from deepregister.preparation import Pair, prepare
from DeepRegisterLib.scene.parameters import Parameters
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.suggestions import madeFor, shownBy, suggestVolumes
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import PAIRS, addVolume, centred, registration, rigid, texture

FIXED, MOVING = PAIRS["oblique"]


def suggested(scene):
    parameters = Parameters.ofScene(scene)
    suggestVolumes(parameters)
    return parameters.fixedVolume, parameters.movingVolume


def body(size, spacing, extent_mm=120.0, air=0.0, tissue=100.0) -> Volume:
    """A ball of tissue in air."""
    geometry = centred(size, spacing)
    distance = np.linalg.norm(geometry.points() - geometry.centre, axis=-1)
    return Volume(np.where(distance < extent_mm / 2, tissue, air).astype(np.float32), geometry, "body")


def test_an_empty_scene_has_nothing_to_suggest(scene):
    assert suggested(scene) == (None, None)


def test_only_what_can_be_registered_is_suggested(scene):
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "no voxels")
    addVolume(scene, texture(FIXED), "labels", "vtkMRMLLabelMapVolumeNode")
    addVolume(scene, Volume(np.zeros((1, 20, 20), np.float32), centred((20, 20, 1), (1, 1, 1)), "slice"), "slice")
    addVolume(scene, texture(FIXED), "hidden").SetHideFromEditors(True)
    first, second = (addVolume(scene, texture(FIXED, seed), f"{seed}") for seed in (1, 2))
    addVolume(scene, texture(FIXED), "third")
    assert suggested(scene) == (first, second)


def test_a_registered_volume_is_no_partner(scene):
    fixed, moving = addVolume(scene, texture(FIXED, 1), "Fixed"), addVolume(scene, texture(MOVING, 2), "Moving")
    request = requestFromNodes(fixed, moving, Settings(model="rigid"))
    volumes = (volumeFromNode(node)[0] for node in (fixed, moving))
    insertResult(request, registration(rigid(FIXED), *volumes, "rigid"))
    scene.RemoveNode(fixed)
    assert suggested(scene) == (moving, None)


def test_what_is_chosen_stays(scene):
    first, second, third = (addVolume(scene, texture(FIXED, seed), f"{seed}") for seed in (1, 2, 3))
    parameters = Parameters.ofScene(scene)
    parameters.movingVolume = first
    assert suggested(scene) == (second, first)
    parameters.fixedVolume = third
    assert suggested(scene) == (third, first)


@pytest.mark.parametrize(("size", "spacing"), [((200, 200, 200), (0.8, 0.8, 0.8)), ((160, 160, 30), (1, 1, 5))])
def test_a_glance_sees_what_the_engine_sees(scene, size, spacing):
    volumes = body(size, spacing), body(size, spacing, 90.0, -1000.0, 40.0)
    nodes = [addVolume(scene, volume, name) for volume, name in zip(volumes, "ab", strict=True)]
    seen = shownBy(*nodes)
    engine = Shown.of(Pair(*(prepare(volume)[0] for volume in volumes)), volumes)
    assert seen.extents_mm == pytest.approx(engine.extents_mm, rel=0.1)
    assert seen.slices_mm == engine.slices_mm
    assert seen.ct == engine.ct == (False, True)


def test_of_empty_volumes_nothing_is_said(scene):
    empty = addVolume(scene, Volume(np.zeros((9, 9, 9), np.float32), centred((9, 9, 9), (1, 1, 1)), "empty"), "empty")
    other = addVolume(scene, texture(FIXED), "other")
    assert shownBy(empty, other) is None
    assert shownBy(other, scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "no voxels")) is None
    cards = [find_model("rigid"), find_model("deformable")]
    assert madeFor(cards, None) == ([], {"rigid": [], "deformable": []})


def test_models_for_such_volumes_and_for_others(scene):
    card = replace(find_model("deformable"), architecture="voxelmorph", spacing_mm=4.0)
    cards = [
        replace(card, name="any", extent_mm=(50, 200)),
        replace(card, name="bodies", extent_mm=(100, 150), anatomies=("body",)),
        replace(card, name="small", extent_mm=(10, 40)),
    ]
    nodes = [addVolume(scene, body((100, 100, 100), (1.5, 1.5, 1.5)), name) for name in "ab"]
    suitable, objections = madeFor(cards, shownBy(*nodes))
    assert suitable == ["bodies", "any"]
    assert [name for name, found in objections.items() if found] == ["small"]
    assert slicer.util.arrayFromVolume(nodes[0]).shape == (100, 100, 100)
