"""Learned models: the field in mm does not depend on how the voxels are stored, folds nowhere, and can be refined."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from deepregister import Affine, Composite, DisplacementField, Rigid, Settings, Volume, quality, register
from deepregister.errors import ModelError
from deepregister.landmarks import LandmarkPairs
from deepregister.models import fitting
from deepregister.models.instance import fine_levels, pyramid
from deepregister.models.learned import LearnedModel, coarse
from deepregister.preparation import Pair, prepare
from deepregister.progress import Monitor
from deepregister.registration import invert_transform
from deepregister.similarity.agreement import similarity
from geometries import axis_changes, relabelled
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import OBLIQUE, bumps, grid, head, seen_through
from test_instance import textured
from toymodels import random_network, toy_model, trained_model, write_model

CPU = torch.device("cpu")
NETWORK_ALONE = Settings(quality="fast")
TRUTH = bumps(6.0, grid((2, 2, 2), extent=(140, 130, 140)))
ARCHITECTURES = pytest.mark.parametrize("architecture", ["voxelmorph", "pyramid"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of each architecture that moves the phantoms by some mm."""
    folder = tmp_path_factory.mktemp("models")
    return {name: LearnedModel(toy_model(folder / name, name, 3.0)) for name in ("voxelmorph", "pyramid")}


@cache
def volumes():
    return textured(TRUTH, grid((2, 2, 2))), textured(Rigid.identity(), grid((2.5, 2, 3)))


def pair_of(fixed, moving, **more):
    return Pair(prepare(fixed)[0], prepare(moving)[0], **more)


def predicted(model, fixed, moving, start=None, run_settings=NETWORK_ALONE):
    return model.predict(pair_of(fixed, moving), start, run_settings, CPU, Monitor())


def points(count=300):
    return np.random.default_rng(0).uniform((-40, -30, -35), (40, 30, 35), (count, 3))


def apart(a, b, at=None):
    """Distances in mm of where two transforms take points, which are those of `b` moved by `at`."""
    shift = np.zeros(3) if at is None else at
    return np.linalg.norm(a.apply_to_points(points()) - (b.apply_to_points(points() + shift) - shift), axis=1)


@ARCHITECTURES
@settings(max_examples=8)
@given(fixed_change=axis_changes(), moving_change=axis_changes())
def test_the_order_and_sense_of_the_axes_change_nothing(models, architecture, fixed_change, moving_change):
    fixed, moving = volumes()
    plain = predicted(models[architecture], fixed, moving)
    assert np.linalg.norm(plain.parts[0].displacement, axis=-1).max() > 2
    stored = [
        Volume(np.ascontiguousarray(array), geometry)
        for volume, change in ((fixed, fixed_change), (moving, moving_change))
        for geometry, array in [relabelled(volume.geometry, volume.data, *change)]
    ]
    assert apart(plain, predicted(models[architecture], *stored)).max() < 1e-2


@ARCHITECTURES
@given(shift=st.tuples(*[st.floats(-300, 300)] * 3))
@settings(max_examples=5)
def test_elsewhere_in_space_it_is_the_same(models, architecture, shift):
    fixed, moving = volumes()
    away = [
        Volume(each.data, type(each.geometry).from_matrix(_moved(each.geometry.matrix, shift), each.geometry.size))
        for each in (fixed, moving)
    ]
    plain = predicted(models[architecture], fixed, moving)
    assert apart(plain, predicted(models[architecture], *away), np.asarray(shift)).max() < 1e-2


def _moved(matrix, shift):
    matrix = matrix.copy()
    matrix[:3, 3] += shift
    return matrix


@ARCHITECTURES
def test_background_around_the_object_changes_nothing(models, architecture):
    fixed, moving = volumes()
    padded = [
        Volume(np.pad(each.data, width, constant_values=each.data.min()), each.geometry.padded(width))
        for each, width in ((fixed, 9), (moving, 6))
    ]
    plain = predicted(models[architecture], fixed, moving)
    # Percentiles of the intensities see the background; the field hardly does.
    assert apart(plain, predicted(models[architecture], *padded)).mean() < 0.2


