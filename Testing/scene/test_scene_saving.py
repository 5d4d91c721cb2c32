"""Saved results, read back by Slicer's reader and by ITK: the same points go to the same places."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from deepregister import Settings
from deepregister.errors import FileError, InputError
from deepregister.transforms.files import read_transform
from DeepRegisterLib.scene.current import CurrentResult
from DeepRegisterLib.scene.frame import transformedPoints
from DeepRegisterLib.scene.logic import RegistrationLogic
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from scenery import PAIRS, addLinear, addVolume, deformable, dump, registration, rigid, rotated, setTransform, texture

FIXED, MOVING = PAIRS["oblique"]


def registered(scene, transform, **options):
    fixed, moving = addVolume(scene, texture(FIXED, 1), "CT"), addVolume(scene, texture(MOVING, 2), "MR")
    asked = requestFromNodes(fixed, moving, Settings(model="deformable"), **options)
    return insertResult(asked, registration(transform(FIXED), asked.fixed, asked.moving))


def inside():
    """Points of the fixed volume, LPS mm."""
    index = np.random.default_rng(0).uniform(2, np.asarray(FIXED.size) - 3, (200, 3))
    return FIXED.index_to_point(index)


def asSlicerReads(scene, path, points):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    moved = transformedPoints(node.GetTransformFromParent(), points)
    scene.RemoveNode(node)
    return moved


def asITKReads(path, points):
    if path.name.endswith((".h5", ".tfm")):
        transform = sitk.ReadTransform(str(path))
        return np.array([transform.TransformPoint(point) for point in points])
    return read_transform(path).apply_to_points(points)


@pytest.mark.parametrize("transform", [deformable, rigid])
@pytest.mark.parametrize("session", ["that registered", "after loading"])
def test_every_format_gives_the_result_and_its_inverse_back(scene, tmp_path, transform, session):
    nodes = registered(scene, transform)
    before = dump(scene)
    onFixed = inside()
    onMoving = nodes.registration.transform.apply_to_points(onFixed)
    result = nodes if session == "that registered" else nodes.transformNode
    for ending, inverse in itertools.product((".h5", ".tfm", ".nrrd", ".nii.gz"), (False, True)):
        path = tmp_path / f"{'inverse' if inverse else 'forward'}{ending}"
        RegistrationLogic().saveTransform(result, path, inverse)
        start, end = (onMoving, onFixed) if inverse else (onFixed, onMoving)
        for found in (asSlicerReads(scene, path, start), asITKReads(path, start)):
            # What the engine found is written as it is; a field on the grid of a volume is linear between its voxels,
            # and the inverse of a scene's grid as coarse as that grid.
            apart = np.linalg.norm(found - end, axis=1)
            assert apart.mean() < 0.25 and apart.max() < 0.6, (path.name, apart.mean(), apart.max())
    assert dump(scene) == before


def test_the_worker_writes_the_same_file(scene, logic, tmp_path):
    nodes = registered(scene, deformable)
    files = logic.startSaving(nodes.transformNode, tmp_path / "worker.h5", inverse=True).finish()
    logic.saveTransform(nodes.transformNode, tmp_path / "here.h5", inverse=True)
    points = nodes.registration.transform.apply_to_points(inside())
    np.testing.assert_allclose(asITKReads(files[0], points), asITKReads(tmp_path / "here.h5", points), atol=1e-6)


def test_beyond_its_field_itk_has_the_affine_part(scene, tmp_path):
    nodes = registered(scene, deformable)
    RegistrationLogic().saveTransform(nodes, tmp_path / "result.h5")
    far = FIXED.centre + np.array([[200.0, 0, 0], [0, -300, 0]])
    wanted = nodes.registration.transform.apply_to_points(far)
    np.testing.assert_allclose(asITKReads(tmp_path / "result.h5", far), wanted, atol=1e-3)


def test_what_the_node_does_is_written_its_own_parents_included(scene, tmp_path):
    nodes = registered(scene, rigid)
    current = CurrentResult.of(nodes)
    parent = addLinear(scene, rotated(9, shift=(3, 1, -2)), "Parent")
    current.transformNode.SetAndObserveTransformNodeID(parent.GetID())
    RegistrationLogic().saveTransform(current, tmp_path / "both.h5")
    # A point of the fixed volume leaves the parent first and then the result.
    wanted = nodes.registration.transform.apply_to_points(transformedPoints(parent.GetTransformFromParent(), inside()))
    np.testing.assert_allclose(asITKReads(tmp_path / "both.h5", inside()), wanted, atol=1e-4)


def test_a_composite_is_written_as_one_grid(scene, tmp_path):
    nodes = registered(scene, deformable)
    both = scene.AddNewNodeByClass("vtkMRMLTransformNode", "both")
    setTransform(both, deformable(FIXED, degrees=80), FIXED)
    nodes.transformNode.SetAndObserveTransformFromParent(both.GetTransformFromParent())
    wanted = transformedPoints(both.GetTransformFromParent(), inside())
    RegistrationLogic().saveTransform(nodes, tmp_path / "both.h5")
    assert np.linalg.norm(asITKReads(tmp_path / "both.h5", inside()) - wanted, axis=1).max() < 0.2


def test_what_cannot_be_written_is_said_and_leaves_no_file(scene, tmp_path):
    nodes = registered(scene, rigid)
    logic = RegistrationLogic()
    for path, words in (
        (tmp_path / "result.xyz", "no transform format has this ending"),
        (tmp_path / "none" / "result.h5", "does not exist"),
        (tmp_path, "no transform format"),
    ):
        with pytest.raises(FileError, match=words):
            logic.saveTransform(nodes, path)
    current = CurrentResult.of(nodes)
    scene.RemoveNode(scene.GetFirstNodeByName("MR"))
    with pytest.raises(InputError, match="not in the scene any more"):
        logic.saveTransform(current, tmp_path / "result.h5")
    assert list(tmp_path.iterdir()) == []
