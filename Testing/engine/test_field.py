"""Displacement fields: values, inverses and Jacobians in mm, whichever way the axes of the grid run."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import DisplacementField, Geometry
from deepregister.errors import TransformError
from geometries import axis_changes, fields, geometries, points_in, relabelled
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=25)


def bump(geometry, height, width):
    """A displacement away from the centre (or towards it), which fades like a Gaussian; and its exact Jacobian.

    u(r) = height r exp(-r^2 / 2 width^2): lengths change by 1 + height at the centre.
    """
    offset = geometry.points() - geometry.centre
    fade = np.exp(-(offset**2).sum(-1) / (2 * width**2))
    gradient = height * fade[..., None, None] * (np.eye(3) - offset[..., :, None] * offset[..., None, :] / width**2)
    return DisplacementField(height * offset * fade[..., None], geometry), np.linalg.det(np.eye(3) + gradient)


@st.composite
def fine_geometries(draw, most=24):
    """Grids with voxels of about a millimetre, for smooth functions."""
    geometry = draw(geometries(least=2))
    size = draw(st.tuples(*[st.integers(16, most)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.7, 1.4)] * 3))
    return Geometry(size, spacing, geometry.origin, geometry.direction)


@given(fields())
def test_simpleitk_moves_points_alike_inside_and_outside(field):
    points = np.concatenate([points_in(field.geometry), points_in(field.geometry, margin=3, seed=1)])
    # Exactly on the outer faces rounding decides between inside and outside.
    index = field.geometry.point_to_index(points)
    on_face = np.isclose(index, -0.5, atol=1e-6) | np.isclose(index, np.subtract(field.geometry.size, 0.5), atol=1e-6)
    points = points[~on_face.any(-1)]
    native = field.to_sitk()
    expected = np.array([native.TransformPoint(point) for point in points.tolist()])
    assert field.apply_to_points(points) == pytest.approx(expected, abs=1e-5)


@given(fields())
def test_voxel_centres_move_by_their_own_displacement(field):
    assert field.displacement_at(field.geometry.points()) == pytest.approx(field.displacement, abs=1e-5)


@given(fields(least=2), axis_changes())
def test_nothing_depends_on_the_order_of_the_axes(field, change):
    other = DisplacementField(*relabelled(field.geometry, field.displacement, *change)[::-1])
    points = points_in(field.geometry)
    assert other.apply_to_points(points) == pytest.approx(field.apply_to_points(points), abs=1e-5)
    for measure in ("jacobian_determinant", "corner_jacobian_determinants"):
        here = getattr(field, measure)()
        there = getattr(other, measure)()
        expected = relabelled(field.geometry, here, *change)[1]
        assert there == pytest.approx(expected, rel=1e-4, abs=1e-4 * float(np.abs(here).max()))


@given(geometries(least=2), st.integers(0, 2**16))
def test_the_jacobian_of_a_linear_displacement_is_exact(geometry, seed):
    gradient = np.random.default_rng(seed).uniform(-0.4, 0.4, size=(3, 3))
    field = DisplacementField((geometry.points() - geometry.centre) @ gradient.T, geometry)
    expected = np.full(geometry.shape, np.linalg.det(np.eye(3) + gradient))
    assert field.jacobian_determinant() == pytest.approx(expected, abs=1e-4)
    assert field.corner_jacobian_determinants() == pytest.approx(expected, abs=1e-4)


@few
@given(fine_geometries(), st.sampled_from([-0.5, 0.4, 0.9]))
def test_the_jacobian_of_a_smooth_displacement_is_right_on_any_grid(geometry, height):
    field, exact = bump(geometry, height, width=5.0)
    inner = (slice(1, -1),) * 3
    assert field.jacobian_determinant()[inner] == pytest.approx(exact[inner], rel=0.06, abs=0.02)
    # No grid sees folds where there are none.
    assert field.corner_jacobian_determinants().min() > 0


@few
@given(fields(least=3))
def test_the_jacobian_is_itks_where_the_grid_is_not_turned(field):
    straight = DisplacementField(field.displacement, Geometry(field.geometry.size, field.geometry.spacing))
    native = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(straight.to_image()))
    inner = (slice(1, -1),) * 3
    assert straight.jacobian_determinant()[inner] == pytest.approx(native[inner], rel=1e-3, abs=1e-3)


def test_itks_jacobian_is_wrong_on_a_flipped_grid_and_ours_is_not():
    geometry = Geometry((5, 5, 5), direction=((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
    field = DisplacementField((geometry.points() - geometry.centre) * (1.5, 0, 0), geometry)
    native = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field.to_image()))
    assert native[2, 2, 2] == pytest.approx(-0.5)
    assert field.jacobian_determinant() == pytest.approx(np.full((5, 5, 5), 2.5), abs=1e-5)


@given(geometries(least=5), st.integers(0, 2))
def test_corners_see_a_fold_of_one_voxel_that_central_differences_miss(geometry, axis):
    displacement = np.zeros((*geometry.shape, 3))
    along = np.asarray(geometry.direction)[:, axis] * geometry.spacing[axis]
    displacement[2, 2, 2] = 1.5 * along
    field = DisplacementField(displacement, geometry)
    assert field.jacobian_determinant().min() > 0
    corners = field.corner_jacobian_determinants()
    assert corners[2, 2, 2] == pytest.approx(-0.5, abs=1e-3)
    assert corners[0, 0, 0] == pytest.approx(1, abs=1e-5)


@few
@given(fields(least=2))
def test_corners_are_the_worst_of_eight_one_sided_differences(field):
    # The plain definition, voxel by voxel, as the reference.
    to_mm = np.linalg.inv(field.geometry.matrix[:3, :3])
    found = field.corner_jacobian_determinants()
    shape = field.geometry.shape
    for voxel in [tuple(n - 1 for n in shape), (0, 0, 0), tuple(n // 2 for n in shape)]:
        worst = np.inf
        for signs in np.ndindex(2, 2, 2):
            columns = []
            for axis in (2, 1, 0):
                sign = 1 if signs[axis] else -1
                if not 0 <= voxel[axis] + sign < shape[axis]:
                    sign = -sign
                neighbour = list(voxel)
                neighbour[axis] += sign
                columns.append(sign * (field.displacement[tuple(neighbour)] - field.displacement[voxel]))
            worst = min(worst, np.linalg.det(np.eye(3) + np.stack(columns, axis=-1) @ to_mm))
        assert found[voxel] == pytest.approx(worst, rel=1e-3, abs=1e-3 * max(1, abs(worst)))


def test_long_slabs_measure_as_one(monkeypatch):
    from deepregister.transforms import field as module

    geometry = Geometry((7, 6, 11), (1, 2, 0.5))
    field = DisplacementField(np.random.default_rng(0).normal(size=(11, 6, 7, 3)) * 0.1, geometry)
    whole = field.jacobian_determinant(), field.corner_jacobian_determinants(), field.inverse().displacement
    split = module._slabs(geometry, voxels=2 * 42)
    assert [(slab.start, slab.stop) for slab in split] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 11)]
    monkeypatch.setattr(module, "_slabs", lambda geometry, voxels=0: split)
    parts = field.jacobian_determinant(), field.corner_jacobian_determinants(), field.inverse().displacement
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other)


@given(geometries(least=2, most=6))
def test_across_a_single_slice_nothing_changes(geometry):
    flat = geometry.cropped((0, 0, 0), (*geometry.size[:2], 1))
    gradient = np.array([[0.2, 0.1, 0], [0, -0.1, 0], [0, 0, 0]])
    axes = np.asarray(geometry.direction)
    field = DisplacementField((flat.points() - flat.centre) @ (axes @ gradient @ axes.T).T, flat)
    expected = np.linalg.det(np.eye(3) + gradient)
    assert field.jacobian_determinant() == pytest.approx(np.full(flat.shape, expected), abs=1e-4)
    assert field.corner_jacobian_determinants() == pytest.approx(np.full(flat.shape, expected), abs=1e-4)


@few
@given(fine_geometries(), st.sampled_from([-0.7, 0.4, 0.9, 1.8]))
def test_the_inverse_undoes_on_the_grid_also_where_lengths_nearly_triple(geometry, height):
    field, _ = bump(geometry, height, width=2.5)
    inverse = field.inverse()
    assert inverse.geometry == geometry
    # Near the border the way back may begin outside the grid.
    points = geometry.points()[3:-3, 3:-3, 3:-3]
    assert field.apply_to_points(inverse.apply_to_points(points)) == pytest.approx(points, abs=2e-3)


def test_the_inverse_of_nothing_is_nothing():
    assert not field_of_zeros().inverse().displacement.any()


def field_of_zeros():
    return DisplacementField.zero(Geometry((4, 3, 2), (1, 2, 3)))


def test_a_field_of_zeros_moves_nothing():
    points = np.random.default_rng(0).uniform(-10, 10, size=(20, 3))
    assert np.array_equal(field_of_zeros().apply_to_points(points), points)
    assert np.array_equal(field_of_zeros().jacobian_determinant(), np.ones((2, 3, 4)))


@few
@given(fields())
def test_the_picture_of_a_field_holds_its_vectors(field):
    image = field.to_image()
    assert image.GetPixelID() == sitk.sitkVectorFloat32
    assert Geometry.from_sitk(image).same_grid(field.geometry, 1e-9)
    i, j, k = (n - 1 for n in field.geometry.size)
    assert image[i, j, k] == pytest.approx(tuple(field.displacement[k, j, i]), abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4), (4, 3, 2, 3), (2, 3, 4, 2), (3, 2, 3, 4)])
def test_refuses_arrays_of_another_shape(shape):
    with pytest.raises(TransformError, match=r"shape \(2, 3, 4, 3\), not"):
        DisplacementField(np.zeros(shape), Geometry((4, 3, 2)))


def test_refuses_values_that_are_not_finite():
    values = np.zeros((2, 3, 4, 3))
    values[1, 1, 1, 0] = np.nan
    with pytest.raises(TransformError, match="not finite"):
        DisplacementField(values, Geometry((4, 3, 2)))


def test_repr_says_how_far_it_moves():
    field = DisplacementField(np.full((2, 3, 4, 3), 2.0), Geometry((4, 3, 2)))
    assert repr(field) == "DisplacementField(4x3x2 voxels of 1x1x1 mm, up to 3.46 mm)"