@ARCHITECTURES
def test_other_voxels_of_the_same_object_give_nearly_the_same_field(models, architecture):
    # Seen at 4 mm; what is finer is averaged away in other blocks. Random weights care more for that than trained ones.
    fixed, moving = (seen_through(transform, grid((1.8, 2.1, 1.9))) for transform in (TRUTH, Rigid.identity()))
    plain = predicted(
        models[architecture], seen_through(TRUTH, grid((2, 2, 2))), seen_through(Rigid.identity(), grid((2, 2, 2)))
    )
    lengths = np.linalg.norm(plain.apply_to_points(points()) - points(), axis=1)
    assert lengths.mean() > 1
    assert apart(plain, predicted(models[architecture], fixed, moving)).mean() < 0.6


@ARCHITECTURES
def test_range_and_offset_of_the_intensities_change_nothing(models, architecture):
    fixed, moving = volumes()
    other = [Volume(each.data * scale + 77, each.geometry) for each, scale in ((fixed, 0.01), (moving, 30.0))]
    assert apart(predicted(models[architecture], fixed, moving), predicted(models[architecture], *other)).max() < 0.01


@pytest.mark.parametrize("integrate", [True, False])
@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_what_the_network_says_in_voxels_comes_out_in_millimetres(tmp_path, integrate, direction):
    network = random_network("voxelmorph", integrate=integrate)
    bias = torch.tensor([0.6, -0.4, 0.3])
    with torch.no_grad():
        network.flow.weight.zero_()
        network.flow.bias.copy_(bias)
    card = write_model(tmp_path / "toy", network, "voxelmorph", 4.0, {"integrate": integrate})
    straight = grid((2, 2, 3), direction)
    geometry, _ = relabelled(straight, np.zeros(straight.shape), (2, 0, 1), (True, False, True))
    fixed = Volume(head(geometry.points()).astype(np.float32), geometry)
    found = predicted(LearnedModel(card), fixed, volumes()[1], Affine.identity())
    # Voxels of the field have 2 x 4 mm; its axes are the volume's own, as near to left, back and head as they run.
    expected = np.asarray(geometry.canonical().direction) @ (8.0 * bias.numpy())
    assert found.apply_to_points(np.zeros(3)) == pytest.approx(expected, abs=1e-3)


def test_a_network_that_has_learned_the_pair_aligns_it_however_it_is_stored(tmp_path):
    fixed, moving = volumes()
    pair = pair_of(fixed, moving)
    model = LearnedModel(trained_model(tmp_path, pair))
    before = similarity(pair, Affine.identity(), CPU)
    for order in ((0, 1, 2), (2, 0, 1)):
        stored = [
            Volume(np.ascontiguousarray(array), geometry)
            for each in (fixed, moving)
            for geometry, array in [relabelled(each.geometry, each.data, order, (order[0] == 2,) * 3)]
        ]
        found = predicted(model, *stored)
        assert similarity(pair, found, CPU) > before + 0.05
        missed = np.linalg.norm(found.apply_to_points(points()) - TRUTH.apply_to_points(points()), axis=1)
        unmoved = np.linalg.norm(points() - TRUTH.apply_to_points(points()), axis=1)
        assert missed.mean() < 0.8 * unmoved.mean()


@ARCHITECTURES
def test_an_affine_start_is_where_the_network_begins(models, architecture):
    fixed, moving = volumes()
    matrix = np.eye(4)
    matrix[:3, :3] = [[1.05, 0.1, 0], [-0.1, 0.95, 0], [0, 0, 1]]
    matrix[:3, 3] = [4, -3, 2]
    start = Affine(matrix)
    plain = predicted(models[architecture], fixed, moving)
    # The same object, seen where the start has taken it.
    away = textured(start.inverse(), grid((2, 2, 2), extent=(140, 130, 140)))
    found = predicted(models[architecture], fixed, away, start)
    assert np.array_equal(found.parts[-1].matrix, start.matrix)
    expected = start.apply_to_points(plain.apply_to_points(points()))
    assert np.linalg.norm(found.apply_to_points(points()) - expected, axis=1).mean() < 0.6


