"""A result put into the scene: nodes, names, references, displays, and nothing at all when it cannot be put there.

The engine's results are made by hand here, so that the truth is known; `test_scene_logic.py` runs the engine.
"""

import json

import numpy as np
import pytest
import slicer
from deepregister import Rigid, Settings, Volume
from deepregister.confidence import Confidence
from deepregister.errors import InputError, TransformError
from deepregister.landmarks import LandmarkPairs
from DeepRegisterLib.scene import results
from DeepRegisterLib.scene.frame import flippedPoints, transformedPoints
from DeepRegisterLib.scene.grids import LOSS_ANYWHERE
from DeepRegisterLib.scene.parents import parentChain
from DeepRegisterLib.scene.provenance import recordedSettings, recordedSummary
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import (
    PAIRS,
    addLinear,
    addVolume,
    deformable,
    dump,
    hierarchyOf,
    registration,
    rigid,
    rotated,
    texture,
)

FIXED, MOVING = PAIRS["oblique"]


@pytest.fixture
def fixed(scene):
    return addVolume(scene, texture(FIXED, 1), "CT")


@pytest.fixture
def moving(scene):
    return addVolume(scene, texture(MOVING, 2), "MR")


def insert(fixedNode, movingNode, transform=None, settings=None, **options):
    """A request made from the nodes, and the engine's known result put into the scene."""
    settings = settings or Settings(model="deformable", quality="fast")
    request = requestFromNodes(fixedNode, movingNode, settings, **options)
    transform = transform or deformable(request.fixed.geometry)
    result = registration(transform, request.fixed, request.moving, settings=settings)
    return insertResult(request, result)


def test_a_deformable_result_is_one_grid_node_with_the_moving_volume_under_it(scene, fixed, moving):
    nodes = insert(fixed, moving)
    node = nodes.transformNode
    assert node.GetClassName() == "vtkMRMLGridTransformNode"
    assert node.GetName() == "MR to CT (deformable)"
    assert moving.GetParentTransformNode() is node and node.GetParentTransformNode() is None
    assert fixed.GetParentTransformNode() is None
    assert node.GetNodeReference("spatialRegistrationMoving") is moving
    assert node.GetNodeReference("spatialRegistrationFixed") is fixed
    assert nodes.inverseTransformNode is None
    assert nodes.message.startswith("MR was registered to CT (deformable, fast, 2 s on CPU). MR is shown under")
    assert float(node.GetAttribute("DeepRegister.GridLossMm")) < 0.25


def test_low_confidence_is_the_first_thing_said_and_stays_on_the_node(scene, fixed, moving):
    doubts = Confidence(0.2, ("The moving volume covers only 8% of what the fixed volume shows.",))
    request = requestFromNodes(fixed, moving, Settings(model="rigid"))
    result = registration(rigid(FIXED), request.fixed, request.moving, "rigid", confidence=doubts)
    nodes = insertResult(request, result)
    assert nodes.message.startswith("Low confidence (0.20): a person must look at this result")
    assert "covers only 8%" in nodes.message
    assert nodes.notes[: len(doubts.sentences)] == doubts.sentences
    assert nodes.transformNode.GetAttribute("DeepRegister.Confidence") == "low"
    assert recordedSummary(nodes.transformNode)["confidence"] == doubts.to_dict()
    good = insert(fixed, moving)
    assert good.transformNode.GetAttribute("DeepRegister.Confidence") == "good"
    assert "onfidence" not in good.message


def test_a_rigid_result_is_a_linear_node(scene, fixed, moving):
    transform = rigid(FIXED)
    nodes = insert(fixed, moving, transform, Settings(model="rigid"))
    assert nodes.transformNode.GetClassName() == "vtkMRMLLinearTransformNode"
    assert nodes.transformNode.GetName() == "MR to CT (rigid)"
    points = FIXED.points()[::5, ::5, ::5]
    seen = transformedPoints(nodes.transformNode.GetTransformFromParent(), points)
    np.testing.assert_allclose(seen, transform.apply_to_points(points), atol=1e-9)


