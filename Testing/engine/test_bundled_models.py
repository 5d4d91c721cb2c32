"""The learned models in the box: whole, licensed, small; on real crops better than the affine, and never folding."""

from functools import cache

import numpy as np
import pytest
import torch
from deepregister import Rigid, Settings, Volume, quality, register
from deepregister.models.registry import BUILT_IN, find_model, list_models
from deepregister.models.resemblance import unlike
from deepregister.preparation import prepare
from deepregister.training.recipe import built_in, read_recipe
from geometries import relabelled

MODELS = [card for card in list_models() if card.learned and card.folder.parent == BUILT_IN]
HIPPOCAMPAL = [card.name for card in MODELS if "hippocampus" in card.anatomies]
# Of the subjects that the recipes leave for validation: no weight has seen them.
PAIRS = [("230", "245"), ("228", "236"), ("243", "232")]

every_model = pytest.mark.parametrize("card", MODELS, ids=lambda card: card.name)
every_hippocampal = pytest.mark.parametrize("name", HIPPOCAMPAL)


@pytest.fixture(scope="module")
def crops(shared_data):
    folder = shared_data / "hippocampus"

    @cache
    def crop(kind, number):
        volume = Volume.read(folder / kind / f"hippocampus_{number}.nii.gz")
        return volume.astype(np.int32) if kind == "labels" else volume

    return crop


def alone(name, fixed, moving):
    """The network's result without refinement."""
    return register(fixed, moving, settings=Settings(model=name, device="cpu", refine=False))


def overlap(transform, moving, fixed):
    moved = transform.resample(moving, fixed.geometry, "nearest")
    return float(np.mean(list(quality.dice(moved.data, fixed.data).values())))


def test_there_are_models_with_weights_and_they_are_small():
    assert {"voxelmorph-hippocampus", "voxelmorph-hippocampus-labels", "pyramid-hippocampus"} <= {
        c.name for c in MODELS
    }
    assert sum((card.folder / card.weights).stat().st_size for card in MODELS) < 25e6


@every_model
def test_a_card_says_where_its_weights_come_from_and_what_was_measured(card):
    card.read_weights()
    assert card.training_data and card.training and card.intended and card.known_failures
    assert {"sdlogj", "folds", "inverse_mm"} <= set(card.figures)
    assert card.bfloat16_mm is not None
    if card.licence != "Apache-2.0":
        licence = (card.folder / "LICENSE.txt").read_text(encoding="utf-8")
        assert card.licence.split("-SA")[0].replace("-", " ") in licence


@every_model
def test_a_card_is_its_recipes(card):
    assert card.name in built_in()
    recipe = read_recipe(card.name)
    assert card.architecture == recipe.model["architecture"]
    assert dict(card.parameters) == recipe.model["parameters"]
    assert card.spacing_mm == recipe.data.spacing_mm


@every_hippocampal
def test_it_beats_the_affine_on_crops_it_has_not_seen_and_folds_nothing(crops, name):
    gains = []
    for fixed, moving in PAIRS:
        result = alone(name, crops("images", fixed), crops("images", moving))
        field, affine = result.transform.parts
        assert field.jacobian_determinant().min() > 0
        assert field.corner_jacobian_determinants().min() > 0
        assert result.measures["inverse_error_mean_mm"] < 0.1
        here, there = crops("labels", fixed), crops("labels", moving)
        gains.append(overlap(result.transform, there, here) - overlap(affine, there, here))
    assert np.mean(gains) > 0.04


@every_hippocampal
def test_the_same_crops_stored_otherwise_give_the_same_field(crops, name):
    """Axes exchanged and flipped: within 0.01 mm. Voxels of 0.8 mm: within 0.5 mm on average, as the affine is too."""
    fixed, moving = (crops("images", number) for number in PAIRS[0])
    plain = alone(name, fixed, moving)
    points = fixed.geometry.points().reshape(-1, 3)[::7]

    def apart(other):
        return np.linalg.norm(plain.transform.apply_to_points(points) - other.transform.apply_to_points(points), axis=1)

    stored = []
    for volume, order, flips in ((fixed, (2, 0, 1), (True, False, True)), (moving, (1, 0, 2), (False, True, False))):
        geometry, array = relabelled(volume.geometry, volume.data, order, flips)
        stored.append(Volume(np.ascontiguousarray(array), geometry))
    assert apart(alone(name, *stored)).max() < 0.01
    finer = [Rigid.identity().resample(v, v.geometry.with_spacing((0.8,) * 3), "linear") for v in (fixed, moving)]
    assert apart(alone(name, *finer)).mean() < 0.5


@every_hippocampal
def test_crops_of_another_place_are_seen_not_to_be_hippocampi(shared_data, name):
    """Of the same size, from the front of a brain."""
    volume = Volume.read(shared_data / "brains_t1" / "1007_t1.nii.gz")
    middle = np.asarray(volume.geometry.size) // 2
    front = volume.geometry.point_to_index(volume.geometry.centre + np.array([0.0, -35.0, 10.0]))
    assert np.all(np.abs(front - middle) < middle - 20)
    low, high = np.rint(front - 20).astype(int), np.rint(front + 20).astype(int)
    data = volume.data[tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))]
    crop = Volume(np.ascontiguousarray(data), volume.geometry.cropped(low, high))
    assert unlike(find_model(name), prepare(crop)[0], torch.device("cpu"))


@every_hippocampal
def test_hippocampi_are_recognised(crops, name):
    for number in sum(PAIRS, ()):
        assert not unlike(find_model(name), prepare(crops("images", number))[0], torch.device("cpu"))


def test_auto_takes_the_best_of_them_for_such_crops(crops):
    result = register(*(crops("images", number) for number in PAIRS[1]), device="cpu")
    best = max((card for card in MODELS if card.name in HIPPOCAMPAL), key=lambda card: card.figures["dice"].value)
    assert result.settings.model == best.name
    assert best.name in result.inputs["choice"]
