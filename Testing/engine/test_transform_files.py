"""Transforms in files: every kind comes back as the same map, also from what ITK and 3D Slicer write."""

import gzip
import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid, read_transform
from deepregister.errors import FileError, InputError, TransformError
from deepregister.transforms import files, from_sitk, write_transform
from geometries import affines, fields, points_in, rigids
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

OBLIQUE = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix() * (-1, 1, 1)
GRID = Geometry((9, 8, 7), (1, 1.5, 2), (50, -60, 70), OBLIQUE)
POINTS = points_in(GRID)
with_folder = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def some_field(geometry=GRID):
    noise = np.random.default_rng(0).normal(size=(*geometry.shape, 3))
    return DisplacementField(noise.astype(np.float32), geometry)


def some_affine():
    return Affine(np.array([[1, 0.2, 0, 3], [0, 1.1, 0.1, 4], [0.1, 0, 0.9, 5], [0, 0, 0, 1]]))


def moved(native, points=POINTS):
    return np.array([native.TransformPoint(point) for point in points.tolist()])


@pytest.mark.parametrize("ending", ["h5", "hdf5", "tfm", "txt"])
@with_folder
@given(fields(), affines(), rigids(), st.integers(0, 4))
def test_itk_files_hold_every_kind(ending, tmp_path, field, affine, rigid, kind):
    transform = (field, affine, rigid, Composite((field, affine)), Composite((rigid, field, affine)))[kind]
    path = tmp_path / f"map.{ending}"
    transform.write(path)
    points = points_in(field.geometry)
    back = read_transform(path)
    assert type(back) is type(transform)
    assert back.apply_to_points(points) == pytest.approx(transform.apply_to_points(points), abs=1e-5)
    # Read by SimpleITK alone it is the same map from fixed to moving.
    native = sitk.ReadTransform(str(path))
    assert moved(native, points) == pytest.approx(transform.apply_to_points(points), abs=1e-5)


@with_folder
@given(affines())
def test_mat_files_hold_a_linear_transform(tmp_path, affine):
    affine.write(tmp_path / "map.mat")
    assert read_transform(tmp_path / "map.mat").matrix == pytest.approx(affine.matrix, abs=1e-9)


@pytest.mark.parametrize("transform", [some_field(), Composite((some_affine(), some_affine()))])
def test_mat_files_hold_nothing_else(tmp_path, transform):
    with pytest.raises(TransformError, match=r"map\.mat.*one linear transform only"):
        transform.write(tmp_path / "map.mat")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd"])
@with_folder
@given(fields())
def test_images_hold_a_dense_field(ending, tmp_path, field):
    path = tmp_path / f"field.{ending}"
    if ending.startswith("nii") and field.geometry.size[2] == 1:
        path.unlink(missing_ok=True)
        with pytest.raises(TransformError, match=r"one voxel thick.*\.nrrd"):
            field.write(path)
        assert not path.exists()
        return
    field.write(path)
    back = read_transform(path)
    assert np.array_equal(back.displacement, field.displacement)
    assert back.geometry.same_grid(field.geometry, 1e-3 if ending.startswith("nii") else 1e-6)


