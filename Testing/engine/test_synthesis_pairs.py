"""Synthesised pairs: what each kind of batch promises, and truths that are true."""

import numpy as np
import pytest
import torch
from deepregister.spatial import warp
from deepregister.training.batch import warped_labels
from deepregister.training.collection import Collection, Subject
from deepregister.training.losses import dice_loss
from deepregister.training.synthesis.anatomy import Anatomy
from deepregister.training.synthesis.draw import Draw
from deepregister.training.synthesis.labels import Places, probabilities
from deepregister.training.synthesis.pairs import from_collection
from deepregister.training.synthesis.ranges import AffineRanges, ContrastRanges, FieldRanges, ShapeRanges, Synthesis
from heads import LABELS, PLACE, SHAPE, SPACING, head_labels, turned

CPU = torch.device("cpu")
KINDS = ("between_subjects", "one_subject", "random_shapes")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def collection(count=3):
    subjects = []
    for number in range(count):
        labels, to_mm = head_labels(turned(6 * (number - 1), (4 * number, -3, 2), 1 + 0.04 * number))
        subjects.append(Subject(str(number), None, labels, to_mm, np.zeros(3), True, np.eye(4)))
    return Collection(LABELS, subjects[:-1], subjects[-1:], [])


def pairs(ranges=None):
    return from_collection(collection(), ranges or Synthesis(), SHAPE, SPACING, CPU)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_follow_their_seed_and_have_what_their_kind_promises(kind):
    made = pairs()
    one, same, other = (getattr(made, kind)(2, generator(seed)) for seed in (0, 0, 1))
    for batch in (one, other):
        for name in ("fixed", "moving", "fixed_clean", "moving_clean"):
            image = getattr(batch, name)
            assert image.shape == (2, 1, *SHAPE) and image.dtype == torch.float32
            assert float(image.min()) >= 0 and float(image.max()) <= 1 + 1e-5
            assert float(image.std()) > 0.02
    assert torch.equal(one.fixed, same.fixed) and torch.equal(one.moving_clean, same.moving_clean)
    assert not torch.equal(one.fixed, other.fixed) and not torch.equal(one.fixed[0], one.fixed[1])
    assert (one.field is None) == (kind == "between_subjects")
    assert (one.fixed_labels is None) == (kind == "one_subject")
    if one.fixed_labels is not None:
        assert one.fixed_labels.shape == one.moving_labels.shape and one.fixed_labels.shape[2:] == SHAPE
        assert torch.equal(one.fixed_labels, same.fixed_labels)
        assert set(one.fixed_labels.unique().tolist()) == {0.0, 1.0}
    if one.field is not None:
        assert one.field.shape == (2, 3, *SHAPE) and one.field_weight.shape == (2, 1, *SHAPE)
        assert torch.equal(one.field, same.field)


def test_zoomed_pairs_show_a_part_of_the_whole_enlarged():
    still = {"pose": AffineRanges(0, 0, 0), "residual": AffineRanges(0, 0, 0)}
    made, held_out = from_collection(collection(), Synthesis(zoom=(2.0, 2.0), **still), SHAPE, SPACING, CPU)
    half = -made.to_mm[:3, 3]
    for seed in range(20):
        pose = made._pose(Draw(generator(seed), CPU))
        assert np.allclose(pose[:3, :3], np.eye(3) / 2)
        corners = np.array([[-1, -1, -1], [1, 1, 1]]) * half @ pose[:3, :3].T + pose[:3, 3]
        assert np.all(np.abs(corners) <= half + 1e-9)
    assert np.ptp([made._pose(Draw(generator(seed), CPU))[0, 3] for seed in range(20)]) > half[0] / 2
    # What is measured shows whole anatomies.
    assert np.array_equal(held_out._pose(Draw(generator(), CPU)), np.eye(4))
    # Both sides of a pair show the same part, so that there is something to match.
    batch = made.between_subjects(1, generator(3))
    assert float(dice_loss(batch.fixed_labels, batch.moving_labels)) < 0.9


@pytest.mark.parametrize("seed", range(4))
def test_the_true_field_brings_shapes_onto_each_other(seed):
    ranges = Synthesis(shape=ShapeRanges(scale_mm=(40.0, 60.0), walls=0), motion=FieldRanges(mm=(12.0, 12.0)))
    batch = pairs(ranges).random_shapes(1, generator(seed))
    weight = batch.field_weight
    before = float(dice_loss(batch.fixed_labels, batch.moving_labels, weight))
    after = float(dice_loss(batch.fixed_labels, warp(batch.moving_labels, batch.field), weight))
    # What is left is the half voxel of 4 mm that nearest neighbours are off.
    assert after < 0.2 and after < before - 0.05


@pytest.mark.parametrize("seed", range(4))
def test_the_true_field_brings_a_subject_onto_itself(seed):
    ranges = Synthesis(contrast=ContrastRanges(stripped=0), motion=FieldRanges(mm=(12.0, 12.0)))
    batch = pairs(ranges).one_subject(1, generator(seed))
    weight = batch.field_weight

    def difference(image):
        return float(((image - batch.fixed_clean).abs() * weight).sum() / weight.sum())

    assert difference(warp(batch.moving_clean, batch.field)) < 0.6 * difference(batch.moving_clean)


def test_the_true_field_counts_where_both_images_show_the_subject():
    ranges = Synthesis(contrast=ContrastRanges(stripped=1, same_stripping=1, dark_background=1))
    made = pairs(ranges)
    for seed in range(3):
        batch = made.one_subject(1, generator(seed))
        weight = batch.field_weight > 0
        assert 0.02 < float(weight.float().mean()) < 0.5
        assert float((batch.fixed[weight] > 0).float().mean()) > 0.85
        # Beyond the stripped brain there is nothing.
        assert float(batch.fixed_clean[:, :, :2].max()) < 0.01 and not batch.fixed[:, :, :2].any()


