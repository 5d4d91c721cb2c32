"""Tensor transforms against their numpy and SimpleITK counterparts, on oblique, flipped and anisotropic grids."""

import numpy as np
import pytest
import torch
from deepregister import DisplacementField, Geometry, Volume, spatial
from geometries import affines, fields, geometries
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, uniform_filter

few = settings(max_examples=25)


def smooth_field(shape, amplitude, seed=0):
    """Displacements of up to `amplitude` voxels, too smooth to fold, that fade to zero at the border."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 3, *shape)).astype(np.float32))
    field = spatial.smooth(noise, 3.5)
    for dim, length in zip((2, 3, 4), shape, strict=True):
        window = torch.sin(torch.linspace(0, torch.pi, length)) ** 2
        field = field * window.view([-1 if d == dim else 1 for d in range(5)])
    return field * (amplitude / float(field.abs().max()))


@given(fields(least=2))
def test_millimetres_and_voxels_convert_back_and_forth(field):
    voxels = spatial.field_from_mm(field.displacement, field.geometry)
    assert spatial.field_to_mm(voxels, field.geometry) == pytest.approx(field.displacement, abs=1e-4)


@given(geometries(least=2), st.tuples(*[st.floats(-2, 2)] * 3))
def test_one_voxel_along_an_axis_is_its_spacing_along_its_direction(geometry, steps):
    field = torch.tensor(steps).float().view(1, 3, 1, 1, 1).expand(1, 3, *geometry.shape)
    expected = geometry.index_to_point(np.array(steps)) - np.asarray(geometry.origin)
    assert spatial.field_to_mm(field, geometry)[0, 0, 0] == pytest.approx(expected, abs=1e-4)


@few
@given(geometries(least=3), geometries(least=3), affines(), st.booleans())
def test_resampling_agrees_with_simpleitk(fixed, moving, affine, bend):
    """Through a linear map and a field, wherever the moving image is known."""
    rng = np.random.default_rng(1)
    image = Volume(rng.normal(size=moving.shape).astype(np.float32), moving)
    middle = np.eye(4)
    middle[:3, 3] = moving.centre - affine.apply_to_points(fixed.centre)
    through = affine.then(type(affine)(middle))
    field = torch.from_numpy(rng.uniform(-0.4, 0.4, (1, 3, *fixed.shape)).astype(np.float32)) if bend else None
    transform = through
    if bend:
        transform = DisplacementField(spatial.field_to_mm(field, fixed), fixed).then(through)
    matrix = spatial.index_map(fixed, moving, through.matrix)
    ours = spatial.resample(torch.from_numpy(image.data)[None, None], matrix, fixed.shape, field=field)[0, 0].numpy()
    known = moving.point_to_index(transform.apply_to_points(fixed.points()))
    inside = np.all((known > 1e-3) & (known < np.subtract(moving.size, 1.001)), axis=-1)
    expected = transform.resample(image, fixed).data
    assert ours[inside] == pytest.approx(expected[inside], abs=5e-3)


def test_composition_applies_the_first_field_first():
    shape = (20, 22, 24)
    first, second = smooth_field(shape, 1.5, 1), smooth_field(shape, 1.5, 2)
    geometry = Geometry(shape[::-1])
    as_values = [DisplacementField(spatial.field_to_mm(f, geometry), geometry) for f in (first, second)]
    composed = spatial.field_to_mm(spatial.compose(first, second), geometry)
    points = geometry.points()
    expected = as_values[0].then(as_values[1]).apply_to_points(points) - points
    assert composed[3:-3, 3:-3, 3:-3] == pytest.approx(expected[3:-3, 3:-3, 3:-3], abs=1e-4)


def test_a_small_step_is_composed_as_any_other_up_to_mixed_differences():
    shape = (20, 22, 24)
    step, field = smooth_field(shape, 0.5, 1), smooth_field(shape, 3.0, 2)
    assert float(step.abs().max()) == pytest.approx(0.5)
    apart = (spatial.compose_step(step, field) - spatial.compose(step, field)).abs()
    assert float(apart.mean()) < 0.002 and float(apart.max()) < 0.05
    # Along one axis there are no mixed differences, and beyond the border the field goes on as it ends.
    step[:, 1:] = 0
    assert torch.allclose(spatial.compose_step(step, field), spatial.compose(step, field), atol=1e-5)
    plane = torch.zeros(1, 3, 1, 4, 5)
    assert torch.equal(spatial.compose_step(plane + 0.25, plane), plane + 0.25)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_however_many_threads_sample_they_read_the_same(threads):
    image, field = torch.rand(1, 2, 11, 12, 13), smooth_field((11, 12, 13), 2.0)
    points = 2 * torch.rand(1, 50, 1, 1, 3) - 1
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = spatial.warp(image, field), spatial.sample(image, points)
        torch.set_num_threads(threads)
        found = spatial.warp(image, field), spatial.sample(image, points)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_exponential_of_opposite_velocities_are_inverse():
    velocity = smooth_field((24, 24, 24), 2.0)
    there, back = spatial.exponentiate(velocity), spatial.exponentiate(-velocity)
    # Each squaring interpolates linearly, so the two agree up to that.
    assert float(spatial.compose(there, back).abs().max()) < 0.1
    assert float(spatial.jacobian_determinant(there).min()) > 0


def test_exponential_of_a_constant_velocity_is_a_shift():
    velocity = torch.ones(1, 3, 8, 8, 8) * torch.tensor([0.5, -1.0, 0.25]).view(1, 3, 1, 1, 1)
    assert torch.allclose(spatial.exponentiate(velocity), velocity, atol=1e-6)


def test_there_and_back_is_nowhere():
    field = smooth_field((24, 26, 28), 2.5)
    inverse = spatial.invert(field)
    # The definition: the inverse at y undoes the field at y + v(y).
    assert float((inverse + spatial.warp(field, inverse)).norm(dim=1).max()) < 5e-3
    assert float(spatial.compose(field, inverse).abs().max()) < 0.3


def test_inverse_agrees_with_the_numpy_one():
    geometry = Geometry((22, 20, 18), (1.0, 2.0, 1.5))
    field = smooth_field(geometry.shape, 1.5)
    expected = DisplacementField(spatial.field_to_mm(field, geometry), geometry).inverse().displacement
    assert spatial.field_to_mm(spatial.invert(field), geometry) == pytest.approx(expected, abs=0.02)


@few
@given(fields(least=3))
def test_jacobian_is_that_of_physical_space(field):
    ours = spatial.jacobian_determinant(spatial.field_from_mm(field.displacement, field.geometry)).numpy()
    expected = field.jacobian_determinant()
    assert np.abs(ours - expected).max() < 1e-3 * max(1, np.abs(expected).max())


@few
@given(fields(least=2))
def test_the_least_corner_agrees_with_the_numpy_one(field):
    ours = spatial.least_corner_determinant(spatial.field_from_mm(field.displacement, field.geometry)).numpy()
    expected = field.corner_jacobian_determinants()
    assert np.abs(ours - expected).max() < 1e-3 * max(1, np.abs(expected).max())


def test_slabs_change_nothing(monkeypatch):
    field = smooth_field((20, 12, 14), 2.0)
    whole = [spatial.least_corner_determinant(field), spatial.smooth(field, 1.3), spatial.compose(field, field)]
    monkeypatch.setattr(spatial, "SLAB_VOXELS", 300)
    parts = [spatial.least_corner_determinant(field), spatial.smooth(field, 1.3), spatial.compose(field, field)]
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_torn_field_is_mended_only_where_it_was_torn():
    field = smooth_field((24, 24, 24), 1.5)
    torn = field.clone()
    torn[0, :, 12, 12, 12] += 3.0
    assert float(spatial.least_corner_determinant(torn).min()) < 0
    mended = spatial.unfolded(torn)
    assert float(spatial.least_corner_determinant(mended).min()) > 0
    assert torch.equal(mended[..., :4, :, :], torn[..., :4, :, :])
    assert torch.equal(spatial.unfolded(field), field)


def test_a_field_keeps_its_millimetres_on_another_grid():
    source = Geometry((20, 18, 16), (2.0, 2.0, 3.0), (5, -3, 2), ((0, 1, 0), (-1, 0, 0), (0, 0, 1)))
    target = source.with_spacing((1.0, 1.0, 1.0))
    field = smooth_field(source.shape, 1.0)
    moved = DisplacementField(spatial.field_to_mm(spatial.regrid_field(field, source, target), target), target)
    points = source.index_to_point(np.random.default_rng(0).uniform(3, 12, (50, 3)))
    original = DisplacementField(spatial.field_to_mm(field, source), source)
    assert moved.displacement_at(points) == pytest.approx(original.displacement_at(points), abs=0.1)


@pytest.mark.parametrize("sigma", [0.7, 1.7, (0.5, 1.0, 2.0)])
@pytest.mark.parametrize(("zero_border", "mode"), [(False, "nearest"), (True, "constant")])
def test_smoothing_agrees_with_scipy(sigma, zero_border, mode):
    image = np.random.default_rng(0).normal(size=(12, 14, 16)).astype(np.float32)
    ours = spatial.smooth(torch.from_numpy(image)[None, None], sigma, zero_border)[0, 0].numpy()
    widths = np.broadcast_to(sigma, 3)[::-1]
    radius = [max(1, int(np.ceil(2.5 * w))) for w in widths]
    assert ours == pytest.approx(gaussian_filter(image, widths, mode=mode, radius=radius), abs=1e-5)


def test_box_sums_agree_with_scipy():
    image = np.random.default_rng(0).normal(size=(9, 11, 13))
    ours = spatial.box_sum(torch.from_numpy(image)[None, None], 2)[0, 0].numpy()
    assert ours == pytest.approx(uniform_filter(image, 5, mode="constant") * 125, abs=1e-9)


@pytest.mark.parametrize("shape", [(75, 3, 4), (3, 90, 4), (4, 3, 130)])
def test_long_lines_are_filtered_in_blocks_as_in_one(shape):
    image = np.random.default_rng(0).normal(size=(2, *shape))
    ours = spatial.smooth(torch.from_numpy(image)[None], 2.1)[0].numpy()
    for channel, filtered in zip(image, ours, strict=True):
        assert filtered == pytest.approx(gaussian_filter(channel, 2.1, mode="nearest", radius=6), abs=1e-12)
    sums = spatial.box_sum(torch.from_numpy(image)[None], 2)[0, 1].numpy()
    assert sums == pytest.approx(uniform_filter(image[1], 5, mode="constant") * 125, abs=1e-9)


def test_filters_keep_single_precision_under_autocast():
    image = torch.rand(1, 1, 9, 10, 40)
    with torch.autocast("cpu", torch.bfloat16):
        inside = spatial.box_sum(image, 2)
    assert torch.equal(inside, spatial.box_sum(image, 2))


def test_a_plane_of_one_voxel_is_read_as_it_is():
    image = torch.arange(12.0).view(1, 1, 1, 3, 4)
    assert torch.equal(spatial.warp(image, torch.zeros(1, 3, 1, 3, 4)), image)
    assert torch.equal(spatial.gradient(image)[0, 2], torch.zeros(1, 3, 4))


def test_gradients_flow_through_warping():
    image = torch.rand(1, 1, 6, 7, 8, dtype=torch.float64)
    field = (0.3 * torch.rand(1, 3, 6, 7, 8, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: spatial.warp(image, u), (field,), atol=1e-4)
