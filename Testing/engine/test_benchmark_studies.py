"""The studies under Testing/benchmarks stand on known truths: that these are right."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from deepregister import Geometry, Rigid, Volume, spatial

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import affine_starts
import expected_error
import lesion
import motion
import phantoms
import renders
import studies
from datasets import BenchmarkPair
from deformations import Slide, labels_through, seen_through, smooth_deformation
from operations import Operations
from perturbations import Perturbation, cut_view, head_points, padded_view, perturbed, share_in_view, transform_errors

GRID = phantoms.grid((3.0, 3.0, 3.0), direction=phantoms.FLIPPED)


def head() -> Volume:
    return phantoms.seen_through(Rigid.identity(), GRID, dtype=np.int16)


def drawn(number: int, scale: str = "per-axis") -> Perturbation:
    return Perturbation.random(np.random.default_rng(number), np.array([3.0, -2.0, 5.0]), scale)


@pytest.mark.parametrize("scale", ["per-axis", "isotropic", "none"])
def test_perturbation_stays_within_what_it_says(scale):
    for number in range(20):
        perturbation = drawn(number, scale)
        matrix = perturbation.transform.matrix
        scales = np.linalg.svd(matrix[:3, :3])[1]
        assert scales.min() > 0.8 - 1e-9 and scales.max() < 1.25 + 1e-9
        if scale == "none":
            angle = np.degrees(np.arccos((np.trace(matrix[:3, :3]) - 1) / 2))
            assert angle == pytest.approx(np.linalg.norm(perturbation.turn_degrees)) and angle <= 45
        moved = perturbation.transform.apply_to_points(np.array(perturbation.centre)) - perturbation.centre
        assert np.allclose(moved, perturbation.shift_mm) and np.linalg.norm(moved) <= 60


def test_kinds_of_scale_turn_and_shift_alike():
    ours, others = drawn(3), drawn(3, "none")
    assert (ours.turn_degrees, ours.shift_mm) == (others.turn_degrees, others.shift_mm)
    assert ours.scales != others.scales


def test_perturbed_volume_seen_through_the_truth_is_the_volume():
    volume, points = head(), head_points([head()], 2)
    for number in range(3):
        truth = drawn(number).transform
        view = padded_view(volume, points, truth)
        assert share_in_view(points, truth, view) == 1
        moved = perturbed(volume, truth, view, 0.0, 0.0, None)
        back = truth.resample(moved, volume.geometry)
        inside = volume.data > 20
        lost = np.abs(back.data.astype(float) - volume.data)[inside].mean()
        # Interpolated twice at edges that are a voxel wide.
        assert lost < 0.15 * np.abs(volume.data[inside]).mean()
        assert np.corrcoef(back.data[inside], volume.data[inside])[0, 1] > 0.93


def test_error_of_a_transform_is_its_distance_from_the_truth():
    truth, points = drawn(1).transform, head_points([head()])
    assert transform_errors(truth, truth, points).max() == 0
    shift = np.eye(4)
    shift[:3, 3] = (0, 3, 4)
    assert np.allclose(transform_errors(truth.then(Rigid(shift)), truth, points), 5)


def test_cut_view_leaves_the_share_that_was_asked_for():
    points, identity = head_points([head()], 1), drawn(0, "none").transform
    view = padded_view(head(), points, identity)
    for number, share in enumerate(np.linspace(0.6, 0.95, 8)):
        cut = cut_view(view, points, identity, share, np.random.default_rng(number))
        assert share <= share_in_view(points, identity, cut) < share + 0.1
        assert sum(a < b for a, b in zip(cut.size, view.size, strict=True)) == 1


def test_cropped_starts_leave_sixty_percent_in_view():
    points = head_points([head()], 2)
    for number in range(10):
        perturbation, view = affine_starts.drawn("cropped", head(), points, "per-axis", np.random.default_rng(number))
        assert share_in_view(points, perturbation.transform, view) >= 0.6


def test_streams_of_seeds_differ():
    draws = {studies.generator(seeds, case, 0).random() for seeds in ("development", "held-out") for case in (0, 1)}
    assert len(draws) == 4 and studies.generator("development", 0, 0).random() in draws


def test_held_out_seeds_need_a_word_in_the_ledger(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "HERE", tmp_path)
    parser = studies.option_parser("A study.", "trial", 3)
    with pytest.raises(SystemExit):
        studies.parsed(parser, ["--seeds", "held-out"])
    ledger = tmp_path / "ledger.md"
    for arguments, lines in (
        ([], 0),
        (["--seeds", "held-out", "--changed", "the weather"], 1),
        # A replay is no look.
        (["--seeds", "held-out", "--only", "2"], 1),
    ):
        options = studies.parsed(parser, arguments)
        studies.finish({**studies.new_run(options), "rows": [{}, {}]}, options, "a table", "trial.py")
        told = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
        assert len(told) == lines
    assert told[0].endswith("| trial.py, held-out seeds | 2 | ours | the weather |")
    assert (tmp_path / "results" / "trial.md").read_text(encoding="utf-8") == "a table"


def test_held_out_landmarks_need_a_word_in_the_ledger(tmp_path, monkeypatch):
    kept = {name: [BenchmarkPair(name, tmp_path, tmp_path, held_out=name == "lung")] for name in ("lung", "knees")}
    monkeypatch.setattr(expected_error, "load", lambda name, data: kept[name])
    monkeypatch.setattr(expected_error, "on_landmarks", lambda name, pair: [{}])
    monkeypatch.setattr(expected_error, "summary", lambda run: "a table")
    monkeypatch.setattr(expected_error, "draw", lambda run, path: None)
    monkeypatch.setattr(studies, "HERE", tmp_path)
    with pytest.raises(SystemExit):
        expected_error.main(["--landmarks", "knees", "lung"])
    expected_error.main(["--landmarks", "knees"])
    assert not (tmp_path / "ledger.md").exists()
    expected_error.main(["--landmarks", "knees", "lung", "--changed", "the weather"])
    (line,) = (tmp_path / "ledger.md").read_text(encoding="utf-8").splitlines()
    assert line.endswith("| expected error, lung | 2 | ours | the weather |")


def test_smooth_deformation_folds_nothing_reaches_its_peak_and_stays_in_the_volume():
    geometry = Geometry((60, 50, 56), (5.0, 5.0, 5.0), (10.0, -20.0, 30.0), phantoms.FLIPPED)
    at = geometry.points()[10:-10, 10:-10, 10:-10].reshape(-1, 3)
    for number in range(2):
        truth = smooth_deformation(geometry, np.random.default_rng(number), 30.0, 50.0, at)
        assert truth.corner_jacobian_determinants().min() > 0.2
        assert np.linalg.norm(truth.displacement_at(at), axis=1).max() == pytest.approx(30, rel=0.05)
        index = geometry.point_to_index(truth.apply_to_points(geometry.points()))
        assert index.min() > -0.6 and (index.max((0, 1, 2)) - np.subtract(geometry.size, 1)).max() < 0.6


def test_what_slides_stays_on_its_side_and_does_not_fold():
    slide = Slide((5.0, -10.0), (30.0, 20.0), (-100.0, 100.0), 14.0, -10.0)
    points = np.random.default_rng(0).uniform(-100, 100, (5000, 3))
    moved = slide.apply_to_points(points)
    assert np.array_equal(slide.is_inside(points), slide.is_inside(moved))
    assert np.array_equal(points[:, :2], moved[:, :2]) and np.abs(moved[:, 2]).max() <= 100
    assert slide.steepest() < 1
    across = np.array([[35.0 + d, -10.0, 0.0] for d in (-0.01, 0.01)])
    assert np.diff((slide.apply_to_points(across) - across)[:, 2]) == pytest.approx(-24)


def test_a_volume_seen_through_a_truth_shows_what_lies_there():
    geometry = Geometry((20, 24, 22), (3.0, 2.5, 4.0), (1.0, 2.0, 3.0), phantoms.FLIPPED)
    slopes = np.array([3.0, -2.0, 5.0])
    # A linear ramp is interpolated without error.
    ramp = Volume((geometry.points() @ slopes).astype(np.float32), geometry)
    truth = drawn(2).transform
    seen = seen_through(ramp, truth, geometry, np.nan)
    expected = truth.apply_to_points(geometry.points()) @ slopes
    shown = np.isfinite(seen.data)
    assert shown.mean() > 0.02 and np.allclose(seen.data[shown], expected[shown], atol=0.01)
    labels = Volume((ramp.data > 0).astype(np.uint8), geometry)
    clear = shown & (np.abs(expected) > 40)
    assert np.array_equal(labels_through(labels, truth, geometry).data[clear], expected[clear] > 0)


def test_a_lesion_changes_nothing_outside_its_mask():
    volume, rng = head(), np.random.default_rng(0)
    brain = Volume((volume.data > 500).astype(np.uint8), volume.geometry)
    for bright in (True, False):
        found = lesion.placed(brain, bright, rng)
        pasted, mask = found.pasted(volume, rng), found.mask(volume.geometry)
        changed = pasted.data != volume.data
        assert changed.sum() > 300 and not np.any(changed & (mask.data > 0))
        tissue, inside = volume.data[brain.data > 0].mean(), pasted.data[found.distance(GRID.points()) < -2].mean()
        assert inside > 1.1 * tissue if bright else inside < 0.5 * tissue
    points, distance = lesion.scored_points(brain, found, None)
    assert distance.min() >= 10 and np.array_equal(distance, found.distance(points))


def test_figures_of_a_lesion_are_the_rise_of_the_error():
    points, distance = np.random.default_rng(0).uniform(-50, 50, (500, 3)), np.linspace(10, 40, 500)
    shifts = []
    for length in (1.0, 1.5):
        matrix = np.eye(4)
        matrix[0, 3] = length
        shifts.append(Rigid(matrix))
    reference, found = shifts
    known = lesion.figures(found, reference, Rigid.identity(), points, distance)
    assert known["mean_mm"] == pytest.approx(0.5) and known["reference_error_mm"] == pytest.approx(1.0)
    assert lesion.figures(found, reference, None, points, distance)["shell_mm"] == pytest.approx(0.5)


def blocks() -> Volume:
    """A label map of a left and a right structure and of something else."""
    data = np.zeros((24, 30, 40), np.int32)
    data[4:20, 4:26, 4:14], data[4:20, 4:26, 14:24], data[4:20, 4:26, 24:36] = 2, 41, 507
    return Volume.from_array(data)


def test_a_render_shows_each_label_as_its_contrast_says():
    labels, rng = blocks(), np.random.default_rng(5)
    contrast = renders.random_contrast(rng, np.arange(1, 600))
    assert contrast[2] == contrast[41] and contrast[0] == (0, 0)
    plain = renders.Appearance(bias=0.0, noise=0.0)
    image = renders.render(labels, contrast, plain, rng)
    for part, value in ((slice(7, 11), 2), (slice(17, 21), 41), (slice(28, 32), 507)):
        assert image.data[8:16, 8:22, part].mean() == pytest.approx(1000 * contrast[value][0], abs=10)
    again = renders.render(labels, contrast, renders.Appearance.random(rng), np.random.default_rng(1))
    same = renders.render(labels, contrast, renders.Appearance.random(rng), np.random.default_rng(1))
    assert not np.array_equal(again.data, same.data)


def test_thick_slices_show_the_same_place():
    labels = blocks()
    scan = renders.Appearance(bias=0.0, noise=0.0, slice_axis=0, slices_mm=4.0)
    image = renders.render(labels, {2: (0.2, 0.0), 41: (0.5, 0.0), 507: (0.9, 0.0)}, scan, np.random.default_rng(0))
    assert image.geometry.size == (10, 30, 24) and image.geometry.spacing == (4.0, 1.0, 1.0)
    assert np.allclose(image.geometry.centre, labels.geometry.centre)
    assert image.data[12, 15, 7] == pytest.approx(900, abs=30) and image.data[12, 15, 2] == pytest.approx(200, abs=30)


def test_operations_are_tallied_by_function_and_put_back():
    smooth, image = spatial.smooth, torch.rand(1, 1, 20, 20, 20)
    operations = Operations()
    with operations.watching():
        operations.enter_stage("deform")
        watched = spatial.smooth(image, 1.0)
        total = image + image
    assert spatial.smooth is smooth and torch.equal(watched, smooth(image, 1.0))
    assert operations.functions["deform", "spatial.smooth"].calls == 1
    assert operations.functions["deform", "spatial._symmetric_filter"].moved > 3 * 2 * total.nbytes
    # One product with a matrix along the rows, and two of many at a time along the other axes.
    assert (operations.tensor["mm"].calls, operations.tensor["bmm"].calls) == (1, 2)


def test_regions_are_given_once_more_where_register_takes_them(monkeypatch):
    regions = head()
    monkeypatch.setattr("deepregister.registration.register", lambda fixed, moving, regions=None: None)
    calls = [("affine", {}), ("fast", {}), ("fast", {"regions": regions})]
    assert motion.calls(["affine", "fast"], regions) == calls
    assert motion.calls(["affine", "fast"], None) == calls[:2]
    monkeypatch.setattr("deepregister.registration.register", lambda fixed, moving: None)
    assert motion.calls(["affine", "fast"], regions) == calls[:2]


def test_motion_of_a_body_is_known(shared_data):
    """What the fixed image shows at a point, the moving one shows where the truth says, and not at the same point."""
    fixed, moving, regions, truth, away, near = motion.pair("sliding", shared_data, "development", 0)
    before = motion.figures(Rigid.identity(), truth, away, near)
    assert before["mean_mm"] > 5 and 20 < before["largest_mm"] < 45
    assert motion.figures(truth, truth, away, near)["largest_mm"] == 0
    assert set(np.unique(regions.data)) == {1, 2} and 0.02 < (regions.data == 1).mean() < 0.4

    def values(volume, points):
        index = np.rint(volume.geometry.point_to_index(points)).astype(int)
        return volume.data[index[:, 2], index[:, 1], index[:, 0]].astype(float)

    shown = values(fixed, away)
    within = np.corrcoef(shown, values(moving, truth.apply_to_points(away)))[0, 1]
    assert within > np.corrcoef(shown, values(moving, away))[0, 1] + 0.2
