"""Typed parameters over a real parameter node, kept with the scene."""

import pytest
import slicer
from DeepRegisterLib.scene.parameters import MODULE, Parameters
from scenery import PAIRS, addLinear, addVolume, rotated, texture

NODES = ("fixedVolume", "movingVolume", "fixedMask", "movingMask", "fixedLandmarks", "movingLandmarks")
TRANSFORMS = ("initialTransform", "outputTransform", "resultTransform")


def test_defaults(scene):
    parameters = Parameters.ofScene(scene)
    assert all(getattr(parameters, name) is None for name in NODES + TRANSFORMS)
    assert (parameters.model, parameters.quality, parameters.device) == ("auto", "balanced", "auto")
    assert (parameters.createRegisteredVolume, parameters.createInverse) == (True, False)


def test_the_node_is_the_one_that_scripted_modules_find(scene):
    node = Parameters.ofScene(scene).node
    assert node.GetClassName() == "vtkMRMLScriptedModuleNode"
    assert scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode") is node
    assert node.GetAttribute("ModuleName") == "DeepRegister"
    assert Parameters.ofScene(scene).node is node


def fill(scene):
    parameters = Parameters.ofScene(scene)
    volumes = {name: addVolume(scene, texture(PAIRS["oblique"][0]), name) for name in NODES}
    transforms = {name: addLinear(scene, rotated(5), name) for name in TRANSFORMS}
    for name, node in {**volumes, **transforms}.items():
        setattr(parameters, name, node)
    parameters.model = 'my "own" model; 100 % é <b>'
    parameters.quality = "fast"
    parameters.device = "cuda:1"
    parameters.createRegisteredVolume = False
    parameters.createInverse = True
    return parameters


def test_two_views_of_one_node_agree(scene):
    parameters = fill(scene)
    other = Parameters(parameters.node)
    for name in Parameters.names():
        assert getattr(other, name) == getattr(parameters, name)
    parameters.fixedVolume = None
    assert other.fixedVolume is None


def test_removing_a_node_clears_its_parameter(scene):
    parameters = fill(scene)
    scene.RemoveNode(parameters.movingVolume)
    assert parameters.movingVolume is None
    assert parameters.fixedVolume.GetName() == "fixedVolume"


def test_changes_are_announced(scene):
    parameters = Parameters.ofScene(scene)
    seen = []
    parameters.node.AddObserver("ModifiedEvent", lambda *_: seen.append(parameters.quality))
    parameters.quality = "accurate"
    parameters.quality = "accurate"
    assert seen == ["accurate"]


@pytest.mark.parametrize("close", [False, True])
def test_saved_with_the_scene(scene, tmp_path, close):
    fill(scene)
    scene.SetRootDirectory(str(tmp_path))
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    if close:
        # As in the application: the scene is closed and another one loaded; singletons stay.
        scene.Clear(0)
        again = scene
        assert Parameters.ofScene(scene).fixedVolume is None
    else:
        again = slicer.vtkMRMLScene()
    again.SetURL(str(tmp_path / "scene.mrml"))
    again.Connect()
    parameters = Parameters.ofScene(again)
    for name in NODES + TRANSFORMS:
        assert getattr(parameters, name).GetName() == name
    assert parameters.model == 'my "own" model; 100 % é <b>'
    assert (parameters.quality, parameters.device) == ("fast", "cuda:1")
    assert (parameters.createRegisteredVolume, parameters.createInverse) == (False, True)
    again.Clear(1)


def test_names_are_those_on_the_node(scene):
    parameters = fill(scene)
    onNode = {*parameters.node.GetParameterNames()}
    roles = [parameters.node.GetNthNodeReferenceRole(n) for n in range(parameters.node.GetNumberOfNodeReferenceRoles())]
    assert onNode | set(roles) == set(Parameters.names())
