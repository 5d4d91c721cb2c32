"""Training end to end at toy size: it learns, stops, goes on to the bit, publishes, and says what is wrong."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import deepregister
import numpy as np
import pytest
import torch
from collections_of_blobs import RECIPE, subject, write_folder
from deepregister import Volume
from deepregister.cli import main
from deepregister.errors import DeepRegisterError, FileError, InputError, ModelError
from deepregister.models.registry import find_model, list_models
from deepregister.networks import Motion
from deepregister.progress import Progress
from deepregister.training.batch import Batch
from deepregister.training.checkpoint import Checkpoint
from deepregister.training.loop import Watchers, learning_rate, seed_of
from deepregister.training.objective import objective
from deepregister.training.publish import toml
from deepregister.training.recipe import Optimiser, Recipe
from deepregister.training.session import measure, train
from deepregister.training.validation import validate
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

ENGINE = Path(deepregister.__file__).parents[1]
PYRAMID = {"channels": [4, 8], "decoder": [8, 8], "radius": [1, 1], "repeats": [1, 1]}
FILES = {"card.toml", "weights.safetensors", "training"}


def toy(**tables):
    values = tomllib.loads(RECIPE)
    return Recipe.from_dict({**values, **{name: {**values.get(name, {}), **table} for name, table in tables.items()}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A model after all six steps, and what was said on the way."""
    out, said, reports = tmp_path_factory.mktemp("models") / "toy", [], []
    outcome = train(toy(), folder, out, threads=1, watchers=Watchers(reports.append, said.append))
    return out, outcome, said, reports


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def same_tensors(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_the_finished_folder_is_a_model_that_the_list_shows(trained, capsys):
    out, outcome, _, _ = trained
    assert {path.name for path in out.iterdir()} == FILES
    card = find_model("toy", out.parent)
    assert card.learned
    assert not card.experimental
    assert card.title == "Toy"
    assert card.spacing_mm == 1.0
    assert "6 of 6 steps" in card.training
    assert card.figures["dice"].value == pytest.approx(outcome.figures["dice"], rel=1e-3)
    assert "2 pairs of 2 subjects" in card.figures["dice"].sentence
    assert main(["models", "--models-dir", str(out.parent)]) == 0
    assert "toy" in capsys.readouterr().out


def test_the_finished_model_registers(trained):
    out, _, _, _ = trained
    (fixed, _), (moving, _) = subject(21), subject(22)
    result = deepregister.register(fixed, moving, "toy", models_dir=out.parent, device="cpu")
    assert result.settings.model == "toy"
    assert result.measures["folded_fraction"] == 0


def test_a_model_is_measured_anew_and_its_card_renewed(trained, folder, tmp_path, capsys):
    out = tmp_path / "toy"
    out.mkdir()
    for name in ("card.toml", "weights.safetensors"):
        (out / name).write_bytes((trained[0] / name).read_bytes())
    before = (out / "card.toml").read_text(encoding="utf-8")
    (out / "card.toml").write_text(before.replace('title = "Toy"', 'title = "Other"'), encoding="utf-8")
    recipe = tmp_path / "toy.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    command = ["train", str(recipe), "--data", str(folder), "--out", str(out), "--measure", "--threads", "1"]
    assert main(command) == 0
    assert "dice" in capsys.readouterr().out
    card = find_model("toy", tmp_path)
    assert 0 < card.bfloat16_mm < 1
    now = (out / "card.toml").read_text(encoding="utf-8")
    assert now == f"bfloat16_mm = {card.bfloat16_mm}\n{before}"
    assert (out / "weights.safetensors").read_bytes() == (trained[0] / "weights.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == FILES - {"training"}
    with pytest.raises(InputError, match="not trained by this recipe"):
        measure(toy(model={"architecture": "pyramid", "parameters": PYRAMID}), folder, out)


def test_a_model_of_one_anatomy_knows_what_its_images_look_like(folder, tmp_path):
    recipe = toy(
        model={"anatomies": ["blob"]}, data={"align": "affine"}, optimiser={"steps": 1}, validation={"every": 1}
    )
    train(recipe, folder, tmp_path / "toy", threads=1)
    card = find_model("toy", tmp_path)
    assert 0.1 < card.typical_agreement < 1
    typical = Volume.read(tmp_path / "toy" / card.typical)
    assert typical.geometry.size == (16, 16, 16)
    # The blob is bright in the middle, whatever the place of each.
    middle = typical.data[6:10, 6:10, 6:10].mean()
    assert middle > 1.5 * typical.data[0].mean()


def test_curves_pictures_and_progress_tell_how_it_goes(trained):
    out, outcome, said, reports = trained
    first, last = rows(out / "training" / "curves.csv")
    assert (int(first["step"]), int(last["step"])) == (3, 6)
    assert {"loss", "mse", "dice", "smoothness", "rate", "waiting", "seconds"} <= set(last)
    assert [int(row["step"]) for row in rows(out / "training" / "validation.csv")] == [3, 6]
    assert [path.name for path in sorted((out / "training").glob("look-*.png"))] == [
        "look-000003.png",
        "look-000006.png",
    ]
    assert list((out / "training" / "tensorboard").iterdir())
    assert 0 < outcome.waiting < 1
    assert any("dice" in line for line in said)
    assert all(isinstance(report, Progress) for report in reports)
    assert {report.stage for report in reports} == {"prepare", "train"}
    assert reports[-1].fraction == 1


def test_a_network_learns_what_it_is_trained_for(folder, tmp_path):
    recipe = toy(
        model={"architecture": "pyramid", "parameters": PYRAMID},
        optimiser={"steps": 30, "learning_rate": 0.01},
        validation={"every": 30},
        loss={"smoothness": 0.02},
    )
    outcome = train(recipe, folder, tmp_path / "toy", threads=1)
    assert outcome.figures["dice"] > outcome.figures["dice_before"] + 0.02
    assert outcome.figures["difference"] < outcome.figures["difference_before"]
    assert outcome.figures["folds"] == 0


def test_the_same_seed_gives_the_same_model_and_another_one_another(folder, tmp_path, trained):
    first = Checkpoint.read(trained[0] / "training" / "checkpoint.safetensors")
    train(toy(), folder, tmp_path / "again", threads=1)
    same_tensors(first.tensors, Checkpoint.read(tmp_path / "again" / "training" / "checkpoint.safetensors").tensors)
    train(toy(optimiser={"seed": 1}), folder, tmp_path / "other", threads=1)
    other = Checkpoint.read(tmp_path / "other" / "training" / "checkpoint.safetensors").tensors
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.tensors.items())


class AfterSteps:
    """Says stop when it has been asked so many times; the preparation of the data asks nobody."""

    def __init__(self, steps):
        self.left = steps

    def progress(self, report):
        self.training = report.stage == "train"

    def __call__(self):
        self.left -= 1
        return self.left < 0


@pytest.fixture
def prepared(folder, tmp_path, trained):
    """An empty model folder with the data prepared, so that whoever is asked between steps counts steps alone."""
    out = tmp_path / "toy"
    (out / "training").mkdir(parents=True)
    (out / "training" / "data.npz").write_bytes((trained[0] / "training" / "data.npz").read_bytes())
    return out


def test_stopped_after_three_steps_and_gone_on_with_is_the_same_to_the_bit(folder, prepared, trained):
    watchers = Watchers(cancelled=AfterSteps(3))
    stopped = train(toy(), folder, prepared, threads=1, watchers=watchers)
    assert (stopped.reason, stopped.step) == ("stopped", 3)
    # It is a model already, but not one to recommend.
    assert find_model("toy", prepared.parent).experimental
    finished = train(toy(), folder, prepared, resume=True, threads=1)
    assert (finished.reason, finished.step) == ("finished", 6)
    here, there = (path / "training" / "checkpoint.safetensors" for path in (prepared, trained[0]))
    same_tensors(Checkpoint.read(here).tensors, Checkpoint.read(there).tensors)
    assert (prepared / "weights.safetensors").read_bytes() == (trained[0] / "weights.safetensors").read_bytes()
    assert not find_model("toy", prepared.parent).experimental
    assert [int(row["step"]) for row in rows(prepared / "training" / "curves.csv")] == [3, 6]
    assert [int(row["step"]) for row in rows(prepared / "training" / "validation.csv")] == [3, 6]


def test_a_network_that_draws_is_gone_on_with_to_the_bit_too(folder, prepared, tmp_path):
    model = {"parameters": {"encoder": [4, 4], "decoder": [4, 4, 4], "uncertainty": True}}
    recipe = toy(model=model, loss={"kl": 0.01, "smoothness": 0.0}, optimiser={"steps": 4})
    train(recipe, folder, tmp_path / "whole", threads=1)
    train(recipe, folder, prepared, threads=1, watchers=Watchers(cancelled=AfterSteps(2)))
    train(recipe, folder, prepared, resume=True, threads=1)
    same_tensors(
        *(
            Checkpoint.read(out / "training" / "checkpoint.safetensors").tensors
            for out in (tmp_path / "whole", prepared)
        )
    )


def test_the_clock_ends_a_training_with_a_checkpoint_and_figures(folder, prepared):
    recipe = toy(optimiser={"steps": 100_000}, validation={"every": 100_000})
    outcome = train(recipe, folder, prepared, minutes=0.02, threads=1)
    assert outcome.reason == "clock"
    assert 0 < outcome.step < 100_000
    assert outcome.figures["dice"] > 0
    assert Checkpoint.read(prepared / "training" / "checkpoint.safetensors").step == outcome.step


def test_ctrl_c_leaves_a_checkpoint_and_status_130(folder, prepared, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE.replace("steps = 6", "steps = 100000").replace("every = 3", "every = 5"), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "deepregister",
        "train",
        recipe,
        "--data",
        folder,
        "--out",
        prepared,
        "--threads",
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoint = prepared / "training" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "--resume" in out
    assert Checkpoint.read(checkpoint).step >= 5
    assert find_model("toy", prepared.parent).experimental


def test_two_processes_train_one_model(folder, prepared, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "deepregister", "train", recipe, "--data", folder, "--out", prepared]
    environment = {**os.environ, "PYTHONPATH": str(ENGINE), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    card = find_model("toy", prepared.parent)
    assert "in each of 2 processes" in card.training
    assert [int(row["step"]) for row in rows(prepared / "training" / "validation.csv")] == [3, 6]
    assert run.stdout.count("6 of 6") == 1


@pytest.mark.parametrize("damage", ["cut", "noise", "other file"])
def test_a_damaged_checkpoint_is_named(folder, prepared, trained, damage):
    path = prepared / "training" / "checkpoint.safetensors"
    whole = (trained[0] / "training" / "checkpoint.safetensors").read_bytes()
    weights = (trained[0] / "weights.safetensors").read_bytes()
    path.write_bytes({"cut": whole[:-100], "noise": bytes(1000), "other file": weights}[damage])
    with pytest.raises(FileError, match=r"checkpoint\.safetensors is damaged"):
        train(toy(), folder, prepared, resume=True)


def test_a_training_is_gone_on_with_by_its_own_recipe_alone(folder, prepared, trained):
    path = prepared / "training" / "checkpoint.safetensors"
    path.write_bytes((trained[0] / "training" / "checkpoint.safetensors").read_bytes())
    with pytest.raises(FileError, match=r"loss\.mse = 1\.0.*2\.0"):
        train(toy(loss={"mse": 2.0}), folder, prepared, resume=True)
    with pytest.raises(FileError, match="another network"):
        train(toy(model={"parameters": {"encoder": [4, 8], "decoder": [4, 4, 4]}}), folder, prepared, resume=True)
    with pytest.raises(FileError, match="no checkpoint"):
        train(toy(), folder, prepared.parent / "nothing", resume=True)


def test_a_name_that_is_taken_is_told_before_training(folder, prepared, tmp_path):
    said = []
    prepared.rename(tmp_path / "deformable")
    recipe = toy(optimiser={"steps": 1}, validation={"pairs": 1})
    train(recipe, folder, tmp_path / "deformable", threads=1, watchers=Watchers(say=said.append))
    assert "another name" in said[0]


def test_the_weights_of_another_model_can_be_begun_with_where_they_fit(folder, prepared, trained, tmp_path):
    said = []
    recipe = toy(model={"parameters": {"encoder": [4, 4], "decoder": [4, 4, 8]}}, optimiser={"steps": 1, "warmup": 100})
    outcome = train(recipe, folder, prepared, start_from=trained[0], threads=1, watchers=Watchers(say=said.append))
    assert "Began as toy: 6 of 6 steps" in find_model(prepared.name, prepared.parent).training
    assert said[0] == "9 of 12 tensors begin as those of toy."
    before, after = (load_file(path / "weights.safetensors") for path in (trained[0], prepared))
    assert outcome.step == 1
    assert torch.allclose(before["down.0.0.weight"], after["down.0.0.weight"], atol=1e-3)
    with pytest.raises(ModelError, match="None of the weights"):
        train(toy(model={"architecture": "pyramid", "parameters": {}}), folder, tmp_path / "a", start_from=trained[0])
    with pytest.raises(InputError, match="--start-from"):
        train(recipe, folder, prepared, resume=True, start_from=trained[0])


def test_no_training_and_no_model_is_written_over(folder, trained, tmp_path):
    with pytest.raises(InputError, match="--resume"):
        train(toy(), folder, trained[0])
    (tmp_path / "card.toml").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="a model already"):
        train(toy(), folder, tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"model": {"licence": 3}}, ModelError, "licence"),
        ({"model": {"licenses": "MIT"}}, ModelError, "licenses"),
        ({"model": {"architecture": "transmorph"}}, ModelError, "transmorph"),
        ({"model": {"parameters": {"width": 3}}}, ModelError, "width"),
        ({"data": {"crop": [16, 16, 18]}}, InputError, "multiples of 4"),
        ({"data": {"images": "scans/*.nii.gz"}}, FileError, "scans/"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(folder, tmp_path, change, error, word):
    with pytest.raises(error, match=word):
        train(toy(**change), folder, tmp_path / "toy")
    assert not (tmp_path / "toy").exists()


def test_on_the_command_line_wrong_input_is_status_2_and_its_reason(folder, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    assert main(["train", str(recipe), "--data", str(empty), "--out", str(tmp_path / "toy")]) == 2
    assert "no files that match" in capsys.readouterr().err
    recipe.write_text(RECIPE.replace("warmup", "warmpu"), encoding="utf-8")
    assert main(["train", str(recipe), "--data", str(folder), "--out", str(tmp_path / "toy")]) == 2
    assert "warmpu" in capsys.readouterr().err
    assert not (tmp_path / "toy").exists()


def test_a_loss_that_is_no_number_ends_the_training(folder, prepared):
    recipe = toy(optimiser={"learning_rate": 1e30, "warmup": 0, "steps": 20}, validation={"every": 100})
    with pytest.raises(ModelError, match="learning_rate"):
        train(recipe, folder, prepared, threads=1)
    assert not (prepared / "card.toml").exists()


def test_training_puts_the_number_of_threads_back(folder, prepared):
    before = torch.get_num_threads()
    with pytest.raises(DeepRegisterError):
        train(toy(data={"images": "none/*.nii.gz"}), folder, prepared, threads=before + 1)
    assert torch.get_num_threads() == before


def test_the_learning_rate_rises_then_falls_to_its_end():
    chosen = Optimiser(steps=100, warmup=10, learning_rate=1e-3, final_rate=1e-5)
    rates = [learning_rate(step, chosen) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[55] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[100] == pytest.approx(1e-5)
    assert np.all(np.diff(rates[10:]) < 0)


def test_every_step_and_process_has_a_seed_of_its_own():
    seeds = {seed_of(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(4)}
    assert len(seeds) == 3 * 50 * 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def still(batch, stride=2):
    zero = torch.zeros(len(batch.fixed), 3, *(n // stride for n in batch.fixed.shape[2:]))
    return Motion(zero, zero, (zero,), stride)


def blob_batch():
    pair = [torch.as_tensor(np.asarray(volume.data, np.float32))[None, None] for volume in subject(1)]
    image, labels = pair[0][..., :16, :16, :16] / 400, pair[1][..., :16, :16, :16]
    probabilities = torch.cat([(labels == 1).float(), (labels == 2).float()], 1)
    return Batch(image, image.clone(), fixed_labels=probabilities, moving_labels=probabilities.clone())


def test_equal_images_at_rest_cost_nothing():
    batch = replace(blob_batch(), field=torch.zeros(1, 3, 16, 16, 16))
    recipe = toy(loss={"lncc": 1.0, "mse": 1.0, "dice": 1.0})
    total, terms = objective(batch, still(batch), recipe)
    assert set(terms) == {"lncc", "mse", "dice", "smoothness"}
    assert terms["smoothness"] == 0
    assert terms["mse"] < 1e-10
    assert terms["dice"] < 1e-6
    assert terms["lncc"] < 0.3
    assert total == pytest.approx(float(terms["lncc"] + terms["dice"]))


def test_where_an_image_says_nothing_it_is_not_compared():
    batch = blob_batch()
    changed = batch.moving.clone()
    changed[..., 10:] = 0.9
    inside = torch.ones_like(changed)
    inside[..., 10:] = 0
    recipe = toy(loss={"dice": 0.0})
    _, without = objective(replace(batch, moving=changed), still(batch), recipe)
    _, known = objective(replace(batch, moving=changed, moving_inside=inside), still(batch), recipe)
    assert without["mse"] > 0.01
    assert known["mse"] < 1e-10


def test_both_directions_count_where_there_is_an_inverse():
    batch = blob_batch()
    shift = torch.zeros(1, 3, 8, 8, 8)
    shift[:, 0] = 1
    good = Motion(shift, -shift, (shift,), 2)
    one = Motion(shift, None, (shift,), 2)
    moved = replace(batch, moving=batch.fixed.roll(2, 4), fixed_labels=None, moving_labels=None)
    recipe = toy(loss={"dice": 0.0, "smoothness": 0.0})
    bad = Motion(shift, shift, (shift,), 2)
    losses = [float(objective(moved, motion, recipe)[0]) for motion in (good, one, bad)]
    assert losses[0] < 2 * losses[1] < losses[2]


class Constant(torch.nn.Module):
    """A network that answers with one field."""

    def __init__(self, field, back=None):
        super().__init__()
        self.field, self.back = field, back

    def forward(self, fixed, moving):
        return Motion(self.field, self.back, (self.field,), 1)


def test_validation_measures_overlap_folds_and_the_inverse():
    batch = blob_batch()
    zero = torch.zeros(1, 3, 16, 16, 16)
    figures, look = validate(Constant(zero, zero), [lambda: replace(batch, field=zero)], toy())
    assert figures["dice"] == figures["dice_before"] == 1
    assert figures["folds"] == figures["inverse_mm"] == figures["endpoint_mm"] == figures["sdlogj"] == 0
    assert look.fixed.geometry.size == (16, 16, 16)
    folded = zero.clone()
    folded[0, 0, :, :, 8] = -3
    shifted = zero.clone()
    shifted[0, 1] = 2
    figures, _ = validate(Constant(folded, shifted), [lambda: replace(batch, field=shifted)], toy())
    assert figures["folds"] == pytest.approx(2 / 16, abs=0.01)
    assert figures["endpoint_mm"] > 1.9
    assert figures["inverse_mm"] > 1.9
    assert figures["dice"] < 1


plain = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")),
)
keys = st.text("abcdefghij_", min_size=1, max_size=8)


@settings(max_examples=60)
@given(st.dictionaries(keys, st.one_of(plain, st.lists(plain, max_size=3), st.dictionaries(keys, plain, max_size=3))))
def test_what_a_card_says_survives_its_file(values):
    assert tomllib.loads(toml(values)) == {name: value for name, value in values.items() if value != {}}


def test_all_models_are_listed_beside_each_other(trained):
    names = [card.name for card in list_models(trained[0].parent)]
    assert {"rigid", "affine", "deformable", "toy"} <= set(names)


def test_a_look_is_left_out_of_no_measure(trained):
    figures = trained[1].figures
    assert math.isfinite(figures["sdlogj"])
    assert 0 <= figures["dice_before"] <= figures["dice"] + 0.05
