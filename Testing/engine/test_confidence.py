"""The verdict on a result, and that it is saved and travels with it."""

import pytest
from deepregister.confidence import LOW, Confidence


@pytest.mark.parametrize(("score", "level"), [(0.0, "low"), (LOW - 0.01, "low"), (LOW, "good"), (1.0, "good")])
def test_the_level_follows_from_the_score(score, level):
    assert Confidence(score, ("why",)).level == level


def test_it_comes_back_from_its_dictionary():
    confidence = Confidence(0.25, ("Both sides overlap little.", "Two starts ended apart."))
    assert Confidence.from_dict(confidence.to_dict()) == confidence