@ARCHITECTURES
def test_a_dense_start_is_kept_and_moved_on(models, architecture):
    fixed, moving = volumes()
    start = Composite((bumps(3.0, grid((4, 4, 4), extent=(140, 130, 140))), Affine.identity()))
    found = predicted(models[architecture], fixed, moving, start)
    assert len(found.parts) == 2
    warped = start.resample(moving, grid((2, 2, 2)), fill=float(moving.data.min()))
    alone = predicted(models[architecture], fixed, warped)
    expected = start.apply_to_points(alone.apply_to_points(points()))
    assert np.linalg.norm(found.apply_to_points(points()) - expected, axis=1).mean() < 0.6


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [("voxelmorph", {}), ("voxelmorph", {"integrate": False}), ("pyramid", {})],
    ids=["integrated", "displacement", "pyramid"],
)
def test_no_field_folds_however_far_it_moves(tmp_path, architecture, parameters):
    for voxels in (14.0, 1.5):
        found = predicted(LearnedModel(toy_model(tmp_path / str(voxels), architecture, voxels, parameters)), *volumes())
        assert quality.folding(found.parts[0])["folded_fraction"] == 0
    missed = quality.inverse_error(found, invert_transform(found, CPU), grid((4, 4, 4)))
    assert missed["inverse_error_mean_mm"] < 0.1


def test_exchanging_the_volumes_of_a_pyramid_gives_the_inverse(tmp_path):
    # On one grid, so that the network sees the same voxels both ways.
    one, other = textured(TRUTH, grid((4, 4, 4))), textured(Rigid.identity(), grid((4, 4, 4)))
    inner = tuple(slice(3, -3) for _ in range(3))
    sides = [prepare(volume)[0] for volume in (one, other)]
    model = LearnedModel(toy_model(tmp_path / "gentle", "pyramid", 1.5))
    box = sides[0].content
    sides = [type(side)(side.image, None, box, True) for side in sides]
    there = model.predict(Pair(*sides), None, NETWORK_ALONE, CPU, Monitor())
    back = model.predict(Pair(*sides[::-1]), None, NETWORK_ALONE, CPU, Monitor())
    around = back.apply_to_points(there.apply_to_points(box.points()[inner])) - box.points()[inner]
    moved = there.apply_to_points(box.points()[inner]) - box.points()[inner]
    # Interpolation between voxels of 4 mm is all that is left.
    assert np.linalg.norm(around, axis=-1).mean() < 0.1 < 0.2 * np.linalg.norm(moved, axis=-1).mean()


@ARCHITECTURES
@settings(max_examples=20)
@given(size=st.tuples(*[st.integers(2, 90)] * 3), spacing=st.tuples(*[st.floats(0.4, 6)] * 3))
def test_the_network_grid_holds_the_content_in_whole_multiples(models, architecture, size, spacing):
    model = models[architecture]
    content = type(grid())(size, spacing, (5, -7, 11), OBLIQUE)
    side = type("Side", (), {"content": content})
    box = model.grid(side, NETWORK_ALONE)
    assert not np.any(np.asarray(box.size) % 8) and box.spacing == (4.0, 4.0, 4.0)
    corners = [content.index_to_point(corner) for corner in ((-0.5, -0.5, -0.5), np.asarray(size) - 0.5)]
    index = box.point_to_index(corners)
    assert index.min() > -0.52 and np.all(index.max(0) < np.asarray(box.size) - 0.48)
    field = coarse(box, model.stride)
    assert field.index_to_point([0, 0, 0]) == pytest.approx(box.index_to_point([(model.stride - 1) / 2] * 3))


def test_voxels_of_the_wanted_size_are_met_exactly(models):
    for size in ((35, 51, 36), (36, 50, 35)):
        content = type(grid())(size, (4, 4, 4), (1, 2, 3), OBLIQUE)
        box = models["pyramid"].grid(type("Side", (), {"content": content}), NETWORK_ALONE)
        index = content.canonical().point_to_index(box.index_to_point([0, 0, 0]))
        assert index == pytest.approx(np.round(index), abs=1e-6)