def test_subjects_in_different_poses_meet_where_nothing_is_varied():
    still = AffineRanges(0, 0, 0)
    ranges = Synthesis(pose=still, residual=still, variation=FieldRanges((0, 0)), mirrored=0)
    batch = pairs(ranges).between_subjects(1, generator())
    anatomy = Anatomy.of(LABELS)
    places = [Places(torch.from_numpy(each.labels)[None, None], len(LABELS) + 1) for each in collection().training]
    channel = anatomy.channels(anatomy.structures)[None]
    raw_probable = [probabilities(each.read(channel, torch.int64), len(anatomy.structures)) for each in places]
    assert float(dice_loss(batch.fixed_labels, batch.moving_labels)) < 0.25 < float(dice_loss(*raw_probable))


def test_mirrored_subjects_keep_left_on_the_left():
    still = AffineRanges(0, 0, 0)
    quiet = {"pose": still, "residual": still, "variation": FieldRanges((0, 0))}
    plain = pairs(Synthesis(**quiet, mirrored=0)).between_subjects(1, generator())
    mirrored = pairs(Synthesis(**quiet, mirrored=1)).between_subjects(1, generator())
    assert not torch.equal(plain.fixed_labels, mirrored.fixed_labels)
    anatomy = Anatomy.of(LABELS)
    channel = anatomy.structures.index(PLACE[10])
    columns = torch.arange(SHAPE[2], dtype=torch.float32)
    for batch in (plain, mirrored):
        left = batch.fixed_labels[0, channel].sum((0, 1))
        assert float((left * columns).sum() / left.sum()) > (SHAPE[2] - 1) / 2


def test_kinds_are_drawn_as_often_as_asked_and_by_the_seed():
    made = pairs(Synthesis(between_subjects=1, one_subject=0, shapes=1))
    kinds = [made.draw(1, generator(seed)).field is None for seed in range(16)]
    assert 3 <= sum(kinds) <= 13
    again = [made.draw(1, generator(seed)).field is None for seed in range(16)]
    assert kinds == again


def test_fewer_structures_are_compared_where_channels_are_limited():
    made = pairs(Synthesis(channels=3))
    one, other = (made.between_subjects(2, generator(seed)) for seed in (0, 1))
    assert one.fixed_labels.shape[1] == other.moving_labels.shape[1] == 3
    assert not torch.equal(one.fixed_labels.sum((2, 3, 4)), other.fixed_labels.sum((2, 3, 4)))


def test_structures_are_compared_on_longer_voxels_where_that_is_asked():
    fine, coarse = (pairs(Synthesis(overlap_stride=n)).between_subjects(1, generator()) for n in (1, 2))
    assert torch.equal(fine.fixed, coarse.fixed)
    assert torch.allclose(torch.nn.functional.avg_pool3d(fine.moving_labels, 2), coarse.moving_labels)


def test_structures_on_longer_voxels_are_moved_by_the_same_field():
    ranges = {n: Synthesis(overlap_stride=n, shape=ShapeRanges(scale_mm=(60.0, 60.0))) for n in (1, 2)}
    fine, coarse = (pairs(ranges[n]).random_shapes(1, generator()) for n in (1, 2))
    exact = warped_labels(fine.moving_labels, fine.field)
    assert torch.equal(exact, warp(fine.moving_labels, fine.field))
    found = warped_labels(coarse.moving_labels, coarse.field)
    assert float((found - torch.nn.functional.avg_pool3d(exact, 2)).abs().mean()) < 0.01
    moved = float(dice_loss(coarse.fixed_labels, found))
    assert moved < float(dice_loss(coarse.fixed_labels, coarse.moving_labels)) - 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_volumes_never_leave_the_device_they_are_made_on(kind, monkeypatch):
    """On torch's device without data: any look at a value, and any other device, is an error there."""
    monkeypatch.setattr(Draw, "volume", lambda self, *shape: torch.empty(shape, device=self.device))
    made, _ = from_collection(collection(), Synthesis(), SHAPE, SPACING, torch.device("meta"))
    for seed in range(6):
        batch = getattr(made, kind)(2, generator(seed))
        found = [value for value in vars(batch).values() if value is not None]
        assert len(found) >= 6 and {value.device.type for value in found} == {"meta"}


def test_validation_pairs_come_out_the_same_whenever_they_are_made():
    _, validation = from_collection(collection(), Synthesis(), SHAPE, SPACING, CPU)
    makers = validation.fixed_draws(4, seed=3)
    first, again = [make() for make in makers], [make() for make in makers]
    assert all(torch.equal(a.fixed, b.fixed) for a, b in zip(first, again, strict=True))
    assert [batch.field is None for batch in first] == [True, False, False, True]


def test_label_maps_that_share_too_little_are_centred_on_their_content():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:10, 4:12, 2:8] = 1
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    centre = matrix[:3, :3] @ np.array([4.5, 7.5, 6.5])
    subjects = [Subject(str(n), None, labels, matrix, centre, True, np.eye(4)) for n in range(3)]
    still = AffineRanges(0, 0, 0)
    ranges = Synthesis(pose=still, residual=still, variation=FieldRanges((0, 0)))
    made, _ = from_collection(Collection((5,), subjects[:2], subjects[2:], []), ranges, (16, 16, 16), 2.0, CPU)
    batch = made.between_subjects(1, generator())
    inside = batch.fixed_labels[0, 0].nonzero().float().mean(0)
    assert torch.allclose(inside, torch.full((3,), 7.5), atol=0.51)
