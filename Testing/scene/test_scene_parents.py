"""Where the moving volume and its own transforms go when a result comes on top of them."""

import numpy as np
import pytest
from deepregister.errors import InputError
from DeepRegisterLib.scene.edit import SceneEdit
from DeepRegisterLib.scene.frame import transformedPoints, transformToFrame
from DeepRegisterLib.scene.parents import checkOutput, nodesUnder, parentChain, putUnder
from scenery import PAIRS, addLinear, addVolume, bending, dump, rotated, setTransform, texture

FIXED, MOVING = PAIRS["oblique"]
RESULT = rotated(15, shift=(1, 2, 3))


@pytest.fixture
def moving(scene):
    return addVolume(scene, texture(MOVING), "MR")


def place(scene, node):
    """Where some points of a node lie in the world."""
    points = np.random.default_rng(0).uniform(-20, 20, (10, 3))
    toWorld = transformToFrame(node)
    return points if toWorld is None else transformedPoints(toWorld, points)


def under(scene, movingNode, resultNode):
    with SceneEdit(scene) as edit:
        return putUnder(movingNode, resultNode, edit)


def moved(points):
    return points @ RESULT[:3, :3].T + RESULT[:3, 3]


def test_a_volume_of_its_own_goes_under_the_result(scene, moving):
    before = place(scene, moving)
    result = addLinear(scene, RESULT, "result")
    message = under(scene, moving, result)
    assert moving.GetParentTransformNode() is result
    assert message == "MR is shown under result."
    np.testing.assert_allclose(place(scene, moving), moved(before), atol=1e-9)


def test_transforms_that_move_nothing_else_go_along(scene, moving):
    upper = addLinear(scene, rotated(30), "upper")
    lower = addLinear(scene, rotated(-20, shift=(5, 0, 0)), "lower", upper)
    moving.SetAndObserveTransformNodeID(lower.GetID())
    before = place(scene, moving)
    result = addLinear(scene, RESULT, "result")
    count = scene.GetNumberOfNodes()
    message = under(scene, moving, result)
    assert parentChain(moving) == [lower, upper, result]
    assert scene.GetNumberOfNodes() == count
    assert message == "MR stays under lower, upper, now under result."
    np.testing.assert_allclose(place(scene, moving), moved(before), atol=1e-9)


@pytest.mark.parametrize("shares", ["lower", "upper"])
def test_a_shared_transform_stays_and_the_volume_sees_the_same_composition(scene, moving, shares):
    upper = addLinear(scene, rotated(30), "upper")
    lower = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "lower")
    setTransform(lower, bending(MOVING.with_spacing((4, 4, 4)), 2, 60), MOVING)
    lower.SetAndObserveTransformNodeID(upper.GetID())
    moving.SetAndObserveTransformNodeID(lower.GetID())
    other = addVolume(scene, texture(MOVING), "PET")
    other.SetAndObserveTransformNodeID({"lower": lower, "upper": upper}[shares].GetID())
    before, others = place(scene, moving), place(scene, other)
    result = addLinear(scene, RESULT, "result")
    message = under(scene, moving, result)
    assert "PET" in message and "copy" in message
    assert parentChain(other)[-1] is upper and lower.GetParentTransformNode() is upper
    np.testing.assert_array_equal(place(scene, other), others)
    np.testing.assert_allclose(place(scene, moving), moved(before), atol=1e-6)
    assert lower not in parentChain(moving) and upper not in parentChain(moving)
    # The copy is a copy: what the user then does to the shared transform moves only what still sits under it.
    setTransform(lower, bending(MOVING.with_spacing((4, 4, 4)), 1, 60), MOVING)
    np.testing.assert_allclose(place(scene, moving), moved(before), atol=1e-6)


def test_a_second_run_into_the_same_output_changes_no_parent(scene, moving):
    result = addLinear(scene, RESULT, "result")
    own = addLinear(scene, rotated(20), "own", result)
    moving.SetAndObserveTransformNodeID(own.GetID())
    other = addVolume(scene, texture(MOVING), "PET")
    other.SetAndObserveTransformNodeID(own.GetID())
    before = dump(scene)
    under(scene, moving, result)
    assert dump(scene) == before
    assert nodesUnder(own) == [moving, other] or nodesUnder(own) == [other, moving]


def test_an_earlier_result_stays_below_a_new_one(scene, moving):
    first, second = addLinear(scene, rotated(40), "first"), addLinear(scene, RESULT, "second")
    under(scene, moving, first)
    before = place(scene, moving)
    under(scene, moving, second)
    assert parentChain(moving) == [first, second]
    np.testing.assert_allclose(place(scene, moving), moved(before), atol=1e-9)


def test_an_output_under_another_transform_is_refused(scene, moving):
    fixed = addVolume(scene, texture(FIXED), "CT")
    output = addLinear(scene, RESULT, "output", addLinear(scene, RESULT, "above"))
    with pytest.raises(InputError, match=r"output sits under above"):
        checkOutput(output, fixed, moving)


def test_an_output_that_would_move_the_fixed_volume_is_refused(scene, moving):
    fixed = addVolume(scene, texture(FIXED), "CT")
    output = addLinear(scene, RESULT, "output")
    fixed.SetAndObserveTransformNodeID(addLinear(scene, RESULT, "own", output).GetID())
    with pytest.raises(InputError, match=r"CT sits under the output transform output"):
        checkOutput(output, fixed, moving)
