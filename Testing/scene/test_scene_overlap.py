"""Segmentations and label maps of the scene as structures: partners by name, places, overlaps, parents."""

import numpy as np
import pytest
import slicer
from deepregister import Volume
from deepregister.errors import InputError
from deepregister.inspection import inspect
from DeepRegisterLib.scene.overlap import structureAt, structuresFromNodes
from scenery import addLinear, addVolume, centred, rigid

GRID = centred((40, 36, 30), (1.5, 1.6, 2.0), 12)
BALLS = {"liver": ((0, 0, 0), 12.0), "kidney": ((18, -10, 8), 6.0)}


def ball(name, through=None):
    """A ball on the grid, as it lies in a space that `through` leads to."""
    centre, radius = BALLS[name]
    points = GRID.points() if through is None else through.apply_to_points(GRID.points())
    return ((points - centre) ** 2).sum(-1) < radius**2


def labels(names, through=None):
    data = np.zeros(GRID.shape, np.uint8)
    for number, name in enumerate(names, start=1):
        data[ball(name, through)] = number
    return Volume(data, GRID, "labels")


def addSegmentation(scene, names, title, through=None):
    """A segmentation with these balls as segments, all in one layer."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", title)
    map_ = addVolume(scene, labels(names, through), "map", "vtkMRMLLabelMapVolumeNode")
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(map_, node)
    scene.RemoveNode(map_)
    for index, name in enumerate(names):
        node.GetSegmentation().GetNthSegment(index).SetName(name)
    return node


def test_structures_of_one_name_are_partners_whatever_their_order(scene):
    transform = rigid(GRID, 6, (3, 1, -2))
    fixed = addSegmentation(scene, ["liver", "kidney"], "F", transform)
    moving = addSegmentation(scene, ["kidney", "liver"], "M")
    groups, notes = structuresFromNodes(fixed, moving)
    assert notes == ()
    assert sorted(name for group in groups for name in group.names.values()) == ["kidney", "liver"]
    found = {entry["name"]: entry for entry in inspect(transform, GRID, structures=groups)["structures"]}
    for name in BALLS:
        assert found[name]["after"]["dice"] > 0.85 > found[name]["before"]["dice"]
        centre = transform.inverse().apply_to_points(np.array(BALLS[name][0], float))
        np.testing.assert_allclose(found[name]["centre_mm"], centre, atol=0.4)
        assert structureAt(groups, centre) == name
    assert structureAt(groups, np.array([0.0, 25, 0])) is None
    assert structureAt(groups, np.array([900.0, 0, 0])) is None


def test_the_place_of_the_nodes_counts_but_not_the_result(scene):
    fixed = addSegmentation(scene, ["liver"], "F")
    moving = addSegmentation(scene, ["liver"], "M")
    own = addLinear(scene, np.array([[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float), "own")
    result = addLinear(scene, np.array([[1, 0, 0, 0], [0, 1, 0, 50], [0, 0, 1, 0], [0, 0, 0, 1]], float), "result")
    moving.SetAndObserveTransformNodeID(own.GetID())
    own.SetAndObserveTransformNodeID(result.GetID())
    (group,), _ = structuresFromNodes(fixed, moving, result)
    where = np.argwhere(group.moving.data)[:, ::-1].mean(0)
    np.testing.assert_allclose(group.moving.geometry.index_to_point(where), (5, 0, 0), atol=0.3)


def test_segments_that_overlap_are_kept_apart(scene):
    node = addSegmentation(scene, ["liver"], "F")
    other = addSegmentation(scene, ["liver"], "other")
    inner = other.GetSegmentation().GetNthSegment(0)
    inner.SetName("lesion")
    node.GetSegmentation().AddSegment(inner, "lesion")
    groups, _ = structuresFromNodes(node)
    assert [list(group.names.values()) for group in groups] == [["liver"], ["lesion"]]
    counts = [int((group.fixed.data > 0).sum()) for group in groups]
    assert counts[0] == counts[1] == int(ball("liver").sum())


def test_label_maps_go_by_their_colours_names(scene):
    fixed = addVolume(scene, labels(["liver", "kidney"]), "F", "vtkMRMLLabelMapVolumeNode")
    moving = addVolume(scene, labels(["liver"]), "M", "vtkMRMLLabelMapVolumeNode")
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "organs")
    table.SetTypeToUser()
    table.SetNumberOfColors(3)
    table.SetNamesInitialised(True)
    for number, name in enumerate(("background", "liver", "kidney")):
        table.SetColor(number, name, 0.5, 0.5, 0.5, 1.0)
    fixed.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    moving.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    groups, notes = structuresFromNodes(fixed, moving)
    assert notes == ("Only F has kidney: not compared.",)
    assert {tuple(group.names.values()): group.moving is not None for group in groups} == {
        ("liver",): True,
        ("kidney",): False,
    }
    segments = addSegmentation(scene, ["kidney"], "S")
    assert structuresFromNodes(fixed, segments)[1] == ("Only F has liver: not compared.",)


def test_what_cannot_be_compared_is_refused(scene):
    fixed = addSegmentation(scene, ["liver"], "F")
    with pytest.raises(InputError, match="F was given as the segmentation of both"):
        structuresFromNodes(fixed, fixed)
    with pytest.raises(InputError, match=r"F \(liver\) and M \(kidney\) have no structure of one name"):
        structuresFromNodes(fixed, addSegmentation(scene, ["kidney"], "M"))
    with pytest.raises(InputError, match="which holds no structures"):
        structuresFromNodes(addLinear(scene, np.eye(4), "T"))
    with pytest.raises(InputError, match="has no binary label map"):
        structuresFromNodes(scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty"))
