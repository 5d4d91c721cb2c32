"""Typed parameters over a real parameter node, kept with the scene."""

import inspect

import pytest
import slicer
from deepregister import Settings
from deepregister.errors import InputError
from DeepRegisterLib.scene.logic import RegistrationLogic
from DeepRegisterLib.scene.parameters import MODULE, Parameters
from scenery import PAIRS, addLinear, addVolume, rotated, texture

NODES = (
    "fixedVolume",
    "movingVolume",
    "fixedMask",
    "movingMask",
    "slidingRegions",
    "fixedLandmarks",
    "movingLandmarks",
    "fixedPoints",
    "movingPoints",
    "fixedSegmentation",
    "movingSegmentation",
    "emphasis",
)
# What is not a node, with another value than the one it begins with.
CHOICES = {
    "model": 'my "own" model; 100 % é <b>',
    "quality": "fast",
    "device": "cuda:1",
    "output": "volume",
    "createInverse": True,
    "similarity": "mind",
    "fieldSpacingMm": 2.3,
    "landmarkSigmaMm": 0.1,
    "refinement": "no",
    "toleranceMm": 2.5,
}
TRANSFORMS = ("initialTransform", "outputTransform", "resultTransform")


def test_defaults(scene):
    parameters = Parameters.ofScene(scene)
    assert all(getattr(parameters, name) is None for name in NODES + TRANSFORMS)
    assert parameters.settings() == Settings()
    assert parameters.output == "both"
    options = parameters.options()
    assert options.pop("settings") == Settings()
    assert {name for name, value in options.items() if value} == {"createRegisteredVolume", "applyTransform"}


def test_choices_become_what_the_logic_takes(scene):
    parameters = fill(scene)
    options = parameters.options()
    assert options["settings"] == Settings(
        model=CHOICES["model"],
        quality="fast",
        device="cuda:1",
        similarity="mind",
        field_spacing_mm=2.3,
        refine=False,
        landmark_sigma_mm=0.1,
    )
    assert options["regionsNode"] is parameters.slidingRegions
    assert (options["createRegisteredVolume"], options["applyTransform"]) == (True, False)
    parameters.output = "transform"
    assert parameters.options()["createRegisteredVolume"] is False
    assert set(options) <= set(inspect.signature(RegistrationLogic.start).parameters)


@pytest.mark.parametrize("text", ["much", "", "nan"])
def test_what_is_no_number_does_no_harm(scene, text):
    parameters = Parameters.ofScene(scene)
    parameters.node.SetParameter("landmarkSigmaMm", text)
    if text == "nan":
        with pytest.raises(InputError, match="landmark_sigma_mm"):
            parameters.settings()
    else:
        assert parameters.landmarkSigmaMm == 1.0


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
    for name, value in CHOICES.items():
        setattr(parameters, name, value)
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
    assert {name: getattr(parameters, name) for name in CHOICES} == CHOICES
    again.Clear(1)


def test_names_are_those_on_the_node(scene):
    parameters = fill(scene)
    onNode = {*parameters.node.GetParameterNames()}
    roles = [parameters.node.GetNthNodeReferenceRole(n) for n in range(parameters.node.GetNumberOfNodeReferenceRoles())]
    assert onNode | set(roles) == set(Parameters.names())
