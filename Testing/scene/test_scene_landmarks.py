"""Point lists of the scene as landmark pairs."""

import numpy as np
import pytest
import slicer
from deepregister.errors import InputError
from DeepRegisterLib.scene.frame import flippedPoints
from DeepRegisterLib.scene.landmarks import landmarksFromNodes
from scenery import addLinear, rotated

POINTS = np.random.default_rng(0).uniform(-30, 30, (5, 3))


def addPoints(scene, points, name):
    """A point list at LPS positions."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    slicer.util.updateMarkupsControlPointsFromArray(node, flippedPoints(points))
    return node


def test_pairs_are_lps_in_the_world(scene):
    fixed, moving = addPoints(scene, POINTS, "F"), addPoints(scene, POINTS + 4, "M")
    turn = rotated(30, shift=(1, 2, 3))
    moving.SetAndObserveTransformNodeID(addLinear(scene, turn, "parent").GetID())
    pairs = landmarksFromNodes(fixed, moving)
    np.testing.assert_allclose(pairs.fixed, POINTS, atol=1e-9)
    np.testing.assert_allclose(pairs.moving, (POINTS + 4) @ turn[:3, :3].T + turn[:3, 3], atol=1e-9)


def test_an_earlier_result_does_not_count(scene):
    fixed, moving = addPoints(scene, POINTS, "F"), addPoints(scene, POINTS + 4, "M")
    output = addLinear(scene, rotated(50), "output")
    moving.SetAndObserveTransformNodeID(output.GetID())
    pairs = landmarksFromNodes(fixed, moving, output)
    np.testing.assert_allclose(pairs.moving, POINTS + 4, atol=1e-9)


def test_one_list_alone_is_refused(scene):
    fixed = addPoints(scene, POINTS, "F")
    for pair in ((fixed, None), (None, fixed)):
        with pytest.raises(InputError, match=r"Only one landmark list was given \(F\)"):
            landmarksFromNodes(*pair)
    with pytest.raises(InputError, match="F was given as both"):
        landmarksFromNodes(fixed, fixed)


def test_lists_of_unequal_length_are_refused(scene):
    with pytest.raises(InputError, match="5 fixed and 4 moving"):
        landmarksFromNodes(addPoints(scene, POINTS, "F"), addPoints(scene, POINTS[:4], "M"))


def test_an_empty_list_is_refused(scene):
    empty = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "M")
    with pytest.raises(InputError, match="list M is empty"):
        landmarksFromNodes(addPoints(scene, POINTS, "F"), empty)


def test_a_point_that_was_never_placed_is_refused(scene):
    moving = addPoints(scene, POINTS, "M")
    moving.SetNthControlPointLabel(2, "apex")
    moving.UnsetNthControlPointPosition(2)
    with pytest.raises(InputError, match="apex of M was never placed"):
        landmarksFromNodes(addPoints(scene, POINTS, "F"), moving)


def test_another_node_is_refused(scene):
    with pytest.raises(InputError, match=r"own is a .* not a point list"):
        landmarksFromNodes(addPoints(scene, POINTS, "F"), addLinear(scene, rotated(1), "own"))
