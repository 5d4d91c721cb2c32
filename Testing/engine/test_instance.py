"""`deformable`: known smooth deformations are found without folds, on any grid; masks, landmarks and starts count."""

import numpy as np
import pytest
import torch
from deepregister import Affine, Composite, DisplacementField, Rigid, Settings, Volume
from deepregister.errors import Cancelled
from deepregister.landmarks import LandmarkPairs
from deepregister.models.discrete import coupled_convex
from deepregister.models.instance import InstanceOptimisation, pyramid, split_start, tapered
from deepregister.preparation import Pair, prepare
from deepregister.progress import Monitor
from deepregister.similarity.mind import mind_ssc
from deepregister.spatial import field_from_mm, warp
from phantoms import FLIPPED, OBLIQUE, bumps, grid, seen_through
from scipy.ndimage import gaussian_filter

FAST = Settings(quality="fast")
CPU = torch.device("cpu")


def textured(transform, geometry, contrast="one"):
    """The phantom with a fine pattern that moves along: without it the inside of a body has nothing to match."""
    volume = seen_through(transform, geometry, contrast)
    x, y, z = np.moveaxis(transform.apply_to_points(geometry.points()), -1, 0)
    pattern = np.sin(x / 3.1) * np.sin(y / 3.7 + 1) * np.sin(z / 3.3 + 2)
    return Volume((volume.data + 120 * pattern * (volume.data > 150)).astype(np.float32), geometry, volume.name)


def run(fixed, moving, start=None, landmarks=None, settings=FAST, monitor=None, masks=(None, None)):
    pair = Pair(prepare(fixed, masks[0])[0], prepare(moving, masks[1])[0], landmarks)
    return InstanceOptimisation().run(pair, start, settings, CPU, monitor or Monitor())


def errors_mm(found, truth):
    """Error at points inside the object."""
    points = grid((8, 8, 8)).points().reshape(-1, 3)
    points = points[((points / (45, 35, 40)) ** 2).sum(-1) < 0.8]
    return np.linalg.norm(found.apply_to_points(points) - truth.apply_to_points(points), axis=-1)


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [(grid(), grid()), (grid((2, 2, 4), OBLIQUE), grid((2.5, 2, 3), FLIPPED))],
    ids=["plain", "oblique, flipped, anisotropic"],
)
def test_a_known_deformation_is_found_without_folds(fixed, moving):
    truth = bumps(6.0, grid((2, 2, 2), extent=(140, 130, 140)))
    found = run(textured(truth, fixed), textured(Rigid.identity(), moving))
    before, after = errors_mm(Rigid.identity(), truth), errors_mm(found, truth)
    assert after.mean() < 0.3 * before.mean()
    field = found.parts[0]
    assert field.jacobian_determinant().min() > 0
    assert field.corner_jacobian_determinants().min() > 0


def test_another_contrast_is_seen_and_matched_by_mind():
    truth = bumps(5.0, grid((2, 2, 2), extent=(140, 130, 140)))
    fixed, moving = textured(truth, grid()), textured(Rigid.identity(), grid(), "two")
    found = run(fixed, moving)
    assert errors_mm(found, truth).mean() < 0.7 * errors_mm(Rigid.identity(), truth).mean()
    assert found.parts[0].corner_jacobian_determinants().min() > 0


def test_the_order_of_the_axes_makes_no_difference():
    truth = bumps(5.0, grid((2, 2, 2), extent=(140, 130, 140)))
    moving = textured(Rigid.identity(), grid((3, 3, 3)))
    fixed = textured(truth, grid((3, 3, 3)))
    matrix = fixed.geometry.matrix[:, [2, 0, 1, 3]]
    other = Volume(
        np.ascontiguousarray(np.transpose(fixed.data, (1, 2, 0))),
        type(fixed.geometry).from_matrix(matrix, np.array(fixed.geometry.size)[[2, 0, 1]]),
    )
    assert np.abs(errors_mm(run(fixed, moving), run(other, moving))).max() < 0.3


def test_a_dense_start_is_kept_and_improved():
    truth = bumps(8.0, grid((2, 2, 2), extent=(140, 130, 140)))
    fixed, moving = textured(truth, grid()), textured(Rigid.identity(), grid())
    start = bumps(6.0, grid((4, 4, 4), extent=(140, 130, 140)))
    found = run(fixed, moving, start=start)
    assert errors_mm(found, truth).mean() < errors_mm(start, truth).mean()


