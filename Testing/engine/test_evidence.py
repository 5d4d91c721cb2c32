"""The evidence: it stands out at the right place, whatever the contrast, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from deepregister import Composite, Geometry, Rigid, Volume
from deepregister.evidence import gather
from deepregister.preparation import Pair, prepare
from phantoms import OBLIQUE, bumps, grid, seen_through
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation


def rigid(angles=(0, 0, 0), shift=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return Rigid(matrix)


TRUTH = rigid((10, 5, -8), (5, -4, 3))
FIXED = seen_through(TRUTH, grid())


def evidence(transform, fixed=FIXED, moving=None, masks=(None, None)):
    moving = moving or seen_through(Rigid.identity(), grid(direction=OBLIQUE))
    return gather(Pair(prepare(fixed, masks[0])[0], prepare(moving, masks[1])[0]), transform)


def left_away(found):
    """Share of the agreement that is left a quarter of the size away."""
    return found.agreement_away / found.agreement


def noise():
    values = gaussian_filter(np.random.default_rng(0).normal(size=grid().shape), 2)
    return Volume(values.astype(np.float32), grid(), "noise")


@pytest.mark.parametrize("contrast", ["one", "two"])
def test_the_right_place_stands_out_in_any_contrast(contrast):
    moving = seen_through(Rigid.identity(), grid(direction=OBLIQUE), contrast)
    found = evidence(TRUTH, moving=moving)
    assert left_away(found) < 0.05 and found.in_view > 0.99
    beside = evidence(rigid(shift=(14, -10, 8)).then(TRUTH), moving=moving)
    assert beside.agreement < 0.4 * found.agreement
    assert left_away(beside) > 3 * left_away(found)


def test_no_place_stands_out_in_something_else():
    assert left_away(evidence(Rigid.identity(), moving=noise())) > 0.5


def test_a_dense_start_is_judged_whole():
    field = bumps(8.0, grid((4, 4, 4)))
    fixed = seen_through(field, grid())
    moving = seen_through(Rigid.identity(), grid())
    whole = evidence(Composite((field, Rigid.identity())), fixed, moving)
    assert whole.agreement > 1.2 * evidence(Rigid.identity(), fixed, moving).agreement


def test_what_the_moving_volume_covers_is_counted_through_its_mask():
    half = Volume((grid().points()[..., 0] < 0).astype(np.uint8), grid(), "half")
    moving = seen_through(Rigid.identity(), grid())
    fixed = seen_through(Rigid.identity(), grid())
    assert evidence(Rigid.identity(), fixed, moving, (None, half)).in_view == pytest.approx(0.5, abs=0.06)
    # What the fixed mask leaves out is nobody's to cover.
    assert evidence(Rigid.identity(), fixed, moving, (half, half)).in_view > 0.9


def test_a_mask_keeps_what_it_hides_out_of_the_agreement():
    moving, fixed = seen_through(Rigid.identity(), grid()), seen_through(Rigid.identity(), grid())
    hidden = grid().points()[..., 2] > 0
    rng = np.random.default_rng(1)
    spoilt = replace(fixed, data=np.where(hidden, rng.uniform(0, 900, hidden.shape), fixed.data).astype(np.float32))
    mask = Volume((~hidden).astype(np.uint8), grid(), "mask")
    masked = evidence(Rigid.identity(), spoilt, moving, (mask, None))
    assert masked.agreement > 2 * evidence(Rigid.identity(), spoilt, moving).agreement
    assert left_away(masked) < 0.05


def test_a_part_that_both_show_is_looked_at_closely():
    fixed = seen_through(Rigid.identity(), grid((1.5, 1.5, 1.5)))
    part = replace(grid(), size=(23, 21, 21))
    found = evidence(Rigid.identity(), fixed, seen_through(Rigid.identity(), part))
    assert 0.1 < found.in_view < 0.3
    assert left_away(found) < 0.3


def test_volumes_that_share_no_space_agree_in_nothing():
    found = evidence(rigid(shift=(500, 0, 0)))
    assert (found.in_view, found.agreement, found.agreement_away) == (0.0, 0.0, 0.0)


def test_outlines_are_compared_where_there_is_no_inside():
    fixed, moving = (
        replace(volume, data=(volume.data > 150).astype(np.uint8))
        for volume in (FIXED, seen_through(Rigid.identity(), grid()))
    )
    assert left_away(evidence(TRUTH, fixed, moving)) < 0.1


@pytest.mark.parametrize("size", [(20, 20, 9), (30, 30, 2), (4, 4, 4)])
def test_small_volumes_give_finite_figures(size):
    geometry = replace(grid((4.0, 4.0, 9.0)), size=size)
    volume = seen_through(Rigid.identity(), geometry)
    found = evidence(Rigid.identity(), volume, volume)
    assert np.isfinite([found.in_view, found.agreement, found.agreement_away]).all()


@pytest.mark.parametrize("slices", [2, 3, 4])
def test_a_quarter_of_the_size_away_may_lie_beyond_a_few_slices(slices):
    values = gaussian_filter(np.random.default_rng(0).normal(size=(slices, 32, 29)), 2).astype(np.float32)
    thin = Volume(values, Geometry((29, 32, slices), (1.0, 1.0, 1.0)), "thin")
    found = evidence(Rigid.identity(), thin, thin)
    assert found.in_view == pytest.approx(1) and found.agreement > found.agreement_away
