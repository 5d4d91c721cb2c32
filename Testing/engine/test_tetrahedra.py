"""The non-diffeomorphic volume against tetrahedra taken one by one, and fields whose folds are known."""

from itertools import product

import numpy as np
import pytest
from deepregister import DisplacementField, Geometry
from deepregister.transforms import tetrahedra
from deepregister.transforms.tetrahedra import non_diffeomorphic_volume
from phantoms import OBLIQUE, bumps, grid

GRID = Geometry((5, 4, 6), (1.5, 2.0, 0.7), (10, -5, 3), OBLIQUE)


def torn(scale, geometry=GRID, seed=0):
    values = np.random.default_rng(seed).normal(scale=scale, size=(*geometry.shape, 3))
    return DisplacementField(values.astype(np.float32), geometry)


def one_by_one(field):
    """The inverted volume in mm^3, from the points of each cell after the transform; both divisions, each half."""
    points = field.geometry.points() + field.displacement.astype(float)
    straight = field.geometry.points()
    total = 0.0
    for cell in product(*(range(n - 1) for n in field.geometry.shape)):
        at = {corner: tuple(np.add(cell, corner)) for corner in product((0, 1), repeat=3)}
        for parity in (0, 1):
            middle = [corner for corner in at if sum(corner) % 2 == parity]
            others = [corner for corner in at if sum(corner) % 2 != parity]
            # Each corner that the middle one leaves out, with its three neighbours.
            tetrahedra = [middle] + [
                [corner] + [other for other in middle if np.abs(np.subtract(corner, other)).sum() == 1]
                for corner in others
            ]
            for chosen in tetrahedra:
                before, after = (np.array([where[at[corner]] for corner in chosen]) for where in (straight, points))
                volume, kept = (np.linalg.det(each[1:] - each[0]) / 6 for each in (after, before))
                total += 0.5 * max(0.0, -volume * np.sign(kept))
    return total


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_it_is_the_sum_over_all_tetrahedra(scale):
    field = torn(scale)
    voxel = abs(np.linalg.det(GRID.matrix[:3, :3]))
    assert non_diffeomorphic_volume(field).sum() * voxel == pytest.approx(one_by_one(field), rel=1e-4)


def test_a_smooth_field_turns_nothing_inside_out():
    assert not non_diffeomorphic_volume(bumps(4.0, grid((2, 2, 4), OBLIQUE))).any()


def test_a_mirrored_space_is_inside_out_as_a_whole():
    geometry = Geometry((7, 5, 6), (1.5, 1.0, 2.0), (3, 4, 5), OBLIQUE)
    axis = np.asarray(geometry.direction)[:, 0]
    along = (geometry.points() - geometry.centre) @ axis
    field = DisplacementField(-2 * along[..., None] * axis, geometry)
    # Each of the cells between the voxels has its whole volume inverted.
    assert non_diffeomorphic_volume(field).sum() == pytest.approx(6 * 4 * 5, rel=1e-4)


def test_a_lone_voxel_that_central_differences_do_not_see():
    values = np.zeros((7, 7, 7, 3), np.float32)
    values[3, 3, 3] = 3, 0, 0
    field = DisplacementField(values, Geometry((7, 7, 7), (1, 1, 1)))
    assert field.jacobian_determinant()[3, 3, 3] == 1
    once = non_diffeomorphic_volume(field)
    assert once[3, 3, 3] > 0
    # Further out folds more space: the measure tells how bad a fold is.
    worse = non_diffeomorphic_volume(DisplacementField(2 * values, field.geometry))
    assert worse.sum() > 1.5 * once.sum()


def test_slabs_change_nothing(monkeypatch):
    field = torn(1.0, Geometry((5, 6, 23), (1, 1, 1)))
    whole = non_diffeomorphic_volume(field)
    monkeypatch.setattr(tetrahedra, "SLAB_CELLS", 2 * 5 * 6)
    np.testing.assert_allclose(non_diffeomorphic_volume(field), whole, atol=1e-5)


def test_there_is_no_space_in_one_slice():
    assert not non_diffeomorphic_volume(torn(3.0, Geometry((5, 6, 1), (1, 1, 5)))).any()
