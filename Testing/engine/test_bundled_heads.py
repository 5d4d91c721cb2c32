"""The learned models in the box for heads, on real images: they follow known motion, and heads are recognised."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from deepregister import Rigid, Settings, Volume, register
from deepregister.models.registry import BUILT_IN, list_models
from deepregister.models.resemblance import unlike
from deepregister.models.suitability import Shown
from deepregister.preparation import Pair, prepare
from phantoms import bumps

HEADS = [
    card for card in list_models() if card.learned and card.folder.parent == BUILT_IN and "brain" in card.anatomies
]
CONTRASTS = {"T1": "brainweb165a10f17.mha", "T2": "brainweb1e5a10f17.mha"}
CPU = torch.device("cpu")
every_model = pytest.mark.parametrize("card", HEADS, ids=lambda card: card.name)


@pytest.fixture(scope="module")
def heads(shared_data):
    @cache
    def head(name):
        """A head at 2 mm, its middle at the origin."""
        path = shared_data / "brains_t1" / name
        volume = Volume.read(path if path.exists() else shared_data / "brain_contrasts" / CONTRASTS[name])
        volume = Rigid.identity().resample(volume, volume.geometry.with_spacing((2.0, 2.0, 2.0)), "linear")
        geometry = volume.geometry
        return replace(volume, geometry=replace(geometry, origin=tuple(geometry.origin - geometry.centre)))

    return head


def known_pair(heads, fixed, moving):
    """Fixed, moving and the truth: up to about 8 mm within the brain."""
    truth = bumps(8.0, heads(fixed).geometry)
    return truth.resample(heads(fixed), heads(fixed).geometry, "linear"), heads(moving), truth


def errors(found, truth):
    """Before and after, mm, where the truth moves anything."""
    points = truth.geometry.points().reshape(-1, 3)[::11]
    there = truth.apply_to_points(points)
    before = np.linalg.norm(there - points, axis=1)
    after = np.linalg.norm(found.apply_to_points(points) - there, axis=1)
    return before[before > 1].mean(), after[before > 1].mean()


@every_model
@pytest.mark.parametrize(("fixed", "moving", "left"), [("T1", "T1", 0.4), ("T1", "T2", 0.8)])
def test_the_network_alone_follows_known_motion(heads, card, fixed, moving, left):
    *pair, truth = known_pair(heads, fixed, moving)
    result = register(*pair, settings=Settings(model=card.name, device="cpu", refine=False))
    before, after = errors(result.transform, truth)
    assert after < left * before, (before, after)
    assert result.measures["folded_fraction"] == 0


@every_model
def test_between_contrasts_refinement_is_part_of_it(heads, card):
    *pair, truth = known_pair(heads, "T2", "T1")
    result = register(*pair, settings=Settings(model=card.name, quality="fast", device="cpu"))
    before, after = errors(result.transform, truth)
    assert after < 0.5 * before and result.measures["folded_fraction"] == 0, (before, after)


@every_model
@pytest.mark.parametrize("name", ["T1", "T2", "1007_t1.nii.gz", "1010_t1.nii.gz"])
def test_heads_and_brains_are_recognised(heads, card, name):
    side = prepare(heads(name))[0]
    assert not Shown.of(Pair(side, side), (heads(name), heads(name))).objections(card)
    assert not unlike(card, side, CPU)


@every_model
def test_a_body_is_no_head(shared_data, card):
    body = Volume.read(shared_data / "body_ct" / "example_ct.nii.gz")
    side = prepare(body)[0]
    assert Shown.of(Pair(side, side), (body, body)).objections(card)
    assert unlike(card, side, CPU)
