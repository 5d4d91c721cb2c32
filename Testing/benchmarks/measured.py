"""Runs a program and says what it took: seconds, CPU seconds and peak memory of it and of all that it started.

A small process of its own, between the harness and the program, measures: the kernel counts what a process had in use
before it became the program towards the program's peak, and the harness, which holds label maps, is large. That process
adopts whatever the program leaves behind, and ends all of it when the program ends, when its time is up, and when the
harness itself is gone. POSIX systems alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Between two looks at the memory of a program that may have started others: a hundredth of its time, within these.
LOOK_SECONDS = (0.1, 1.0)
PR_SET_CHILD_SUBREAPER = 36
# Read by OpenMP, MKL, OpenBLAS and ITK.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class Usage:
    """What a program took, from its start to its end, with all that it started.

    Attributes:
        status: its exit status; minus the number of the signal that ended it.
        ended: "itself", or "limit" where it was ended after its time was up.
        seconds: by the clock.
        cpu_seconds: user and system time.
        peak_mb: 10^6 bytes: the peak of the largest process, or of the sum where there were several at once (looked at
            now and then, on Linux; elsewhere the sum is not known).
        harness_seconds: CPU time that measuring took while the program ran; in none of the above but `seconds`.
    """

    status: int
    ended: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    harness_seconds: float


def measure(
    command: Sequence[str | Path],
    text: str,
    log: Path,
    *,
    limit: float,
    threads: int,
    environment: Mapping[str, str | None] | None = None,
) -> Usage:
    """Run `command` with `text` on its standard input, in the folder of `log`, which keeps what it prints.

    Args:
        limit: seconds after which it is ended.
        threads: cores that it may use (on Linux), and what the usual variables say to its libraries.
        environment: further variables; None takes one away.
    """
    given = log.with_suffix(".in")
    given.write_text(text, encoding="utf-8")
    order = {"command": [str(word) for word in command], "log": str(log), "input": str(given)}
    # A session of its own: Ctrl-C reaches the harness alone, which closes the pipe and so ends all.
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, json.dumps({**order, "limit": limit, "threads": threads})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=variables(threads, environment or {}),
        start_new_session=True,
    )
    try:
        said = process.stdout.read()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
    return Usage(**json.loads(said))


def variables(threads: int, environment: Mapping[str, str | None]) -> dict[str, str]:
    """The variables of a program: this process's, the number of threads, and `environment`; None takes one away."""
    given = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **environment}
    return {name: value for name, value in given.items() if value is not None}


def main() -> int:
    """Run what the first argument says, and write the usage to standard output."""
    order = json.loads(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: order["threads"]])
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    started, own = time.perf_counter(), time.process_time()
    with Path(order["input"]).open("rb") as given, Path(order["log"]).open("wb") as log:
        try:
            program = subprocess.Popen(
                order["command"],
                stdin=given,
                stdout=log,
                stderr=log,
                cwd=Path(order["log"]).parent,
                start_new_session=True,
            )
        except OSError as error:
            log.write(f"{order['command'][0]}: {error.strerror}\n".encode())
            _tell(127, "itself", 0.0, 0.0, 0.0)
            return 0
    ended, most = _wait(program, woken, started, order["limit"])
    seconds, own = time.perf_counter() - started, time.process_time() - own
    _end_all(program)
    _tell(program.returncode, ended, seconds, most, own)
    return 0


def _tell(status: int, ended: str, seconds: float, most: float, own: float) -> None:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    largest = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    told = Usage(
        status=status,
        ended=ended,
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mb=max(largest, most),
        harness_seconds=own,
    )
    print(json.dumps(asdict(told)))


def _wait(program: subprocess.Popen, woken: int, started: float, limit: float) -> tuple[str, float]:
    """Until the program ends, its time is up or the harness is gone: which, and the most that several had at once."""
    most = 0.0
    while program.poll() is None:
        gone = time.perf_counter() - started
        if gone >= limit:
            return "limit", most
        pause = min(limit - gone, max(LOOK_SECONDS[0], min(LOOK_SECONDS[1], gone / 100)))
        ready = select.select([sys.stdin, woken], [], [], pause)[0]
        if sys.stdin in ready:
            # Nothing is ever written there: this is the end of the file.
            return "harness", most
        if woken in ready:
            os.read(woken, 1024)
        running = _started()
        if len(running) > 1:
            most = max(most, sum(map(_resident_mb, running)))
    return "itself", most


def _end_all(program: subprocess.Popen) -> None:
    """Kill what still runs and wait for it, so that its time is counted."""
    while running := _started():
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in running:
            # Only our own can be waited for: those of others become ours when their parents are gone.
            with contextlib.suppress(ChildProcessError):
                if pid != program.pid:
                    os.waitpid(pid, 0)
                else:
                    program.wait()
    if program.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def _started() -> list[int]:
    """All descendants of this process, as far as the system tells."""
    found, parents = [], [os.getpid()]
    while parents:
        for listed in Path(f"/proc/{parents.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(word) for word in listed.read_text(encoding="ascii").split()]
                found += children
                parents += children
    return found


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