def test_what_reproduces_the_run_is_on_the_node_also_after_saving(scene, fixed, moving, tmp_path):
    settings = Settings(model="deformable", quality="accurate", similarity="mind", field_spacing_mm=2.5, seed=7)
    node = insert(fixed, moving, settings=settings).transformNode
    assert (node.GetAttribute("DeepRegister.Model"), node.GetAttribute("DeepRegister.Quality")) == (
        "deformable",
        "accurate",
    )
    assert node.GetAttribute("DeepRegister.EngineVersion") == "0.1.0"
    summary = recordedSummary(node)
    assert summary["measures"] == {"similarity_after": 0.9} and summary["device"] == "CPU"
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.Commit()
    again = slicer.vtkMRMLScene()
    again.SetURL(str(tmp_path / "scene.mrml"))
    again.Connect()
    loaded = again.GetFirstNodeByName("MR to CT (deformable)")
    assert recordedSettings(loaded) == settings
    assert recordedSummary(loaded) == summary
    assert loaded.GetNodeReference("spatialRegistrationFixed").GetName() == "CT"
    again.Clear(1)
    own = addLinear(scene, rotated(10), "not ours")
    assert recordedSettings(own) is None and recordedSummary(own) is None


def test_the_registered_volume_lies_on_the_fixed_grid_and_looks_like_the_moving_one(scene, fixed, moving):
    display = moving.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(60, 110)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeWarm1")
    nodes = insert(fixed, moving)
    node = nodes.registeredVolumeNode
    assert node.GetName() == "MR registered" and node.GetClassName() == "vtkMRMLScalarVolumeNode"
    volume, _ = volumeFromNode(node)
    assert volume.geometry.same_grid(FIXED, 1e-9) and node.GetParentTransformNode() is None
    np.testing.assert_array_equal(volume.data, nodes.registration.registered.data)
    shown = node.GetDisplayNode()
    assert (shown.GetWindow(), shown.GetLevel()) == (60, 110)
    assert shown.GetColorNodeID() == "vtkMRMLColorTableNodeWarm1"


def test_the_registered_volume_is_made_here_where_the_engine_made_none(scene, fixed, moving):
    request = requestFromNodes(fixed, moving, Settings())
    transform = rigid(FIXED)
    result = registration(transform, request.fixed, request.moving, registered=None)
    nodes = insertResult(request, result)
    wanted = transform.resample(request.moving, FIXED).data
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.registeredVolumeNode), wanted)


def test_a_registered_label_map_holds_no_new_labels(scene, fixed):
    labels = Volume((texture(MOVING, 2).data > 100).astype(np.uint8) * 5, MOVING)
    moving = addVolume(scene, labels, "labels", "vtkMRMLLabelMapVolumeNode")
    node = insert(fixed, moving).registeredVolumeNode
    assert node.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert node.GetDisplayNode().GetClassName() == "vtkMRMLLabelMapVolumeDisplayNode"
    assert set(np.unique(slicer.util.arrayFromVolume(node))) == {0, 5}


def test_no_registered_volume_on_request(scene, fixed, moving):
    count = scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")
    assert insert(fixed, moving, createRegisteredVolume=False).registeredVolumeNode is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == count


def test_the_inverse_is_a_grid_of_its_own_over_the_moving_volume(scene, fixed, moving):
    nodes = insert(fixed, moving, createInverse=True)
    node = nodes.inverseTransformNode
    assert node.GetName() == "CT to MR (deformable, inverse)"
    assert node.GetNodeReference("spatialRegistrationFixed") is moving
    assert node.GetNodeReference("spatialRegistrationMoving") is fixed
    assert node.GetTransformFromParent().GetInverseFlag() == 0
    points = FIXED.points()[2:-2:3, 4:-4:5, 4:-4:5].reshape(-1, 3)
    partners = nodes.registration.transform.apply_to_points(points)
    back = transformedPoints(node.GetTransformFromParent(), partners)
    assert np.linalg.norm(back - points, axis=-1).max() < LOSS_ANYWHERE * min(MOVING.spacing)
    # One grid, which every tool of Slicer reads.
    assert slicer.util.arrayFromGridTransform(node).shape[-1] == 3
    assert moving.GetParentTransformNode() is nodes.transformNode


def test_results_stand_in_the_study_of_the_moving_volume(scene, fixed, moving):
    hierarchy = hierarchyOf(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, moving)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), fixed)
    nodes = insert(fixed, moving, rigid(FIXED), createInverse=True)
    for node in (nodes.transformNode, nodes.registeredVolumeNode, nodes.inverseTransformNode):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_a_shared_transform_is_named_in_the_message(scene, fixed, moving):
    shared = addLinear(scene, rotated(20, shift=(4, 2, 0)), "scanner")
    for node in (fixed, moving):
        node.SetAndObserveTransformNodeID(shared.GetID())
    nodes = insert(fixed, moving)
    assert "MR shared scanner with CT" in nodes.message
    assert fixed.GetParentTransformNode() is shared and shared.GetParentTransformNode() is None
    assert parentChain(moving)[-1] is nodes.transformNode


