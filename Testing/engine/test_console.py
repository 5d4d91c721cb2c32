"""A terminal sees one line that moves, a log file one line for each stage, and Ctrl-C asks before it forces."""

import io
import signal

import pytest
from deepregister.console import ProgressBar, duration, interruption, table
from deepregister.progress import Progress

RUN = (
    Progress("prepare", 0.0, "Reading"),
    Progress("prepare", 0.05, "This will take about 1.2 GB of memory and 5 s"),
    Progress("align", 0.1, "Aligning"),
    Progress("align", 0.3, "Aligning", 70.0),
    Progress("deform", 0.6, "Level 1 of 2", 20.0),
    Progress("measure", 1.0, "Done", 0.0),
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def shown(stream):
    with ProgressBar(stream) as bar:
        for progress in RUN:
            bar(progress)
    return stream.getvalue()


def test_a_log_gets_the_last_word_of_each_stage():
    assert shown(io.StringIO()).splitlines() == [
        "  5%  prepare: This will take about 1.2 GB of memory and 5 s",
        " 30%  align: Aligning",
        " 60%  deform: Level 1 of 2",
        "100%  measure: Done",
    ]


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    lines = shown(Terminal()).split("\n")
    # What a terminal shows after carriage returns is the last writing over each line.
    final = [line.rsplit("\r", 1)[-1] for line in lines]
    assert final[0].strip() == "█" + "░" * 23 + "   5%  This will take about 1.2 GB of memory"
    assert final[1].rstrip() == "█" * 7 + "░" * 17 + "  30%, 1 min 10 s left  Aligning"
    assert final[3].rstrip() == "█" * 24 + " 100%, 0 s left  Done"
    assert final[4:] == [""]
    assert all(len(line) < 70 for line in final)


def test_a_terminal_without_blocks_gets_signs_that_it_has():
    terminal = Terminal()
    terminal.encoding = "ascii"
    assert "#" in shown(terminal)
    assert shown(terminal).isascii()


def test_the_line_is_closed_when_the_run_fails():
    terminal = Terminal()
    with pytest.raises(RuntimeError), ProgressBar(terminal) as bar:
        bar(RUN[0])
        raise RuntimeError
    assert terminal.getvalue().endswith("\n")


def test_nothing_is_shown_of_a_run_that_reported_nothing():
    terminal = Terminal()
    with ProgressBar(terminal):
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0 s"), (8.4, "8 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (4800, "1 h 20 min")]
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_table_columns_line_up():
    assert table([("", "before", "after"), ("Dice", "0.5", "0.75"), ("Folds", "", "none at all")]) == (
        "       before  after\nDice   0.5     0.75\nFolds          none at all"
    )


def test_ctrl_c_asks_once_and_forces_the_second_time(capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruption() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "Stopping" in capsys.readouterr().err
