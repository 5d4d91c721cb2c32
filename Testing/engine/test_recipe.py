"""Recipes: read strictly, and the built-in ones complete."""

import json

import pytest
from collections_of_blobs import RECIPE
from deepregister.errors import FileError, InputError
from deepregister.networks import build
from deepregister.training.publish import check_card
from deepregister.training.recipe import Recipe, built_in, read_recipe


@pytest.fixture
def write(tmp_path):
    def recipe(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return recipe


def test_there_is_a_recipe_for_each_way_of_training():
    assert {"voxelmorph-hippocampus", "voxelmorph-hippocampus-labels"} <= set(built_in())


@pytest.mark.parametrize("name", built_in())
def test_a_built_in_recipe_makes_a_card_and_a_network_that_its_crop_fits(name):
    recipe = read_recipe(name)
    check_card(recipe, name)
    network = build(recipe.model["architecture"], recipe.model.get("parameters", {}))
    assert all(size % network.multiple == 0 for size in recipe.data.crop)
    # What a lab has half an hour for must fit its checkpoint, too: network, mean and two moments.
    assert 16 * sum(parameter.numel() for parameter in network.parameters()) < 16 * 2**20


@pytest.mark.parametrize("name", built_in())
def test_a_recipe_is_the_same_after_json(name):
    recipe = read_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))).to_dict() == recipe.to_dict()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[optimiser]", "[optimizer]", ["optimizer", "optimiser"]),
        ("learning_rate =", "learnig_rate =", ["[optimiser]", "learnig_rate", "learning_rate"]),
        ("crop = [16, 16, 16]", "crop = [16, 16]", ["data.crop", "[16, 16]"]),
        ("crop = [16, 16, 16]", "crop = [16, 16, 16.5]", ["data.crop", "whole number", "16.5"]),
        ("steps = 6", "steps = true", ["optimiser.steps", "whole number", "True"]),
        ("steps = 6", "steps = 0", ["optimiser.steps", "at least 1"]),
        ('align = "none"', 'align = "rigid"', ["data.align", "affine", "'rigid'"]),
        ("mse = 1.0\ndice = 1.0", "", ["[loss]", "is 0"]),
        ("mse = 1.0", "mse = inf", ["loss.mse"]),
        ("mse = 1.0", "mse = 1.0\nendpoint = 1.0", ["loss.endpoint", "[synthesis]"]),
        ('labels = "labels/*.nii.gz"', "", ["loss.dice", "data.labels"]),
        ('labels = "labels/*.nii.gz"', 'labels = "labels.nii.gz"', ["data.labels", "*"]),
        ("[model.parameters]", "[data.parameters]", ["[data]", "parameters"]),
        ('architecture = "voxelmorph"', "", ["[model]", "architecture"]),
        ("validation = 2", "validation = 2\ntake = 3", ["data.take"]),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(write, before, after, words):
    assert before in RECIPE
    with pytest.raises(InputError) as caught:
        read_recipe(write(RECIPE.replace(before, after, 1)))
    for word in ["mine.toml", *words]:
        assert word in str(caught.value)


def test_a_whole_number_may_stand_for_a_fraction(write):
    assert read_recipe(write(RECIPE.replace("mse = 1.0", "mse = 2"))).loss.mse == 2.0


def test_a_missing_or_damaged_recipe_is_named_and_the_built_in_ones_are_listed(write):
    with pytest.raises(FileError, match="voxelmorph-hippocampus"):
        read_recipe("voxelmorf")
    with pytest.raises(FileError, match=r"mine\.toml"):
        read_recipe(write("steps = = 3"))


def test_the_number_of_steps_can_be_set_from_outside():
    recipe = Recipe.from_dict(read_recipe("voxelmorph-hippocampus").to_dict())
    assert recipe.with_steps(7).optimiser.steps == 7
    assert recipe.with_steps(None) is recipe