def test_a_second_pass_looks_at_what_the_first_one_leaves(tmp_path):
    fixed, moving = volumes()
    network = random_network("pyramid", 2.0)
    once, twice, finer = (
        LearnedModel(write_model(tmp_path / name, network, "pyramid", passes_mm=passes))
        for name, passes in (("once", None), ("twice", [4.0, 4.0]), ("finer", [4.0, 2.0]))
    )
    first = predicted(once, fixed, moving)
    again, both = predicted(once, fixed, moving, first), predicted(twice, fixed, moving)
    # One call with two passes, or two calls: only the grids in between differ.
    moved, differ = apart(again, first), apart(again, both)
    assert moved.mean() > 0.5 and differ.mean() < 0.15 * moved.mean(), (moved.mean(), differ.mean(), differ.max())
    fine = predicted(finer, fixed, moving)
    assert fine.parts[0].geometry.spacing[0] < both.parts[0].geometry.spacing[0]
    assert 0.2 < apart(fine, first).mean() < 4
    for found in (both, fine):
        assert quality.folding(found.parts[0])["folded_fraction"] == 0


def test_passes_are_no_finer_than_the_volume_or_the_settings(tmp_path):
    model = LearnedModel(toy_model(tmp_path / "several", "pyramid", spacing_mm=4.0, passes_mm=[4.0, 4.0, 2.0, 1.0]))
    fine, thick = (
        type("Side", (), {"content": type(grid())((30, 30, 30), (spacing, spacing, 6.0), (0, 0, 0), OBLIQUE)})
        for spacing in (1.0, 2.4)
    )
    assert model.passes(fine, NETWORK_ALONE) == (4.0, 4.0, 2.0, 1.0)
    assert model.passes(thick, NETWORK_ALONE) == (4.0, 4.0, 2.0)
    for spacing_mm, left in ((2.0, (4.0, 4.0, 2.0, 1.0)), (4.0, (4.0, 4.0, 2.0)), (12.0, (6.0,))):
        assert model.passes(fine, replace(NETWORK_ALONE, field_spacing_mm=spacing_mm)) == left
    assert model.grid(thick, NETWORK_ALONE).spacing == (2.0, 2.0, 2.0)


def test_refinement_starts_from_what_the_network_found(tmp_path):
    fixed, moving = volumes()
    pair = pair_of(fixed, moving)
    model, seen = LearnedModel(toy_model(tmp_path / "fine", parameters={"stride": 1}, spacing_mm=2.5)), []
    alone = model.run(pair, None, NETWORK_ALONE, CPU, Monitor())
    assert np.array_equal(alone.parts[0].displacement, predicted(model, fixed, moving).parts[0].displacement)
    refined = model.run(pair, None, Settings(quality="fast", refine=True), CPU, Monitor(seen.append))
    assert similarity(pair, refined, CPU) > similarity(pair, alone, CPU) + 0.1
    assert quality.folding(refined.parts[0])["folded_fraction"] == 0
    levels = pyramid(pair.fixed, Settings(quality="fast"))
    ran = {event.message.split(",")[0] for event in seen if event.stage == "refine" and "Level" in event.message}
    kept = fine_levels(levels, 2.5)
    assert len(ran) == len(kept) < len(levels)
    assert fine_levels(levels, 0.1) == levels[-1:] and fine_levels(levels, 100.0) == levels


def test_the_card_says_whether_refinement_helps(tmp_path):
    pair = pair_of(*volumes())
    stages = {}
    for name, helps in (("left", False), ("refined", True)):
        seen = []
        model = LearnedModel(toy_model(tmp_path / name, "pyramid", 1.0, refine=helps))
        model.run(pair, None, Settings(field_spacing_mm=6.0), CPU, Monitor(seen.append))
        stages[name] = {event.stage for event in seen}
    assert stages == {"left": {"deform"}, "refined": {"deform", "refine"}}


def test_landmarks_call_for_refinement_and_are_met(models):
    fixed, moving = volumes()
    places = points(6) / 2
    landmarks = LandmarkPairs(places, TRUTH.apply_to_points(places))
    found = models["voxelmorph"].run(pair_of(fixed, moving, landmarks=landmarks), None, NETWORK_ALONE, CPU, Monitor())
    assert quality.landmark_errors(landmarks, found).mean() < 1.0
    without = models["voxelmorph"].run(
        pair_of(fixed, moving, landmarks=landmarks), None, Settings(refine=False), CPU, Monitor()
    )
    assert quality.landmark_errors(landmarks, without).mean() > 2.0


