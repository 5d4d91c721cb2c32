"""A result and its inverse on every kind of node: each must lie where the engine's own transform says it should.

Points are known exactly: x on the fixed volume is p = transform(x) on the moving one. Whatever stands at p must be
brought to x by the result, and from x to p by the inverse.
"""

import itertools

import numpy as np
import pytest
import slicer
import vtk
from deepregister import Settings, Volume
from deepregister.errors import InputError
from DeepRegisterLib.scene import applying
from DeepRegisterLib.scene.applying import COPIED, HARDENED, SHOWN, WAYS, applyResult
from DeepRegisterLib.scene.current import CurrentResult
from DeepRegisterLib.scene.frame import flippedPoints, nodesOfClass
from DeepRegisterLib.scene.logic import RegistrationLogic
from DeepRegisterLib.scene.masks import maskFromNode
from DeepRegisterLib.scene.parents import parentChain
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import PAIRS, addLinear, addVolume, deformable, dump, ramps, registration, rigid, rotated, texture
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

FIXED, MOVING = PAIRS["oblique"]
TRANSFORMS = {"deformable": deformable, "rigid": rigid}


@pytest.fixture(params=TRANSFORMS)
def current(request, scene):
    """A registration whose transform is known, with the engine's inverse or without."""
    return registered(scene, TRANSFORMS[request.param])


def registered(scene, transform=deformable, **options):
    fixed, moving = addVolume(scene, texture(FIXED, 1), "CT"), addVolume(scene, texture(MOVING, 2), "MR")
    asked = requestFromNodes(fixed, moving, Settings(model="deformable"), **options)
    found = registration(transform(FIXED), asked.fixed, asked.moving)
    return CurrentResult.of(insertResult(asked, found))


def pairs(current, count=40):
    """Points (n, 3) of the fixed volume and their partners, LPS mm."""
    index = np.random.default_rng(0).uniform(4, np.asarray(FIXED.size) - 5, (count, 3))
    fixed = FIXED.index_to_point(index)
    return fixed, current.registration.transform.apply_to_points(fixed)


def addMarkups(scene, points, name="Points"):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for point in flippedPoints(points):
        node.AddControlPoint(*point)
    return node


def addModel(scene, points, name="Model"):
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(vtk.vtkPoints())
    mesh.GetPoints().SetData(numpy_to_vtk(np.ascontiguousarray(flippedPoints(points)), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(mesh)
    return node


def placesInWorld(node):
    """Where the points of a markups or model node are shown, LPS mm."""
    if node.IsA("vtkMRMLModelNode"):
        points = vtk.vtkPoints()
        own = node.GetPolyData().GetPoints()
        toWorld = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, toWorld)
        points.SetDataTypeToDouble()
        toWorld.TransformPoints(own, points)
        return flippedPoints(vtk_to_numpy(points.GetData()).astype(float))
    places = []
    for n in range(node.GetNumberOfControlPoints()):
        places.append([0.0, 0.0, 0.0])
        node.GetNthControlPointPositionWorld(n, places[-1])
    return flippedPoints(np.array(places))


@pytest.mark.parametrize("inverse", [False, True])
def test_points_go_where_the_engine_says(scene, current, inverse):
    onFixed, onMoving = pairs(current)
    start, end = (onFixed, onMoving) if inverse else (onMoving, onFixed)
    for add, way in itertools.product((addMarkups, addModel), WAYS):
        node = add(scene, start)
        applied = applyResult(current, node, inverse, way)
        # The grid of the scene stands for the engine's transform within a quarter of a voxel.
        assert np.linalg.norm(placesInWorld(applied.node) - end, axis=1).max() < 0.25
        assert (applied.node is node) == (way != COPIED)
        assert (applied.node.GetParentTransformNode() is applied.transformNode) == (way == SHOWN)
        if way == COPIED:
            np.testing.assert_allclose(placesInWorld(node), start, atol=1e-4)
            assert applied.node.GetName() == f"{node.GetName()} on {'MR' if inverse else 'CT'}"


@pytest.mark.parametrize("inverse", [False, True])
def test_the_copy_of_a_volume_is_sampled_where_the_engine_says(scene, current, inverse):
    """Ramps hold their own coordinates: each voxel of the copy says where it was taken."""
    source, target = (FIXED, MOVING) if inverse else (MOVING, FIXED)
    engine = current.registration.inverse if inverse else current.registration.transform
    taken = []
    for volume in ramps(source):
        node = addVolume(scene, volume, f"ramp {volume.name}")
        applied = applyResult(current, node, inverse, COPIED)
        copy, _ = volumeFromNode(applied.node)
        assert copy.geometry.same_grid(target, 1e-4)
        taken.append(copy.data)
        assert node.GetParentTransformNode() is None
    points = np.stack(taken, axis=-1)
    wanted = engine.apply_to_points(target.points())
    # The engine's inverse is known inside the fixed volume only; beyond an image there is nothing to sample.
    inside = np.ones(target.shape, bool) if not inverse else within(FIXED, wanted, 4)
    inside &= within(source, wanted, 1)
    assert inside.sum() > 1000
    # The grid of the scene again; turned round, where the field is steep, it is worth twice as much.
    assert np.linalg.norm(points - wanted, axis=-1)[inside].max() < (0.5 if inverse else 0.25)


def within(geometry, points, margin):
    index = geometry.point_to_index(points)
    return np.all((index >= margin) & (index <= np.asarray(geometry.size) - 1 - margin), axis=-1)


def ball(geometry, centre, radius=5.0):
    return (np.linalg.norm(geometry.points() - centre, axis=-1) < radius).astype(np.uint8)


def addSegmentation(scene, labels, geometry, name="Segmentation"):
    labelNode = addVolume(scene, Volume(labels, geometry), "labels", "vtkMRMLLabelMapVolumeNode")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelNode, node)
    scene.RemoveNode(labelNode)
    return node