def test_how_the_inputs_were_understood_is_in_the_message(scene, fixed, moving):
    shear = np.eye(4)
    shear[0, 1] = 0.2
    moving.SetAndObserveTransformNodeID(addLinear(scene, shear, "shear").GetID())
    nodes = insert(fixed, moving)
    assert "MR was resampled onto a straight grid" in nodes.message
    assert "stays under shear" in nodes.message


# Outputs that exist already.


@pytest.mark.parametrize("className", ["vtkMRMLTransformNode", "vtkMRMLGridTransformNode"])
def test_an_output_node_is_overwritten_and_keeps_its_name(scene, fixed, moving, className):
    output = scene.AddNewNodeByClass(className, "mine")
    count = scene.GetNumberOfNodesByClass("vtkMRMLTransformNode")
    nodes = insert(fixed, moving, outputTransformNode=output)
    assert nodes.transformNode is output and output.GetName() == "mine"
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == count
    assert output.GetTransformFromParent().IsA("vtkOrientedGridTransform")


def test_running_again_into_the_same_output_starts_from_the_volumes_own_place(scene, fixed, moving):
    own = addLinear(scene, rotated(12, shift=(2, 3, 4)), "own")
    moving.SetAndObserveTransformNodeID(own.GetID())
    first = insert(fixed, moving, deformable(FIXED, 30))
    before = requestFromNodes(fixed, moving, Settings(), outputTransformNode=first.transformNode)
    np.testing.assert_allclose(before.moving.geometry.matrix, rotated(12, shift=(2, 3, 4)) @ MOVING.matrix, atol=1e-9)
    transform = rigid(FIXED)
    second = insert(fixed, moving, transform, outputTransformNode=first.transformNode)
    assert second.transformNode is first.transformNode
    assert parentChain(moving) == [own, first.transformNode]
    points = FIXED.points()[::6, ::6, ::6]
    seen = transformedPoints(first.transformNode.GetTransformFromParent(), points)
    np.testing.assert_allclose(seen, transform.apply_to_points(points), atol=1e-4)


def test_a_linear_result_in_a_grid_node_is_a_grid(scene, fixed, moving):
    output = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "grid")
    insert(fixed, moving, rigid(FIXED), Settings(model="rigid"), outputTransformNode=output)
    points = FIXED.points()[::6, ::6, ::6]
    seen = transformedPoints(output.GetTransformFromParent(), points)
    np.testing.assert_allclose(seen, rigid(FIXED).apply_to_points(points), atol=1e-4)


@pytest.mark.parametrize("model", ["auto", "deformable"])
def test_an_output_that_cannot_hold_the_result_is_refused_before_the_run(scene, fixed, moving, model):
    output = addLinear(scene, rotated(3), "only linear")
    with pytest.raises(TransformError, match="only linear"):
        requestFromNodes(fixed, moving, Settings(model=model), outputTransformNode=output)
    requestFromNodes(fixed, moving, Settings(model="affine"), outputTransformNode=output)


# What the engine is given.


def test_masks_landmarks_and_start_reach_the_engine_in_the_world(scene, fixed, moving):
    mask = addVolume(scene, Volume((texture(FIXED).data > 100).astype(np.uint8), FIXED), "mask")
    lists = []
    for shift in (0, 3):
        lists.append(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"list {shift}"))
        slicer.util.updateMarkupsControlPointsFromArray(lists[-1], flippedPoints(np.eye(3) * 10 + shift))
    start = addLinear(scene, rotated(10, shift=(1, 2, 3)), "start")
    request = requestFromNodes(
        fixed,
        moving,
        Settings(),
        fixedMaskNode=mask,
        regionsNode=mask,
        initialTransformNode=start,
        fixedLandmarksNode=lists[0],
        movingLandmarksNode=lists[1],
    )
    assert request.fixedMask.geometry.same_grid(FIXED, 1e-9) and request.movingMask is None
    assert request.regions.geometry.same_grid(FIXED, 1e-9) and set(np.unique(request.regions.data)) == {0, 1}
    assert isinstance(request.landmarks, LandmarkPairs)
    np.testing.assert_allclose(request.landmarks.moving, np.eye(3) * 10 + 3, atol=1e-9)
    assert isinstance(request.initial, Rigid)
    np.testing.assert_allclose(request.initial.matrix, np.linalg.inv(rotated(10, shift=(1, 2, 3))), atol=1e-9)


