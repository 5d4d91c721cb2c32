"""The current result: what the panel speaks of after a run, and finds again in a scene that was loaded."""

import pytest
import slicer
from deepregister import Settings
from DeepRegisterLib.scene.current import CurrentResult
from DeepRegisterLib.scene.parameters import Parameters
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import PAIRS, addLinear, addVolume, registration, rigid, rotated, texture

FIXED, MOVING = PAIRS["oblique"]


@pytest.fixture
def volumes(scene):
    return addVolume(scene, texture(FIXED, 1), "Fixed"), addVolume(scene, texture(MOVING, 2), "Moving")


def insert(volumes, **options):
    request = requestFromNodes(*volumes, Settings(model="rigid"), **options)
    fixed, moving = (volumeFromNode(node)[0] for node in volumes)
    return insertResult(request, registration(rigid(FIXED), fixed, moving, "rigid", measures={"folded_fraction": 0}))


def test_it_names_what_the_registration_made(volumes):
    nodes = insert(volumes, createInverse=True)
    current = CurrentResult.of(nodes)
    assert (current.transformNode, current.fixedNode, current.movingNode) == (nodes.transformNode, *volumes)
    assert current.registeredVolumeNode is nodes.registeredVolumeNode
    assert current.inverseTransformNode is nodes.inverseTransformNode
    assert current.settings == Settings(model="rigid")
    assert current.summary["measures"] == {"folded_fraction": 0}
    assert current.registration is nodes.registration
    assert current.alive


def test_it_knows_what_shows_the_moving_volume_on_the_fixed_one(volumes):
    both = CurrentResult.of(insert(volumes))
    assert both.shownVolumeNode is volumes[1]
    assert both.notes == (f"Moving is shown under {both.transformNode.GetName()}.",)
    volumes[1].SetAndObserveTransformNodeID(None)
    assert both.shownVolumeNode is both.registeredVolumeNode

    aside = CurrentResult.of(insert(volumes, applyTransform=False))
    assert volumes[1].GetParentTransformNode() is None
    assert aside.shownVolumeNode is aside.registeredVolumeNode
    assert aside.notes == ("Moving was left where it is.",)
    nothing = CurrentResult.of(insert(volumes, applyTransform=False, createRegisteredVolume=False))
    assert nothing.shownVolumeNode is None


def test_it_notices_what_is_removed(scene, volumes):
    current = CurrentResult.of(insert(volumes))
    scene.RemoveNode(current.registeredVolumeNode)
    assert current.registeredVolumeNode is None
    assert current.alive
    scene.RemoveNode(current.movingNode)
    assert not current.alive
    assert CurrentResult.ofTransform(current.transformNode) is None


def test_a_second_run_into_the_same_transform_has_its_own_outputs(scene, volumes):
    first = insert(volumes, createInverse=True)
    second = insert(volumes, outputTransformNode=first.transformNode, createRegisteredVolume=False)
    current = CurrentResult.of(second)
    assert current.registeredVolumeNode is None
    assert current.inverseTransformNode is None
    assert scene.IsNodePresent(first.registeredVolumeNode)


def test_another_transform_is_no_result(scene):
    parameters = Parameters.ofScene(scene)
    assert CurrentResult.ofScene(parameters) is None
    parameters.resultTransform = addLinear(scene, rotated(5), "Somebody's")
    assert CurrentResult.ofScene(parameters) is None


def test_a_scene_that_is_loaded_again_has_it(scene, volumes, tmp_path):
    nodes = insert(volumes, createInverse=True)
    Parameters.ofScene(scene).resultTransform = nodes.transformNode
    scene.SetRootDirectory(str(tmp_path))
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    again = slicer.vtkMRMLScene()
    again.SetURL(str(tmp_path / "scene.mrml"))
    again.Connect()
    current = CurrentResult.ofScene(Parameters.ofScene(again))
    assert (current.fixedNode.GetName(), current.movingNode.GetName()) == ("Fixed", "Moving")
    assert current.registeredVolumeNode.GetName() == "Moving registered"
    assert current.inverseTransformNode.GetName() == nodes.inverseTransformNode.GetName()
    assert current.settings == Settings(model="rigid")
    assert current.summary == CurrentResult.of(nodes).summary
    assert current.registration is None
    again.Clear(1)
