"""What the panel says about time, measures and direction."""

import pytest
from deepregister import Progress
from deepregister.confidence import Confidence
from DeepRegisterLib.panel import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (2, "a few seconds left"),
        (7, "about 5 s left"),
        (58, "about 60 s left"),
        (100, "about 2 min left"),
        (1000, "about 17 min left"),
    ],
)
def test_time_left(seconds, said):
    assert words.timeLeft(seconds) == said


def test_progress_line_has_no_dash_without_an_estimate():
    assert words.progressLine(Progress("align", 0.01, "Searching the start")) == "Searching the start"
    assert words.progressLine(Progress("align", 0.2, "Aligning", 30.0)) == "Aligning – about 30 s left"


@pytest.mark.parametrize(("seconds", "said"), [(0.83, "0.8 s"), (23.4, "23 s"), (125, "2 min 05 s")])
def test_duration(seconds, said):
    assert words.duration(seconds) == said


def test_rows_are_those_that_were_measured():
    linear = {"similarity_before": 0.31, "similarity_after": 0.58, "inverse_error_max_mm": 3e-14}
    assert words.measureRows(linear) == [
        ("Similarity (0 to 1)", "0.31 → 0.58"),
        ("Inverse error", "below 0.01 mm"),
    ]
    deformable = {"folded_fraction": 0.0, "jacobian_min": 0.5, "jacobian_max": 2.0, "inverse_error_max_mm": 0.25}
    assert words.measureRows(deformable) == [
        ("Folded voxels", "none"),
        ("Local volume change", "× 0.50 to × 2.00"),
        ("Inverse error", "at most 0.25 mm"),
    ]
    assert words.measureRows({"folded_fraction": 0.00123}) == [("Folded voxels", "0.12 %")]


def test_low_confidence_comes_first_with_a_sign_and_words():
    low = Confidence(0.2, ("Covers only 8% <of it>.",))
    text = words.resultText("f", "m", "T", [], confidence=low)
    assert text.startswith("<p><b>⚠ Low confidence (0.20): a person must look")
    assert "<p>Covers only 8% &lt;of it&gt;.</p><p><b>T</b> maps" in text
    reserved = words.resultText("f", "m", "T", [], confidence=Confidence(0.8, ("A reservation.",)))
    assert reserved.startswith("<p>A reservation.</p>")
    assert words.resultText("f", "m", "T", [], confidence=Confidence()) == words.resultText("f", "m", "T", [])


def test_result_text_is_safe_for_any_name():
    text = words.resultText("<fixed>", "a & b", "T", [("x", "1 mm")], ["note"], ["careful"])
    assert "&lt;fixed&gt;" in text
    assert "a &amp; b" in text
    assert "<p>note</p>" in text
    assert "<p>⚠ careful</p>" in text
