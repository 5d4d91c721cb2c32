"""The journey: what goes in may come in any form, what comes out agrees with itself, and faults are said clearly."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from deepregister import Affine, Composite, Rigid, Settings, Volume, register, registration
from deepregister.devices import choose_device
from deepregister.errors import Cancelled, DeviceError, GeometryError, InputError, ResourceError
from deepregister.landmarks import LandmarkPairs
from deepregister.models import fitting
from deepregister.progress import STAGES
from deepregister.result import Registration
from phantoms import OBLIQUE, bumps, grid, seen_through
from test_instance import textured

TRUTH = bumps(5.0, grid((2, 2, 2), extent=(140, 130, 140)))
FAST = {"quality": "fast", "device": "cpu"}


def pair(spacing=3.0):
    fixed, moving = grid((spacing,) * 3), grid((spacing, spacing, 1.2 * spacing), OBLIQUE)
    return textured(TRUTH, fixed), textured(Rigid.identity(), moving)


@pytest.fixture(scope="module")
def result():
    return register(*pair(), "deformable", **FAST)


def points(count=200):
    return np.random.default_rng(0).uniform(-22, 22, (count, 3))


def test_the_transform_is_close_to_the_truth_and_says_so(result):
    missed = np.linalg.norm(result.transform.apply_to_points(points()) - TRUTH.apply_to_points(points()), axis=1)
    assert missed.mean() < 1.2
    measures = result.measures
    assert measures["similarity_after"] > measures["similarity_before"]
    assert measures["folded_fraction"] == 0 and measures["jacobian_min"] > 0
    assert 0 < measures["inverse_error_mean_mm"] < 0.2
    assert measures["displacement_max_mm"] > measures["displacement_mean_mm"] > 0
    json.dumps(result.summary(), allow_nan=False)


def test_inverse_undoes_the_transform(result):
    there = result.transform.apply_to_points(points())
    assert np.linalg.norm(result.inverse.apply_to_points(there) - points(), axis=1).max() < 0.5


def test_the_saved_file_resamples_in_simpleitk_to_the_registered_volume(result, tmp_path):
    fixed, moving = pair()
    result.save(tmp_path)
    native = sitk.ReadTransform(str(tmp_path / "transform.h5"))
    resampled = sitk.Resample(moving.to_sitk(), fixed.to_sitk(), native, sitk.sitkLinear, float(moving.data.min()))
    assert sitk.GetArrayFromImage(resampled) == pytest.approx(result.registered.data, abs=1e-2)
    again = Registration.load(tmp_path)
    assert again.transform.apply_to_points(points()) == pytest.approx(result.transform.apply_to_points(points()))


def test_its_settings_reproduce_it_bit_for_bit(result):
    settings = Settings.from_dict(json.loads(json.dumps(result.settings.to_dict())))
    again = register(*pair(), settings=settings)
    assert np.array_equal(again.transform.parts[0].displacement, result.transform.parts[0].displacement)
    assert np.array_equal(again.transform.parts[1].matrix, result.transform.parts[1].matrix)


def test_files_simpleitk_images_and_volumes_are_alike(tmp_path):
    fixed, moving = pair(4.0)
    fixed.write(tmp_path / "fixed.nrrd")
    moving.write(tmp_path / "moving.mha")
    expected = register(fixed, moving, "rigid", **FAST).transform.matrix
    from_files = register(tmp_path / "fixed.nrrd", str(tmp_path / "moving.mha"), "rigid", **FAST).transform.matrix
    from_images = register(fixed.to_sitk(), moving.to_sitk(), "rigid", **FAST).transform.matrix
    assert from_files == pytest.approx(expected, abs=1e-3)
    assert from_images == pytest.approx(expected, abs=1e-3)


def test_arrays_alone_are_refused():
    with pytest.raises(InputError, match="from_array"):
        register(pair()[0].data, pair()[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64])
def test_the_registered_volume_keeps_the_voxel_type(dtype):
    fixed, moving = pair(5.0)
    scaled = (moving.data / moving.data.max() * 250).clip(0).astype(dtype)
    registered = register(fixed, Volume(scaled, moving.geometry), "rigid", **FAST).registered
    assert registered.data.dtype == dtype and registered.geometry == fixed.geometry


def test_models_give_their_kind_of_transform(result):
    fixed, moving = pair(5.0)
    assert isinstance(register(fixed, moving, "rigid", **FAST).transform, Rigid)
    assert type(register(fixed, moving, "affine", **FAST).transform) is Affine
    assert isinstance(result.transform, Composite)


def test_auto_bends_where_it_helps_and_says_which_model_ran():
    chosen = register(*pair(), **FAST)
    assert chosen.settings.model == "deformable" and chosen.inputs["asked_model"] == "auto"


def test_auto_keeps_the_affine_part_where_bending_does_not_help(monkeypatch):
    monkeypatch.setattr(registration, "_why_not", lambda *_: "bending the volume did not raise the similarity")
    chosen = register(*pair(5.0), device="cpu")
    assert chosen.settings.model == "affine" and isinstance(chosen.transform, Affine)
    assert any("Only the affine part was kept" in warning for warning in chosen.warnings)
    again = register(*pair(5.0), settings=chosen.settings)
    assert np.array_equal(again.transform.matrix, chosen.transform.matrix)


def test_bending_is_judged_by_similarity_and_folds(result):
    from deepregister.preparation import Pair, prepare

    sides = Pair(*(prepare(volume)[0] for volume in pair()))
    cpu = torch.device("cpu")
    assert registration._why_not(sides, result.transform.parts[1], result.transform, cpu) is None
    worse = Composite((bumps(-8.0, grid((4, 4, 4))), result.transform.parts[1]))
    assert "did not raise the similarity" in registration._why_not(sides, result.transform, worse, cpu)


@pytest.mark.parametrize("form", ["transform", "file"])
def test_a_dense_start_skips_the_alignment(form, tmp_path):
    start = TRUTH
    if form == "file":
        TRUTH.write(tmp_path / "start.nii.gz")
        start = tmp_path / "start.nii.gz"
    found = register(*pair(4.0), "deformable", initial=start, **FAST)
    assert "align" not in found.seconds
    missed = np.linalg.norm(found.transform.apply_to_points(points()) - TRUTH.apply_to_points(points()), axis=1)
    assert missed.mean() < 1.0


def test_a_linear_model_says_that_it_cannot_use_a_dense_start():
    found = register(*pair(5.0), "rigid", initial=TRUTH.then(Affine.identity()), **FAST)
    assert any("Only the linear part" in warning for warning in found.warnings)


def test_a_region_of_emphasis_is_recorded_and_must_lie_on_the_fixed_volume():
    fixed, moving = pair(5.0)
    data = np.zeros(fixed.geometry.shape, np.uint8)
    data[8:16, 8:16, 8:16] = 1
    region = Volume(data, fixed.geometry, "went wrong")
    found = register(fixed, moving, "deformable", emphasis=region, **FAST)
    assert found.inputs["emphasis"]["name"] == "went wrong"
    linear = register(fixed, moving, "rigid", emphasis=region, **FAST)
    assert "The region of emphasis has no effect: rigid cannot bend." in linear.warnings
    elsewhere = Volume(data, replace(fixed.geometry, origin=(5000.0, 0, 0)), "far away")
    with pytest.raises(InputError, match="The region far away, where the images are to weigh more, selects nothing"):
        register(fixed, moving, "deformable", emphasis=elsewhere, **FAST)


def test_landmarks_are_measured_before_and_after():
    fixed = points(6)
    landmarks = LandmarkPairs(fixed, TRUTH.apply_to_points(fixed))
    found = register(*pair(4.0), "deformable", landmarks=landmarks, **FAST)
    assert found.measures["tre_after_mean_mm"] < 0.6 < found.measures["tre_before_mean_mm"]
    assert found.inputs["landmark_pairs"] == 6


def test_progress_never_falls_and_names_every_stage_in_order():
    seen = []
    result = register(*pair(5.0), "deformable", progress=seen.append, **FAST)
    fractions = [event.fraction for event in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    stages = list(dict.fromkeys(event.stage for event in seen))
    assert stages == [stage for stage in STAGES if stage in stages] == list(result.seconds)
    assert any("memory" in event.message for event in seen)


@pytest.mark.parametrize("stage", ["prepare", "align", "deform", "inverse", "measure"])
def test_cancel_is_heard_in_every_stage(stage):
    stop = threading.Event()
    with pytest.raises(Cancelled):
        register(
            *pair(5.0),
            "deformable",
            progress=lambda event: stop.set() if event.stage == stage else None,
            cancelled=stop.is_set,
            **FAST,
        )


def test_short_memory_means_a_coarser_field_and_a_warning(monkeypatch):
    need = register(*pair(4.0), "deformable", **FAST).measures["estimated_memory_bytes"]
    monkeypatch.setattr(fitting, "free_memory", lambda _: need - 2_000_000)
    found = register(*pair(4.0), "deformable", **FAST)
    assert any("Memory is short" in warning for warning in found.warnings)
    assert min(found.transform.parts[0].geometry.spacing) > 4.1
    assert found.settings.field_spacing_mm > 4.1
    monkeypatch.setattr(fitting, "free_memory", lambda _: 1000)
    with pytest.raises(ResourceError, match=r"needs 0\.5 GB"):
        register(*pair(4.0), "deformable", **FAST)


@pytest.mark.parametrize(
    "fault", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_memory_that_runs_out_on_the_way_is_said_clearly(monkeypatch, fault):
    def failing(*_):
        raise fault

    monkeypatch.setattr(registration, "_journey", failing)
    with pytest.raises(ResourceError, match="Memory ran out"):
        register(*pair(5.0), "rigid", **FAST)


def test_other_faults_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def failing(*_):
        raise RuntimeError("shapes do not agree")

    monkeypatch.setattr(registration, "_journey", failing)
    with pytest.raises(RuntimeError, match="shapes do not agree"):
        register(*pair(5.0), "rigid", **FAST)


def test_threads_are_set_for_the_run_alone():
    before = torch.get_num_threads()
    seen = set()
    settings = Settings(model="rigid", quality="fast", device="cpu", threads=1)
    register(*pair(5.0), settings=settings, progress=lambda _: seen.add(torch.get_num_threads()))
    assert 1 in seen and torch.get_num_threads() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_an_absent_device_is_refused():
    with pytest.raises(DeviceError, match=r"'cuda'.*sees 0"):
        register(*pair(5.0), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_agrees_with_the_cpu(result):
    found = register(*pair(), "deformable", quality="fast", device="cuda")
    difference = found.transform.apply_to_points(points()) - result.transform.apply_to_points(points())
    assert np.linalg.norm(difference, axis=1).mean() < 0.3


def test_auto_takes_a_device_that_is_there():
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


def test_settings_and_model_together_are_refused():
    with pytest.raises(InputError, match="not both"):
        register(*pair(5.0), "rigid", settings=Settings())


def test_landmarks_must_be_pairs():
    with pytest.raises(InputError, match="LandmarkPairs"):
        register(*pair(5.0), landmarks=np.zeros((3, 3)))


def test_volumes_metres_apart_are_refused_unless_a_start_says_how():
    fixed, moving = pair(5.0)
    far = Volume(moving.data, replace(moving.geometry, origin=(30_000.0, 0.0, 0.0)), "far away")
    with pytest.raises(GeometryError, match="far away"):
        register(fixed, far, "rigid", **FAST)


def test_a_similarity_that_falls_is_told(monkeypatch):
    values = iter([0.5, 0.4])
    monkeypatch.setattr(registration, "similarity", lambda *_: next(values))
    found = register(*pair(5.0), "rigid", **FAST)
    assert any("similarity fell from 0.500 to 0.400" in reason for reason in found.confidence.reasons)


def test_two_tiny_volumes_are_enough():
    fixed = seen_through(Rigid.identity(), grid((12, 12, 12)))
    assert register(fixed, fixed, "deformable", **FAST).measures["folded_fraction"] == 0