def test_landmarks_pull_where_the_image_is_silent():
    flat = seen_through(Rigid.identity(), grid())
    fixed = np.array([[20.0, 10, 0], [-20, -5, 5], [0, 0, -20]])
    landmarks = LandmarkPairs(fixed, fixed + [[3, 0, 0], [0, 3, 0], [0, 0, -3]])
    settings = Settings(quality="fast", landmark_sigma_mm=0.5)
    without, pulled = run(flat, flat, settings=settings), run(flat, flat, landmarks=landmarks, settings=settings)

    def missed(transform):
        return np.linalg.norm(transform.apply_to_points(fixed) - landmarks.moving, axis=1)

    assert missed(without).min() > 2.5
    assert missed(pulled).max() < 1.0
    assert pulled.parts[0].corner_jacobian_determinants().min() > 0


def test_landmarks_mend_a_dense_start_where_they_are_and_leave_the_rest():
    wide = grid((2, 2, 2), extent=(140, 130, 140))
    centre = np.array([18.0, 8, -12])
    start = bumps(5.0, wide)
    missing = np.zeros_like(start.displacement)
    missing[..., 1] = 7 * np.exp(-((wide.points() - centre) ** 2).sum(-1) / (2 * 11.0**2))
    truth = DisplacementField(start.displacement + missing, wide)
    fixed, moving = seen_through(truth, grid((2, 2, 2))), seen_through(Rigid.identity(), grid((2, 2, 2)))
    points = centre + np.random.default_rng(1).uniform(-9, 9, (10, 3))
    pulling, held = points[:6], points[6:]
    landmarks = LandmarkPairs(pulling, truth.apply_to_points(pulling))
    found = run(fixed, moving, tapered(field_from_mm(start.displacement, wide), wide), landmarks)

    def missed(transform, where):
        return np.linalg.norm(transform.apply_to_points(where) - truth.apply_to_points(where), axis=1)

    assert missed(start, held).mean() > 4
    assert max(missed(found, pulling).mean(), missed(found, held).mean()) < 0.5
    far = grid((6, 6, 6)).points().reshape(-1, 3)
    far = far[(((far / (45, 35, 40)) ** 2).sum(-1) < 0.8) & (np.linalg.norm(far - centre, axis=1) > 30)]
    assert np.linalg.norm(found.apply_to_points(far) - start.apply_to_points(far), axis=1).mean() < 0.5
    assert found.parts[0].corner_jacobian_determinants().min() > 0


def test_emphasis_lets_a_faint_region_hold_its_own_beside_a_strong_one():
    # Two halves of one body, of which the one with the strong pattern slides along the other, which stays.
    geometry = grid()
    points = geometry.points()
    body = seen_through(Rigid.identity(), geometry).data > 150
    strong = points[..., 0] < 0

    def seen(through):
        x, y, z = np.moveaxis(through, -1, 0)
        pattern = np.sin(x / 3.1) * np.sin(y / 3.7 + 1) * np.sin(z / 3.3 + 2)
        return Volume((body * (300 + np.where(strong, 150, 15) * pattern)).astype(np.float32), geometry)

    slid = points + np.where(strong, 6.0, 0.0)[..., None] * (0, 1, 0)
    region = Volume((body & ~strong).astype(np.float32), geometry)
    inside = points[body & (points[..., 0] > 1) & (points[..., 0] < 10)]
    settings = Settings(quality="fast", similarity="lncc")
    moved = []
    for emphasis in (None, region):
        pair = Pair(prepare(seen(slid))[0], prepare(seen(points))[0], emphasis=emphasis)
        found = InstanceOptimisation().run(pair, None, settings, CPU, Monitor())
        moved.append(np.linalg.norm(found.apply_to_points(inside) - inside, axis=1).mean())
    assert moved[1] < 0.85 * moved[0]


def test_a_larger_sigma_pulls_less():
    flat = textured(Rigid.identity(), grid())
    fixed = np.array([[20.0, 10, 0]])
    landmarks = LandmarkPairs(fixed, fixed + [[4, 0, 0]])
    missed = [
        np.linalg.norm(
            run(
                flat, flat, landmarks=landmarks, settings=Settings(quality="fast", landmark_sigma_mm=sigma)
            ).apply_to_points(fixed)
            - landmarks.moving
        )
        for sigma in (0.5, 5.0)
    ]
    assert missed[0] + 1 < missed[1]


