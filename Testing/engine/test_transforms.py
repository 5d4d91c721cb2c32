"""What every transform can do: resample images, be sampled densely, whatever the grids."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid, Transform, Volume
from deepregister.errors import InputError
from geometries import affines, axis_changes, fields, geometries, points_in, relabelled, rigids
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

few = settings(max_examples=30)


@st.composite
def near_the_origin(draw, least=1):
    """Grids that all cover the origin, so that a small transform leaves them overlapping."""
    geometry = draw(geometries(least))
    shifted = np.asarray(geometry.origin) - geometry.centre
    return Geometry(geometry.size, geometry.spacing, tuple(shifted), geometry.direction)


@st.composite
def small_transforms(draw):
    linear = draw(affines()).matrix.copy()
    linear[:3, 3] *= 0.05
    affine = Affine(linear)
    field = draw(fields(least=2))
    shifted = Geometry(field.geometry.size, field.geometry.spacing, (-5, -5, -5), field.geometry.direction)
    return draw(st.sampled_from([affine, Composite((DisplacementField(field.displacement, shifted), affine))]))


def noise(geometry, dtype="f4", seed=0):
    return Volume(np.random.default_rng(seed).uniform(0, 100, size=geometry.shape).astype(dtype), geometry)


def sampled_by_scipy(transform, moving, onto, order):
    """The resampling written out in numpy: index of each fixed voxel in the moving array; NaN outside its centres."""
    index = moving.geometry.point_to_index(transform.apply_to_points(onto.points()))
    inside = np.all((index > 1e-6) & (index < np.subtract(moving.geometry.size, 1 + 1e-6)), axis=-1)
    values = map_coordinates(
        moving.data.astype(float), np.moveaxis(index[..., ::-1], -1, 0), order=order, mode="nearest"
    )
    return np.where(inside, values, np.nan)


@given(small_transforms(), near_the_origin(least=2), near_the_origin())
def test_linear_resampling_is_what_numpy_computes(transform, moving_grid, onto):
    moving = noise(moving_grid)
    expected = sampled_by_scipy(transform, moving, onto, order=1)
    found = transform.resample(moving, onto)
    assert found.geometry == onto
    known = ~np.isnan(expected)
    assert found.data[known] == pytest.approx(expected[known], abs=1e-2)


@given(small_transforms(), near_the_origin(least=3), near_the_origin())
def test_resampling_is_what_simpleitk_does_with_the_same_transform(transform, moving_grid, onto):
    moving = noise(moving_grid)
    reference = sitk.Image(onto.size, sitk.sitkFloat32)
    reference.SetSpacing(onto.spacing)
    reference.SetOrigin(onto.origin)
    reference.SetDirection(np.ravel(onto.direction).tolist())
    native = sitk.Resample(moving.to_sitk(), reference, transform.to_sitk(), sitk.sitkBSpline3, -1.0)
    found = transform.resample(moving, onto, "cubic", fill=-1)
    assert np.array_equal(found.data, sitk.GetArrayFromImage(native))


@few
@given(small_transforms(), near_the_origin(least=2), near_the_origin(least=2), axis_changes(), axis_changes())
def test_resampling_does_not_depend_on_the_order_of_the_axes(transform, moving_grid, onto, change, onto_change):
    moving = noise(moving_grid)
    grid, data = relabelled(moving_grid, moving.data, *change)
    expected = transform.resample(moving, onto, fill=-1).data
    new_onto, expected = relabelled(onto, expected, *onto_change)
    found = transform.resample(Volume(np.ascontiguousarray(data), grid), new_onto, fill=-1).data
    # A point on the outer face of the moving grid may round to either side.
    differs = np.abs(found - expected) > 1e-2
    assert differs.mean() < 0.02 or differs.sum() <= 2


@few
@given(rigids(), near_the_origin(least=2))
def test_an_image_moves_with_its_points(transform, grid):
    # The same voxels on a grid moved to where the transform takes it: resampling must bring back each voxel.
    moving = Volume(noise(grid).data, Geometry.from_matrix(transform.matrix @ grid.matrix, grid.size))
    assert transform.resample(moving, grid).data == pytest.approx(moving.data, abs=1e-2)
    assert transform.resample(moving, grid, "nearest").data == pytest.approx(moving.data)
    fixed = Volume(moving.data, grid)
    assert transform.inverse().resample(fixed, moving.geometry).data == pytest.approx(moving.data, abs=1e-2)


@given(small_transforms(), near_the_origin())
def test_a_dense_sample_is_the_same_map_on_its_grid(transform, onto):
    points = onto.points()
    dense = transform.sampled_on(onto)
    assert dense.geometry == onto
    assert points + dense.displacement == pytest.approx(transform.apply_to_points(points), abs=1e-4)


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic", "label"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "i8", "f2", "f4", "f8", "bool"])
def test_every_interpolation_keeps_every_type(interpolation, dtype):
    grid = Geometry((5, 6, 1), (1, 2, 3))
    volume = noise(grid, dtype)
    found = Affine.identity().resample(volume, grid, interpolation)
    assert found.data.dtype == volume.data.dtype
    assert found.data.astype(float) == pytest.approx(volume.data.astype(float), rel=1e-3)


@pytest.mark.parametrize("axis", range(3))
def test_two_slices_are_interpolated_linearly_where_itks_spline_leaves_its_memory(axis):
    size = [7, 8, 9]
    size[axis] = 2
    thin = noise(Geometry(size))
    onto = thin.geometry.padded(1).with_spacing((0.7, 0.7, 0.7))
    expected = Affine.identity().resample(thin, onto)
    for _ in range(20):
        assert np.array_equal(Affine.identity().resample(thin, onto, "cubic").data, expected.data)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8"])
def test_integers_are_rounded_not_cut_off(dtype):
    grid = Geometry((40, 1, 1))
    ramp = Volume(np.arange(40).reshape(1, 1, 40).astype(dtype), grid)
    shift = np.eye(4)
    for along, step in ((0.4, 0), (0.6, 1)):
        shift[0, 3] = along
        assert np.array_equal(Affine(shift).resample(ramp, grid).data[0, 0, :-1], ramp.data[0, 0, :-1] + step)


def test_what_overshoots_stays_within_the_type():
    grid = Geometry((20, 3, 3))
    edge = Volume(np.where(np.arange(20) < 10, 0, 255).astype("u1") * np.ones((3, 3, 1), "u1"), grid)
    shift = np.eye(4)
    shift[0, 3] = 0.5
    found = Affine(shift).resample(edge, grid, "cubic").data[1, 1, :-1]
    # The spline swings below 0 and above 255 beside the edge; wrapped around, these would be the opposite.
    assert found[:9].max() < 20
    assert found[10:].min() > 235
    assert found[9] == pytest.approx(128, abs=1)
    for dtype in ("i8", "u8"):
        largest = Volume(np.full((3, 3, 3), np.iinfo(dtype).max, dtype), Geometry((3, 3, 3)))
        assert Affine.identity().resample(largest, largest.geometry).data.min() >= np.iinfo(dtype).max - 2048


@pytest.mark.parametrize("interpolation", ["nearest", "label"])
def test_labels_stay_labels_and_outside_is_background(interpolation):
    grid = Geometry((12, 12, 12))
    labels = Volume((np.arange(12**3).reshape(12, 12, 12) // 300 * 7 + 7).astype("u2"), grid)
    turn = np.eye(4)
    turn[:3, :3] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    found = Rigid(turn).resample(labels, grid.padded(4), interpolation).data
    assert set(np.unique(found)) == {0, *np.unique(labels.data)}


def test_outside_is_the_smallest_value_unless_told():
    ct = Volume(np.full((4, 4, 4), 40, "i2"), Geometry((4, 4, 4)))
    ct.data[0, 0, 0] = -1000
    beyond = ct.geometry.padded(3)
    assert Affine.identity().resample(ct, beyond).data[0, 0, 0] == -1000
    assert Affine.identity().resample(ct, beyond, fill=-5).data[0, 0, 0] == -5
    gappy = ct.astype("f4")
    gappy.data[1, 1, 1] = np.nan
    assert Affine.identity().resample(gappy, beyond).data[0, 0, 0] == -1000


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(InputError, match=r"'spline'. Choose one of: linear, nearest, cubic, label"):
        Affine.identity().resample(noise(Geometry((2, 2, 2))), Geometry((2, 2, 2)), "spline")


def test_a_transform_of_ones_own_needs_only_three_methods():
    class Swirl(Transform):
        def apply_to_points(self, points):
            return np.asarray(points) + np.array([0.0, 0.0, 1.0])

        def inverse(self):
            return self

        def to_sitk(self):
            return sitk.TranslationTransform(3, (0.0, 0.0, 1.0))

    grid = Geometry((4, 4, 4))
    volume = noise(grid)
    assert Swirl().resample(volume, grid).data[:-1] == pytest.approx(volume.data[1:])
    assert Swirl().jacobian_determinant(grid) == pytest.approx(np.ones((4, 4, 4)))
    assert Swirl().then(Affine.identity()).apply_to_points(points_in(grid)) == pytest.approx(
        Swirl().apply_to_points(points_in(grid))
    )
