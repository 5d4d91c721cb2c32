"""The verdict on a result: what each piece of evidence does to it, its words, and that it is saved and travels."""

import json

import numpy as np
import pytest
from deepregister import Rigid, Volume, register
from deepregister.confidence import LOW, Confidence, judge
from deepregister.report import summary
from deepregister.result import Registration
from phantoms import grid, seen_through
from scipy.ndimage import gaussian_filter

GOOD = {
    "agreement": 0.1,
    "agreement_away": 0.006,
    "rival": 0.6,
    "in_view": 0.9,
    "stretch": 1.1,
    "jacobian_log_std": 0.25,
    "similarity_before": 0.3,
    "similarity_after": 0.8,
}
FAST = {"quality": "fast", "device": "cpu"}


@pytest.fixture(scope="module")
def head():
    return seen_through(Rigid.identity(), grid())


@pytest.mark.parametrize(("score", "level"), [(0.0, "low"), (LOW - 0.01, "low"), (LOW, "good"), (1.0, "good")])
def test_the_level_follows_from_the_score(score, level):
    assert Confidence(score, ("why",)).level == level


def test_it_comes_back_from_its_dictionary():
    confidence = Confidence(0.25, ("Both sides overlap little.", "Two starts ended apart."))
    assert Confidence.from_dict(confidence.to_dict()) == confidence


def test_a_low_one_says_so_before_its_reasons():
    first, *others = Confidence(0.25, ("One.", "Two.")).sentences
    assert first.startswith("Low confidence (0.25): ") and others == ["One.", "Two."]
    assert Confidence(0.8, ("One.",)).sentences == ("One.",)


def test_nothing_speaks_against_a_good_result():
    found = judge(GOOD)
    assert found.score > 0.9 and found.reasons == ()
    assert judge({}) == Confidence(1.0)


@pytest.mark.parametrize(
    ("against", "words"),
    [
        ({"agreement_away": 0.05}, "moved by a quarter of their size, 50% of the agreement is left"),
        ({"agreement": 0.0, "agreement_away": 0.0}, "100% of the agreement is left"),
        ({"in_view": 0.08}, "covers only 8%"),
        ({"stretch": 2.5}, "stretched or shrunk by a factor of 2.50"),
        ({"jacobian_log_std": 1.2}, "spreads by 1.20"),
        ({"similarity_after": 0.2}, "The similarity fell from 0.300 to 0.200"),
        ({"tre_before_mean_mm": 2.0, "tre_after_mean_mm": 5.0}, "landmark error rose from 2.00 to 5.00 mm"),
        ({"tre_before_mean_mm": 60.0, "tre_after_mean_mm": 25.0}, "still lie 25.0 mm apart"),
        ({"agreement_away": 0.021, "rival": 0.99}, "led to other places fit nearly as well (99% of the score)"),
    ],
)
def test_each_piece_of_evidence_makes_it_low_and_is_named(against, words):
    found = judge({**GOOD, **against})
    assert found.low
    assert any(words in reason for reason in found.reasons)


def test_starts_that_disagree_are_told_but_do_not_decide_alone():
    found = judge({**GOOD, "rival": 1.0})
    assert not found.low and len(found.reasons) == 1


def test_more_evidence_against_never_raises_the_score_and_the_gravest_comes_first():
    shares = [judge({**GOOD, "agreement_away": away}).score for away in np.linspace(0, 0.1, 11)]
    assert shares == sorted(shares, reverse=True)
    found = judge({**GOOD, "stretch": 1.9, "agreement_away": 0.09})
    assert "quarter" in found.reasons[0] and "stretched" in found.reasons[1]


def test_small_losses_of_two_volumes_that_lay_in_one_place_are_no_doubt():
    found = judge({**GOOD, "similarity_before": 0.96, "similarity_after": 0.955})
    assert not found.low and found.reasons == ()


@pytest.mark.parametrize("model", ["rigid", "deformable"])
def test_a_result_that_is_right_is_trusted(head, model):
    matrix = np.eye(4)
    matrix[:3, 3] = (6, -9, 4)
    found = register(seen_through(Rigid(matrix), grid()), head, model, **FAST)
    assert not found.confidence.low
    assert not any("Low confidence" in sentence for sentence in found.confidence.sentences)


def test_a_result_that_cannot_be_right_is_marked_wherever_it_is_shown(head, tmp_path):
    values = gaussian_filter(np.random.default_rng(0).normal(size=grid().shape), 2)
    found = register(head, Volume(values.astype(np.float32), grid(), "unrelated"), "rigid", **FAST)
    assert found.confidence.low
    assert any("insides agree hardly better here" in reason for reason in found.confidence.reasons)
    found.save(tmp_path)
    saved = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["confidence"]
    assert saved["level"] == "low" and saved["reasons"] == list(found.confidence.reasons)
    assert Registration.load(tmp_path).confidence.level == "low"
    assert "low: a person must look" in summary(found, tmp_path)


def test_a_start_far_off_is_low_for_nothing_is_in_view(head):
    matrix = np.eye(4)
    matrix[:3, 3] = 500
    found = register(head, head, "rigid", initial=Rigid(matrix), **FAST)
    assert found.confidence.low and "covers only 0%" in found.confidence.reasons[0]
