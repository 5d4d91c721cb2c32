"""The current result looked at by the real worker, as the engine left it and as the scene has it after a reload."""

import numpy as np
import pytest
import slicer
from deepregister import Composite, Settings
from deepregister.errors import Cancelled, InputError
from deepregister.transforms import LinearTransform
from DeepRegisterLib.scene.checking import startCheck
from DeepRegisterLib.scene.current import CurrentResult
from DeepRegisterLib.scene.enginetransform import engineTransform
from DeepRegisterLib.scene.overlap import structureAt
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.volumes import setVolume
from scenery import PAIRS, addVolume, deformable, registration, rigid, texture

FIXED, MOVING = PAIRS["oblique"]
POINTS = FIXED.index_to_point(np.random.default_rng(4).uniform(0, np.asarray(FIXED.size) - 1, (300, 3)))


@pytest.fixture
def volumes(scene):
    return addVolume(scene, texture(FIXED, 1), "CT"), addVolume(scene, texture(MOVING, 2), "MR")


def result(volumes, transform, model="deformable"):
    """The current result of a registration whose transform is known."""
    request = requestFromNodes(*volumes, Settings(model=model), createRegisteredVolume=False)
    return CurrentResult.of(insertResult(request, registration(transform, request.fixed, request.moving, model)))


def addBall(scene, geometry, centre, radius, name):
    """A label map node with one ball, which its colour table calls a name."""
    volume = texture(geometry)
    data = (((geometry.points() - centre) ** 2).sum(-1) < radius**2).astype(np.uint8)
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
    setVolume(node, type(volume)(data, geometry, name))
    return node


def test_the_engines_own_transform_is_used_while_the_node_does_the_same(volumes):
    transform = deformable(FIXED)
    current = result(volumes, transform)
    assert engineTransform(current)[0] is transform
    assert engineTransform(current)[1] is current.registration.inverse
    assert engineTransform(current)[2].same_grid(FIXED, 1e-6)
    # Somebody turns it round.
    current.transformNode.Inverse()
    found, inverse, _ = engineTransform(current)
    assert inverse is None
    np.testing.assert_allclose(found.apply_to_points(transform.apply_to_points(POINTS))[:20], POINTS[:20], atol=3)
    assert np.linalg.norm(found.apply_to_points(POINTS) - transform.apply_to_points(POINTS), axis=1).mean() > 5


def test_a_loaded_result_is_the_nodes_with_its_affine_part_apart(volumes):
    transform = deformable(FIXED, degrees=25, shift=(30, -20, 10))
    loaded = CurrentResult.ofTransform(result(volumes, transform).transformNode)
    assert loaded.registration is None
    found, inverse, _ = engineTransform(loaded)
    assert inverse is None
    np.testing.assert_allclose(found.apply_to_points(POINTS), transform.apply_to_points(POINTS), atol=0.5)
    assert isinstance(found, Composite) and isinstance(found.parts[-1], LinearTransform)
    assert np.abs(found.parts[0].displacement).max() < 12
    linear = CurrentResult.ofTransform(result(volumes, rigid(FIXED), "rigid").transformNode)
    found, _, _ = engineTransform(linear)
    np.testing.assert_allclose(found.apply_to_points(POINTS), rigid(FIXED).apply_to_points(POINTS), atol=1e-6)


def test_the_worker_looks_at_field_and_structures(scene, volumes, client):
    transform = deformable(FIXED)
    current = result(volumes, transform)
    centre = FIXED.centre
    fixed = addBall(scene, FIXED, centre, 9, "F")
    moving = addBall(scene, MOVING, transform.apply_to_points(centre), 9, "M")
    nodes = scene.GetNumberOfNodes()
    running = startCheck(client, current, fixed, moving)
    seen = []
    found = running.finish(seen.append)
    assert running.done and seen and scene.GetNumberOfNodes() == nodes
    (ball,) = found.structures
    assert ball["after"]["dice"] > max(0.7, ball["before"]["dice"])
    assert found.deformation["folded_voxels"] == 0
    assert found.foldedAt.shape == (0, 3)
    assert found.inverse["error_p95_mm"] < 0.5
    assert structureAt(found.maps, centre) == ball["name"]


def test_it_can_be_cancelled_and_refused(scene, volumes, client):
    current = result(volumes, rigid(FIXED), "rigid")
    running = startCheck(client, current)
    running.cancel()
    with pytest.raises(Cancelled):
        running.finish()
    labels = addBall(scene, MOVING, MOVING.centre, 9, "M")
    with pytest.raises(InputError, match="Only M, the segmentation of the moving volume"):
        startCheck(client, current, None, labels)
    slicer.mrmlScene.RemoveNode(volumes[0])
    with pytest.raises(InputError, match="not in the scene any more"):
        startCheck(client, current)
