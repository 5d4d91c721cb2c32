"""Regions that slide along each other: what is accepted, and that motion may jump at their borders and nowhere else."""

import numpy as np
import pytest
from deepregister import Geometry, Volume, quality, register
from deepregister.errors import InputError
from deepregister.regions import MOST_REGIONS, Regions

GEOMETRY = Geometry((48, 40, 44), (2.0, 2.0, 2.0))
SLIP_MM = 6.0


def halves() -> Volume:
    data = np.ones(GEOMETRY.shape, np.uint8)
    data[:, :, 24:] = 2
    return Volume(data, GEOMETRY, "halves")


def texture(points: np.ndarray) -> np.ndarray:
    """Blobs everywhere, so that each place can be told from its neighbours."""
    rng = np.random.default_rng(4)
    centres = rng.uniform(-10, 110, (160, 3))
    value = np.zeros(points.shape[:-1])
    for centre, height in zip(centres, rng.uniform(0.3, 1.0, len(centres)), strict=True):
        value += height * np.exp(-((points - centre) ** 2).sum(-1) / (2 * 6.0**2))
    return value


@pytest.fixture(scope="module")
def pair():
    """The right half of the fixed image is the moving one shifted along the border, against the left half."""
    points = GEOMETRY.points()
    truth = np.where(halves().data[..., None] == 1, [0, 0, SLIP_MM / 2], [0, 0, -SLIP_MM / 2])
    rim = np.minimum(1, 0.2 * np.min(np.minimum(points, np.array([94, 78, 86]) - points), -1, keepdims=True) / 2)
    truth = truth * np.clip(rim, 0, 1)
    fixed = Volume(texture(points + truth).astype(np.float32), GEOMETRY, "fixed")
    moving = Volume(texture(points).astype(np.float32), GEOMETRY, "moving")
    return fixed, moving, truth


def errors(result, truth) -> np.ndarray:
    points = GEOMETRY.points()
    return np.linalg.norm(result.transform.apply_to_points(points) - points - truth, axis=-1)


def test_motion_jumps_at_the_border_of_regions_and_not_without_them(pair):
    fixed, moving, truth = pair
    inner = (slice(8, -8), slice(8, -8))
    near = (*inner, slice(21, 27))
    plain = register(fixed, moving, "deformable", quality="fast")
    sliding = register(fixed, moving, "deformable", quality="fast", regions=halves())
    assert errors(sliding, truth)[near].mean() < 0.6 * errors(plain, truth)[near].mean()
    assert errors(sliding, truth)[near].mean() < 0.2 * SLIP_MM
    # Within the regions no fold; their border is left out, as nothing is promised there.
    assert sliding.measures["folded_fraction"] == 0
    assert sliding.inputs["regions"]["name"] == "halves"


def test_layers_of_one_motion_are_one_field(pair):
    """Where nothing slides, regions change little."""
    fixed, _, _ = pair
    shifted = Volume(fixed.data, Geometry(GEOMETRY.size, GEOMETRY.spacing, (0.0, 0.0, 3.0)), "shifted")
    result = register(fixed, shifted, "deformable", quality="fast", regions=halves())
    points = GEOMETRY.points()[10:-10, 10:-10, 10:-10]
    assert np.abs(result.transform.apply_to_points(points) - points - [0, 0, 3.0]).mean() < 0.2


def test_the_interface_is_what_touches_another_region():
    regions = Regions(halves())
    where = regions.interface(GEOMETRY)
    assert where[:, :, 22:26].all()
    assert not where[:, :, :20].any() and not where[:, :, 28:].any()
    assert regions.at(np.array([[0.0, 0, 0], [1e4, 0, 0]])).tolist() == [1, 2]


def test_folds_at_the_interface_do_not_count():
    from deepregister import DisplacementField

    displacement = np.zeros((*GEOMETRY.shape, 3), np.float32)
    displacement[:, :, 24:, 0] = -8.0
    field = DisplacementField(displacement, GEOMETRY)
    assert quality.folding(field)["folded_fraction"] > 0
    assert quality.folding(field, Regions(halves()))["folded_fraction"] == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones(GEOMETRY.shape), "has the value 1"),
        (np.arange(np.prod(GEOMETRY.shape)).reshape(GEOMETRY.shape) % (MOST_REGIONS + 1), "9 values"),
        (np.full(GEOMETRY.shape, 0.5), "not whole numbers"),
    ],
)
def test_a_map_that_says_nothing_of_sliding_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        Regions(Volume(data, GEOMETRY, "bad"))


def test_a_map_that_lies_elsewhere_is_refused(pair):
    fixed, moving, _ = pair
    far = Volume(halves().data, Geometry(GEOMETRY.size, GEOMETRY.spacing, (500.0, 0.0, 0.0)), "far away")
    with pytest.raises(InputError, match="one region of the map far away"):
        register(fixed, moving, "deformable", quality="fast", regions=far)
