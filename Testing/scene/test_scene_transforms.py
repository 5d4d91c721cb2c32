"""Engine transforms on transform nodes, transform nodes as engine transforms, and both through Slicer's files."""

import numpy as np
import pytest
import slicer
import vtk
from deepregister import Affine, Composite, DisplacementField, Rigid, read_transform
from deepregister.errors import TransformError
from deepregister.transforms import write_transform
from DeepRegisterLib.scene.frame import flippedPoints, transformedPoints
from DeepRegisterLib.scene.grids import LOSS_ANYWHERE, LOSS_NEARLY_EVERYWHERE, atMost, displacementGrid, nodeTransform
from DeepRegisterLib.scene.transforms import checkHolds, transformFromNode
from scenery import PAIRS, addLinear, bending, centred, deformable, rigid, rotated, setTransform, thinPlateSpline

LINEAR = [rigid(PAIRS["oblique"][0]), Affine(rotated(25, shift=(4, 5, -6), scale=(1.1, 0.8, 1.3)))]


def addTransform(scene, transform, fixed, className="vtkMRMLTransformNode", name="transform"):
    node = scene.AddNewNodeByClass(className, name)
    setTransform(node, transform, fixed)
    return node


def inside(fixed, count=5000):
    """Points all over a grid, its outer voxels' faces included."""
    return fixed.index_to_point(np.random.default_rng(3).uniform(-0.5, np.asarray(fixed.size) - 0.5, (count, 3)))


def assertSameMap(scene, engine, fixed):
    distance = np.linalg.norm(scene - engine, axis=-1)
    assert distance.max() < LOSS_ANYWHERE * min(fixed.spacing)
    assert np.quantile(distance, 0.99) < LOSS_NEARLY_EVERYWHERE * min(fixed.spacing)


@pytest.mark.parametrize("transform", LINEAR)
def test_a_linear_transform_is_one_matrix_and_its_inverse(scene, transform):
    fixed = PAIRS["oblique"][0]
    prepared = nodeTransform(transform, fixed)
    assert prepared.nodeClass == "vtkMRMLLinearTransformNode"
    node = addTransform(scene, transform, fixed, prepared.nodeClass)
    points = inside(fixed, 50)
    partners = transform.apply_to_points(points)
    np.testing.assert_allclose(transformedPoints(node.GetTransformFromParent(), points), partners, atol=1e-9)
    np.testing.assert_allclose(transformedPoints(node.GetTransformToParent(), partners), points, atol=1e-9)
    back = transformFromNode(node, fixed)
    assert type(back) is type(transform)
    np.testing.assert_allclose(back.matrix, transform.matrix, atol=1e-9)


