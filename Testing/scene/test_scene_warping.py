"""Parts of a transform: nothing at 0, all of it at 1, and steadily between."""

import numpy as np
import pytest
import vtk
from DeepRegisterLib.scene.frame import transformedPoints, vtkMatrix
from DeepRegisterLib.scene.grids import displacementGrid
from DeepRegisterLib.scene.looking.warping import Warp
from scenery import centred, deformable, rigid, rotated, setTransform, thinPlateSpline

GRID = centred((30, 34, 26), (2.0, 2.2, 2.4), 9)
POINTS = GRID.points().reshape(-1, 3)[::37]


def through(transform):
    return transformedPoints(transform, POINTS)


@pytest.fixture
def node(scene):
    return scene.AddNewNodeByClass("vtkMRMLTransformNode", "result")


def test_a_grid_grows_evenly(node):
    node.SetAndObserveTransformFromParent(displacementGrid(deformable(GRID), GRID.padded(4)))
    warp = Warp(node, GRID)
    full = through(node.GetTransformFromParent())
    assert np.allclose(through(warp.at(0)), POINTS)
    assert np.allclose(through(warp.at(0.3)), POINTS + 0.3 * (full - POINTS), atol=1e-6)
    assert np.allclose(through(warp.at(1)), full)
    # The result itself is not touched, nor are its voxels copied.
    assert node.GetTransformFromParent().GetDisplacementScale() == 1
    assert warp.at(0.3).GetDisplacementGrid() is node.GetTransformFromParent().GetDisplacementGrid()


def test_a_rigid_one_turns_steadily(node):
    setTransform(node, rigid(GRID, degrees=80), GRID)
    warp = Warp(node, GRID)
    assert np.allclose(through(warp.at(0)), POINTS, atol=1e-6)
    assert np.allclose(through(warp.at(1)), through(node.GetTransformFromParent()), atol=1e-6)
    half = warp.at(0.5)
    # Half of it twice is all of it, and distances are kept on the way.
    assert np.allclose(transformedPoints(half, through(half)), through(warp.at(1)), atol=1e-6)
    spread = [np.linalg.norm(np.diff(points, axis=0), axis=1) for points in (POINTS, through(half))]
    assert np.allclose(*spread, atol=1e-6)


def test_a_mirroring_goes_straight(node):
    mirror = np.diag([-1.0, 1, 1, 1])
    node.SetMatrixTransformFromParent(vtkMatrix(mirror))
    middle = through(Warp(node, GRID).at(0.5))
    assert np.allclose(middle, POINTS * (0, 1, 1))


def test_grid_and_matrix_go_together(node):
    together = vtk.vtkGeneralTransform()
    together.PostMultiply()
    together.Concatenate(displacementGrid(deformable(GRID), GRID.padded(4)))
    together.Concatenate(vtkMatrix(rotated(50, shift=(3, 1, 2))))
    node.SetAndObserveTransformFromParent(together)
    warp = Warp(node, GRID)
    assert np.allclose(through(warp.at(0)), POINTS, atol=1e-6)
    assert np.allclose(through(warp.at(1)), through(together), atol=1e-6)
    steps = [through(warp.at(amount)) for amount in (0.4, 0.5, 0.6)]
    assert np.linalg.norm(steps[0] + steps[2] - 2 * steps[1], axis=1).max() < 0.6
    assert np.linalg.norm(steps[2] - steps[0], axis=1).min() > 0.01


def test_any_other_kind_is_sampled(node):
    moved = POINTS[::50] + np.random.default_rng(1).normal(0, 2, (len(POINTS[::50]), 3))
    node.SetAndObserveTransformFromParent(thinPlateSpline(POINTS[::50], moved))
    warp = Warp(node, GRID)
    full = transformedPoints(node.GetTransformFromParent(), POINTS)
    part = transformedPoints(warp.at(0.5), POINTS)
    assert np.abs(part - (POINTS + 0.5 * (full - POINTS))).max() < 0.1
