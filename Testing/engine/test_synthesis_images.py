"""Synthesised images: contrasts and shapes by their statistics, and scanners that do what they are asked."""

import numpy as np
import pytest
import torch
from deepregister import Volume
from deepregister.preparation import prepare
from deepregister.training.synthesis.acquisition import augment, blur_matrix, filtered, inside, scaled, slice_matrix
from deepregister.training.synthesis.anatomy import Anatomy
from deepregister.training.synthesis.contrast import clear_contrast, kept_places, painted, random_contrast
from deepregister.training.synthesis.draw import Draw
from deepregister.training.synthesis.labels import Places
from deepregister.training.synthesis.ranges import (
    AcquisitionRanges,
    ContrastRanges,
    ShapeRanges,
)
from deepregister.training.synthesis.shapes import most_labels, random_shapes, shape_anatomy
from heads import LABELS, PLACE, SPACING, head_labels

CPU = torch.device("cpu")


def draws(seed=0):
    return Draw(torch.Generator().manual_seed(seed), CPU)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Contrast -------------------------------------------------------------------------------------------------------------


def test_each_label_is_painted_with_its_mean_and_deviation():
    anatomy = Anatomy.of(LABELS)
    labels = torch.randint(0, len(LABELS) + 1, (1, 1, 40, 50, 60), generator=generator()).to(torch.uint8)
    contrast = random_contrast(anatomy, ContrastRanges(), draws())
    image = painted(Places(labels, len(LABELS) + 1), [contrast], draws(1))
    for place in range(len(LABELS) + 1):
        values = image[labels == place]
        assert float(values.mean()) == pytest.approx(contrast.mean[place], abs=0.01)
        assert float(values.std()) == pytest.approx(contrast.deviation[place], abs=0.005)
    assert contrast.mean[PLACE[2]] == contrast.mean[PLACE[41]]


def test_contrasts_stay_in_their_ranges_and_differ():
    anatomy, ranges = Anatomy.of(LABELS), ContrastRanges(deviation=(0.02, 0.05), dark_background=0.5, t1_like=0)
    drawn = [random_contrast(anatomy, ranges, draws(seed)) for seed in range(200)]
    means, spreads = (np.stack([getattr(each, name) for each in drawn]) for name in ("mean", "deviation"))
    assert means.min() >= 0 and means.max() <= 1
    tissue = spreads[:, 1:]
    assert tissue.min() >= 0.02 and tissue.max() <= 0.05
    assert 0.35 < (means[:, 0] == 0).mean() < 0.65
    assert (means[:, 1:].std(0) > 0.15).all() and np.all(abs(means[:, 1:].mean(0) - 0.5) < 0.12)


def test_kinds_of_tissue_share_a_brightness_where_they_are_not_independent():
    anatomy = Anatomy.of(LABELS)
    for independence, alike in ((0.0, True), (1.0, False)):
        ranges = ContrastRanges(independence=(independence, independence), t1_like=0)
        mean = random_contrast(anatomy, ranges, draws()).mean
        assert (mean[PLACE[3]] == mean[PLACE[10]]) == alike


def test_a_t1_like_head_has_white_brighter_than_grey_brighter_than_fluid():
    anatomy = Anatomy.of(LABELS)
    for seed in range(5):
        mean = random_contrast(anatomy, ContrastRanges(t1_like=1, jitter=0.02), draws(seed)).mean
        assert mean[PLACE[2]] > mean[PLACE[3]] > mean[PLACE[24]]


def test_clear_contrast_tells_all_tissues_apart():
    anatomy = Anatomy.of(LABELS)
    for seed in range(10):
        mean = clear_contrast(anatomy, draws(seed)).mean
        assert mean[0] == 0 and mean[1:].min() > 0 and mean.max() <= 1
        assert len(set(mean)) == len(anatomy.kind)
        white, grey, fluid = (mean[PLACE[label]] for label in (2, 3, 24))
        assert min(abs(white - grey), abs(grey - fluid), abs(white - fluid)) > 0.4 / max(anatomy.kind)


def test_skull_stripping_leaves_the_brain_and_sometimes_the_fluid_around_it():
    anatomy = Anatomy.of(LABELS)
    kept = np.stack([kept_places(anatomy, draws(seed)) for seed in range(30)])
    assert not kept[:, [0, PLACE[515], PLACE[511]]].any() and kept[:, [PLACE[3], PLACE[16]]].all()
    assert 0.2 < kept[:, PLACE[24]].mean() < 0.8


# Acquisition ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.0, 0.6, 2.0])
def test_blur_has_the_asked_width_and_keeps_the_mean(sigma):
    matrix = blur_matrix(41, sigma)
    assert np.allclose(matrix.sum(1), 1)
    distance = np.arange(41) - 20
    assert (matrix[20] * distance**2).sum() == pytest.approx(sigma**2, abs=0.1)


@pytest.mark.parametrize("thickness", [1.5, 3.0, 6.2])
@pytest.mark.parametrize("offset", [0.0, 0.4, 0.99])
def test_thick_slices_hold_as_much_as_slices_of_that_thickness_can(thickness, offset):
    matrix = slice_matrix(60, thickness, offset)
    assert np.allclose(matrix.sum(1), 1) and (matrix >= 0).all()
    assert np.linalg.matrix_rank(matrix) == pytest.approx(60 / thickness, abs=2)
    # Straight lines stay straight, but for the ends.
    inner = slice(int(2 * thickness) + 1, 60 - int(2 * thickness) - 1)
    assert np.allclose((matrix @ np.arange(60))[inner], np.arange(60)[inner], atol=0.51)
    rough = np.random.default_rng(0).normal(size=60)
    assert (matrix @ rough).std() < 0.8