def test_a_composite_of_linear_transforms_is_one_matrix_too(scene):
    fixed = PAIRS["oblique"][0]
    prepared = nodeTransform(Composite(tuple(LINEAR)), fixed)
    assert prepared.isLinear
    points = inside(fixed, 50)
    both = LINEAR[1].apply_to_points(LINEAR[0].apply_to_points(points))
    np.testing.assert_allclose(transformedPoints(prepared.fromParent, points), both, atol=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_deformable_transform_is_one_cubic_float_grid_that_loses_nothing_visible(scene, pair):
    fixed = PAIRS[pair][0]
    transform = deformable(fixed)
    prepared = nodeTransform(transform, fixed)
    assert prepared.nodeClass == "vtkMRMLGridTransformNode"
    node = addTransform(scene, transform, fixed, prepared.nodeClass)
    grid = node.GetTransformFromParent()
    assert grid.IsA("vtkOrientedGridTransform") and grid.GetInterpolationModeAsString() == "Cubic"
    assert grid.GetInverseFlag() == 0
    array = slicer.util.arrayFromGridTransform(node)
    assert array.dtype == np.float32
    engine = transform.apply_to_points(inside(fixed))
    seen = transformedPoints(grid, inside(fixed))
    assertSameMap(seen, engine, fixed)
    assert np.linalg.norm(seen - engine, axis=-1).max() <= prepared.lossMm * 1.2


def test_a_grid_holds_the_engines_own_values_at_its_voxels():
    geometry = PAIRS["oblique"][0].with_spacing((2, 2, 2)).padded(3)
    transform = Composite((bending(geometry), Affine(rotated(20, shift=(5, 6, 7)))))
    grid = displacementGrid(transform, geometry)
    points = geometry.points().reshape(-1, 3)
    np.testing.assert_allclose(transformedPoints(grid, points), transform.apply_to_points(points), atol=2e-5)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_grid_reaches_beyond_the_fixed_volume(pair):
    # Cubic interpolation looks two cells far; a field that brings no margin of its own must get one.
    fixed = PAIRS[pair][0]
    grid = nodeTransform(Composite((LINEAR[0], bending(fixed, 0.1))), fixed, oneGrid=True).fromParent
    size = np.asarray(grid.GetDisplacementGrid().GetDimensions())
    spacing = np.asarray(grid.GetDisplacementGrid().GetSpacing())
    directions = slicer.util.arrayFromVTKMatrix(grid.GetGridDirectionMatrix())[:3, :3]
    corners = np.stack(np.meshgrid(*([-0.5, n - 0.5] for n in fixed.size)), axis=-1).reshape(-1, 3)
    offset = flippedPoints(fixed.index_to_point(corners)) - np.asarray(grid.GetDisplacementGrid().GetOrigin())
    index = offset @ directions / spacing
    assert index.min() > 2 - 1e-6 and np.all(index < size - 3 + 1e-6)


def test_a_large_volume_is_not_sampled_voxel_by_voxel():
    large = centred((512, 512, 400), (0.7, 0.7, 1))
    smaller = atMost(2**20, large)
    assert np.prod(smaller.size) <= 1.02 * 2**20
    np.testing.assert_allclose(smaller.extent_mm, large.extent_mm)
    assert atMost(2**20, PAIRS["oblique"][0]) is PAIRS["oblique"][0]
    # The inverse of a deformable result has no field on these axes to start from.
    fixed = centred((90, 90, 90), (8, 8, 8))
    inverse = Composite((LINEAR[1].inverse(), bending(fixed, 3, 200)))
    prepared = nodeTransform(inverse, large, oneGrid=True)
    assert prepared.lossMm < LOSS_ANYWHERE * 0.7
    assert prepared.fromParent.GetDisplacementGrid().GetNumberOfPoints() < 2**20


def test_a_smooth_field_needs_a_coarse_grid_and_a_sharp_one_a_fine_one(scene):
    fixed = centred((30, 30, 30), (1, 1, 1))
    geometry = fixed.padded(20)
    sizes = []
    for wavelength in (100, 30, 12):
        grid = nodeTransform(bending(geometry, 1.0, wavelength), fixed).fromParent.GetDisplacementGrid()
        sizes.append(grid.GetNumberOfPoints())
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 10
    assert sizes[0] < np.prod(geometry.size) / 100


@pytest.mark.parametrize("pair", PAIRS)
def test_points_move_by_to_parent_onto_their_partners(scene, pair):
    fixed = PAIRS[pair][0]
    transform = deformable(fixed)
    node = addTransform(scene, transform, fixed)
    points = inside(fixed.padded(-2), 300)
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "on the moving volume")
    slicer.util.updateMarkupsControlPointsFromArray(markups, flippedPoints(transform.apply_to_points(points)))
    markups.SetAndObserveTransformNodeID(node.GetID())
    moved = flippedPoints(slicer.util.arrayFromMarkupsControlPoints(markups, world=True))
    distance = np.linalg.norm(moved - points, axis=-1)
    # Where the map shrinks space, going back magnifies what was lost.
    assert distance.max() < 2 * LOSS_ANYWHERE * min(fixed.spacing)
    assert np.median(distance) < LOSS_NEARLY_EVERYWHERE * min(fixed.spacing)


@pytest.mark.parametrize("degrees", [30, 60, 100, 180])
def test_points_move_back_from_any_rotation(scene, degrees):
    fixed = PAIRS["flipped"][0]
    transform = deformable(fixed, degrees)
    node = addTransform(scene, transform, fixed)
    points = inside(fixed.padded(-2), 500)
    assertSameMap(transformedPoints(node.GetTransformFromParent(), points), transform.apply_to_points(points), fixed)
    back = transformedPoints(node.GetTransformToParent(), transform.apply_to_points(points))
    # Where the map shrinks space, going back magnifies what was lost.
    assert np.linalg.norm(back - points, axis=-1).max() < 2 * LOSS_ANYWHERE * min(fixed.spacing)
    # VTK cannot invert one grid that turns that far, so there it is two parts in one node.
    if degrees != 60:
        assert bool(node.IsComposite()) == (degrees > 90)


