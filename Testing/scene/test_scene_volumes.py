"""Volume nodes in the world and back: geometry, parents of every kind, voxels of every kind, and what is refused."""

import numpy as np
import pytest
import slicer
import vtk
from deepregister import Volume
from deepregister.errors import GeometryError, InputError
from DeepRegisterLib.scene.frame import matrixArray, transformedPoints, transformToFrame, vtkMatrix
from DeepRegisterLib.scene.volumes import copyDisplay, setVolume, volumeFromNode
from scenery import PAIRS, addLinear, addVolume, bending, centred, ramps, rotated, setTransform, texture

GRIDS = {
    f"{name} {side}": pair[number] for name, pair in PAIRS.items() for number, side in enumerate(("fixed", "moving"))
}
SHEAR = np.array([[1, 0.2, 0, 0], [0, 1, 0.15, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("name", GRIDS)
def test_there_and_back_is_the_same_volume(scene, name):
    volume = texture(GRIDS[name])
    back, warnings = volumeFromNode(addVolume(scene, volume, "volume"))
    assert warnings == ()
    assert back.geometry.same_grid(volume.geometry, 1e-9)
    np.testing.assert_array_equal(back.data, volume.data)
    assert back.name == "volume"


@pytest.mark.parametrize("name", GRIDS)
def test_lies_where_itk_reads_the_file_that_slicer_writes(scene, tmp_path, name):
    node = addVolume(scene, texture(GRIDS[name]), "volume")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / "volume.nrrd"))
    assert storage.WriteData(node)
    read = Volume.read(tmp_path / "volume.nrrd")
    # Slicer makes left-handed grids right-handed in files: the same voxels at the same places, in another order.
    points = np.random.default_rng(0).uniform(2, np.asarray(GRIDS[name].size) - 3, (50, 3)).round()
    points = GRIDS[name].index_to_point(points)
    index = read.geometry.point_to_index(points).round().astype(int)
    np.testing.assert_allclose(read.geometry.index_to_point(index), points, atol=1e-4)
    mine, _ = volumeFromNode(node)
    own = mine.geometry.point_to_index(points).round().astype(int)
    np.testing.assert_array_equal(read.data[tuple(index.T[::-1])], mine.data[tuple(own.T[::-1])])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxel_types_are_kept_and_voxels_shared(scene, dtype):
    volume = texture(PAIRS["oblique"][0]).astype(dtype)
    node = addVolume(scene, volume, "volume")
    back, _ = volumeFromNode(node)
    assert back.data.dtype == dtype
    assert np.shares_memory(back.data, slicer.util.arrayFromVolume(node))


@pytest.mark.parametrize(("dtype", "shown"), [(bool, np.uint8), (np.float16, np.float32), (np.int64, np.float64)])
def test_voxel_types_that_slicer_cannot_show_become_ones_it_can(scene, dtype, shown):
    volume = texture(PAIRS["oblique"][0]).astype(dtype)
    back, _ = volumeFromNode(addVolume(scene, volume, "volume"))
    assert back.data.dtype == shown
    np.testing.assert_array_equal(back.data, volume.data)


@pytest.mark.parametrize(
    "matrix", [rotated(33, shift=(5, -6, 7)), rotated(0, scale=(1.5, 0.7, 2.0)), np.diag([-1, 1, 1, 1])]
)
def test_a_transform_that_keeps_right_angles_changes_the_geometry_alone(scene, matrix):
    geometry = centred((20, 22, 24), (1, 2, 1.5), degrees=0)
    node = addVolume(scene, texture(geometry), "volume")
    node.SetAndObserveTransformNodeID(addLinear(scene, matrix, "parent").GetID())
    volume, warnings = volumeFromNode(node)
    assert warnings == ()
    assert np.shares_memory(volume.data, slicer.util.arrayFromVolume(node))
    index = np.random.default_rng(0).uniform(0, 19, (30, 3))
    wanted = geometry.index_to_point(index) @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(volume.geometry.index_to_point(index), wanted, atol=1e-9)


def test_a_chain_of_transforms_counts_whole(scene):
    geometry = PAIRS["oblique"][0]
    node = addVolume(scene, texture(geometry), "volume")
    upper = addLinear(scene, rotated(30, shift=(1, 2, 3)), "upper")
    lower = addLinear(scene, rotated(-50, (1, 0, 0), shift=(-4, 0, 9)), "lower", upper)
    node.SetAndObserveTransformNodeID(lower.GetID())
    both = rotated(30, shift=(1, 2, 3)) @ rotated(-50, (1, 0, 0), shift=(-4, 0, 9))
    np.testing.assert_allclose(volumeFromNode(node)[0].geometry.matrix, both @ geometry.matrix, atol=1e-9)
    # With the upper one as the frame, only the lower one counts; for a node beside it, it changes nothing.
    below = rotated(-50, (1, 0, 0), shift=(-4, 0, 9)) @ geometry.matrix
    np.testing.assert_allclose(volumeFromNode(node, upper)[0].geometry.matrix, below, atol=1e-9)
    np.testing.assert_allclose(volumeFromNode(node, lower)[0].geometry.matrix, geometry.matrix, atol=1e-9)
    beside = addLinear(scene, rotated(70), "beside")
    np.testing.assert_allclose(volumeFromNode(node, beside)[0].geometry.matrix, both @ geometry.matrix, atol=1e-9)


def test_a_shearing_transform_resamples_into_the_world(scene):
    geometry = PAIRS["oblique"][0]
    shear = rotated(20, shift=(3, 4, 5)) @ SHEAR
    for axis, ramp in enumerate(ramps(geometry)):
        node = addVolume(scene, ramp, ramp.name)
        node.SetAndObserveTransformNodeID(addLinear(scene, shear, "shear").GetID())
        volume, warnings = volumeFromNode(node)
        assert len(warnings) == 1 and "right angles" in warnings[0] and ramp.name in warnings[0]
        local = (volume.geometry.points() - shear[:3, 3]) @ np.linalg.inv(shear[:3, :3]).T
        index = geometry.point_to_index(local)
        inside = np.all((index >= 0) & (index <= np.asarray(geometry.size) - 1), axis=-1)
        # The grid covers the volume: nearly all of its voxels are found again.
        assert inside.sum() > 0.75 * np.prod(geometry.size)
        np.testing.assert_allclose(volume.data[inside], local[inside][:, axis], atol=1e-3)


def test_a_sheared_volume_without_a_transform_is_straightened_too(scene):
    node = addVolume(scene, texture(centred((30, 30, 20), (1, 1, 2))), "tilted gantry")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(vtkMatrix(SHEAR @ matrixArray(matrix)))
    volume, warnings = volumeFromNode(node)
    assert "right angles" in warnings[0]
    seen = volume.data[volume.data > volume.data.min()]
    assert seen.size > 0.75 * 30 * 30 * 20
    assert seen.mean() == pytest.approx(100, abs=10)


def test_axes_that_are_straight_up_to_rounding_are_not_resampled(scene):
    node = addVolume(scene, texture(centred((200, 200, 20), (1, 1, 2))), "rounded header")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    nearly = np.eye(4)
    nearly[0, 1] = 2e-4
    node.SetIJKToRASMatrix(vtkMatrix(nearly @ matrixArray(matrix)))
    assert volumeFromNode(node)[1] == ()


def test_a_deforming_transform_resamples_into_the_world(scene):
    geometry = PAIRS["flipped"][0]
    acquisition = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition")
    setTransform(acquisition, bending(geometry.with_spacing((3, 3, 3)).padded(6), 2, 50), geometry.padded(6))
    for axis, ramp in enumerate(ramps(geometry)):
        node = addVolume(scene, ramp, ramp.name)
        node.SetAndObserveTransformNodeID(acquisition.GetID())
        volume, warnings = volumeFromNode(node)
        assert len(warnings) == 1 and "non-linear" in warnings[0]
        local = transformedPoints(acquisition.GetTransformFromParent(), volume.geometry.points())
        index = geometry.point_to_index(local)
        inside = np.all((index >= 0) & (index <= np.asarray(geometry.size) - 1), axis=-1)
        assert inside.sum() > 0.75 * np.prod(geometry.size)
        np.testing.assert_allclose(volume.data[inside], local[inside][:, axis], atol=2e-3)


def test_label_maps_are_resampled_without_new_labels(scene):
    labels = Volume((texture(PAIRS["oblique"][0]).data > 100).astype(np.int16) * 7, PAIRS["oblique"][0])
    node = addVolume(scene, labels, "labels", "vtkMRMLLabelMapVolumeNode")
    node.SetAndObserveTransformNodeID(addLinear(scene, SHEAR, "shear").GetID())
    volume, _ = volumeFromNode(node)
    assert volume.data.dtype == np.int16
    assert set(np.unique(volume.data)) == {0, 7}


def test_a_volume_without_voxels_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    with pytest.raises(InputError, match=r"CT holds no image data.*Load"):
        volumeFromNode(node)
    node.SetAndObserveImageData(vtk.vtkImageData())
    with pytest.raises(InputError, match="CT holds no image data"):
        volumeFromNode(node)


def test_a_colour_volume_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    slicer.util.updateVolumeFromArray(node, np.zeros((4, 5, 6, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"photo has 3 components.*Vector to Scalar Volume"):
        volumeFromNode(node)


def test_a_single_slice_is_refused(scene):
    node = slicer.util.addVolumeFromArray(np.zeros((1, 8, 9)), name="scout")
    with pytest.raises(InputError, match=r"scout is a single slice \(9x8x1 voxels\).*three-dimensional"):
        volumeFromNode(node)


def test_another_node_is_refused(scene):
    with pytest.raises(InputError, match="not a volume"):
        volumeFromNode(scene.AddNewNodeByClass("vtkMRMLModelNode", "surface"))


def test_a_flat_geometry_is_refused(scene):
    node = addVolume(scene, texture(PAIRS["oblique"][0]), "flat")
    node.SetAndObserveTransformNodeID(addLinear(scene, np.diag([1, 1, 0, 1.0]), "flattening").GetID())
    with pytest.raises(GeometryError, match="flat is flat in the world"):
        volumeFromNode(node)


def test_a_display_is_copied_with_colours_levels_and_threshold(scene, host):
    source = addVolume(scene, texture(PAIRS["oblique"][0]), "source")
    target = addVolume(scene, texture(PAIRS["oblique"][0], 5), "target")
    display = source.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeWarm1")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(77, 33)
    display.SetInterpolate(0)
    display.SetThreshold(10, 90)
    display.SetApplyThreshold(True)
    copyDisplay(source, target)
    shown = target.GetDisplayNode()
    assert shown is not display
    assert shown.GetColorNodeID() == "vtkMRMLColorTableNodeWarm1"
    assert (shown.GetWindow(), shown.GetLevel(), shown.GetAutoWindowLevel()) == (77, 33, 0)
    assert (shown.GetInterpolate(), shown.GetApplyThreshold()) == (0, 1)
    assert (shown.GetLowerThreshold(), shown.GetUpperThreshold()) == (10, 90)


def test_setting_a_volume_keeps_the_engines_grid(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "volume")
    geometry = PAIRS["permuted"][0]
    setVolume(node, texture(geometry))
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    corner = matrixArray(matrix) @ [3, 5, 7, 1]
    np.testing.assert_allclose(corner[:3] * [-1, -1, 1], geometry.index_to_point((3, 5, 7)), atol=1e-9)
    assert transformToFrame(node) is None
