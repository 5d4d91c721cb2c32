"""A transform taken apart into what moves as a whole and what bends, against ways to compute it by hand."""

import numpy as np
import pytest
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid
from deepregister.page.motion import bending, bending_at, bends, linear_motion, linear_part
from scipy.spatial.transform import Rotation

GRID = Geometry(
    (20, 18, 9),
    (1.5, 2.0, 4.0),
    (-30.0, 20.0, -70.0),
    tuple(map(tuple, Rotation.from_euler("xyz", [12, -8, 25], degrees=True).as_matrix())),
)


def about_centre(matrix, shift=(0.0, 0.0, 0.0)):
    whole = np.eye(4)
    whole[:3, :3] = matrix
    whole[:3, 3] = GRID.centre + shift - matrix @ GRID.centre
    return whole


def linear_field(matrix, grid=GRID):
    """The field of x -> matrix (x - centre) + centre: its determinant is that of the matrix, everywhere."""
    points = grid.points()
    return DisplacementField((points - GRID.centre) @ (matrix - np.eye(3)).T, grid)


def test_a_turn_a_shift_and_a_stretch_are_found_again():
    turn = Rotation.from_rotvec(np.radians([0, 0, 10])).as_matrix()
    motion = linear_motion(Affine(about_centre(turn @ np.diag([0.5, 1.0, 2.0]), (1, 2, -3))), GRID)
    assert motion.turn_degrees == pytest.approx(10)
    assert motion.shift_mm == pytest.approx((-1, -2, 3))
    assert motion.stretches == pytest.approx((0.5, 1, 2))
    assert motion.volume_factor == pytest.approx(1)
    mirrored = linear_motion(Affine(about_centre(turn @ np.diag([-1.0, 1, 1]))), GRID)
    assert mirrored.volume_factor == pytest.approx(-1)
    assert not bends(Rigid.identity())


def test_the_bending_is_what_is_left_of_any_order_of_parts():
    matrix = np.array([[1.1, 0.05, 0], [0, 0.9, 0.02], [0.03, 0, 1.2]])
    affine = Affine(about_centre(Rotation.from_euler("x", 20, degrees=True).as_matrix() @ np.diag([1.1, 1, 0.9])))
    field = linear_field(matrix)
    points = GRID.index_to_point(np.random.default_rng(0).uniform(1, 7, (40, 3)))
    expected = (points - GRID.centre) @ (matrix - np.eye(3)).T
    after = Composite((field, affine))
    np.testing.assert_allclose(bending_at(after, points), expected, atol=1e-4)
    np.testing.assert_allclose(linear_part(after).matrix, affine.matrix)
    # The other way round the field is seen through the affine.
    before = Composite((affine, field))
    seen = affine.inverse().apply_to_points(field.apply_to_points(affine.apply_to_points(points))) - points
    np.testing.assert_allclose(bending_at(before, points), seen, atol=1e-9)
    assert bends(after) and bends(before)


def test_the_determinant_is_that_of_the_bending_alone():
    matrix = np.array([[1.1, 0.05, 0], [0, 0.9, 0.02], [0.03, 0, 1.2]])
    affine = Affine(about_centre(np.diag([2.0, 1, 1])))
    for transform in (Composite((linear_field(matrix), affine)), linear_field(matrix)):
        found = bending(transform, GRID, False)
        np.testing.assert_allclose(found.determinant.data, np.linalg.det(matrix), rtol=1e-4)
        assert found.outside == 1
        assert not found.folded.any() and found.deepest_fold is None
    # Two fields after one another, on the fixed volume's grid.
    large = GRID.padded(10)
    twice = Composite((linear_field(matrix, large), linear_field(matrix, large), affine))
    found = bending(twice, GRID, False)
    np.testing.assert_allclose(found.determinant.data, np.linalg.det(matrix) ** 2, rtol=1e-3)
    assert np.isnan(found.outside)


def test_above_one_the_tissue_takes_more_room_in_the_moving_volume():
    # A ball of 10 mm in the moving volume that is to be shown as one of 5 mm: the transform doubles lengths.
    found = bending(linear_field(2 * np.eye(3)), GRID, False)
    np.testing.assert_allclose(found.determinant.data, 8, rtol=1e-4)


def test_the_length_is_of_every_voxel_of_the_fixed_volume():
    field = DisplacementField(np.random.default_rng(1).normal(size=(*GRID.shape, 3)), GRID)
    found = bending(Composite((field, Rigid.identity())), GRID, False)
    length = np.linalg.norm(field.displacement, axis=-1)
    assert found.length_mean_mm == pytest.approx(length.mean(), rel=1e-5)
    assert found.length_max_mm == pytest.approx(length.max(), rel=1e-5)


def test_the_deepest_fold_is_found_where_it_is():
    displacement = np.zeros((*GRID.shape, 3), np.float32)
    # One voxel that jumps over its neighbours along i; seen only by one-sided differences.
    axis = np.asarray(GRID.direction)[:, 0]
    displacement[4, 9, 12] = 1.4 * GRID.spacing[0] * axis
    field = DisplacementField(displacement, GRID)
    found = bending(Composite((field, Rigid.identity())), GRID, True)
    (lowest,) = np.argwhere(field.corner_jacobian_determinants() == field.corner_jacobian_determinants().min())[:1]
    assert found.folded[tuple(lowest)]
    index = GRID.point_to_index(found.deepest_fold)
    assert np.abs(index - (12, 9, 4)).max() <= 1 + 1e-6
    assert not bending(Composite((field, Rigid.identity())), GRID, False).folded.any()
