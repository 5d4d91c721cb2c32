"""`rigid` and `affine` on objects whose true transform is known: any grid, contrast, start and field of view."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from deepregister import Affine, Rigid, Settings, Volume, register
from deepregister.errors import Cancelled
from deepregister.landmarks import LandmarkPairs
from deepregister.models.linear import LinearModel
from deepregister.preparation import Pair, prepare
from deepregister.progress import Monitor
from geometries import relabelled
from phantoms import FLIPPED, OBLIQUE, grid, head, seen_through
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

FAST = Settings(quality="fast")


def rigid(angles=(0, 0, 0), shift=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return Rigid(matrix)


def run(kind, fixed, moving, start=None, landmarks=None, settings=FAST, monitor=None, masks=(None, None)):
    pair = Pair(prepare(fixed, masks[0])[0], prepare(moving, masks[1])[0], landmarks)
    return LinearModel(kind).run(pair, start, settings, torch.device("cpu"), monitor or Monitor())


def error_mm(found, truth):
    """Mean error over the object."""
    points = grid((10, 10, 10), extent=(70, 55, 60)).points()
    return float(np.linalg.norm(found.apply_to_points(points) - truth.apply_to_points(points), axis=-1).mean())


@pytest.mark.parametrize("contrast", ["one", "two"])
@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (grid(), grid()),
        (grid((2, 2, 5), OBLIQUE), grid((3, 2, 2.5), FLIPPED, centre=(2, -3, 1))),
    ],
    ids=["plain", "oblique and flipped"],
)
def test_a_turned_and_shifted_object_is_found(fixed, moving, contrast):
    truth = rigid((25, -15, 10), (12, -20, 8))
    found = run("rigid", seen_through(truth, fixed), seen_through(Rigid.identity(), moving, contrast))
    assert isinstance(found, Rigid)
    assert error_mm(found, truth) < 1.0


def test_affine_finds_scale_and_shear():
    matrix = rigid((10, 5, -20), (5, 5, -10)).matrix.copy()
    matrix[:3, :3] = matrix[:3, :3] @ np.array([[1.12, 0.05, 0], [0, 0.9, 0.04], [0, 0, 1.05]])
    truth = Affine(matrix)
    found = run("affine", seen_through(truth, grid()), seen_through(Rigid.identity(), grid((2, 2, 2))))
    assert error_mm(found, truth) < 1.0


def test_volumes_whose_headers_share_no_space_are_brought_together():
    fixed, moving = grid(), grid(centre=(350, -200, 900))
    apart = rigid((0, 10, 0), (350, -200, 900))
    seen = seen_through(Rigid.identity(), grid())
    found = run("rigid", seen_through(rigid((0, 10, 0)), fixed), Volume(seen.data, moving))
    assert error_mm(found, apart) < 1.0


def test_part_of_the_object_is_enough():
    truth = rigid((8, 5, -12), (6, 4, -5))
    fixed = seen_through(truth, grid(extent=(60, 80, 90), centre=(14, 0, 0)))
    found = run("rigid", fixed, seen_through(Rigid.identity(), grid()))
    assert error_mm(found, truth) < 2.0


def test_it_says_how_near_other_places_come():
    fixed, moving = seen_through(rigid((25, -15, 10), (12, -20, 8)), grid()), seen_through(Rigid.identity(), grid())
    values = gaussian_filter(np.random.default_rng(0).normal(size=grid().shape), 2)
    unrelated = Volume(values.astype(np.float32), grid(), "unrelated")
    right, wrong = Monitor(), Monitor()
    run("rigid", fixed, moving, monitor=right)
    run("rigid", fixed, unrelated, monitor=wrong)
    assert right.evidence["rival"] < 0.9 < wrong.evidence["rival"] <= 1
    started = Monitor()
    run("rigid", fixed, moving, Rigid.identity(), monitor=started)
    assert started.evidence == {}


def test_masked_tissue_does_not_pull():
    truth = rigid((5, 0, 5), (4, 3, -2))
    fixed, moving = seen_through(truth, grid()), seen_through(Rigid.identity(), grid())
    points = fixed.geometry.points()
    lesion = ((points - (25, 0, 10)) ** 2).sum(-1) < 18**2
    spoilt = Volume(np.where(lesion, 3000, fixed.data), fixed.geometry, "fixed")
    mask = Volume((~lesion).astype(np.uint8), fixed.geometry, "mask")
    assert error_mm(run("rigid", spoilt, moving, masks=(mask, None)), truth) < 0.6


def test_a_given_start_is_improved_not_replaced():
    truth = rigid((4, -3, 6), (3, -2, 4))
    fixed, moving = seen_through(truth, grid()), seen_through(Rigid.identity(), grid())
    start = rigid((8, -3, 6), (8, -2, 4))
    found = run("rigid", fixed, moving, start=start)
    assert error_mm(found, truth) < 0.5 < error_mm(start, truth)


def test_landmarks_decide_where_images_cannot():
    """A ball looks the same however it is turned; three pairs say how it lies."""
    points = grid((3, 3, 3)).points()
    ball = Volume((head(points) * 0 + 100 / (1 + np.exp((points**2).sum(-1) ** 0.5 - 30))), grid((3, 3, 3)), "ball")
    truth = rigid((0, 0, 40))
    fixed = np.array([[25, 0, 0], [0, 25, 0], [0, 0, 25], [-20, 10, 5]], float)
    landmarks = LandmarkPairs(fixed, truth.apply_to_points(fixed))
    found = run("rigid", ball, ball, landmarks=landmarks)
    assert np.linalg.norm(found.apply_to_points(fixed) - landmarks.moving, axis=1).max() < 1.5


def test_every_start_nearby_ends_in_the_same_place():
    """Two images that no affine makes equal: still there is one best, whatever the way there."""
    fixed, moving = seen_through(rigid((4, 0, 3)), grid((2, 2, 2))), seen_through(Rigid.identity(), grid((2, 2, 2)))
    moving = Volume(np.roll(moving.data, 2, 0) * 0.5 + moving.data * 0.5, moving.geometry, "moving")
    starts = [rigid((4, 0, 3)), rigid((7, -3, 3), (3, -3, 0)), rigid((2, 2, 0), (0, 3, 3))]
    found = [run("affine", fixed, moving, start=start, settings=Settings()) for start in starts]
    assert max(error_mm(found[0], other) for other in found[1:]) < 0.2


@pytest.mark.parametrize("few", ["fixed", "moving"])
@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_a_few_thick_slices_are_placed_in_the_whole(kind, few):
    truth = rigid((8, -5, 10), (6, -8, 5))
    slices = grid((1.5, 1.5, 5), extent=(150, 150, 45), centre=(0, 0, 10))
    whole = grid((2, 2, 2), extent=(150, 150, 150))
    fixed = seen_through(truth, slices if few == "fixed" else whole)
    moving = seen_through(Rigid.identity(), whole if few == "fixed" else slices, "two")
    assert error_mm(run(kind, fixed, moving), truth) < 2.0


def lopsided(transform, contrast="one"):
    """The object with a neck and a chin, without which its outline is much the same either way round."""
    seen = seen_through(transform, grid(extent=(150, 150, 150)), contrast)
    points = transform.apply_to_points(seen.geometry.points())
    data = seen.data
    for centre, radius in (((0, 14, -48), 24), ((10, -38, -22), 16)):
        data = np.maximum(data, 500 / (1 + np.exp(np.linalg.norm(points - centre, axis=-1) - radius)))
    return Volume(data.astype(np.float32), seen.geometry, seen.name)


@pytest.mark.parametrize("turn", [(180, 0, 0), (0, 0, 180), (90, 0, 0), (170, 15, -10)])
def test_a_header_that_is_wrong_by_half_a_turn_is_seen_through(turn):
    truth = rigid(turn, (5, -4, 8))
    assert error_mm(run("rigid", lopsided(truth), lopsided(Rigid.identity(), "two")), truth) < 1.0


def test_an_object_that_looks_the_same_either_way_round_is_left_as_its_header_says():
    truth = rigid((20, 0, 0), (5, -4, 8))
    found = run("rigid", seen_through(truth, grid()), seen_through(Rigid.identity(), grid(), "two"))
    assert error_mm(found, truth) < 1.0


def test_the_same_seed_gives_the_same_transform():
    fixed, moving = seen_through(rigid((5, 0, 0)), grid((4, 4, 4))), seen_through(Rigid.identity(), grid((4, 4, 4)))
    assert np.array_equal(run("affine", fixed, moving).matrix, run("affine", fixed, moving).matrix)


def test_another_seed_draws_other_samples():
    fixed, moving = seen_through(rigid((5, 0, 0)), grid((4, 4, 4))), seen_through(Rigid.identity(), grid((4, 4, 4)))
    one, other = (run("affine", fixed, moving, settings=replace(FAST, seed=seed)) for seed in (0, 1))
    # Nearly the same place, found by other voxels.
    assert not np.array_equal(one.matrix, other.matrix)
    assert error_mm(one, other) < 0.5


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_how_the_voxels_are_stored_changes_nothing(kind):
    fixed, moving = seen_through(rigid((5, 0, 0)), grid((4, 3, 4))), seen_through(Rigid.identity(), grid((3, 4, 4)))
    stored = []
    for volume, order, flips in ((fixed, (2, 0, 1), (True, False, True)), (moving, (1, 0, 2), (False, True, False))):
        geometry, array = relabelled(volume.geometry, volume.data, order, flips)
        stored.append(Volume(np.ascontiguousarray(array), geometry))
    assert error_mm(run(kind, fixed, moving), run(kind, *stored)) < 0.01


def test_cancel_is_heard_in_every_step():
    fixed, moving = seen_through(rigid(), grid((5, 5, 5))), seen_through(Rigid.identity(), grid((5, 5, 5)))
    asked = []

    def counting():
        asked.append(None)
        return False

    run("affine", fixed, moving, monitor=Monitor(cancelled=counting))
    assert len(asked) > 100
    for share in (0.01, 0.3, 0.9):
        calls = iter(range(len(asked)))
        stop = int(share * len(asked))
        with pytest.raises(Cancelled):
            run("affine", fixed, moving, monitor=Monitor(cancelled=lambda: next(calls) >= stop))  # noqa: B023


def test_a_user_is_told_of_a_header_that_seems_wrong():
    """Found, but never in silence: left and right hang on it."""
    moving = lopsided(Rigid.identity(), "two")
    turned = register(lopsided(rigid((180, 0, 0))), moving, "rigid", quality="fast", device="cpu")
    assert any("turned by 180 degrees" in warning for warning in turned.warnings)
    usual = register(lopsided(rigid((20, 0, 0))), moving, "rigid", quality="fast", device="cpu")
    assert not any("degrees" in warning for warning in usual.warnings)
