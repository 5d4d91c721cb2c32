"""The range of intensities: today's percentiles, but where something extreme would squeeze all else into a corner."""

import numpy as np
import pytest
from deepregister import Rigid, Volume
from deepregister.intensities import IntensityRange
from deepregister.preparation import prepare
from phantoms import grid, seen_through
from scipy.ndimage import gaussian_filter

GRID = grid()
HEAD = seen_through(Rigid.identity(), GRID).data
DISTANCE = np.linalg.norm(GRID.points() - np.array([8.0, -5.0, 4.0]), axis=-1)
NOISE = np.random.default_rng(2).normal(size=HEAD.shape).astype(np.float32)
SPOTS = np.random.default_rng(3).random(HEAD.shape)


def lump(share):
    """The voxels nearest to a point in the head, this share of all."""
    return np.quantile(DISTANCE, share) > DISTANCE


def percentiles(data):
    return tuple(np.percentile(data, [0.2, 99.8]))


@pytest.mark.parametrize("share", [0.005, 0.01, 0.02, 0.03])
@pytest.mark.parametrize("times", [10, 50])
@pytest.mark.parametrize("where", ["lump", "spots"])
def test_what_is_extreme_leaves_the_scale_of_all_else_alone(share, times, where):
    metal = lump(share) if where == "lump" else share > SPOTS
    found = IntensityRange.of(np.where(metal, times * HEAD.max(), HEAD))
    low, high = percentiles(HEAD[~metal])
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.02, abs=1)
    assert found.brighter == pytest.approx(metal.mean(), abs=1e-6) and found.darker == 0


def test_what_is_extremely_dark_is_left_out_likewise():
    found = IntensityRange.of(np.where(lump(0.02), -32768, HEAD))
    assert (found.low, found.high) == pytest.approx(percentiles(HEAD[~lump(0.02)]), rel=0.02, abs=1)
    assert found.darker == pytest.approx(0.02, abs=1e-3) and found.brighter == 0
    both = np.where(lump(0.02), -32768, np.where(SPOTS < 0.01, 30 * HEAD.max(), HEAD))
    found = IntensityRange.of(both)
    assert found.low >= 0 and found.high <= HEAD.max() and found.darker > 0.015 and found.brighter > 0.005


def test_an_inverted_image_is_scaled_as_the_image_itself():
    metal = np.where(lump(0.02), 30 * HEAD.max(), HEAD)
    one, other = IntensityRange.of(metal), IntensityRange.of(-metal)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.brighter == other.darker > 0


@pytest.mark.parametrize("noise", [0.0, 60.0])
def test_metal_is_found_in_noise_and_in_constant_air(noise):
    plain = np.where(HEAD > 50, np.round(HEAD + noise * NOISE), 0)
    found = IntensityRange.of(np.where(lump(0.015), 20 * HEAD.max(), plain))
    assert found.high < 1.2 * HEAD.max()


def test_metal_whose_edge_is_blurred_leaves_tissue_a_third_of_the_range():
    found = IntensityRange.of(gaussian_filter(np.where(lump(0.01), 20 * HEAD.max(), HEAD), 1))
    assert found.brighter > 0 and found.high < 3 * HEAD.max()


SMALL = [0.003, 0.01, 0.03]
ORDINARY = {
    "head": HEAD,
    "noisy head": HEAD + 60 * NOISE,
    "inverted head": HEAD.max() - HEAD,
    "two values": HEAD > 300,
    "vessels of three times the tissue": np.where(np.abs(gaussian_filter(NOISE, 2)) < 0.001, 2200, HEAD),
    "noise": NOISE,
    "noise of many scales": np.exp(2 * NOISE),
}
for _share in SMALL:
    _object = np.where(lump(_share), 500 + 2000 * gaussian_filter(NOISE, 2), 0)
    ORDINARY |= {
        f"object of {_share} in air": _object,
        f"blurred object of {_share} in air": gaussian_filter(_object, 1.2),
        f"object of {_share} in noise": _object + 10 * NOISE,
        f"blurred object of {_share} in smooth noise": gaussian_filter(_object, 1.2) + 30 * gaussian_filter(NOISE, 1),
        f"object of {_share} in shaded noise": (_object + np.abs(10 * NOISE)) * (1 + DISTANCE / 200),
        f"dark object of {_share} in noise": 10 * NOISE - _object,
        f"mask of {_share}": lump(_share),
        f"labels of {_share}": lump(_share) + 4 * lump(_share / 3) + 400 * lump(_share / 9),
    }


@pytest.mark.parametrize("name", ORDINARY)
def test_images_without_metal_keep_their_percentiles(name):
    data = ORDINARY[name].astype(np.float32)
    low, high = percentiles(data)
    assert IntensityRange.of(data) == IntensityRange(low, high)


@pytest.mark.parametrize("shape", [(2, 40, 40), (40, 3, 40), (4, 4, 4)])
def test_flat_and_tiny_volumes_have_a_range(shape):
    rng = np.random.default_rng(0)
    data = rng.normal(size=shape).cumsum(-1)
    data.ravel()[rng.permutation(data.size)[: data.size // 40]] = 1e4
    found = IntensityRange.of(data)
    assert np.isfinite([found.low, found.high]).all() and found.low < found.high


def test_the_user_is_told_what_was_left_out():
    metal = Volume(np.where(lump(0.02), 20000, HEAD), GRID, "scan")
    side, warnings = prepare(metal)
    assert len(warnings) == 1
    assert warnings[0].startswith("scan: 2.0% of the voxels are far brighter than all others (metal, perhaps)")
    assert np.ptp(side.image.data[HEAD > 50]) > 0.9 and side.image.data[lump(0.02)].min() == 1
    # Above what pads CT.
    assert "far darker" in prepare(Volume(-metal.data / 100, GRID, "scan"))[1][0]
    assert not prepare(Volume(HEAD, GRID, "scan"))[1]
