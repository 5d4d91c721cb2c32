"""Grids in space: what `Geometry` says about a point is what SimpleITK says about it."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Geometry
from deepregister.errors import GeometryError
from deepregister.geometry import set_geometry
from geometries import axis_changes, geometries, points_in, relabelled
from hypothesis import given, settings
from hypothesis import strategies as st


def on_grid(geometry):
    return set_geometry(sitk.Image(geometry.size, sitk.sitkUInt8), geometry)


@given(geometries())
def test_index_and_point_agree_with_simpleitk(geometry):
    image = on_grid(geometry)
    index = np.random.default_rng(0).uniform(-20, 20, size=(10, 3))
    points = geometry.index_to_point(index)
    expected = [image.TransformContinuousIndexToPhysicalPoint(i) for i in index.tolist()]
    assert points == pytest.approx(np.array(expected), abs=1e-9)
    expected = [image.TransformPhysicalPointToContinuousIndex(p) for p in points.tolist()]
    assert geometry.point_to_index(points) == pytest.approx(np.array(expected), abs=1e-9)
    assert geometry.point_to_index(points) == pytest.approx(index, abs=1e-9)


@given(geometries())
def test_survives_simpleitk_and_its_own_matrix(geometry):
    assert Geometry.from_sitk(on_grid(geometry)).same_grid(geometry, 1e-9)
    assert Geometry.from_matrix(geometry.matrix, geometry.size).same_grid(geometry, 1e-9)


@given(geometries())
def test_points_are_the_voxel_centres_in_array_order(geometry):
    points = geometry.points()
    assert points.shape == (*geometry.shape, 3)
    image = on_grid(geometry)
    for k, j, i in np.ndindex(*geometry.shape):
        if (i + j + k) % 7 == 0:
            assert points[k, j, i] == pytest.approx(image.TransformIndexToPhysicalPoint((i, j, k)), abs=1e-9)


@given(geometries(), axis_changes())
def test_what_a_grid_covers_does_not_depend_on_the_order_of_its_axes(geometry, change):
    other, points = relabelled(geometry, geometry.points(), *change)
    assert other.points() == pytest.approx(points, abs=1e-9)
    assert other.centre == pytest.approx(geometry.centre, abs=1e-9)
    assert sorted(other.extent_mm) == pytest.approx(sorted(geometry.extent_mm))


@given(geometries(), st.tuples(*[st.floats(0.2, 9)] * 3))
def test_with_spacing_keeps_the_outer_faces(geometry, spacing):
    coarse = geometry.with_spacing(spacing)
    assert coarse.extent_mm == pytest.approx(geometry.extent_mm)
    faces = [(-0.5, -0.5, -0.5), np.asarray(geometry.size) - 0.5]
    new_faces = [(-0.5, -0.5, -0.5), np.asarray(coarse.size) - 0.5]
    assert coarse.index_to_point(new_faces) == pytest.approx(geometry.index_to_point(faces), abs=1e-9)
    assert coarse.with_spacing(geometry.spacing).same_grid(geometry, 1e-6)


@given(geometries(least=3))
def test_crop_and_pad_move_no_voxel(geometry):
    inner = geometry.cropped((1, 0, 1), (3, 2, 2))
    assert inner.size == (2, 2, 1)
    assert inner.points() == pytest.approx(geometry.points()[1:2, 0:2, 1:3], abs=1e-9)
    padded = geometry.padded((2, 0, 1))
    assert padded.size == (geometry.size[0] + 4, geometry.size[1], geometry.size[2] + 2)
    assert padded.points()[1:-1, :, 2:-2] == pytest.approx(geometry.points(), abs=1e-9)
    assert geometry.padded(3).cropped((3, 3, 3), np.asarray(geometry.size) + 3).same_grid(geometry, 1e-9)


@given(geometries(least=2))
def test_same_grid_notices_every_difference(geometry):
    assert geometry.same_grid(geometry)
    assert not geometry.same_grid(geometry.padded(1))
    shifted = Geometry(geometry.size, geometry.spacing, np.add(geometry.origin, 0.01), geometry.direction)
    assert not geometry.same_grid(shifted)
    assert geometry.same_grid(shifted, tolerance_mm=0.02)
    wider = Geometry(geometry.size, np.add(geometry.spacing, 0.01), geometry.origin, geometry.direction)
    assert not geometry.same_grid(wider)


@settings(max_examples=30)
@given(geometries(), st.integers(0, 1000))
def test_rounded_cosines_become_the_nearest_rotation(geometry, seed):
    noise = np.random.default_rng(seed).uniform(-1e-5, 1e-5, size=(3, 3))
    rounded = Geometry(geometry.size, geometry.spacing, geometry.origin, np.asarray(geometry.direction) + noise)
    axes = np.asarray(rounded.direction)
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-12)
    assert axes == pytest.approx(np.asarray(geometry.direction), abs=3e-5)
    again = Geometry(rounded.size, rounded.spacing, rounded.origin, rounded.direction)
    assert np.abs(points_in(again) - points_in(rounded)).max() < 1e-9


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": (4, 4, 0)}, "(4, 4, 0)"),
        ({"size": (4, 4)}, "(4, 4)"),
        ({"size": (4, 4.5, 4)}, "4.5"),
        ({"spacing": (1, 0, 1)}, "positive"),
        ({"spacing": (1, -2, 1)}, "-2.0"),
        ({"spacing": (1, np.nan, 1)}, "nan"),
        ({"spacing": (1, 1)}, "(1.0, 1.0)"),
        ({"origin": (0, np.inf, 0)}, "inf"),
        ({"direction": ((1, 0, 0), (0, 1, 0))}, "3x3"),
        ({"direction": ((1, 0, 0), (0, 1, 0), (0, 0, np.nan))}, "finite"),
        ({"direction": ((1, 0.2, 0), (0, 1, 0), (0, 0, 1))}, "right angles"),
        ({"direction": ((2, 0, 0), (0, 1, 0), (0, 0, 1))}, "right angles"),
        ({"direction": ((0, 0, 0), (0, 1, 0), (0, 0, 1))}, "right angles"),
    ],
)
def test_refuses_what_is_no_grid(values, words):
    with pytest.raises(GeometryError) as error:
        Geometry(**{"size": (4, 4, 4), **values})
    assert words in str(error.value)


def test_an_axis_of_no_length_is_refused_in_a_matrix():
    with pytest.raises(GeometryError, match="length 0"):
        Geometry.from_matrix(np.diag([1.0, 0.0, 1.0, 1.0]), (2, 2, 2))


def test_a_tilt_is_refused_with_its_remedy():
    tilt = np.radians(0.5)
    direction = ((1, 0, 0), (0, 1, np.sin(tilt)), (0, 0, np.cos(tilt)))
    with pytest.raises(GeometryError, match=r"gantry.*3D Slicer"):
        Geometry((4, 4, 4), direction=direction)


def test_describes_itself():
    assert Geometry((4, 5, 6), (1, 0.98765, 2.5)).describe() == "4x5x6 voxels of 1x0.988x2.5 mm"


@given(geometries(), axis_changes())
def test_the_canonical_grid_is_the_same_however_the_axes_are_named(geometry, change):
    other, _ = relabelled(geometry, geometry.points(), *change)
    one, two = geometry.canonical(), other.canonical()
    cosines = np.asarray(one.direction)
    # Where two axes lie equally near to one of space, either may come first.
    if abs(np.sort(np.abs(cosines), axis=0)[-1] - np.sort(np.abs(cosines), axis=0)[-2]).min() > 1e-6:
        assert one.same_grid(two, 1e-9)
    assert (np.diag(cosines) >= 0).all()
    corners = [geometry.index_to_point(np.zeros(3)), geometry.index_to_point(np.asarray(geometry.size) - 1)]
    index = one.point_to_index(corners)
    assert index.min(0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert index.max(0) == pytest.approx(np.asarray(one.size) - 1, abs=1e-6)


def test_canonical_axes_run_towards_left_back_and_head():
    ras = Geometry((4, 5, 6), (1, 2, 3), (10, 20, 30), ((0, -1, 0), (0, 0, -1), (1, 0, 0)))
    canonical = ras.canonical()
    assert canonical.size == (5, 6, 4) and canonical.spacing == (2, 3, 1)
    assert np.asarray(canonical.direction) == pytest.approx(np.eye(3))
    assert canonical.canonical() == canonical