def centreOf(node):
    """The middle of a segmentation in the world, LPS mm."""
    volume, _ = maskFromNode(node)
    return volume.geometry.index_to_point(np.argwhere(volume.data)[:, ::-1]).mean(axis=0)


@pytest.mark.parametrize("inverse", [False, True])
def test_segmentations_and_label_maps_go_with_their_image(scene, current, inverse):
    source, target = (FIXED, MOVING) if inverse else (MOVING, FIXED)
    engine = current.registration.transform if inverse else current.registration.inverse
    centre = FIXED.centre if inverse else current.registration.transform.apply_to_points(FIXED.centre[None])[0]
    labels = ball(source, centre)
    points = source.points()[labels > 0]
    expected = engine.apply_to_points(points).mean(axis=0)
    for way in WAYS:
        node = addSegmentation(scene, labels, source)
        applied = applyResult(current, node, inverse, way)
        assert np.linalg.norm(centreOf(applied.node) - expected) < 0.6
        assert applied.node.GetDisplayNode() is not None
        if way == COPIED:
            assert np.linalg.norm(centreOf(node) - points.mean(axis=0)) < 0.1

    labelNode = addVolume(scene, Volume(labels, source), "label map", "vtkMRMLLabelMapVolumeNode")
    copy, _ = volumeFromNode(applyResult(current, labelNode, inverse, COPIED).node)
    assert set(np.unique(copy.data)) == {0, 1} and copy.geometry.same_grid(target, 1e-4)
    found = copy.geometry.index_to_point(np.argwhere(copy.data)[:, ::-1]).mean(axis=0)
    assert np.linalg.norm(found - expected) < 0.6


def test_a_place_under_transforms_of_its_own_is_honoured(scene):
    current = registered(scene)
    onFixed, onMoving = pairs(current)
    table = rotated(12, shift=(5, -3, 2))
    inverse = np.linalg.inv(table)
    for way in WAYS:
        parent = addLinear(scene, table, "Table")
        other = addMarkups(scene, onFixed, "Neighbour")
        other.SetAndObserveTransformNodeID(parent.GetID())
        node = addMarkups(scene, onMoving @ inverse[:3, :3].T + inverse[:3, 3])
        node.SetAndObserveTransformNodeID(parent.GetID())
        stays = placesInWorld(other)
        applied = applyResult(current, node, way=way)
        assert np.linalg.norm(placesInWorld(applied.node) - onFixed, axis=1).max() < 0.25
        np.testing.assert_allclose(placesInWorld(other), stays)


