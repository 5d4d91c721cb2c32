"""What a program took: its own time and memory and that of all it started, and nothing of the harness'."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

if sys.platform != "linux":
    pytest.skip("only Linux tells what a program has started", allow_module_level=True)

from measured import measure
from processes import alive, wait_until

BURN = """
import time
while time.process_time() < 0.6:
    pass
"""
# Holds what it says, in real pages, for as long as it says.
HOLD = """
import sys, time
held = b"x" * int(sys.argv[1])
time.sleep(float(sys.argv[2]))
"""


def run(tmp_path, text, *arguments, limit=60, threads=1):
    command = [sys.executable, "-S", "-c", text, *map(str, arguments)]
    return measure(command, "", tmp_path / "log.txt", limit=limit, threads=threads)


def test_sleep_takes_time_and_no_processor_time(tmp_path):
    usage = run(tmp_path, "import time; time.sleep(1)")
    assert (usage.status, usage.ended) == (0, "itself")
    assert usage.seconds >= 1
    assert usage.cpu_seconds < 0.6


@pytest.mark.parametrize("waited_for", [True, False])
def test_the_processor_time_of_grandchildren_counts(tmp_path, waited_for):
    # Without waiting it is left behind when the program ends, and still runs.
    burning = f"{BURN}\nprint(flush=True)\ntime.sleep({0 if waited_for else 600})"
    program = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", {burning!r}], stdout=subprocess.PIPE)
child.stdout.readline()
{"child.wait()" if waited_for else ""}
"""
    assert 0.6 <= run(tmp_path, program).cpu_seconds < 6


def test_the_memory_of_the_harness_is_not_the_program_s(tmp_path):
    held = np.ones(60_000_000)
    usage = run(tmp_path, HOLD, 50_000_000, 0)
    assert 50 < usage.peak_mb < 100, held.nbytes


def test_the_memory_of_processes_that_run_at_once_is_added_up(tmp_path):
    two = f"""
import subprocess, sys
each = [subprocess.Popen([sys.executable, "-S", "-c", {HOLD!r}, "80000000", "2"]) for _ in range(2)]
sys.exit(sum(one.wait() for one in each))
"""
    assert 160 < run(tmp_path, two).peak_mb < 280


def test_measuring_takes_less_than_a_twentieth_of_what_it_measures(tmp_path):
    # Processor time on both sides, which a busy machine does not change; several processes, which are looked at most.
    burning = BURN.replace("0.6", "1.5")
    three = f"""
import subprocess, sys
each = [subprocess.Popen([sys.executable, "-S", "-c", {burning!r}]) for _ in range(3)]
sys.exit(sum(one.wait() for one in each))
"""
    usage = run(tmp_path, three)
    assert usage.cpu_seconds > 4.5
    assert usage.harness_seconds < 0.05 * usage.cpu_seconds


def test_what_is_told_on_stdin_arrives_and_what_is_printed_is_kept(tmp_path):
    text = "import sys; print(sys.stdin.read().upper()); print('seen', file=sys.stderr)"
    command = [sys.executable, "-S", "-c", text]
    measure(command, "job", tmp_path / "log.txt", limit=60, threads=1)
    assert sorted((tmp_path / "log.txt").read_text().split()) == ["JOB", "seen"]


def test_every_program_gets_the_same_number_of_threads(tmp_path):
    text = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS'])"
    text += "; print(len(os.sched_getaffinity(0)))"
    run(tmp_path, text, threads=1)
    assert set((tmp_path / "log.txt").read_text().split()) == {"1"}


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    hanging = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
    usage = run(tmp_path, hanging, limit=3)
    assert usage.ended == "limit"
    pids = [int(word) for word in (tmp_path / "log.txt").read_text().split()]
    assert len(pids) == 2 and not any(map(alive, pids))


def test_a_program_that_is_killed_says_by_what(tmp_path):
    usage = run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert usage.status == -signal.SIGKILL


def test_a_program_that_is_not_there_is_told(tmp_path):
    usage = measure([tmp_path / "nothing"], "", tmp_path / "log.txt", limit=60, threads=1)
    assert usage.status == 127
    assert "No such file" in (tmp_path / "log.txt").read_text()


def test_nothing_goes_on_when_the_harness_is_killed(tmp_path):
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    harness = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).resolve().parents[1] / "benchmarks")!r})
from measured import measure
measure([sys.executable, "-S", "-c", {program!r}], "", Path({str(tmp_path / "log.txt")!r}), limit=600, threads=1)
"""
    process = subprocess.Popen([sys.executable, "-c", harness])
    log = tmp_path / "log.txt"
    wait_until(lambda: log.exists() and log.read_text().strip())
    time.sleep(0.1)
    pid = int(log.read_text())
    assert alive(pid)
    process.kill()
    process.wait()
    wait_until(lambda: not alive(pid))
