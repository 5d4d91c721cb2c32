"""What a slice view resamples, what the engine resamples and what SimpleITK makes of the saved file are one image.

Images whose voxels hold their own coordinates turn every comparison into millimetres. The scene's grid may differ from
the engine's map by what `grids` states; linear transforms, frames and files by rounding alone.
"""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from deepregister.volume import set_geometry
from DeepRegisterLib.scene.edit import SceneEdit
from DeepRegisterLib.scene.grids import LOSS_ANYWHERE, LOSS_NEARLY_EVERYWHERE
from DeepRegisterLib.scene.parents import putUnder
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import (
    PAIRS,
    SliceView,
    addLinear,
    addVolume,
    bending,
    centred,
    deformable,
    ramps,
    rigid,
    rotated,
    setTransform,
    sliceOf,
    texture,
)

# VTK and ITK round the weights of linear interpolation differently.
ROUNDING_MM = 2e-3
KINDS = {"rigid": rigid, "deformable": deformable}


def addResult(scene, transform, fixed):
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "result")
    setTransform(node, transform, fixed)
    return node


def show(host, movingNode, resultNode):
    """The moving volume under the result, as a registration puts it, in a slice view."""
    with SceneEdit(host.scene) as edit:
        putUnder(movingNode, resultNode, edit)
    return SliceView(host, movingNode, f"View of {movingNode.GetName()}")


def assertSamePlaces(seen, wanted, kind, fixed, slope=1.0):
    """Both hold coordinates in mm; `slope` is how steep the image may be where it is not its own coordinate."""
    assert seen.shape == wanted.shape and np.ptp(wanted) > 5
    distance = np.abs(seen - wanted) / slope
    if kind == "rigid":
        assert distance.max() < ROUNDING_MM
    else:
        assert distance.max() < LOSS_ANYWHERE * min(fixed.spacing) + ROUNDING_MM
        assert np.quantile(distance, 0.99) < LOSS_NEARLY_EVERYWHERE * min(fixed.spacing) + ROUNDING_MM


def planes(fixed):
    """Slices of the fixed grid and one at an angle to it."""
    yield from (sliceOf(fixed, k) for k in (2, fixed.size[2] // 2, fixed.size[2] - 3))
    yield centred((21, 21, 1), (0.9, 0.9, 1.0), 40, (1, 0.6, 0.2), centre=fixed.centre)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("kind", KINDS)
def test_slice_view_engine_and_file_sample_the_same_places(host, tmp_path, pair, kind):
    fixed, moving = PAIRS[pair]
    transform = KINDS[kind](fixed)
    transform.write(tmp_path / "transform.h5")
    fromFile = sitk.ReadTransform(str(tmp_path / "transform.h5"))
    result = addResult(host.scene, transform, fixed)
    for ramp in ramps(moving):
        view = show(host, addVolume(host.scene, ramp, ramp.name), result)
        for wanted in planes(fixed):
            plane = view.show(wanted)
            engine = transform.resample(ramp, plane).data
            reference = set_geometry(sitk.Image(plane.size, sitk.sitkUInt8), plane)
            filed = sitk.GetArrayFromImage(sitk.Resample(ramp.to_sitk(), reference, fromFile, sitk.sitkLinear))
            np.testing.assert_allclose(filed, engine, atol=1e-9)
            assertSamePlaces(view.pixels(), engine, kind, fixed)


@pytest.mark.parametrize("pair", PAIRS)
def test_images_agree_too(host, pair):
    fixed, moving = PAIRS[pair]
    transform = deformable(fixed)
    image = texture(moving)
    view = show(host, addVolume(host.scene, image, "moving"), addResult(host.scene, transform, fixed))
    plane = view.show(sliceOf(fixed, fixed.size[2] // 2))
    engine = transform.resample(image, plane).data
    difference = np.abs(view.pixels() - engine) / np.ptp(engine)
    assert difference.max() < 0.02
    assert difference.mean() < 0.002


def test_volumes_module_resamples_onto_the_fixed_grid_as_the_engine_does(host):
    fixed, moving = PAIRS["oblique"]
    transform = deformable(fixed)
    fixedNode = addVolume(host.scene, texture(fixed, 1), "fixed")
    result = addResult(host.scene, transform, fixed)
    for ramp in ramps(moving):
        node = addVolume(host.scene, ramp, ramp.name)
        show(host, node, result)
        resampled = host.logics["Volumes"].ResampleVolumeToReferenceVolume(node, fixedNode)
        engine = transform.resample(ramp, fixed).data
        assertSamePlaces(slicer.util.arrayFromVolume(resampled), engine, "deformable", fixed)


OWN = rotated(25, (0.1, 0.2, 1), (6, -3, 5))
OTHER = rotated(-14, (1, 0.4, 0), (-4, 8, 2))
SHEARED = rotated(10, shift=(2, 1, -3)) @ np.array([[1.1, 0.12, 0, 0], [0, 0.95, -0.08, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
# Of the fixed and of the moving volume.
PARENTS = {
    "fixed": (OWN, None),
    "moving": (None, OWN),
    "both": (OTHER, OWN),
    "shared": (OWN, "the same node"),
    "sheared": (None, SHEARED),
}


@pytest.mark.parametrize("under", PARENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_parent_transforms_are_part_of_where_a_volume_lies(host, under, kind):
    scene = host.scene
    fixed, moving = PAIRS["oblique"]
    above, own = PARENTS[under]
    fixedNode = addVolume(scene, texture(fixed, 1), "fixed")
    if above is not None:
        fixedParent = addLinear(scene, above, "of the fixed volume")
        fixedNode.SetAndObserveTransformNodeID(fixedParent.GetID())
    world = volumeFromNode(fixedNode)[0].geometry
    transform = KINDS[kind](world)
    result = addResult(scene, transform, world)
    for ramp in ramps(moving):
        node = addVolume(scene, ramp, ramp.name)
        if own is not None:
            parent = fixedParent if under == "shared" else addLinear(scene, own, f"of {ramp.name}")
            node.SetAndObserveTransformNodeID(parent.GetID())
        given, warnings = volumeFromNode(node)
        assert bool(warnings) == (under == "sheared")
        view = show(host, node, result)
        for k in (3, world.size[2] - 4):
            plane = view.show(sliceOf(world, k))
            assertSamePlaces(view.pixels(), transform.resample(given, plane).data, kind, world, slope=1.1)
    assert volumeFromNode(fixedNode)[0].geometry.same_grid(world, 1e-9)


def test_a_volume_under_a_deforming_transform_is_registered_where_it_is_seen(host):
    scene = host.scene
    fixed, moving = PAIRS["flipped"]
    acquisition = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition")
    setTransform(acquisition, bending(moving.with_spacing((4, 4, 4)).padded(3), 3, 60), moving)
    node = addVolume(scene, texture(moving, sigma=3), "moving")
    node.SetAndObserveTransformNodeID(acquisition.GetID())
    given, warnings = volumeFromNode(node)
    assert len(warnings) == 1 and "non-linear" in warnings[0]
    transform = deformable(fixed)
    view = show(host, node, addResult(scene, transform, fixed))
    plane = view.show(sliceOf(fixed, 12))
    engine = transform.resample(given, plane).data
    # The engine got voxels that were interpolated once more.
    assert np.abs(view.pixels() - engine).mean() < 0.01 * np.ptp(engine)
    assert np.corrcoef(view.pixels().ravel(), engine.ravel())[0, 1] > 0.998