def test_a_cost_mask_keeps_a_lesion_from_pulling():
    truth = bumps(4.0, grid((2, 2, 2), extent=(140, 130, 140)))
    fixed, moving = textured(truth, grid()), textured(Rigid.identity(), grid())
    points = fixed.geometry.points()
    inside = ((points - (12, 5, 0)) ** 2).sum(-1) < 12**2
    noise = gaussian_filter(np.random.default_rng(0).normal(size=inside.shape), 1) * 3000
    spoilt = Volume(np.where(inside, 900 + noise, fixed.data).astype(np.float32), fixed.geometry, "lesion")
    mask = Volume((~inside).astype(np.uint8), fixed.geometry, "mask")
    away = grid((6, 6, 6), extent=(60, 48, 54)).points().reshape(-1, 3)
    away = away[np.linalg.norm(away - (12, 5, 0), axis=1) > 22]

    def error(result):
        return np.linalg.norm(result.apply_to_points(away) - truth.apply_to_points(away), axis=1).mean()

    assert error(run(spoilt, moving, masks=(mask, None))) < error(run(fixed, moving)) + 0.2


def test_large_motion_is_found_by_the_discrete_search():
    geometry = grid((4, 4, 4), extent=(128, 112, 120))
    shift = np.zeros((*geometry.shape, 3)) + [14.0, 0, 0]
    truth = DisplacementField(shift, geometry)
    fixed, moving = (
        torch.from_numpy(textured(t, geometry).data / 1000.0)[None, None] for t in (truth, Rigid.identity())
    )
    field = coupled_convex(mind_ssc(fixed), mind_ssc(moving), 4, Monitor())
    before, after = ((fixed - m).abs().mean() for m in (moving, warp(moving, field)))
    assert float(after) < 0.5 * float(before)
    middle = field[0, :, 12:18, 12:18, 12:18].mean((1, 2, 3)) * 4
    assert middle.numpy() == pytest.approx([14, 0, 0], abs=2.5)


def test_the_field_ends_at_zero_and_keeps_its_inside():
    geometry = grid((4, 4, 4), OBLIQUE)
    field = torch.ones(1, 3, *geometry.shape) * torch.tensor([1.5, -2.0, 0.5]).view(1, 3, 1, 1, 1)
    dense = tapered(field, geometry)
    assert max(np.abs(dense.displacement.take(i, axis=a)).max() for a in range(3) for i in (0, -1)) == 0
    inside = geometry.points()[2:-2, 2:-2, 2:-2]
    expected = np.asarray(geometry.direction) @ (np.array([1.5, -2.0, 0.5]) * 4)
    assert dense.displacement_at(inside) == pytest.approx(np.broadcast_to(expected, inside.shape), abs=1e-3)
    assert dense.corner_jacobian_determinants().min() > 0


@pytest.mark.parametrize("quality", ["fast", "balanced", "accurate"])
def test_levels_run_from_coarse_to_fine_over_the_whole_content(quality):
    side = prepare(textured(Rigid.identity(), grid((1.5, 1.5, 3), OBLIQUE)))[0]
    levels = pyramid(side, Settings(quality=quality))
    voxels = [level.voxels for level in levels]
    assert voxels == sorted(voxels) and all(level.iterations > 0 for level in levels)
    for level in levels:
        corners = level.geometry.point_to_index(
            side.content.index_to_point([[0, 0, 0], np.subtract(side.content.size, 1)])
        )
        assert corners.min() > 0 and np.all(corners < level.geometry.size)
        assert min(level.geometry.spacing) >= 0.99 * min(side.content.spacing)


def test_field_spacing_is_obeyed():
    side = prepare(textured(Rigid.identity(), grid()))[0]
    levels = pyramid(side, Settings(field_spacing_mm=6.0))
    assert levels[-1].geometry.spacing == pytest.approx((6, 6, 6), rel=0.1)


def test_starts_split_into_what_comes_first_and_the_linear_part():
    linear, field = Affine.identity(), bumps(1.0, grid((8, 8, 8)))
    assert split_start(None)[1] is None
    assert split_start(linear) == (linear, None)
    assert split_start(Composite((field, linear)))[0] is linear
    points = np.random.default_rng(0).uniform(-20, 20, (10, 3))
    for start in (field, Composite((linear, field)), Composite((field, linear))):
        last, first = split_start(start)
        assert last.apply_to_points(first.apply_to_points(points)) == pytest.approx(start.apply_to_points(points))


def test_cancel_is_heard_at_every_level():
    fixed, moving = textured(bumps(6.0, grid()), grid((3, 3, 3))), textured(Rigid.identity(), grid((3, 3, 3)))
    calls = []
    run(fixed, moving, monitor=Monitor(cancelled=lambda: bool(calls.append(None))))
    for share in (0.0, 0.5, 0.95):
        left = iter(range(10**6))
        stop = int(share * len(calls))
        with pytest.raises(Cancelled):
            run(fixed, moving, monitor=Monitor(cancelled=lambda: next(left) >= stop))  # noqa: B023
