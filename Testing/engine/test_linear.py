"""Rigid and affine transforms: SimpleITK moves the same points, inverses undo them, products follow their order."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid
from deepregister.errors import InputError, TransformError
from geometries import affines, geometries, points_in, rigids
from hypothesis import given
from hypothesis import strategies as st

POINTS = np.random.default_rng(0).uniform(-300, 300, size=(40, 3))


def moved_by_simpleitk(transform, points):
    native = transform.to_sitk()
    return np.array([native.TransformPoint(point) for point in points.tolist()])


@given(st.one_of(rigids(), affines()))
def test_simpleitk_moves_points_alike(transform):
    assert transform.apply_to_points(POINTS) == pytest.approx(moved_by_simpleitk(transform, POINTS), abs=1e-9)


@given(st.one_of(rigids(), affines()))
def test_the_inverse_undoes_in_both_orders(transform):
    inverse = transform.inverse()
    assert type(inverse) is type(transform)
    assert inverse.apply_to_points(transform.apply_to_points(POINTS)) == pytest.approx(POINTS, abs=1e-6)
    assert transform.apply_to_points(inverse.apply_to_points(POINTS)) == pytest.approx(POINTS, abs=1e-6)


@given(rigids(), rigids(), affines())
def test_then_applies_the_first_first(first, second, affine):
    both = first.then(second)
    assert isinstance(both, Rigid)
    assert both.apply_to_points(POINTS) == pytest.approx(
        second.apply_to_points(first.apply_to_points(POINTS)), abs=1e-8
    )
    for mixed in (first.then(affine), affine.then(first)):
        assert isinstance(mixed, Affine)
    assert first.then(affine).apply_to_points(POINTS) == pytest.approx(
        affine.apply_to_points(first.apply_to_points(POINTS)), abs=1e-8
    )


@given(rigids())
def test_many_products_of_rounded_rotations_stay_rigid(transform):
    rounded = Rigid(np.round(transform.matrix, 6))
    product = rounded
    for _ in range(30):
        product = product.then(rounded)
    assert isinstance(product, Rigid)
    assert product.linear.T @ product.linear == pytest.approx(np.eye(3), abs=1e-12)


@given(rigids())
def test_a_rigid_keeps_distances_and_volume(transform):
    moved = transform.apply_to_points(POINTS)
    assert np.linalg.norm(moved[1:] - moved[:-1], axis=1) == pytest.approx(
        np.linalg.norm(POINTS[1:] - POINTS[:-1], axis=1), abs=1e-8
    )
    assert transform.jacobian_determinant(Geometry((2, 3, 4))) == pytest.approx(np.ones((4, 3, 2)), abs=1e-6)


@given(affines(), geometries(least=2, most=4))
def test_the_jacobian_is_that_of_its_samples(transform, geometry):
    sampled = DisplacementField(
        (transform.apply_to_points(geometry.points()) - geometry.points()).astype(np.float32), geometry
    )
    exact = transform.jacobian_determinant(geometry)
    assert exact.shape == geometry.shape
    assert exact == pytest.approx(sampled.jacobian_determinant(), rel=2e-3, abs=2e-3)


@given(affines(), geometries(most=6))
def test_a_dense_sample_moves_points_alike(transform, geometry):
    points = points_in(geometry)
    dense = transform.sampled_on(geometry)
    assert dense.apply_to_points(points) == pytest.approx(transform.apply_to_points(points), abs=1e-3)


def test_points_keep_their_shape():
    shift = Rigid(np.array([[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]]))
    assert shift.apply_to_points([0, 0, 0]).tolist() == [1, 2, 3]
    assert shift.apply_to_points(np.zeros((2, 5, 3))).shape == (2, 5, 3)
    assert shift.apply_to_points(np.zeros((0, 3))).shape == (0, 3)


def test_parts_of_the_matrix_have_names():
    affine = Affine(np.array([[2, 0, 0, 4], [0, 3, 0, 5], [0, 0, 4, 6], [0, 0, 0, 1.0]]))
    assert affine.linear.tolist() == np.diag([2.0, 3, 4]).tolist()
    assert affine.translation.tolist() == [4, 5, 6]
    assert Rigid.identity().matrix.tolist() == np.eye(4).tolist()
    assert isinstance(Affine.identity(), Affine)


def test_the_matrix_is_a_copy_that_nobody_changes():
    matrix = np.eye(4)
    transform = Affine(matrix)
    matrix[0, 3] = 7
    assert transform.matrix[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        transform.matrix[0, 3] = 7


def test_a_composite_is_made_with_what_is_not_linear():
    field = DisplacementField.zero(Geometry((2, 2, 2)))
    assert isinstance(Rigid.identity().then(field), Composite)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.eye(3), "(3, 3)"),
        (np.diag([1, 1, np.nan, 1]), "finite"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.diag([1.0, 1, 0, 1]), "determinant 0"),
    ],
)
def test_refuses_what_is_no_linear_transform(matrix, words):
    for kind in (Rigid, Affine):
        with pytest.raises(TransformError) as error:
            kind(matrix)
        assert words in str(error.value)


@pytest.mark.parametrize("scale", [(1.001, 1, 1), (-1, 1, 1)])
def test_a_rigid_neither_scales_nor_mirrors(scale):
    Affine(np.diag([*scale, 1.0]))
    with pytest.raises(TransformError, match="not rigid"):
        Rigid(np.diag([*scale, 1.0]))


@pytest.mark.parametrize("points", [[1, 2], 5.0, [[1, 2, 3], [4, 5]], ["a", "b", "c"]])
def test_refuses_what_are_no_points(points):
    with pytest.raises(InputError, match="three"):
        Affine.identity().apply_to_points(points)


def test_to_sitk_is_an_affine_that_itk_can_write():
    assert isinstance(Rigid.identity().to_sitk(), sitk.AffineTransform)