def test_a_field_that_jumps_at_its_border_ends_the_search_and_says_so():
    fixed = centred((24, 24, 24), (1, 1, 1))
    prepared = nodeTransform(bending(fixed.padded(-4), 1), fixed, oneGrid=True)
    assert prepared.fromParent.GetDisplacementGrid().GetNumberOfPoints() < 2**24
    assert prepared.lossMm > LOSS_ANYWHERE


def test_a_linear_transform_can_be_a_grid(scene):
    fixed = PAIRS["oblique"][0]
    node = addTransform(scene, LINEAR[0], fixed, "vtkMRMLGridTransformNode")
    assert slicer.util.arrayFromGridTransform(node).shape[-1] == 3
    points = inside(fixed, 100)
    seen = transformedPoints(node.GetTransformFromParent(), points)
    np.testing.assert_allclose(seen, LINEAR[0].apply_to_points(points), atol=1e-4)


def test_nodes_are_refused_that_promise_another_kind(scene):
    linear = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "only linear")
    spline = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "spline")
    general = scene.AddNewNodeByClass("vtkMRMLTransformNode", "general")
    grid = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "grid")
    for node, isLinear in ((linear, False), (spline, True), (spline, False)):
        with pytest.raises(TransformError, match=f"{node.GetName()}.*new transform"):
            checkHolds(node, isLinear)
    for node, isLinear in ((linear, True), (general, True), (general, False), (grid, True), (grid, False)):
        checkHolds(node, isLinear)


# From nodes of the scene to engine transforms.


def test_a_grid_node_and_its_inverse_become_fields(scene):
    fixed = PAIRS["oblique"][0]
    transform = deformable(fixed)
    node = addTransform(scene, transform, fixed)
    points = inside(fixed.padded(-2), 500)
    field = transformFromNode(node, fixed.padded(2))
    assert isinstance(field, DisplacementField)
    seen = transformedPoints(node.GetTransformFromParent(), points)
    # Linear between the voxels, where the node is cubic.
    np.testing.assert_allclose(field.apply_to_points(points), seen, atol=0.25)
    # Stored the other way round, as Slicer shows it after "Invert": now from-parent is iterated.
    node.Inverse()
    inverted = transformFromNode(node, fixed.padded(2))
    seen = transformedPoints(node.GetTransformFromParent(), points)
    np.testing.assert_allclose(inverted.apply_to_points(points), seen, atol=0.25)


def test_parents_of_a_transform_node_count(scene):
    fixed = PAIRS["oblique"][0]
    upper, lower = rotated(20, shift=(3, 2, 1)), rotated(-35, (1, 0, 0), (0, 5, 0))
    node = addLinear(scene, lower, "lower", addLinear(scene, upper, "upper"))
    transform = transformFromNode(node, fixed)
    assert isinstance(transform, Rigid)
    np.testing.assert_allclose(transform.matrix, np.linalg.inv(upper @ lower), atol=1e-9)


def test_every_kind_of_transform_of_the_scene_can_be_a_start(scene):
    fixed = PAIRS["flipped"][0]
    points = inside(fixed.padded(-1), 400)
    anchors = inside(fixed, 12)
    spline = scene.AddNewNodeByClass("vtkMRMLTransformNode", "thin plate")
    spline.SetAndObserveTransformFromParent(
        thinPlateSpline(anchors, anchors + np.random.default_rng(0).uniform(-2, 2, anchors.shape))
    )
    composite = scene.AddNewNodeByClass("vtkMRMLTransformNode", "composite")
    both = vtk.vtkGeneralTransform()
    both.Concatenate(displacementGrid(deformable(fixed, amplitude=2.0), fixed.padded(4)))
    both.RotateWXYZ(10, 0.2, 0.3, 1)
    both.Translate(3, 4, 5)
    composite.SetAndObserveTransformToParent(both)
    for node in (spline, composite):
        transform = transformFromNode(node, fixed)
        assert isinstance(transform, DisplacementField) and transform.geometry.same_grid(fixed)
        seen = transformedPoints(node.GetTransformFromParent(), points)
        assert np.linalg.norm(transform.apply_to_points(points) - seen, axis=-1).max() < 0.15


