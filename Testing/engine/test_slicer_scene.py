"""A written scene opens in the real MRML with the moving volume under its transform, resampling as the engine does."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from deepregister.errors import FileError
from deepregister.slicer_scene import slicer_reads, write_scene
from deepregister.transforms import Affine, Composite, DisplacementField
from deepregister.volume import Geometry, Volume
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

slicer = pytest.importorskip("slicer", reason="the real MRML scene comes with slicer-core")

FIXED_GRID = Geometry(
    (34, 28, 22),
    (1.5, 2.0, 2.5),
    (-20.0, 15.0, -60.0),
    tuple(map(tuple, Rotation.from_euler("xyz", [15, -10, 25], degrees=True).as_matrix())),
)


def smooth_volume(geometry, seed):
    data = gaussian_filter(np.random.default_rng(seed).normal(size=geometry.shape), 2.0)
    return Volume((1000 * data / data.std()).astype(np.float32), geometry, "smooth")


@pytest.fixture
def pair():
    """Fixed and moving volumes on different oblique grids, one flipped, and a deformable result between them."""
    turned = np.asarray(FIXED_GRID.direction) @ np.diag([-1.0, 1, 1])
    spacing, size = (1.2, 1.4, 2.0), (60, 60, 42)
    origin = FIXED_GRID.centre - turned @ ((np.asarray(size) - 1) / 2 * spacing)
    moving = smooth_volume(Geometry(size, spacing, tuple(origin), tuple(map(tuple, turned))), 1)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix() * (1.03, 0.98, 1.0)
    affine[:3, 3] = FIXED_GRID.centre - affine[:3, :3] @ FIXED_GRID.centre + (2.0, -1.0, 1.5)
    # Coarser than the voxels, as fields are saved.
    grid = FIXED_GRID.with_spacing((3, 4, 5)).padded(5)
    random = np.random.default_rng(2).normal(size=(*grid.shape, 3))
    field = np.stack([gaussian_filter(random[..., c], 2.0) for c in range(3)], axis=-1)
    transform = Composite(
        (DisplacementField((3 * field / np.abs(field).max()).astype(np.float32), grid), Affine(affine))
    )
    return smooth_volume(FIXED_GRID, 0), moving, transform


def opened(path):
    """The scene as Slicer opens it, with the logics that its nodes need."""
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    for layout in ("Red", "Yellow", "Green"):
        views = slicer.vtkMRMLSliceLogic()
        views.SetMRMLScene(scene)
        views.SetMRMLApplicationLogic(application)
        views.AddSliceNode(layout)
    scene.SetURL(str(path))
    assert scene.Connect()
    return scene


def resampled_by_slicer(scene, moving, fixed):
    logic = slicer.vtkSlicerVolumesLogic()
    logic.SetMRMLScene(scene)
    return slicer.util.arrayFromVolume(logic.ResampleVolumeToReferenceVolume(moving, fixed))


def named(scene, kind, name):
    found = scene.GetNodesByClassByName(kind, name)
    assert found.GetNumberOfItems() == 1
    return found.GetItemAsObject(0)


def test_deformable_result(tmp_path, pair):
    fixed, moving, transform = pair
    away = tmp_path / "patient's images, 50% & more é"
    results = tmp_path / "results"
    away.mkdir()
    results.mkdir()
    fixed.write(results / "fixed.nrrd")
    moving.write(away / "moving <1>.nii.gz")
    transform.write(results / "displacement.nrrd")
    write_scene(
        results / "scene.mrml",
        "fixed.nrrd",
        away / "moving <1>.nii.gz",
        "displacement.nrrd",
        fixed.geometry,
        ("before & after", "later"),
    )
    scene = opened(results / "scene.mrml")
    fixed_node = named(scene, "vtkMRMLScalarVolumeNode", "before & after")
    moving_node = named(scene, "vtkMRMLScalarVolumeNode", "later")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(fixed_node), fixed.data)

    transform_node = moving_node.GetParentTransformNode()
    assert transform_node.IsA("vtkMRMLGridTransformNode")
    assert fixed_node.GetParentTransformNode() is None
    assert transform_node.GetNodeReferenceID(transform_node.GetFixedNodeReferenceRole()) == fixed_node.GetID()
    assert transform_node.GetNodeReferenceID(transform_node.GetMovingNodeReferenceRole()) == moving_node.GetID()
    # Readable by every Slicer tool: one grid, stored from-parent.
    assert slicer.util.arrayFromGridTransform(transform_node).shape == (*transform.parts[0].geometry.shape, 3)

    shown = resampled_by_slicer(scene, moving_node, fixed_node)
    expected = transform.resample(moving, fixed.geometry).data
    inside = transform.resample(Volume(np.ones_like(moving.data), moving.geometry), fixed.geometry, fill=0).data > 0.99
    assert inside.mean() > 0.9
    # Slicer interpolates a grid cubically, ITK linearly; there it differs by hundredths of a millimetre.
    difference = np.abs(shown - expected)[inside]
    assert difference.mean() < 0.02 * expected.std()
    assert difference.max() < 0.1 * expected.std()


def test_linear_result(tmp_path, pair):
    fixed, moving, transform = pair
    affine = transform.parts[1]
    fixed.write(tmp_path / "fixed.nii.gz")
    moving.write(tmp_path / "moving.mha")
    affine.write(tmp_path / "transform.h5")
    write_scene(tmp_path / "scene.mrml", "fixed.nii.gz", "moving.mha", "transform.h5", fixed.geometry)
    scene = opened(tmp_path / "scene.mrml")
    fixed_node, moving_node = (named(scene, "vtkMRMLScalarVolumeNode", name) for name in ("Fixed", "Moving"))
    assert moving_node.GetParentTransformNode().IsA("vtkMRMLLinearTransformNode")
    shown = resampled_by_slicer(scene, moving_node, fixed_node)
    expected = affine.resample(moving, fixed.geometry).data
    inner = (slice(3, -3),) * 3
    assert np.abs(shown - expected)[inner].max() < 1e-3 * expected.std()


def test_views_blend_both_and_show_the_fixed_volume(tmp_path, pair):
    fixed, moving, transform = pair
    fixed.write(tmp_path / "fixed.nii.gz")
    moving.write(tmp_path / "moving.nii.gz")
    transform.write(tmp_path / "displacement.nrrd")
    write_scene(tmp_path / "scene.mrml", "fixed.nii.gz", "moving.nii.gz", "displacement.nrrd", fixed.geometry)
    scene = opened(tmp_path / "scene.mrml")
    fixed_node, moving_node = (named(scene, "vtkMRMLScalarVolumeNode", name) for name in ("Fixed", "Moving"))
    for layout, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
        assert scene.GetNumberOfNodesByClass("vtkMRMLSliceNode") == 3
        composite = scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{layout}")
        assert composite.GetBackgroundVolumeID() == fixed_node.GetID()
        assert composite.GetForegroundVolumeID() == moving_node.GetID()
        assert composite.GetForegroundOpacity() == 0.5
        view = scene.GetNodeByID(f"vtkMRMLSliceNode{layout}")
        assert view.GetOrientation() == orientation
        centre = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
        np.testing.assert_allclose(centre, fixed.geometry.centre * (-1, -1, 1), atol=1e-6)
        assert 40 < view.GetFieldOfView()[0] < 120


def test_the_folder_can_be_moved(tmp_path, pair):
    fixed, moving, transform = pair
    folder = tmp_path / "here"
    folder.mkdir()
    fixed.write(folder / "fixed.nii.gz")
    moving.write(folder / "moving.nii.gz")
    transform.write(folder / "displacement.nrrd")
    write_scene(folder / "scene.mrml", "fixed.nii.gz", "moving.nii.gz", "displacement.nrrd", fixed.geometry)
    scene = opened(folder.rename(tmp_path / "there") / "scene.mrml")
    assert named(scene, "vtkMRMLScalarVolumeNode", "Moving").GetImageData() is not None
    assert str(tmp_path) not in (tmp_path / "there" / "scene.mrml").read_text()


def test_which_images_a_scene_can_name(tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / "brain.nii.gz").touch()
    (tmp_path / "brain.mnc").touch()
    assert slicer_reads(tmp_path / "brain.nii.gz")
    assert not slicer_reads(tmp_path / "brain.mnc")
    assert not slicer_reads(tmp_path / "series")
    assert not slicer_reads(tmp_path / "missing.nii.gz")


def test_it_is_xml_and_a_bad_place_is_an_error(tmp_path):
    write_scene(tmp_path / "scene.mrml", "a.nrrd", "b.nrrd", "c.h5", FIXED_GRID)
    assert ET.parse(tmp_path / "scene.mrml").getroot().tag == "MRML"
    with pytest.raises(FileError, match="does not exist"):
        write_scene(tmp_path / "none" / "scene.mrml", "a.nrrd", "b.nrrd", "c.h5", FIXED_GRID)