def nifti_intent(path, intent=None):
    """The intent code of a NIfTI file, set first if one is given."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    if intent is not None:
        struct.pack_into("<h", content, 68, intent)
        path.write_bytes(gzip.compress(bytes(content)))
    return struct.unpack_from("<h", content, 68)[0]


def test_nifti_vectors_are_ras_or_lps_as_the_intent_says(tmp_path):
    field = some_field()
    vector = tmp_path / "vector.nii.gz"
    field.write(vector)
    assert nifti_intent(vector) == 1007
    assert np.array_equal(read_transform(vector).displacement, field.displacement)
    # 3D Slicer writes intent 1006 (displacement vectors) with RAS components.
    slicer = tmp_path / "slicer.nii.gz"
    DisplacementField(field.displacement * np.float32([-1, -1, 1]), GRID).write(slicer)
    nifti_intent(slicer, 1006)
    assert np.array_equal(read_transform(slicer).displacement, field.displacement)
    assert read_transform(slicer).geometry.same_grid(GRID, 1e-3)


def test_a_composite_is_written_dense_on_the_grid_of_its_field(tmp_path):
    composite = Composite((some_affine(), some_field(), some_affine()))
    composite.write(tmp_path / "map.nrrd")
    back = read_transform(tmp_path / "map.nrrd")
    assert back.geometry.same_grid(GRID, 1e-6)
    centres = GRID.points()
    assert back.apply_to_points(centres) == pytest.approx(composite.apply_to_points(centres), abs=1e-4)


def test_any_transform_is_written_dense_on_a_given_grid(tmp_path):
    write_transform(some_affine(), tmp_path / "map.nii.gz", GRID)
    assert read_transform(tmp_path / "map.nii.gz").apply_to_points(POINTS) == pytest.approx(
        some_affine().apply_to_points(POINTS), abs=1e-4
    )
    onto = GRID.with_spacing((2, 2, 2))
    write_transform(some_field(), tmp_path / "map.mha", onto)
    assert read_transform(tmp_path / "map.mha").geometry.same_grid(onto, 1e-6)


@pytest.mark.parametrize("transform", [some_affine(), Composite((some_affine(), some_affine()))])
def test_a_linear_transform_needs_a_grid_to_be_dense(tmp_path, transform):
    with pytest.raises(TransformError, match=r"no grid of its own.*\.h5"):
        transform.write(tmp_path / "map.nrrd")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["map", "map.xyz", "map.xfm", "map.png"])
def test_endings_that_name_no_format_are_refused(tmp_path, name):
    with pytest.raises(FileError, match=rf"{name}: no transform format.*\.h5 or \.tfm"):
        some_affine().write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def euler():
    return sitk.Euler3DTransform((1, 2, 3), 0.1, -0.2, 0.3, (4, 5, 6))


def nested():
    inner = sitk.CompositeTransform(3)
    inner.AddTransform(some_field().to_sitk())
    inner.AddTransform(sitk.TranslationTransform(3, (1, 2, 3)))
    outer = sitk.CompositeTransform(3)
    outer.AddTransform(euler())
    outer.AddTransform(inner)
    return outer


ITK_KINDS = [
    (euler(), Rigid),
    (sitk.TranslationTransform(3, (1, 2, 3)), Rigid),
    (sitk.VersorRigid3DTransform((0, 0.6, 0.8), 0.4, (1, 2, 3), (4, 5, 6)), Rigid),
    (sitk.VersorTransform((0, 0.6, 0.8), 0.4, (1, 2, 3)), Rigid),
    (sitk.Similarity3DTransform(1.2, (0, 0.6, 0.8), 0.4, (1, 2, 3), (4, 5, 6)), Affine),
    (sitk.ScaleTransform(3, (1, 2, 0.5)), Affine),
    (sitk.ScaleVersor3DTransform((1, 2, 0.5), (0, 0.6, 0.8), 0.4, (1, 2, 3), (4, 5, 6)), Affine),
    (sitk.ScaleSkewVersor3DTransform((1, 2, 0.5), (0, 0.1, 0, 0, 0, 0.1), (0, 0.6, 0.8), 0.4, (1, 2, 3)), Affine),
    (sitk.AffineTransform((1, 0.2, 0, 0, 1, 0, 0, 0.1, 1), (1, 2, 3), (4, 5, 6)), Affine),
    (sitk.Transform(3, sitk.sitkIdentity), Rigid),
    (sitk.CompositeTransform([euler()]), Rigid),
    (sitk.CompositeTransform([euler(), sitk.ScaleTransform(3, (1, 2, 0.5))]), Composite),
]


def name_of(value):
    return value.GetName() if isinstance(value, sitk.Transform) else value.__name__


# ITK itself can write neither an empty nor a nested composite.
@pytest.mark.parametrize(
    ("native", "kind"), [*ITK_KINDS, (sitk.CompositeTransform(3), Rigid), (nested(), Composite)], ids=name_of
)
def test_itks_own_transforms_are_the_same_map(native, kind):
    transform = from_sitk(native)
    assert type(transform) is kind
    assert transform.apply_to_points(POINTS) == pytest.approx(moved(native), abs=1e-5)


@pytest.mark.parametrize(("native", "kind"), ITK_KINDS, ids=name_of)
@pytest.mark.parametrize("ending", ["h5", "tfm"])
def test_itks_own_transforms_are_read_from_files(tmp_path, native, kind, ending):
    sitk.WriteTransform(native, str(tmp_path / f"map.{ending}"))
    transform = read_transform(tmp_path / f"map.{ending}")
    assert type(transform) is kind
    assert transform.apply_to_points(POINTS) == pytest.approx(moved(native), abs=1e-5)


def bspline(seed):
    random = np.random.default_rng(seed)
    native = sitk.BSplineTransform(3, 3)
    native.SetTransformDomainOrigin(random.normal(size=3) * 100)
    turn = Rotation.random(random_state=seed).as_matrix() * random.choice([-1, 1], 3)
    native.SetTransformDomainDirection(turn.ravel().tolist())
    native.SetTransformDomainPhysicalDimensions(random.uniform(30, 200, 3))
    native.SetTransformDomainMeshSize([int(n) for n in random.integers(1, 5, 3)])
    native.SetParameters((random.normal(size=len(native.GetParameters())) * 3).tolist())
    return native


@pytest.mark.parametrize("seed", range(5))
def test_a_bspline_is_sampled_densely_up_to_its_border(seed):
    native = bspline(seed)
    field = from_sitk(native)
    size = np.asarray(field.geometry.size)
    border = np.random.default_rng(seed).uniform(1e-4, 1 - 1e-4, size=(300, 3))
    border[:150] = np.where(np.random.default_rng(1).random((150, 3)) < 0.5, np.round(border[:150]), border[:150])
    points = field.geometry.index_to_point(1e-4 + np.clip(border, 0, 1) * (size - 1 - 2e-4))
    assert np.abs(moved(native, points) - points).max() > 1
    assert field.apply_to_points(points) == pytest.approx(moved(native, points), abs=0.06)


def test_refuses_transforms_of_other_dimensions(tmp_path):
    for native in (sitk.AffineTransform(2), sitk.Euler2DTransform(), sitk.CompositeTransform(2)):
        with pytest.raises(TransformError, match="2-dimensional; a three-dimensional"):
            from_sitk(native)
    sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "flat.tfm"))
    with pytest.raises(TransformError, match="2-dimensional"):
        read_transform(tmp_path / "flat.tfm")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (sitk.Image([4, 5, 6], sitk.sitkFloat32), "has 3 and 1"),
        (sitk.Image([4, 5, 6], sitk.sitkVectorFloat32, 2), "has 3 and 2"),
        (sitk.Image([4, 5], sitk.sitkVectorFloat32, 2), "has 2 and 2"),
    ],
)
def test_images_that_are_no_fields_are_refused(tmp_path, image, words):
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    with pytest.raises(TransformError, match=rf"image\.nrrd is not a displacement field.*{words}"):
        read_transform(tmp_path / "image.nrrd")


def test_an_image_that_is_no_field_is_refused_before_its_voxels_are_read(tmp_path):
    # A header that claims three terabytes.
    path = tmp_path / "image.nrrd"
    path.write_bytes(b"NRRD0004\ntype: float\ndimension: 3\nsizes: 9000 9000 9000\nencoding: raw\nendian: little\n\n")
    with pytest.raises(TransformError, match="has 3 and 1"):
        read_transform(path)


def test_a_singular_transform_is_refused():
    native = sitk.ScaleTransform(3, (1, 0, 1))
    with pytest.raises(TransformError, match="determinant 0"):
        from_sitk(native)


def test_several_transforms_that_are_not_joined_are_refused(tmp_path):
    one = "Transform: AffineTransform_double_3_3\nParameters: 1 0 0 0 1 0 0 0 1 {} 0 0\nFixedParameters: 0 0 0\n"
    path = tmp_path / "several.tfm"
    path.write_text("#Insight Transform File V1.0\n#Transform 0\n" + one.format(1) + "#Transform 1\n" + one.format(2))
    with pytest.raises(TransformError, match=r"several\.tfm holds 2 transforms.*composite"):
        read_transform(path)


def test_missing_files_are_named(tmp_path):
    for path in (tmp_path / "nowhere.h5", tmp_path):
        with pytest.raises(FileError, match="does not exist"):
            read_transform(path)


@pytest.mark.parametrize("ending", ["h5", "tfm", "txt", "mat", "xfm", "nii.gz", "nii", "nrrd", "mha", "xyz"])
@pytest.mark.parametrize("content", [b"", b"no transform at all\n" * 40, b"\x1f\x8b" + bytes(400)])
def test_files_that_are_no_transforms_are_refused(tmp_path, ending, content):
    path = tmp_path / f"map.{ending}"
    path.write_bytes(content)
    with pytest.raises(FileError) as error:
        read_transform(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_whose_fault_itk_quotes_in_no_encoding_is_refused(tmp_path):
    path = tmp_path / "map.tfm"
    Rigid.identity().write(path)
    path.write_bytes(path.read_bytes().replace(b"Transform_double", b"Tra\xa2sform_double"))
    with pytest.raises(FileError, match=r"map\.tfm"):
        read_transform(path)


@pytest.mark.parametrize("ending", ["h5", "tfm", "nii.gz", "nii", "nrrd", "mha"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_files_cut_off_are_refused(tmp_path, ending, share):
    path = tmp_path / f"map.{ending}"
    some_field().write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError):
        read_transform(path)


@pytest.mark.skipif(os.name != "posix", reason="ends a process by a signal")
def test_a_file_on_which_its_library_crashes_is_refused_and_this_process_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "transform.h5"
    Rigid.identity().write(path)
    assert isinstance(read_transform(path), Rigid)
    # What the library does on some damaged files; the robustness suite has such files.
    crashing = tmp_path / "SimpleITK.py"
    crashing.write_text("import os, signal\ndef ReadTransform(path): os.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(files, "worker_environment", lambda extra: {**os.environ, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(FileError, match="it is damaged, so that ITK's HDF5 library crashes"):
        read_transform(path)