def test_a_start_that_the_moving_volume_sits_under_is_not_applied_twice(scene, fixed, moving):
    start = addLinear(scene, rotated(10), "manual alignment")
    moving.SetAndObserveTransformNodeID(start.GetID())
    request = requestFromNodes(fixed, moving, Settings(), initialTransformNode=start)
    assert request.initial is None
    assert "manual alignment" in request.notes[0]
    # As the output it is about to be replaced: then it is a start, and no longer part of the volume's place.
    request = requestFromNodes(
        fixed, moving, Settings(model="rigid"), initialTransformNode=start, outputTransformNode=start
    )
    assert request.initial is not None and not request.notes
    assert request.moving.geometry.same_grid(MOVING, 1e-9)


def test_a_dense_start_covers_the_fixed_volume(scene, fixed, moving):
    first = insert(fixed, moving).transformNode
    moving.SetAndObserveTransformNodeID(None)
    request = requestFromNodes(fixed, moving, Settings(), initialTransformNode=first)
    points = FIXED.points()[::4, ::4, ::4]
    seen = transformedPoints(first.GetTransformFromParent(), points)
    assert np.linalg.norm(request.initial.apply_to_points(points) - seen, axis=-1).max() < 0.2


def test_volumes_that_cannot_be_registered_are_refused(scene, fixed, moving):
    with pytest.raises(InputError, match="no fixed volume"):
        requestFromNodes(None, moving, Settings())
    with pytest.raises(InputError, match="no moving volume"):
        requestFromNodes(fixed, None, Settings())
    with pytest.raises(InputError, match="CT was given as fixed and as moving"):
        requestFromNodes(fixed, fixed, Settings())
    scene.RemoveNode(moving)
    with pytest.raises(InputError, match="MR is in no scene"):
        requestFromNodes(fixed, moving, Settings())


# All or nothing.


@pytest.mark.parametrize("step", ["record", "putUnder", "setVolume", "copyDisplay", "placeBeside"])
def test_a_failure_half_way_leaves_the_scene_as_it_was(scene, fixed, moving, monkeypatch, step):
    shared = addLinear(scene, rotated(20), "scanner")
    for node in (fixed, moving):
        node.SetAndObserveTransformNodeID(shared.GetID())
    hierarchy = hierarchyOf(scene)
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), moving)
    output = scene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    output.SetAttribute("Note", "by the user")
    before, items = dump(scene), hierarchy.GetNumberOfItems()
    real = getattr(results, step)

    def failing(*arguments):
        real(*arguments)
        raise InputError(f"failed after {step}")

    monkeypatch.setattr(results, step, failing)
    for options in ({"outputTransformNode": output}, {}):
        with pytest.raises(InputError, match=f"failed after {step}"):
            insert(fixed, moving, rigid(FIXED), createInverse=True, **options)
        assert dump(scene) == before
        assert hierarchy.GetNumberOfItems() == items


@pytest.mark.parametrize("gone", ["CT", "MR", "mine"])
def test_a_node_that_was_removed_meanwhile_is_named_and_nothing_changes(scene, fixed, moving, gone):
    output = scene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    request = requestFromNodes(fixed, moving, Settings(), outputTransformNode=output)
    result = registration(rigid(FIXED), request.fixed, request.moving)
    scene.RemoveNode(scene.GetFirstNodeByName(gone))
    before = dump(scene)
    with pytest.raises(InputError, match=f"{gone} was removed from the scene"):
        insertResult(request, result)
    assert dump(scene) == before


def test_a_scene_closed_meanwhile_is_no_crash(scene, fixed, moving):
    request = requestFromNodes(fixed, moving, Settings())
    result = registration(rigid(FIXED), request.fixed, request.moving)
    scene.Clear(0)
    with pytest.raises(InputError, match="CT was removed from the scene"):
        insertResult(request, result)


def test_an_output_that_was_put_under_something_meanwhile_is_refused(scene, fixed, moving):
    output = scene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    request = requestFromNodes(fixed, moving, Settings(), outputTransformNode=output)
    result = registration(rigid(FIXED), request.fixed, request.moving)
    output.SetAndObserveTransformNodeID(addLinear(scene, rotated(5), "above").GetID())
    before = dump(scene)
    with pytest.raises(InputError, match="mine sits under above"):
        insertResult(request, result)
    assert dump(scene) == before


def test_the_summary_on_the_node_is_the_one_of_the_engine(scene, fixed, moving):
    nodes = insert(fixed, moving)
    assert recordedSummary(nodes.transformNode) == json.loads(json.dumps(nodes.registration.summary()))
