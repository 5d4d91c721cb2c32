"""Transforms one after the other: the order, the inverse, the derivative, and ITK's opposite way of queueing them."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid
from deepregister.errors import TransformError
from geometries import affines, fields, geometries, points_in, rigids
from hypothesis import given, settings

few = settings(max_examples=25)


def smooth(geometry, height=0.3, width=6.0):
    """A field that pushes away from the centre and fades to nothing before the border."""
    offset = geometry.points() - geometry.centre
    return DisplacementField(height * offset * np.exp(-(offset**2).sum(-1, keepdims=True) / (2 * width**2)), geometry)


@given(fields(), rigids(), affines())
def test_parts_apply_in_their_order_here_and_in_simpleitk(field, rigid, affine):
    composite = Composite((field, rigid, affine))
    points = points_in(field.geometry)
    expected = affine.apply_to_points(rigid.apply_to_points(field.apply_to_points(points)))
    assert composite.apply_to_points(points) == pytest.approx(expected, abs=1e-9)
    native = composite.to_sitk()
    moved = np.array([native.TransformPoint(point) for point in points.tolist()])
    assert composite.apply_to_points(points) == pytest.approx(moved, abs=1e-5)


@few
@given(fields(), rigids(), affines())
def test_then_and_nesting_make_one_flat_composite(field, rigid, affine):
    points = points_in(field.geometry)
    expected = affine.apply_to_points(rigid.apply_to_points(field.apply_to_points(points)))
    for composite in (
        field.then(rigid).then(affine),
        field.then(rigid.then(affine)),
        Composite((Composite((field, rigid)), Composite((affine,)))),
    ):
        assert not any(isinstance(part, Composite) for part in composite.parts)
        assert composite.apply_to_points(points) == pytest.approx(expected, abs=1e-8)


@few
@given(affines())
def test_the_inverse_undoes_in_both_orders(affine):
    geometry = Geometry((28, 28, 28), (1, 1.2, 0.9), (-30, 10, 5))
    composite = Composite((smooth(geometry, width=3.0), affine))
    inverse = composite.inverse()
    points = points_in(geometry)
    assert inverse.apply_to_points(composite.apply_to_points(points)) == pytest.approx(points, abs=0.05)
    moved = affine.apply_to_points(points)
    assert composite.apply_to_points(inverse.apply_to_points(moved)) == pytest.approx(moved, abs=0.05)


@given(fields(), affines())
def test_an_affine_at_the_end_is_an_exact_factor_of_the_jacobian(field, affine):
    expected = np.linalg.det(affine.linear) * field.jacobian_determinant()
    found = Composite((field, affine)).jacobian_determinant(field.geometry)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


@few
@given(affines())
def test_an_affine_at_the_beginning_is_a_factor_too(affine):
    geometry = Geometry((16, 16, 16), (0.5, 0.5, 0.5))
    height = 0.3
    # Begin with the affine, so the field's centre must be where the affine takes the middle of the grid.
    target = Geometry((48, 48, 48)).cropped((0, 0, 0), (48, 48, 48))
    middle = affine.apply_to_points(geometry.centre)
    target = Geometry(target.size, target.spacing, tuple(middle - 23.5))
    composite = Composite((affine, smooth(target, height)))
    found = composite.jacobian_determinant(geometry)[7:9, 7:9, 7:9].mean()
    assert found == pytest.approx(np.linalg.det(affine.linear) * (1 + height) ** 3, rel=0.08)


@given(affines(), rigids(), geometries())
def test_linear_parts_alone_have_one_jacobian_on_any_grid_also_a_single_voxel(affine, rigid, geometry):
    found = Composite((affine, rigid)).jacobian_determinant(geometry)
    assert found == pytest.approx(np.full(geometry.shape, np.linalg.det(affine.linear)), rel=1e-5)


def test_a_single_slice_sees_the_change_across_it():
    stretch = Affine(np.diag([1, 1, 1.5, 1]))
    field = DisplacementField.zero(Geometry((8, 8, 8), origin=(-4, -4, -4)))
    slice_ = Geometry((4, 4, 1))
    assert Composite((stretch, field)).jacobian_determinant(slice_) == pytest.approx(np.full((1, 4, 4), 1.5), rel=1e-4)


def test_refuses_nothing_and_what_is_no_transform():
    with pytest.raises(TransformError, match="at least one"):
        Composite(())
    with pytest.raises(TransformError, match="not of AffineTransform"):
        Composite((Rigid.identity(), sitk.AffineTransform(3)))


def test_repr_reads_in_order():
    text = repr(Composite((Rigid.identity(), DisplacementField.zero(Geometry((2, 2, 2))))))
    assert text.startswith("Composite(Rigid(")
    assert ", then DisplacementField(" in text
