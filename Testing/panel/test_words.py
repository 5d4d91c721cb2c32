"""What the panel says about time, measures and direction."""

import ast
import types
from pathlib import Path

import pytest
from deepregister import Progress
from deepregister.confidence import Confidence
from deepregister.page.verdict import judge
from deepregister.progress import STAGES
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


def judged(**entries):
    values = {"measures": {}, "confidence": Confidence(), "warnings": (), "inputs": {}}
    return judge(types.SimpleNamespace(**(values | entries)))


def test_the_verdict_comes_first_with_its_reasons():
    low = judged(confidence=Confidence(0.2, ("Covers only 8% <of it>.",)))
    text = words.resultText("f", "m", "T", [], low)
    assert text.startswith("<p><b>⚠ Low confidence.</b> A person must look")
    assert "<ul><li>Covers only 8% &lt;of it&gt;.</li></ul><p><b>T</b> maps" in text
    reserved = words.verdictText(judged(confidence=Confidence(0.8, ("A reservation.",))))
    assert reserved.startswith("<p><b>● Good, with reservations.</b>")
    assert words.verdictText(judged()).startswith("<p><b>✔ Good.</b>")
    assert words.verdictText(judged(confidence=Confidence(0.01, ("Nothing fits.",)))).startswith("<p><b>✖ Failed.</b>")
    assert "⚠ Folded in places" in words.verdictText(judged(measures={"folded_fraction": 0.01}))


def test_result_text_is_safe_for_any_name_and_says_nothing_twice():
    verdict = judged(warnings=("careful",), measures={"similarity_before": 0.2, "similarity_after": 0.5})
    text = words.resultText("<fixed>", "a & b", "T", [("x", "1 mm")], verdict, ["note", "careful", "note"])
    assert "&lt;fixed&gt;" in text
    assert "a &amp; b" in text
    assert text.count("<p>note</p>") == 1
    assert text.count("careful") == 1


def test_stages_and_cards():
    assert words.stagesText([]) == ""
    assert words.stagesText(["prepare", "align", "deform"]) == "Prepare › Align › <b>Bend</b>"
    assert {*words._STAGES} == {*STAGES}
    card = words.cardText([("For", "a <b>\nsecond"), ("Size", "")])
    assert "a &lt;b&gt;<br>second" in card
    assert "Size" not in card


def test_what_is_handed_to_translation_is_literal():
    """Slicer's tool that collects the texts reads the files: a variable says nothing to it."""
    folder = Path(words.__file__).parent
    for path in folder.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_":
                assert isinstance(call.args[0], ast.Constant), f"{path.name}:{call.lineno}"
