"""`auto`: what a pair shows, which learned models were made for it, and what is said when one was not."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from deepregister import Rigid, Settings, Volume, register
from deepregister.cli import main
from deepregister.errors import ModelError
from deepregister.models.choice import warning
from deepregister.models.linear import LinearModel
from deepregister.models.registry import find_model, list_models
from deepregister.models.suitability import Shown, looks_like_ct, made_for
from deepregister.preparation import Pair, prepare
from deepregister.progress import Monitor
from phantoms import bumps, grid
from scipy.ndimage import gaussian_filter
from test_instance import textured
from toymodels import toy_model, trained_model

CPU = torch.device("cpu")
FAST = {"quality": "fast", "device": "cpu"}
FITS = {"extent_mm": [60, 100], "anatomies": ["phantom"], "modalities": ["MR"]}
TRUTH = bumps(6.0, grid((2, 2, 2), extent=(140, 130, 140)))


@pytest.fixture(scope="module")
def volumes():
    return textured(TRUTH, grid((2.5, 2.5, 2.5))), textured(Rigid.identity(), grid((2.5, 2.5, 2.5)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, volumes):
    """A folder with one model that knows the pair by heart, behind the affine model as `register` runs it."""
    folder = tmp_path_factory.mktemp("models")
    pair = Pair(*(prepare(volume)[0] for volume in volumes))
    start = LinearModel("affine").run(pair, None, Settings(quality="fast"), CPU, Monitor())
    trained_model(folder, pair, start, **FITS)
    return folder


@pytest.fixture(scope="module")
def deformable(volumes):
    return register(*volumes, "deformable", **FAST)


def shown(extent=80.0, slices=1.0, ct=False):
    return Shown((extent, extent), (slices, slices), (ct, ct))


def same_field(a, b):
    return np.array_equal(a.transform.parts[0].displacement, b.transform.parts[0].displacement)


def test_it_is_seen_what_a_pair_shows(volumes):
    pair = Pair(*(prepare(volume)[0] for volume in volumes))
    seen = Shown.of(pair, volumes)
    assert seen.extents_mm == pytest.approx((80, 80), abs=6)
    assert seen.slices_mm == (2.5, 2.5) and seen.ct == (False, False)


def test_ct_is_told_by_its_values():
    rng = np.random.default_rng(0)
    air = np.full((20, 20, 20), -1000.0)
    air[5:15, 5:15, 5:15] = rng.normal(40, 20, (10, 10, 10))
    assert looks_like_ct(Volume.from_array(air.astype(np.int16)))
    for other in (air + 1000, rng.normal(0, 1, air.shape), np.where(rng.random(air.shape) < 0.005, -500, 300)):
        assert not looks_like_ct(Volume.from_array(other.astype(np.float32)))


@pytest.mark.parametrize(
    ("entries", "pair", "expected"),
    [
        ({}, shown(), []),
        ({"extent_mm": [30, 60]}, shown(), ["80 mm across, not 30 to 60 mm"]),
        ({}, shown(slices=11.0), ["slices of 11.0 mm, more than 10.0 mm"]),
        ({"thickest_mm": 12.0}, shown(slices=11.0), []),
        ({"modalities": ["MR"]}, shown(ct=True), ["looks like CT"]),
        ({"modalities": ["CT"]}, shown(ct=True), []),
        ({"modalities": ["CT chest"]}, shown(), ["does not look like CT"]),
        ({"modalities": ["MR", "CT"]}, shown(ct=True), []),
        ({"modalities": ["any"]}, shown(ct=True), []),
    ],
)
def test_what_speaks_against_a_model(tmp_path, entries, pair, expected):
    card = toy_model(tmp_path / "toy", **{**FITS, "modalities": ["any"], **entries})
    found = pair.objections(card)
    assert len(found) == 2 * len(expected)
    for reason, side in zip(expected * 2, ("fixed", "moving"), strict=False):
        assert any(reason in sentence and side in sentence for sentence in found)


def test_only_models_that_say_that_they_fit_are_tried(tmp_path):
    toy_model(tmp_path / "fits", **FITS)
    toy_model(tmp_path / "experimental", experimental=True, **FITS)
    toy_model(tmp_path / "small", **{**FITS, "extent_mm": [10, 30]})
    toy_model(tmp_path / "silent", **{**FITS, "extent_mm": None})
    assert [card.name for card in shown().suitable(list_models(tmp_path))] == ["fits"]
    assert shown(ct=True).suitable(list_models(tmp_path)) == []
    assert shown().objections(find_model("affine")) == []


def test_a_model_for_the_anatomy_comes_first_then_the_one_that_was_measured_to_be_better(tmp_path):
    dice = {
        name: {"dice": {"value": value, "sentence": "On a test."}} for name, value in (("good", 0.8), ("fair", 0.7))
    }
    toy_model(tmp_path / "a-general", **{**FITS, "anatomies": ["any"]}, figures=dice["good"])
    toy_model(tmp_path / "b-fair", **FITS, figures=dice["fair"])
    toy_model(tmp_path / "c-good", **FITS, figures=dice["good"])
    toy_model(tmp_path / "d-unmeasured", **FITS)
    names = [card.name for card in shown().suitable(list_models(tmp_path))]
    assert names == ["c-good", "b-fair", "d-unmeasured", "a-general"]


def test_who_names_a_model_that_does_not_fit_is_told_one_that_does(tmp_path, volumes):
    small = toy_model(tmp_path / "small", **{**FITS, "extent_mm": [10, 30], "anatomies": ["hippocampus"]})
    fits = toy_model(tmp_path / "fits", **FITS)
    assert warning(small, ["it is large"], [fits]).endswith("fits suits this pair.")
    assert made_for(small) == "MR of the hippocampus in one contrast"
    assert made_for(find_model("deformable")) == "other volumes"
    found = register(*volumes, "small", models_dir=tmp_path, **FAST)
    (told,) = (sentence for sentence in found.warnings if "was made for" in sentence)
    assert "MR of the hippocampus" in told and "not 10 to 30 mm" in told and "fits suits this pair." in told
    assert not any(
        "was made for" in sentence for sentence in register(*volumes, "fits", models_dir=tmp_path, **FAST).warnings
    )


def test_auto_takes_the_model_that_helps_says_why_and_is_reproduced(trained, volumes, tmp_path):
    messages = []
    found = register(*volumes, models_dir=trained, progress=lambda each: messages.append(each.message), **FAST)
    assert found.settings.model == "trained" and found.inputs["asked_model"] == "auto"
    why = found.inputs["choice"]
    assert why.startswith("trained was chosen, made for MR of the phantom") and "took the similarity from" in why
    assert why in found.warnings and why in messages
    assert found.measures["folded_fraction"] == 0
    again = register(*volumes, settings=found.settings, models_dir=trained)
    assert same_field(found, again) and again.inputs["choice"] is None
    refined = register(*volumes, settings=Settings(device="cpu", refine=True), models_dir=trained)
    assert refined.settings.model == "trained" and "refine" in refined.seconds
    assert refined.measures["similarity_after"] > found.measures["similarity_after"]


def test_where_no_model_helps_it_is_as_without_them(tmp_path, volumes, deformable):
    toy_model(tmp_path / "harmful", **FITS)
    found = register(*volumes, models_dir=tmp_path, **FAST)
    assert found.settings.model == "deformable" and same_field(found, deformable)
    assert found.inputs["choice"].startswith("deformable was chosen: the network of harmful took the similarity")
    assert found.inputs["weights_sha256"] is None


def test_where_no_model_fits_nothing_is_said(trained, tmp_path, volumes, deformable):
    card = find_model("trained", trained)
    for name, line in (("experimental", "experimental = true"), ("large", "extent_mm = [200, 300]")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / card.weights).write_bytes((card.folder / card.weights).read_bytes())
        text = (card.folder / "card.toml").read_text(encoding="utf-8").replace('name = "trained"', f'name = "{name}"')
        kept = [each for each in text.splitlines() if not each.startswith(line.split(" ")[0])]
        (folder / "card.toml").write_text("\n".join([line, *kept]), encoding="utf-8")
    found = register(*volumes, models_dir=tmp_path, **FAST)
    assert found.settings.model == "deformable" and same_field(found, deformable)
    assert found.inputs["choice"] is None and found.warnings == deformable.warnings


def test_damaged_weights_do_not_stop_auto(tmp_path, volumes, deformable):
    card = toy_model(tmp_path / "broken", **FITS)
    (card.folder / card.weights).write_bytes(b"nothing")
    found = register(*volumes, models_dir=tmp_path, **FAST)
    assert found.settings.model == "deformable" and same_field(found, deformable)
    assert any("are damaged" in sentence for sentence in found.warnings)


def test_two_contrasts_need_a_model_that_was_made_for_them(trained, tmp_path, volumes):
    fixed, other = volumes[0], textured(Rigid.identity(), grid((2.5, 2.5, 2.5)), "two")
    found = register(fixed, other, models_dir=trained, **FAST)
    assert found.settings.model != "trained"
    assert "trained was made for one contrast, and these volumes differ" in found.inputs["choice"]
    named = register(fixed, other, "trained", models_dir=trained, **FAST)
    assert any("differ in contrast" in sentence for sentence in named.warnings)
    told = register(fixed, other, settings=Settings("trained", "fast", "cpu", "lncc"), models_dir=trained)
    assert not any("differ in contrast" in sentence for sentence in told.warnings)


def with_typical(trained, folder, image, least):
    """A copy of the trained model that says what its images look like."""
    card = find_model("trained", trained)
    shutil.copytree(card.folder, folder / "trained")
    image.write(folder / "trained" / "typical.nii.gz")
    text = (card.folder / "card.toml").read_text(encoding="utf-8")
    lines = f'typical = "typical.nii.gz"\ntypical_agreement = {least}\n'
    (folder / "trained" / "card.toml").write_text(lines + text, encoding="utf-8")
    return folder


def test_a_model_for_images_that_look_otherwise_is_not_tried(trained, volumes, deformable, tmp_path):
    like = with_typical(trained, tmp_path / "like", textured(Rigid.identity(), grid((3, 3, 3))), 0.8)
    assert register(*volumes, models_dir=like, **FAST).settings.model == "trained"
    assert not any("look like" in said for said in register(*volumes, "trained", models_dir=like, **FAST).warnings)
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(32, 32, 32)), 2).astype(np.float32)
    ball = np.linalg.norm(np.indices(noise.shape) - 15.5, axis=0) < 13
    other = Volume.from_array(ball * (2 + noise / noise.std()), (3, 3, 3))
    unlike = with_typical(trained, tmp_path / "unlike", other.astype(np.float32), 0.8)
    found = register(*volumes, models_dir=unlike, **FAST)
    assert found.settings.model == "deformable" and same_field(found, deformable)
    assert "trained is for other images: the fixed volume does not look like" in found.inputs["choice"]
    (told,) = (
        said for said in register(*volumes, "trained", models_dir=unlike, **FAST).warnings if "look like" in said
    )
    assert told.endswith("deformable suits this pair.")


def test_a_model_whose_typical_image_is_damaged_is_left_out(trained, volumes, deformable, tmp_path):
    folder = with_typical(trained, tmp_path, volumes[0], 0.5)
    (folder / "trained" / "typical.nii.gz").write_bytes(b"nothing")
    found = register(*volumes, models_dir=folder, **FAST)
    assert found.settings.model == "deformable"
    assert "typical image of a model cannot be used" in found.inputs["choice"]
    with pytest.raises(ModelError, match="typical image"):
        register(*volumes, "trained", models_dir=folder, **FAST)


def test_what_auto_took_from_a_folder_is_rerun_from_there(trained, volumes, tmp_path, capsys):
    for name, volume in zip(("fixed", "moving"), volumes, strict=True):
        volume.write(tmp_path / f"{name}.nii.gz")
    files = [str(tmp_path / f"{name}.nii.gz") for name in ("fixed", "moving")]
    options = ["--output", str(tmp_path / "result"), "--quality", "fast", "--device", "cpu"]
    assert main(["register", *files, *options, "--models-dir", str(trained)]) == 0
    summary = json.loads((tmp_path / "result" / "result.json").read_text(encoding="utf-8"))
    assert summary["inputs"]["weights_sha256"] == find_model("trained", trained).sha256
    page = (tmp_path / "result" / "report.html").read_text(encoding="utf-8")
    assert "Chosen because" in page and summary["inputs"]["weights_sha256"] in page
    assert main(["rerun", str(tmp_path / "result"), "--check"]) == 0
    assert "the same, bit for bit" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "result")]) == 0


def test_a_rerun_with_other_weights_says_so(trained, volumes):
    from deepregister.repetition import compare

    found = register(*volumes, "trained", models_dir=trained, **FAST)
    other = replace(found, inputs={**found.inputs, "weights_sha256": "0" * 64})
    (told,) = compare(other, found, volumes[0].geometry).differences
    assert told.startswith("The weights of the model trained are not those of then: their SHA-256 was 000000000000")
