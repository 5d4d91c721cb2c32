"""What synthesis is made of: noise, motion that can be undone, label maps and what they mean, and refusals."""

import numpy as np
import pytest
import torch
from deepregister.errors import InputError
from deepregister.spatial import compose, jacobian_determinant, least_corner_determinant, lengths
from deepregister.training.synthesis.anatomy import Anatomy
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
from heads import LABELS, PLACE, turned
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
