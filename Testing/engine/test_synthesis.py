"""Synthesis of images: statistics of what is drawn, motion that can be undone, shapes, and refusals."""

import numpy as np
import pytest
import torch
from deepregister import Volume
from deepregister.errors import InputError
from deepregister.preparation import prepare
from deepregister.spatial import compose, jacobian_determinant, least_corner_determinant, lengths
from deepregister.training.synthesis.acquisition import augment, blur_matrix, filtered, inside, scaled, slice_matrix
from deepregister.training.synthesis.anatomy import Anatomy
from deepregister.training.synthesis.contrast import clear_contrast, kept_places, painted, random_contrast
from deepregister.training.synthesis.draw import Draw, smooth_noise, spline_matrix
from deepregister.training.synthesis.fields import (
    affine,
    field_of,
    points_of,
    random_affine,
    smooth_motion,
    transformed,
)
from deepregister.training.synthesis.labels import LabelMaps, Places, common_pose, probabilities
from deepregister.training.synthesis.ranges import (
    AcquisitionRanges,
    AffineRanges,
    ContrastRanges,
    FieldRanges,
    ShapeRanges,
    Synthesis,
)
from deepregister.training.synthesis.shapes import most_labels, random_shapes, shape_anatomy
from heads import LABELS, PLACE, SPACING, head_labels, turned
from scipy.spatial.transform import Rotation

CPU = torch.device("cpu")


def draws(seed=0):
    return Draw(torch.Generator().manual_seed(seed), CPU)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Noise ----------------------------------------------------------------------------------------------------------------


def test_smooth_noise_has_unit_variance_everywhere_and_the_asked_scale():
    noise = smooth_noise(draws(), 3000, (6, 24, 5), [4.0, 9.0])
    assert noise.shape == (2, 3000, 6, 24, 5)
    assert float(noise.mean(1).abs().max()) < 0.1
    assert float((noise.std(1) - 1).abs().max()) < 0.08

    def alike(sample, step):
        return float((noise[sample, :, 3, 0, 2] * noise[sample, :, 3, step, 2]).mean())

    assert alike(0, 2) > 0.7 and abs(alike(0, 16)) < 0.08
    assert alike(1, 5) > 0.7 and alike(1, 10) > 0.15


@pytest.mark.parametrize("distance", [1.3, 4.0, 50.0])
def test_splines_are_smooth_and_no_place_lacks_knots(distance):
    matrix = spline_matrix(30, distance, 0.7 * distance)
    assert (matrix >= 0).all() and np.allclose((matrix**2).sum(1), 1)