# Files, through Slicer's own storage nodes.


def store(scene, node, path):
    storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node), path.name


def load(scene, path, className="vtkMRMLTransformNode"):
    node = scene.AddNewNodeByClass(className, "loaded")
    storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node), path.name
    return node


@pytest.mark.parametrize("ending", [".h5", ".tfm", ".nrrd", ".nii.gz"])
def test_a_deformable_node_survives_slicers_files(scene, tmp_path, ending):
    fixed = PAIRS["oblique"][0]
    node = addTransform(scene, deformable(fixed), fixed, "vtkMRMLGridTransformNode")
    store(scene, node, tmp_path / f"transform{ending}")
    again = load(scene, tmp_path / f"transform{ending}")
    points = inside(fixed)
    before = transformedPoints(node.GetTransformFromParent(), points)
    np.testing.assert_allclose(transformedPoints(again.GetTransformFromParent(), points), before, atol=2e-4)
    partners = transformedPoints(again.GetTransformToParent(), before)
    assert np.linalg.norm(partners - points, axis=-1).max() < 0.05
    # The engine and every other ITK program read the file in the same direction.
    read = read_transform(tmp_path / f"transform{ending}")
    voxels = flippedPoints(_gridPoints(node))
    np.testing.assert_allclose(
        read.apply_to_points(voxels), transformedPoints(node.GetTransformFromParent(), voxels), atol=2e-4
    )


def _gridPoints(node):
    """RAS positions of the inner voxels of a node's grid."""
    grid = node.GetTransformFromParent()
    image = grid.GetDisplacementGrid()
    size = np.asarray(image.GetDimensions())
    index = np.stack(np.meshgrid(*(np.arange(1, n - 1) for n in size), indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = slicer.util.arrayFromVTKMatrix(grid.GetGridDirectionMatrix())[:3, :3]
    return (index * np.asarray(image.GetSpacing())) @ matrix.T + np.asarray(image.GetOrigin())


@pytest.mark.parametrize("ending", [".h5", ".tfm"])
@pytest.mark.parametrize("transform", LINEAR)
def test_a_linear_node_survives_slicers_files(scene, tmp_path, ending, transform):
    fixed = PAIRS["oblique"][0]
    node = addTransform(scene, transform, fixed, "vtkMRMLLinearTransformNode")
    store(scene, node, tmp_path / f"transform{ending}")
    points = inside(fixed, 50)
    wanted = transform.apply_to_points(points)
    again = load(scene, tmp_path / f"transform{ending}", "vtkMRMLLinearTransformNode")
    np.testing.assert_allclose(transformedPoints(again.GetTransformFromParent(), points), wanted, atol=1e-5)
    np.testing.assert_allclose(
        read_transform(tmp_path / f"transform{ending}").apply_to_points(points), wanted, atol=1e-5
    )


@pytest.mark.parametrize("ending", [".h5", ".tfm", ".nrrd", ".nii.gz"])
def test_slicer_reads_the_engines_files(scene, tmp_path, ending):
    fixed = PAIRS["flipped"][0]
    transform = deformable(fixed, spacing=1.5)
    write_transform(transform, tmp_path / f"transform{ending}")
    node = load(scene, tmp_path / f"transform{ending}")
    points = inside(fixed)
    seen = transformedPoints(node.GetTransformFromParent(), points)
    # Slicer interpolates the engine's field by cubic pieces.
    assertSameMap(seen, transform.apply_to_points(points), fixed)


def test_a_node_with_the_affine_kept_apart_survives_in_h5(scene, tmp_path):
    fixed = PAIRS["flipped"][0]
    transform = deformable(fixed, 180)
    node = addTransform(scene, transform, fixed)
    assert node.IsComposite()
    store(scene, node, tmp_path / "transform.h5")
    points = inside(fixed)
    again = load(scene, tmp_path / "transform.h5")
    assertSameMap(transformedPoints(again.GetTransformFromParent(), points), transform.apply_to_points(points), fixed)
