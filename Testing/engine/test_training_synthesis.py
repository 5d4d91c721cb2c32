"""Training from label maps alone, end to end at toy size: all kinds of pairs, the same to the bit when resumed."""

import csv
import shutil
import tomllib

import pytest
import torch
from deepregister import Geometry, Volume
from deepregister.errors import InputError
from deepregister.models.registry import Card
from deepregister.training.loop import Watchers, seed_of
from deepregister.training.recipe import Recipe
from deepregister.training.session import train
from heads import LABELS, SPACING, head_labels, turned
from safetensors.torch import load_file

RECIPE = """
[model]
title = "Heads"
summary = "A toy."
family = "weakly supervised"
architecture = "pyramid"
paper = "none"
licence = "CC0-1.0"
modalities = ["any"]
[model.parameters]
channels = [4, 8]
decoder = [8, 8]
radius = [1, 1]
repeats = [1, 1]
[data]
kind = "labels"
labels = "*_labels.nii.gz"
validation = 2
spacing_mm = 4.0
crop = [32, 40, 32]
[synthesis]
between_subjects = 1
one_subject = 1
shapes = 1
channels = 4
overlap_stride = 2
[synthesis.motion]
mm = [2, 12]
[loss]
dice = 1.0
lncc = 0.5
endpoint = 0.1
[optimiser]
steps = 4
batch = 2
[validation]
pairs = 3
every = 4
"""


def recipe():
    return Recipe.from_dict(tomllib.loads(RECIPE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    for number in range(5):
        places, to_mm = head_labels(turned(5 * (number - 2), (2 * number, 0, -number), 1 + 0.02 * number))
        values = torch.tensor([0, *LABELS])[torch.from_numpy(places).long()].to(torch.int16).numpy()
        geometry = Geometry(values.shape[::-1], (SPACING,) * 3, tuple(to_mm[:3, 3]))
        Volume(values, geometry).write(folder / f"head{number}_labels.nii.gz")
    return folder


def test_a_network_trains_on_label_maps_and_goes_on_to_the_bit(folder, tmp_path):
    whole = train(recipe(), folder, tmp_path / "whole", device="cpu", threads=1)
    assert whole.reason == "finished" and whole.step == 4
    # Each validation looks at one pair of each kind: overlap, the truth, and the inverse are all known of some.
    assert {"dice", "dice_before", "endpoint_mm", "inverse_mm", "folds"} <= set(whole.figures)
    with (tmp_path / "whole" / "training" / "curves.csv").open(newline="", encoding="utf-8") as stream:
        names = set(next(csv.DictReader(stream)))
    assert {"dice", "lncc", "endpoint", "smoothness"} <= names
    # With the data prepared, only the steps ask whether to stop.
    parts = tmp_path / "parts"
    (parts / "training").mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "training" / "data.npz", parts / "training")
    asked = iter([False, False])
    watchers = Watchers(cancelled=lambda: next(asked, True))
    stopped = train(recipe(), folder, parts, device="cpu", threads=1, watchers=watchers)
    assert stopped.reason == "stopped" and 0 < stopped.step < 4
    train(recipe(), folder, parts, resume=True, device="cpu", threads=1)
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_structure_that_is_in_no_map_stops_before_training(folder, tmp_path):
    values = tomllib.loads(RECIPE)
    values["synthesis"]["structures"] = [2, 77]
    with pytest.raises(InputError, match="the label 77 "):
        train(Recipe.from_dict(values), folder, tmp_path / "out", threads=1)


@pytest.mark.parametrize(
    ("table", "entry", "words"),
    [
        ("motion", {"strength": 3}, "strength"),
        ("motion", {"mm": [5, 2]}, "FieldRanges.mm"),
        ("contrast", {"same": "often"}, "synthesis.contrast.same"),
    ],
)
def test_an_entry_of_synthesis_that_cannot_be_used_is_named(table, entry, words):
    values = tomllib.loads(RECIPE)
    values["synthesis"][table] = entry
    with pytest.raises(InputError, match=words):
        Recipe.from_dict(values)


def test_steps_draw_from_seeds_of_their_own():
    assert len({seed_of(0, step, 0) for step in range(100)}) == 100


def test_a_model_of_heads_knows_them_in_any_contrast(folder, tmp_path):
    values = tomllib.loads(RECIPE)
    values["model"]["anatomies"] = ["brain"]
    values["optimiser"] = {"steps": 1}
    train(Recipe.from_dict(values), folder, tmp_path / "heads", device="cpu", threads=1)
    card = Card.read(tmp_path / "heads" / "card.toml")
    assert 0.1 < card.typical_agreement < 1
    typical = Volume.read(tmp_path / "heads" / card.typical)
    assert typical.geometry.size == (32, 40, 32) and typical.geometry.spacing == (4.0, 4.0, 4.0)
    # What skull-stripping leaves: something in the middle, nothing at the border.
    middle = typical.data[12:20, 16:24, 12:20]
    assert middle.mean() > 60 and typical.data[0].max() == 0 and typical.data[:, 0].max() == 0
