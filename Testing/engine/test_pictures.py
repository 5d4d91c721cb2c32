"""Pictures show patient axes in true proportions, whatever axes the voxels have."""

import numpy as np
import pytest
from deepregister.errors import FileError
from deepregister.pictures import (
    LUNG_WINDOW,
    SOFT_TISSUE_WINDOW,
    anatomical_planes,
    checkerboard,
    cut,
    grey_window,
    thinned,
    to_grey,
    write_pictures,
)
from deepregister.volume import Geometry, Volume
from PIL import Image
from scipy.spatial.transform import Rotation

CENTRE = np.array([12.0, -30.0, 55.0])
# A ball right, anterior and superior of the centre: LPS, so right and anterior are negative.
BALL = CENTRE + np.array([-15.0, -20.0, 10.0])
BALL_RADIUS = 8.0


def around_centre(direction, spacing=(1.0, 1.6, 2.5), reach=45.0):
    size = np.ceil(2 * reach / np.asarray(spacing)).astype(int)
    origin = CENTRE - np.asarray(direction) @ ((size - 1) / 2 * spacing)
    return Geometry(tuple(size), spacing, tuple(origin), tuple(map(tuple, direction)))


def phantom(geometry):
    """A big grey ball around the centre with a small bright one in it."""
    points = geometry.points()
    data = 0.4 * (np.linalg.norm(points - CENTRE, axis=-1) < 38) + 0.6 * (
        np.linalg.norm(points - BALL, axis=-1) < BALL_RADIUS
    )
    return Volume(data.astype(np.float32), geometry, "phantom")


DIRECTIONS = {
    "straight": np.eye(3),
    "flipped": np.diag([-1.0, 1, -1]),
    "permuted": np.eye(3)[[2, 0, 1]],
    "oblique": Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix(),
}


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS.keys())
def test_radiological_orientation_and_true_proportions(direction):
    volume = phantom(around_centre(direction))
    for plane in anatomical_planes(volume.geometry):
        # The planes run through the centre: look where the ball lies beside it.
        shifted = plane.points + (BALL - CENTRE) * np.array(
            {"Axial": (0, 0, 1), "Coronal": (0, 1, 0), "Sagittal": (1, 0, 0)}[plane.name]
        )
        picture = to_grey(cut(volume, type(plane)(plane.name, shifted, plane.letters)), (0, 1))
        rows, columns = np.nonzero(picture > 0.75 * 255)
        pixel_mm = float(np.linalg.norm(plane.points[0, 1] - plane.points[0, 0]))
        centre_row, centre_column = (np.array(picture.shape) - 1) / 2
        right, up = (columns.mean() - centre_column) * pixel_mm, (centre_row - rows.mean()) * pixel_mm
        expected = {"Axial": (-15, 20), "Coronal": (-15, 10), "Sagittal": (-20, 10)}[plane.name]
        np.testing.assert_allclose((right, up), expected, atol=1.0)
        assert np.ptp(rows) * pixel_mm == pytest.approx(2 * BALL_RADIUS, abs=2.6)
        assert np.ptp(columns) * pixel_mm == pytest.approx(2 * BALL_RADIUS, abs=2.6)


def test_outside_of_a_volume_is_nothing():
    volume = phantom(around_centre(np.eye(3)))
    far = anatomical_planes(Geometry((10, 10, 10), origin=(500, 500, 500)))
    assert all(np.isnan(cut(volume, plane)).all() for plane in far)
    assert to_grey(np.full((2, 2), np.nan), (0, 1)).max() == 0


def test_windows_follow_what_is_shown():
    random = np.random.default_rng(0)
    body = random.normal(40, 30, (20, 20, 20))
    body[:8] = -1000
    body[:, :1] = 900
    assert grey_window(Volume.from_array(body)) == SOFT_TISSUE_WINDOW
    body[12:] = random.normal(-850, 20, body[12:].shape)
    assert grey_window(Volume.from_array(body)) == LUNG_WINDOW
    magnetic = np.zeros((20, 20, 20))
    magnetic[10:, 10:, 10:] = random.uniform(200, 400, (10, 10, 10))
    magnetic[15, 15, 15] = 1e5
    low, high = grey_window(Volume.from_array(magnetic))
    assert low == 0
    assert 300 < high < 500


def test_checkerboard_takes_turns():
    board = checkerboard(np.zeros((120, 120)), np.ones((120, 120)))
    assert board[0, 0] == 0
    assert board[0, 40] == board[40, 0] == 1
    assert board.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
def test_one_readable_picture(tmp_path, dtype):
    volume = phantom(around_centre(DIRECTIONS["oblique"]))
    volume = Volume((volume.data > 0.5 if dtype is bool else 100 * volume.data).astype(dtype), volume.geometry)
    write_pictures(tmp_path / "slices.png", volume, volume, volume, "one onto itself")
    with Image.open(tmp_path / "slices.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] > pixels.shape[0] > 500
    assert len(np.unique(pixels)) > 3
    assert [path.name for path in tmp_path.iterdir()] == ["slices.png"]


def test_a_place_that_cannot_be_written(tmp_path):
    volume = phantom(around_centre(np.eye(3)))
    with pytest.raises(FileError, match="does not exist"):
        write_pictures(tmp_path / "none" / "slices.png", volume, volume, volume)


def test_a_thinned_volume_lies_where_the_whole_one_does():
    volume = phantom(around_centre(DIRECTIONS["oblique"]))
    thin = thinned(volume, 2000)
    assert thin.data.size < 4000
    index = np.array([3, 2, 1])
    value = thin.data[tuple(index[::-1])]
    i, j, k = np.round(volume.geometry.point_to_index(thin.geometry.index_to_point(index))).astype(int)
    assert value == volume.data[k, j, i]
    assert thinned(volume).geometry == volume.geometry
