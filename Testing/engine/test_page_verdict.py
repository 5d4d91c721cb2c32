"""The verdict: its words for every kind of result, and nothing said twice."""

import pytest
from deepregister import Rigid, Settings
from deepregister.confidence import Confidence
from deepregister.page.numbers import measure_rows
from deepregister.page.verdict import judge, millimetres, share
from deepregister.result import Registration

GOOD = {"similarity_before": 0.2, "similarity_after": 0.9, "folded_fraction": 0.0}


def verdict(measures, confidence=None, warnings=(), inputs=None):
    return judge(
        Registration(
            Rigid.identity(),
            Rigid.identity(),
            None,
            Settings(),
            measures,
            {},
            "CPU",
            tuple(warnings),
            confidence or Confidence(),
            inputs=inputs or {},
        )
    )


def test_a_good_result():
    found = verdict(GOOD, warnings=["12 voxels were not numbers."])
    assert (found.level, found.headline, found.against) == ("good", "Good", ())
    assert found.in_favour == ("The similarity rose from 0.200 to 0.900.", "No voxel folds.")
    assert found.notes == ("12 voxels were not numbers.",)
    assert "Look at the pictures" in found.advice


def test_folds_that_were_not_counted_are_told():
    found = verdict(GOOD, inputs={"regions": {"name": "lungs"}})
    assert found.in_favour[-1] == "No voxel folds, the borders of the sliding regions left out."


def test_reasons_make_reservations_and_a_low_score_asks_for_a_person():
    reserved = verdict(GOOD, Confidence(0.7, ("The contents overlap by 60 %.",)))
    assert (reserved.level, reserved.headline) == ("good", "Good, with reservations")
    low = verdict(GOOD, Confidence(0.3, ("The contents overlap by 20 %.", "Another.")))
    assert low.level == "low" and "A person must look" in low.advice
    assert low.against == ("The contents overlap by 20 %.", "Another.")


@pytest.mark.parametrize(
    ("measures", "reason"),
    [
        ({"similarity_after": 0.1}, "The similarity fell from 0.200 to 0.100."),
        ({"tre_before_mean_mm": 2.0, "tre_after_mean_mm": 5.0}, "The mean landmark error rose from 2.00 to 5.00 mm."),
    ],
)
def test_a_result_that_made_it_worse_has_failed(measures, reason):
    found = verdict({**GOOD, **measures})
    assert found.level == "failed" and "Do not use" in found.advice
    assert found.against == (reason,)
    assert verdict(GOOD, Confidence(0.05, ("Upside down.",))).level == "failed"


def test_a_little_less_similarity_is_no_failure():
    found = verdict({**GOOD, "similarity_before": 0.96, "similarity_after": 0.95})
    assert (found.level, found.against) == ("good", ())
    assert found.notes == ("The similarity fell from 0.960 to 0.950.",)


def test_the_expected_error_is_said_of_no_result_that_failed():
    says = {f"expected_error_{name}_mm": 2.0 for name in ("median", "90", "worst")}
    measures = {**GOOD, **says, "expected_error_worst_place": "in the left part"}
    good, low, failed = (verdict(measures, Confidence(score, ("A reason.",))) for score in (0.9, 0.3, 0.05))
    assert good.notes == (good.expected,) and good.expected.startswith("Where both volumes show the same anatomy, nine")
    assert low.expected == f"Only if the result is right as a whole: w{good.expected[1:]}"
    assert failed.notes == () and failed.expected == ""
    assert "Expected error" in {row.title for row in measure_rows(measures)}
    assert "Expected error" not in {row.title for row in measure_rows(measures, failed=True)}


def test_folds_outrank_low_confidence_but_not_failure():
    folds = {**GOOD, "folded_fraction": 0.0123}
    found = verdict(folds, Confidence(0.3, ("Reason.",)))
    assert found.level == "folded"
    assert found.against == ("Reason.", "The field folds in 1.23 % of its voxels.")
    assert "No voxel folds." not in found.in_favour
    assert verdict({**folds, "similarity_after": 0.1}).level == "failed"


def test_what_the_engine_said_is_not_said_again():
    warning = "The similarity fell from 0.200 to 0.100: look at the result before you use it."
    found = verdict({**GOOD, "similarity_after": 0.1}, warnings=["First.", warning])
    assert found.against == (warning,) and found.notes == ("First.",)
    reason = "The similarity fell from 0.200 to 0.100, so it does not fit."
    found = verdict({**GOOD, "similarity_after": 0.1}, Confidence(0.2, (reason,)))
    assert found.against == (reason,)


def test_a_result_without_measures_says_nothing_of_them():
    found = verdict({})
    assert (found.level, found.against, found.in_favour) == ("good", (), ())


def test_small_numbers_do_not_look_like_nothing():
    assert [share(value) for value in (0, 0.5, 0.0123, 1e-7)] == ["none", "50.00 %", "1.23 %", "1e-05 %"]
    assert [millimetres(value) for value in (0, 1e-13, 0.012, 3)] == ["less than 0.01 mm"] * 2 + ["0.01 mm", "3.00 mm"]