def test_the_same_seed_gives_the_same_noise_and_another_seed_another():
    one, same, other = (smooth_noise(draws(seed), 1, (8, 8, 8), [3.0]) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


# Motion ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "spacing"), [((40, 48, 44), 2.0), ((24, 23, 25), 4.0), ((64, 40, 48), 1.0)])
def test_smooth_motion_stays_in_its_range_has_no_folds_and_is_undone_by_its_inverse(seed, shape, spacing):
    motion = smooth_motion(FieldRanges(mm=(8.0, 12.0)), 2, shape, spacing, draws(seed))
    field, inverse = motion.field(), motion.inverse()
    assert field.shape == inverse.shape == (2, 3, *shape)
    longest = spacing * lengths(field).amax((1, 2, 3, 4))
    assert (longest <= 12.0 + 1e-3).all() and (longest > 1.0).all()
    for one in range(2):
        assert float(least_corner_determinant(field[one : one + 1]).min()) > 0.03
    # Where a path leaves the grid the field is held, and going back is another matter.
    margin = int(12 / spacing) + 1
    kept = (slice(None), slice(None), *(slice(margin, n - margin) for n in shape))
    forth, back = (lengths(compose(*pair))[kept] for pair in ((inverse, field), (field, inverse)))
    # Voxels; the second way reads the inverse between its voxels, where over two of them space stretches threefold.
    assert float(forth.mean()) < 0.01 and float(back.mean()) < 0.1 and float(back.max()) < 1


def test_strain_bounds_how_far_space_is_stretched():
    soft, stiff = (
        smooth_motion(FieldRanges((12.0, 12.0), (8.0, 16.0), strain), 4, (40, 40, 40), 2.0, draws()).field()
        for strain in (0.8, 0.1)
    )
    spread = [max(float(jacobian_determinant(f[n : n + 1]).log().std()) for n in range(4)) for f in (soft, stiff)]
    assert spread[0] > 0.1 > 0.05 > spread[1]


def test_no_motion_is_asked_none_given():
    field = smooth_motion(FieldRanges((0.0, 0.0)), 1, (16, 16, 16), 1.0, draws()).field()
    assert not field.any()


@pytest.mark.parametrize("seed", range(20))
def test_affine_maps_stay_in_their_ranges_and_have_halves_and_inverses(seed):
    ranges = AffineRanges(degrees=15, mm=10, percent=12)
    logarithm = random_affine(ranges, draws(seed))
    whole, half, back = (affine(logarithm, share) for share in (1, 0.5, -1))
    assert np.allclose(half @ half, whole) and np.allclose(back @ whole, np.eye(4))
    u, stretch, v = np.linalg.svd(whole[:3, :3])
    assert stretch.max() < 1.13 and stretch.min() > 1 / 1.13
    turn = np.degrees(np.linalg.norm(Rotation.from_matrix(u @ v).as_rotvec()))
    assert turn < 15.5 and np.linalg.norm(whole[:3, 3]) < 11.5
    assert np.linalg.det(u @ v) > 0


def test_affine_maps_fill_their_ranges():
    turns = [affine(random_affine(AffineRanges(15, 10, 0), draws(seed))) for seed in range(60)]
    degrees = [np.degrees(np.linalg.norm(Rotation.from_matrix(m[:3, :3]).as_rotvec())) for m in turns]
    assert min(degrees) < 3 and max(degrees) > 12
    assert max(np.linalg.norm(m[:3, 3]) for m in turns) > 8
    assert np.array_equal(affine(random_affine(AffineRanges(0, 0, 0), draws())), np.eye(4))


def test_points_and_fields_are_two_ways_to_say_the_same():
    field = torch.randn(2, 3, 5, 6, 7, generator=generator())
    points = points_of(field)
    assert torch.allclose(field_of(points), field, atol=1e-5)
    matrices = np.stack([turned(10, (1, 2, 3), 1.1), turned(-5)])
    found = transformed(matrices, points)
    for sample, matrix in enumerate(matrices):
        start = np.array([2, 3, 4]) + field[sample, :, 4, 3, 2].numpy()
        assert np.allclose(found[sample, :, 4, 3, 2], matrix[:3, :3] @ start + matrix[:3, 3], atol=1e-4)


# Labels ---------------------------------------------------------------------------------------------------------------


def random_labels(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).integers(1, 200, shape).astype(np.uint8))


def shifted(shape, *shifts):
    """Points of grids of `shape`, moved by `shifts` along i, j, k."""
    return points_of(torch.zeros(len(shifts), 3, *shape)) + torch.tensor(shifts).view(-1, 3, 1, 1, 1)


def test_labels_are_those_of_the_nearest_voxel_and_background_outside():
    labels = [random_labels(0, 4, 5, 6), random_labels(1, 7, 3, 5)]
    maps = LabelMaps.of(labels)
    for number, one in enumerate(labels):
        assert torch.equal(maps.at([number], shifted(one.shape, (0.0, 0.0, 0.0)))[0, 0], one)
    found = maps.at([1, 0], shifted((4, 5, 6), (0.0, 0.0, 0.0), (1.4, -0.6, 0.3)))[:, 0]
    assert torch.equal(found[0, :, :3, :5], labels[1][:4])
    assert not found[0, :, 3:].any() and not found[0, :, :, 5:].any()
    assert torch.equal(found[1, :, 1:, :5], labels[0][:, :4, 1:])
    assert not found[1, :, 0].any() and not found[1, :, :, 5].any()
    assert not maps.at([0], shifted((4, 5, 6), (1e6, 0.0, -1e6))).any()


def test_maps_with_their_own_border_hold_it():
    labels = random_labels(0, 2, 6, 7, 8)
    found = LabelMaps.bordered(labels).at([1, 0], shifted((4, 5, 6), (0.0, 0.0, 0.0), (0.0, 0.0, 100.0)))
    assert torch.equal(found[0, 0], labels[1, 1:-1, 1:-1, 1:-1])
    assert torch.equal(found[1, 0, 2], labels[0, -1, 1:-1, 1:-1])


