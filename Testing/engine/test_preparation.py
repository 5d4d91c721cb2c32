"""Preparation: intensities of any kind come out the same, content is found, and what cannot be used is said."""

import numpy as np
import pytest
from deepregister import Rigid, Volume
from deepregister.errors import GeometryError, InputError
from deepregister.preparation import block_mean, check_overlap, prepare
from phantoms import FLIPPED, OBLIQUE, grid, seen_through

IDENTITY = Rigid.identity()


def phantom(**options):
    return seen_through(IDENTITY, grid(**options))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_voxel_types_and_ranges_make_no_difference(dtype):
    volume = phantom()
    scaled = volume.data / volume.data.max() * (200 if dtype == np.uint8 else 3000)
    expected = prepare(volume)[0].image.data
    result = prepare(Volume(scaled.astype(dtype), volume.geometry))[0].image.data
    assert result == pytest.approx(expected, abs=0.02)
    assert result.dtype == np.float32 and result.min() == 0 and result.max() == 1


def test_one_burnt_in_voxel_does_not_darken_the_rest():
    volume = phantom()
    burnt = volume.data.copy()
    burnt[3, 3, 3] = 1e6
    assert prepare(Volume(burnt, volume.geometry))[0].image.data == pytest.approx(prepare(volume)[0].image.data, abs=1)
    inner = prepare(Volume(burnt, volume.geometry))[0].image.data[10:-10, 10:-10, 10:-10]
    assert inner == pytest.approx(prepare(volume)[0].image.data[10:-10, 10:-10, 10:-10], abs=0.01)


def test_padding_below_air_counts_as_air():
    volume = phantom()
    ct = (volume.data - 1000).astype(np.int16)
    padded = ct.copy()
    padded[:2] = -3024
    results = [prepare(Volume(x, volume.geometry))[0].image.data[2:] for x in (ct, padded)]
    assert results[0] == pytest.approx(results[1], abs=0.03)


@pytest.mark.parametrize("direction", [None, OBLIQUE, FLIPPED])
def test_content_encloses_the_object_and_is_contained(direction):
    volume = phantom(direction=direction, extent=(150, 140, 150))
    side, warnings = prepare(volume)
    assert side.contained and not warnings
    corners = side.content.index_to_point(np.array([[0, 0, 0], np.subtract(side.content.size, 1)]))
    assert np.linalg.norm(corners[1] - corners[0]) < 200
    points = volume.geometry.points()[volume.data > 150]
    index = side.content.point_to_index(points)
    assert np.all(index > -1.5) and np.all(index < np.add(side.content.size, 0.5))


def test_an_object_cut_by_the_field_of_view_is_not_contained():
    assert not prepare(phantom(extent=(60, 50, 50)))[0].contained


def test_few_bad_voxels_become_background_and_many_are_refused():
    volume = phantom()
    data = volume.data.copy()
    data[5, 5, 5], data[6, 6, 6] = np.nan, np.inf
    side, warnings = prepare(Volume(data, volume.geometry, "scan"))
    assert np.isfinite(side.image.data).all()
    assert len(warnings) == 1 and "scan" in warnings[0] and "2 voxels" in warnings[0]
    data[:10] = np.nan
    with pytest.raises(InputError, match=r"scan.*not numbers"):
        prepare(Volume(data, volume.geometry, "scan"))


@pytest.mark.parametrize("value", [0, -1024, 7.5])
def test_constant_images_are_refused_with_their_value(value):
    with pytest.raises(InputError, match=f"scan is empty.*{value:g}"):
        prepare(Volume(np.full((9, 9, 9), value, np.float32), grid(extent=(22.5,) * 3), "scan"))


def test_a_single_slice_is_refused():
    with pytest.raises(InputError, match="two slices"):
        prepare(Volume.from_array(np.random.default_rng(0).normal(size=(1, 40, 40)), name="slice"))


def test_the_caller_s_voxels_are_left_alone():
    volume = phantom()
    before = volume.data.copy()
    prepare(volume)
    assert np.array_equal(volume.data, before)


def test_masks_may_lie_on_another_grid():
    volume, other = phantom(), grid(spacing=(3, 4, 2), direction=OBLIQUE, extent=(130, 130, 130))
    left = Volume((other.points()[..., 0] < 0).astype(np.uint8), other)
    weight = prepare(volume, left)[0].weight
    x = volume.geometry.points()[..., 0]
    assert weight.data[x < -5].mean() > 0.99 and weight.data[x > 5].mean() < 0.01


@pytest.mark.parametrize("case", ["empty", "elsewhere"])
def test_masks_that_select_nothing_are_refused(case):
    volume = phantom()
    data = np.zeros(volume.data.shape, np.uint8) if case == "empty" else np.ones(volume.data.shape, np.uint8)
    geometry = grid(centre=(900, 0, 0)) if case == "elsewhere" else volume.geometry
    with pytest.raises(InputError, match=r"painted mask.*(selects nothing|does not overlap)"):
        prepare(volume, Volume(data, geometry, "painted mask"))


def test_block_means_are_where_their_voxels_are():
    geometry = grid(spacing=(1, 2, 3), direction=OBLIQUE, extent=(40, 40, 40))
    x, y, z = np.moveaxis(geometry.points(), -1, 0)
    volume = Volume((x + 2 * y - z).astype(np.float32), geometry)
    reduced = block_mean(volume, [3, 2, 1])
    x, y, z = np.moveaxis(reduced.geometry.points(), -1, 0)
    # The mean of a linear function over a block is its value at the block's centre.
    assert reduced.data == pytest.approx(x + 2 * y - z, abs=1e-3)
    assert reduced.geometry.spacing == pytest.approx((3, 4, 3))


def test_headers_metres_apart_are_refused():
    with pytest.raises(GeometryError, match=r"one and two lie 20\.0 m apart"):
        check_overlap(grid(), grid(centre=(20_000, 0, 0)), ("one", "two"))