def test_slices_as_thin_as_voxels_change_nothing():
    assert np.array_equal(slice_matrix(20, 1.0, 0.3), np.eye(20))


def test_matrices_are_applied_along_their_own_axes():
    image = torch.randn(2, 1, 4, 5, 6, generator=generator())
    matrices = [np.random.default_rng(n).normal(size=(2, n, n)) for n in (4, 5, 6)]
    expected = np.einsum("nad,nbh,ncw,ndhw->nabc", *matrices, image[:, 0].numpy())
    assert np.allclose(filtered(image, matrices)[:, 0], expected, atol=1e-4)


def test_intensities_are_scaled_as_the_engine_prepares_them():
    image = 300 * torch.rand(1, 1, 20, 20, 20, generator=generator()) ** 3 - 40
    expected = prepare(Volume.from_array(image[0, 0].numpy()))[0].image.data
    found = scaled(torch.cat([image, 2 * image + 5, torch.full_like(image, 7.0)]))
    assert np.allclose(found[0, 0], expected, atol=1e-4) and np.allclose(found[1, 0], expected, atol=1e-4)
    assert not found[2].any()


def test_augmented_images_are_scaled_differ_and_follow_their_seed():
    image = torch.from_numpy(head_labels()[0])[None, None].float() / len(LABELS)
    found = [augment(image, AcquisitionRanges(cropped=0), SPACING, draws(seed))[0] for seed in (0, 0, 1, 2)]
    assert torch.equal(found[0], found[1])
    for one in found:
        assert float(one.min()) == 0 and float(one.max()) == 1 and torch.isfinite(one).all()
    assert float((found[1] - found[2]).abs().mean()) > 0.01 and float((found[2] - found[3]).abs().mean()) > 0.01


def test_each_image_of_a_batch_is_augmented_in_its_own_way():
    image = torch.from_numpy(head_labels()[0])[None, None].float() / len(LABELS)
    found, _ = augment(image.repeat(2, 1, 1, 1, 1), AcquisitionRanges(noise=(0, 0)), SPACING, draws())
    assert float((found[0] - found[1]).abs().mean()) > 0.01


def test_nothing_asked_of_the_scanner_changes_nothing():
    image = torch.rand(2, 1, 12, 14, 16, generator=generator())
    nothing = AcquisitionRanges((0, 0), 0, (1, 1), (0, 0), (40, 40), (0, 0), 0, 0, (0, 0))
    expected = scaled(image)
    found, view = augment(image, nothing, 1.0, draws())
    assert torch.allclose(found, expected, atol=1e-5)
    assert view.tolist() == [[[0, 15], [0, 13], [0, 11]]] * 2
    assert inside((12, 14, 16), view, CPU) is None


def test_a_small_field_of_view_cuts_sides_off_and_says_which():
    image = torch.rand(8, 1, 20, 21, 22, generator=generator()) + 0.5
    found, view = augment(image, AcquisitionRanges(cropped=1, crop=(0.1, 0.3)), 1.0, draws())
    shown = inside((20, 21, 22), view, CPU)
    assert not found[shown == 0].any()
    for (i, j, k), one in zip(view, shown[:, 0], strict=True):
        assert one.sum() == np.prod(np.diff([i, j, k]) + 1) and one[k[0], j[0], i[0]] == one[k[1], j[1], i[1]] == 1
        assert min(np.diff([i, j, k])) >= 7
    assert ((shown == 0).flatten(1).any(1)).sum() >= 6


# Shapes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_random_shapes_are_many_connected_pieces(seed):
    ranges = ShapeRanges(scale_mm=(16.0, 40.0))
    labels = random_shapes(ranges, 2, (40, 44, 48), 4.0, draws(seed))
    assert labels.shape == (2, 40, 44, 48) and labels.dtype == torch.uint8
    assert torch.equal(labels, random_shapes(ranges, 2, (40, 44, 48), 4.0, draws(seed)))
    for one in labels:
        present = one.unique().tolist()
        assert max(present) <= most_labels(ranges) and len(present) >= 6
        # Neighbours are mostly of one label: shapes, not noise.
        assert float((one[1:] == one[:-1]).float().mean()) > 0.6


def test_walls_are_sheets_of_their_own():
    ranges = {walls: ShapeRanges(scale_mm=(40.0, 40.0), walls=walls, wall_mm=(6.0, 6.0)) for walls in (0.0, 1.0)}
    with_walls, without = (random_shapes(ranges[walls], 1, (48, 48, 48), 2.0, draws()) for walls in (1.0, 0.0))
    assert not (without == 0).any()
    assert 0.02 < float((with_walls == 0).float().mean()) < 0.4


def test_walls_count_as_something_to_follow():
    anatomy = shape_anatomy(ShapeRanges(cells=3))
    assert all(anatomy.content) and len(anatomy.structures) == 9 and not anatomy.strips