def test_each_map_of_a_batch_is_read_from_its_own_table():
    labels = torch.tensor([[0, 1, 2], [2, 2, 0]], dtype=torch.uint8).view(2, 1, 1, 1, 3)
    tables = np.array([[0.0, 0.1, 0.2], [1.0, 1.1, 1.2]])
    found = Places(labels, 3).read(tables).flatten(1)
    assert np.allclose(found, [[0.0, 0.1, 0.2], [1.2, 1.2, 1.0]])


def test_probabilities_are_the_shares_of_the_voxels_of_each_block():
    channel = torch.randint(0, 3, (2, 1, 7, 8, 9), generator=generator())
    fine, coarse = probabilities(channel, 2), probabilities(channel, 2, 2)
    assert torch.equal(fine[:, :1] > 0, channel == 0) and torch.equal(fine[:, 1:] > 0, channel == 1)
    assert torch.allclose(coarse, torch.nn.functional.avg_pool3d(fine, 2))


def test_bodies_in_different_poses_are_brought_into_one():
    rng = np.random.default_rng(0)
    typical = 40 * rng.normal(size=(12, 3))
    poses = [turned(20 * n, (10 * n, -5, 3), 1 + 0.1 * n) for n in range(3)]
    points = np.stack([typical @ m[:3, :3].T + m[:3, 3] for m in poses])
    points[1, 4] = np.nan
    found = common_pose(points)
    back = [p @ np.linalg.inv(m)[:3, :3].T + np.linalg.inv(m)[:3, 3] for p, m in zip(points, found, strict=True)]
    assert np.allclose(back[0][5:], back[1][5:], atol=1e-6) and np.allclose(back[0], back[2], atol=1e-6)
    assert np.allclose(np.delete(back[0], 4, 0).mean(0), 0, atol=1e-6)
    assert common_pose(points[:, :5]) is None


# Anatomy --------------------------------------------------------------------------------------------------------------


def test_a_head_is_known_by_its_labels():
    anatomy = Anatomy.of(LABELS)
    for left, right in ((2, 41), (3, 42), (10, 49)):
        assert anatomy.tissue[PLACE[left]] == anatomy.tissue[PLACE[right]]
        assert anatomy.mirror[PLACE[left]] == PLACE[right] and anatomy.mirror[PLACE[right]] == PLACE[left]
    assert anatomy.mirror[PLACE[16]] == PLACE[16] and anatomy.mirror[0] == 0
    assert not anatomy.kept[PLACE[515]] and anatomy.kept[PLACE[3]] and anatomy.strips
    assert PLACE[24] not in anatomy.structures and PLACE[49] in anatomy.structures
    assert len(set(anatomy.tissue)) == len(anatomy.kind) == len(anatomy.t1)


def test_labels_of_something_else_are_each_their_own_tissue_and_all_count():
    anatomy = Anatomy.of((1, 2, 7))
    assert anatomy.tissue == (0, 1, 2, 3) and anatomy.structures == (1, 2, 3)
    assert anatomy.mirror is None and anatomy.t1 is None and not anatomy.strips
    assert Anatomy.of((1, 2, 7), structures=(7,), kept=(2, 7)).structures == (3,)
    assert Anatomy.of((1, 2, 7), structures=(7,), kept=(2, 7)).strips


def test_a_structure_that_no_map_holds_is_refused_by_its_label():
    with pytest.raises(InputError, match="the label 9 "):
        Anatomy.of((1, 2, 7), structures=(1, 9))
    with pytest.raises(InputError, match="the label 4 "):
        Anatomy.of((1, 2, 7), kept=(4,))


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


# Ranges ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FieldRanges(mm=(5.0, 2.0)), "FieldRanges.mm"),
        (lambda: FieldRanges(scale_mm=(0.0, 2.0)), "FieldRanges.scale_mm"),
        (lambda: AffineRanges(degrees=-1.0), "AffineRanges.degrees"),
        (lambda: ContrastRanges(same=1.5), "ContrastRanges.same"),
        (lambda: AcquisitionRanges(crop=(0.0, 0.6)), "AcquisitionRanges.crop"),
        (lambda: ShapeRanges(partitions=6), "254 labels"),
        (lambda: ShapeRanges(cells=1), "ShapeRanges.cells"),
        (lambda: Synthesis(between_subjects=0, one_subject=0, shapes=0), "draws nothing"),
        (lambda: Synthesis(mirrored=2.0), "Synthesis.mirrored"),
    ],
)
def test_ranges_that_cannot_be_drawn_from_are_refused_by_name(make, words):
    with pytest.raises(InputError, match=words):
        make()
