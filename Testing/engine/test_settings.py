"""The one value that steers a run: checked when made, saved and restored without loss."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from deepregister import Settings
from deepregister.errors import InputError
from deepregister.settings import QUALITIES, SIMILARITIES
from hypothesis import given
from hypothesis import strategies as st

lengths = st.floats(0.01, 100)
valid = st.builds(
    Settings,
    model=st.text(min_size=1),
    quality=st.sampled_from(QUALITIES),
    device=st.sampled_from(["auto", "cpu", "cuda", "cuda:0", "cuda:13", "mps"]),
    similarity=st.sampled_from(SIMILARITIES),
    field_spacing_mm=st.none() | lengths,
    refine=st.none() | st.booleans(),
    landmark_sigma_mm=lengths,
    seed=st.integers(0, 2**63),
    threads=st.none() | st.integers(1, 512),
)


@given(valid)
def test_survives_json(settings):
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_every_setting_has_a_default():
    assert Settings() == Settings.from_dict({})


def test_nobody_changes_it_later():
    with pytest.raises(FrozenInstanceError):
        Settings().quality = "fast"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("quality", ["best", "", None, 1]),
        ("device", ["gpu", "", "cuda:", "cuda:x", "cpu:0", "mps:1", "auto:1", None, 0]),
        ("similarity", ["ssd", None]),
        ("model", ["", None, 3]),
        ("field_spacing_mm", [0, -1, float("nan"), float("inf"), "2", True]),
        ("refine", [0, 1, "yes"]),
        ("landmark_sigma_mm", [0, -1, float("nan"), None]),
        ("seed", [-1, 1.5, None, True]),
        ("threads", [0, -1, 1.5, "4", True]),
    ],
)
def test_refuses_values_that_make_no_sense(name, values):
    for value in values:
        with pytest.raises(InputError) as error:
            replace(Settings(), **{name: value})
        assert name in str(error.value)
        assert repr(value) in str(error.value)


@pytest.mark.parametrize(("helps", "steered"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_learned_model_is_refined_where_that_helps_or_is_wanted(helps, steered):
    assert Settings().refines(helps, steered) == (helps or steered)
    assert Settings(quality="fast").refines(helps, steered) == (helps or steered)
    assert Settings(refine=True).refines(helps, steered)
    assert not Settings(refine=False).refines(helps, steered)


def test_a_choice_that_does_not_exist_lists_those_that_do():
    with pytest.raises(InputError, match="fast, balanced, accurate"):
        Settings(quality="best")


def test_a_misspelt_setting_is_refused():
    with pytest.raises(InputError, match=r"Unknown setting qualitty\. The settings are: model, quality"):
        Settings.from_dict({"qualitty": "fast"})


@pytest.mark.parametrize("values", [None, ["quality"], "quality", 3])
def test_what_is_no_dictionary_is_refused(values):
    with pytest.raises(InputError, match="names with values"):
        Settings.from_dict(values)