def test_the_uncertainty_that_a_network_predicts_is_a_measure(tmp_path):
    model = LearnedModel(toy_model(tmp_path / "sure", parameters={"uncertainty": True}))
    monitor = Monitor()
    model.predict(pair_of(*volumes()), None, NETWORK_ALONE, CPU, monitor)
    # Fresh networks are certain: a log variance of -10 in voxels of 8 mm.
    assert monitor.evidence["predicted_sd_mm"] == pytest.approx(8 * np.exp(-5), rel=0.5)


def test_short_memory_makes_the_network_look_less_finely(models, monkeypatch):
    card = models["voxelmorph"].card
    pair = pair_of(*volumes())
    need = fitting.needed(pair, card, NETWORK_ALONE, CPU)
    monkeypatch.setattr(fitting, "free_memory", lambda _: need.memory_bytes - 1)
    warnings = []
    trial, _, expected = fitting.within_memory(pair, card, NETWORK_ALONE, CPU, warnings)
    assert expected.memory_bytes < need.memory_bytes and "Memory is short" in warnings[0]
    assert models["voxelmorph"].grid(pair.fixed, trial).spacing[0] > 4.0
    assert np.isfinite(models["voxelmorph"].predict(pair, None, trial, CPU, Monitor()).parts[0].displacement).all()


def test_a_finer_grid_needs_more(tmp_path):
    pair = pair_of(*volumes())
    coarse_card, fine_card = (toy_model(tmp_path / str(mm), spacing_mm=float(mm)) for mm in (4, 2))
    needs = [fitting.needed(pair, card, NETWORK_ALONE, CPU) for card in (coarse_card, fine_card)]
    assert needs[0].memory_bytes < needs[1].memory_bytes and needs[0].seconds < needs[1].seconds


def test_the_whole_journey_with_a_learned_model(tmp_path):
    card = toy_model(tmp_path / "models" / "toy", "pyramid", 1.0)
    run = {"quality": "fast", "device": "cpu", "models_dir": tmp_path / "models"}
    result = register(*volumes(), "toy", **run)
    assert result.settings.model == "toy" and result.inputs["weights_sha256"] == card.sha256
    assert list(result.seconds) == ["prepare", "align", "deform", "inverse", "measure"]
    assert isinstance(result.transform.parts[0], DisplacementField) and result.measures["folded_fraction"] == 0
    again = register(*volumes(), settings=result.settings, models_dir=tmp_path / "models")
    assert np.array_equal(again.transform.parts[0].displacement, result.transform.parts[0].displacement)
    refined = register(
        *volumes(), settings=Settings(**{**result.settings.to_dict(), "refine": True}), models_dir=run["models_dir"]
    )
    assert "refine" in refined.seconds
    assert refined.measures["similarity_after"] > result.measures["similarity_after"]


def test_wrong_weights_are_refused_before_the_volumes_are_read(tmp_path):
    card = toy_model(tmp_path / "models" / "toy")
    (card.folder / card.weights).write_bytes(b"nothing")
    with pytest.raises(ModelError, match="damaged"):
        register(tmp_path / "no.nii.gz", tmp_path / "neither.nii.gz", "toy", models_dir=tmp_path / "models")


@ARCHITECTURES
def test_the_rounding_of_bfloat16_is_measured_and_decides(models, architecture):
    pair, model = pair_of(*volumes()), models[architecture]
    moved = predicted(model, *volumes()).parts[0].displacement
    # Eight binary digits: some hundredths of the motion, but not nothing.
    assert 1e-4 < model.rounding_mm(pair, None, CPU) < 0.5 * np.abs(moved).max()
    assert not model._rounds(CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@ARCHITECTURES
def test_cuda_gives_the_field_of_the_cpu_and_rounds_only_where_it_may(models, architecture):
    pair, model = pair_of(*volumes()), models[architecture]
    on_cpu = model.predict(pair, None, NETWORK_ALONE, CPU, Monitor())
    on_cuda = model.predict(pair, None, NETWORK_ALONE, torch.device("cuda"), Monitor())
    assert apart(on_cpu, on_cuda).max() < 0.05
    native = torch.cuda.get_device_capability() >= (8, 0)
    for measured, rounds in ((None, False), (0.2, False), (0.01, native)):
        other = LearnedModel(replace(model.card, bfloat16_mm=measured))
        assert other._rounds(torch.device("cuda")) == rounds
