"""Reports that never fall, a stop at every one of them, and a clock for every stage."""

import pytest
from deepregister.errors import Cancelled
from deepregister.progress import STAGES, Monitor
from hypothesis import given
from hypothesis import strategies as st

steps = st.lists(st.tuples(st.sampled_from([*STAGES, "elsewhere"]), st.floats(-1, 2)), min_size=1, max_size=30)


@given(steps, st.dictionaries(st.sampled_from(STAGES), st.floats(0.01, 10), min_size=1))
def test_the_fraction_stays_between_0_and_1_and_never_falls(steps, shares):
    seen = []
    monitor = Monitor(seen.append, shares=shares)
    for stage, fraction in steps:
        monitor.report(stage, fraction, "working")
    fractions = [progress.fraction for progress in seen]
    assert len(seen) == len(steps)
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] <= 1 + 1e-9


def test_stages_take_their_shares_in_order():
    seen = []
    monitor = Monitor(seen.append, shares={"align": 1, "deform": 3})
    for stage, fraction in [("align", 0.5), ("align", 1), ("deform", 0.5), ("deform", 1)]:
        monitor.report(stage, fraction, stage)
    assert [progress.fraction for progress in seen] == pytest.approx([0.125, 0.25, 0.625, 1])
    assert [progress.message for progress in seen] == ["align", "align", "deform", "deform"]


def test_a_stage_without_a_share_moves_nothing():
    seen = []
    monitor = Monitor(seen.append, shares={"align": 1, "deform": 3})
    monitor.report("align", 1, "")
    monitor.report("write", 0.5, "")
    monitor.report("deform", 1 / 3, "")
    assert [progress.fraction for progress in seen] == pytest.approx([0.25, 0.25, 0.5])


def test_time_left_is_silent_at_first_and_none_at_the_end():
    seen = []
    monitor = Monitor(seen.append, shares={"align": 1})
    for fraction in (0.01, 0.5, 1):
        monitor.report("align", fraction, "")
    assert seen[0].seconds_left is None
    assert seen[1].seconds_left >= 0
    assert seen[2].seconds_left == 0


def test_a_cancelled_run_stops_at_the_next_report_or_check():
    asked = iter([False, False, True, True])
    seen = []
    monitor = Monitor(seen.append, cancelled=lambda: next(asked))
    monitor.report("align", 0.1, "")
    monitor.check()
    with pytest.raises(Cancelled):
        monitor.report("align", 0.2, "")
    with pytest.raises(Cancelled):
        monitor.check()
    assert len(seen) == 1


def test_what_the_callers_function_raises_stops_the_run():
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Monitor(stop).report("align", 0.1, "")


def test_what_a_step_learned_is_kept_the_last_of_a_name():
    monitor = Monitor()
    for value in (0.7, 0.4):
        monitor.note("rival", value)
    assert monitor.evidence == {"rival": 0.4}


def test_without_a_caller_nothing_happens():
    monitor = Monitor()
    monitor.check()
    monitor.report("align", 0.5, "")
    monitor.finish()


def test_the_clock_counts_each_stage(monkeypatch):
    clock = {"time": 0.0}
    monkeypatch.setattr("deepregister.progress.time.monotonic", lambda: clock["time"])
    monitor = Monitor()
    for stage, at in [("prepare", 1), ("align", 3), ("align", 4), ("deform", 6), ("align", 7)]:
        clock["time"] = float(at)
        monitor.report(stage, 0.5, "")
    clock["time"] = 10.0
    monitor.finish()
    assert monitor.seconds == {"prepare": 2, "align": 3 + 3, "deform": 1}