def test_hardening_a_volume_keeps_it_where_it_was_shown(scene):
    current = registered(scene)
    node = addVolume(scene, ramps(MOVING)[0], "ramp")
    applied = applyResult(current, node, way=HARDENED)
    assert node.GetParentTransformNode() is None and applied.message == "ramp lies on CT now, for good."
    hardened, _ = volumeFromNode(node)
    index = np.random.default_rng(2).uniform(4, np.asarray(FIXED.size) - 5, (200, 3))
    points = FIXED.index_to_point(index)
    nearest = np.rint(hardened.geometry.point_to_index(points)).astype(int)
    there = hardened.geometry.index_to_point(nearest)
    values = hardened.data[tuple(nearest[:, ::-1].T)]
    wanted = current.registration.transform.apply_to_points(there)[:, 0]
    assert np.abs(values - wanted).max() < 0.3


def test_the_inverse_is_made_once_and_the_engines_own_is_preferred(scene):
    current = registered(scene)
    first, second = (addMarkups(scene, pairs(current)[0], name) for name in "ab")
    inverse = applyResult(current, first, inverse=True).transformNode
    assert inverse.GetName() == "CT to MR (deformable, inverse)"
    assert inverse.GetNodeReference(inverse.GetFixedNodeReferenceRole()) is current.movingNode
    assert applyResult(current, second, inverse=True).transformNode is inverse is current.inverseTransformNode
    scene.RemoveNode(inverse)
    assert current.inverseTransformNode is None

    scene.Clear(0)
    current = registered(scene, createInverse=True)
    known = current.inverseTransformNode
    count = len(nodesOfClass(scene, "vtkMRMLTransformNode"))
    assert applyResult(current, addMarkups(scene, pairs(current)[0]), inverse=True).transformNode is known
    assert len(nodesOfClass(scene, "vtkMRMLTransformNode")) == count


def test_what_cannot_be_applied_is_said_and_nothing_changes(scene):
    current = registered(scene)
    points = addMarkups(scene, pairs(current)[1])
    applyResult(current, points)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Table")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    colours = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Colours")
    colours.SetAndObserveImageData(vtk.vtkImageData())
    colours.GetImageData().SetDimensions(3, 3, 3)
    colours.GetImageData().AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    before = dump(scene)
    for node, options, words in (
        (None, {}, "nothing to apply"),
        (table, {}, "Table is a .*, which no transform moves"),
        (empty, {}, "Empty holds no image data"),
        (colours, {"way": COPIED}, "cannot be copied onto another grid"),
        (current.fixedNode, {}, "CT is the volume that others are brought onto. To bring it onto MR, take the other"),
        (current.movingNode, {"inverse": True}, "MR is the volume that others are brought onto"),
        (points, {"inverse": True}, r"Points was brought onto CT by MR to CT \(deformable\)"),
        (points, {"way": "bent"}, "'bent' is no way"),
    ):
        with pytest.raises(InputError, match=words):
            applyResult(current, node, **options)
        assert dump(scene) == before
    assert applyResult(current, points).message == "Points was under MR to CT (deformable) already."
    scene.RemoveNode(current.fixedNode)
    with pytest.raises(InputError, match="not in the scene any more"):
        applyResult(current, points)


def test_a_failure_half_way_takes_everything_back(scene, monkeypatch):
    current = registered(scene)
    node = addModel(scene, pairs(current)[0])
    before = dump(scene)

    def failing(*arguments):
        raise InputError("failed")

    monkeypatch.setattr(applying, "_harden", failing)
    for way in (COPIED, HARDENED):
        with pytest.raises(InputError, match="failed"):
            applyResult(current, node, inverse=True, way=way)
        assert dump(scene) == before


def test_the_console_takes_a_result_or_its_transform_node(scene):
    current = registered(scene)
    node = addMarkups(scene, pairs(current)[1])
    RegistrationLogic().applyResult(current.transformNode, node)
    assert current.transformNode in parentChain(node)
    other = addLinear(scene, rotated(3), "Other")
    with pytest.raises(InputError, match="Other was not made by a registration"):
        RegistrationLogic().applyResult(other, node)
