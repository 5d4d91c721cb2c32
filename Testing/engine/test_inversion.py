"""The inverse at points and on other grids, also of fields that carry things far away."""

import numpy as np
import pytest
from deepregister.transforms import Affine, Composite, DisplacementField
from deepregister.transforms.inversion import inverse_at, inverse_on
from deepregister.volume import Geometry
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

GRID = Geometry(
    (34, 36, 30),
    (2.0, 1.5, 2.5),
    (-30.0, 12.0, -70.0),
    tuple(map(tuple, Rotation.from_euler("xyz", [12, -8, 20], degrees=True).as_matrix() @ np.diag([1.0, -1, 1]))),
)


def field(strength_mm=5.0):
    """A smooth field that comes to rest before the border of its grid."""
    random = np.random.default_rng(4).normal(size=(*GRID.shape, 3))
    displacement = np.stack([gaussian_filter(random[..., c], 4) for c in range(3)], axis=-1)
    inside = np.zeros(GRID.shape)
    inside[6:-6, 6:-6, 6:-6] = 1
    displacement *= gaussian_filter(inside, 2)[..., None]
    return DisplacementField((displacement * strength_mm / np.abs(displacement).max()).astype(np.float32), GRID)


def affine():
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [20, 30, -100], degrees=True).as_matrix() * (1.2, 1.0, 0.8)
    matrix[:3, 3] = (200.0, -400.0, 25.0)
    return Affine(matrix)


def points_inside(count=200):
    return GRID.index_to_point(np.random.default_rng(0).uniform(3, np.asarray(GRID.size) - 4, (count, 3)))


@pytest.mark.parametrize(
    "transform",
    [affine(), field(), Composite((field(), affine())), Composite((field(), affine())).sampled_on(GRID)],
    ids=["affine", "field", "composite", "affine baked into a field"],
)
def test_at_points_it_takes_back_what_the_transform_did(transform):
    points = points_inside()
    found, known = inverse_at(transform, transform.apply_to_points(points))
    assert known.all()
    np.testing.assert_allclose(found, points, atol=2e-3)


def test_beyond_a_field_at_rest_only_the_affine_acts():
    away = points_inside() + 500
    transform = Composite((field(), affine()))
    found, known = inverse_at(transform, affine().apply_to_points(away))
    assert known.all()
    np.testing.assert_allclose(found, away, atol=1e-3)


def test_beyond_a_field_that_is_not_at_rest_nothing_is_known():
    baked = Composite((field(), affine())).sampled_on(GRID)
    _, known = inverse_at(baked, affine().apply_to_points(points_inside() + 500))
    assert not known.any()


def test_no_points():
    found, known = inverse_at(field(), np.zeros((0, 3)))
    assert (found.shape, known.shape) == ((0, 3), (0,))


@pytest.mark.parametrize("baked", [False, True])
def test_on_a_grid_of_the_moving_volume(baked):
    transform = Composite((field(), affine()))
    points = points_inside()
    there = transform.apply_to_points(points)
    low, high = there.min(axis=0), there.max(axis=0)
    moving = Geometry(tuple(np.ceil((high - low) / 2).astype(int) + 1), (2, 2, 2), tuple(low))
    inverse = inverse_on(transform.sampled_on(GRID) if baked else transform, moving)
    np.testing.assert_allclose(inverse.apply_to_points(there), points, atol=0.35)
    assert np.linalg.norm(inverse.apply_to_points(there) - points, axis=-1).mean() < 0.1


def test_a_linear_transform_keeps_its_kind():
    inverse = inverse_on(affine(), GRID)
    assert isinstance(inverse, Affine)
    np.testing.assert_allclose(inverse.matrix @ affine().matrix, np.eye(4), atol=1e-9)
