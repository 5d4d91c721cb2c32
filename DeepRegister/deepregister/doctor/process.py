"""Modules of the engine in a process of their own: what they do there, a crash included, cannot end this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import Any

from ..connection import ENGINE_FOLDER, KILL, engine_command, worker_environment
from ..errors import WorkerError

# Before the lines of a probe that hold values: what a library prints is none.
MARK = "deepregister-probe: "
# A cold start of torch from a slow disk under a virus scanner takes a minute.
PROBE_SECONDS = 120.0
DOCTOR_SECONDS = 600.0


@dataclass(frozen=True)
class Outcome:
    """What a probe said, and how it ended.

    Attributes:
        values: all that it said before its end.
        failure: why it did not end well; None if it did.
    """

    values: dict[str, Any]
    failure: str | None


def run_probe(name: str, *arguments: str, seconds: float = PROBE_SECONDS) -> Outcome:
    """Run one of the functions of `probe` in its own process."""
    command = [*engine_command("deepregister.doctor.probe"), name, *arguments]
    try:
        done = _run(command, seconds)
    except subprocess.TimeoutExpired as late:
        values = _values(late.stdout)
        # Under Slicer the process that was ended is a launcher: its child would go on.
        with contextlib.suppress(OSError, KeyError):
            os.kill(values["pid"], KILL)
        return Outcome(values, f"It did not end within {seconds:.0f} s.")
    except OSError as error:
        return Outcome({}, f"{command[0]} cannot be started: {error.strerror or error}.")
    values = _values(done.stdout)
    if done.returncode == 0 or "error" in values:
        return Outcome(values, values.get("error"))
    names = {-number: number.name for number in signal.Signals}
    last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["It said nothing."])[-1]
    return Outcome(values, f"Its process ended with {names.get(done.returncode, done.returncode)}. {last}")


def diagnose(offline: bool = False) -> str:
    """What `deepregister doctor` prints, from a process of its own; waits for it, some seconds.

    Raises:
        WorkerError: no Python can be started, or the doctor did not end well.
    """
    command = [*engine_command("deepregister"), "doctor", *["--offline"] * offline]
    try:
        done = _run(command, DOCTOR_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkerError(f"The doctor cannot run: {error}. Type in a terminal: {' '.join(command)}") from error
    text = done.stdout.decode("utf-8", "replace").strip()
    if not text:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise WorkerError(f"{' '.join(command)} ended with {done.returncode} and said:\n{said or 'nothing'}")
    return text


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=worker_environment({}),
        cwd=ENGINE_FOLDER,
        timeout=seconds,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        check=False,
    )


def _values(output: bytes | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for line in (output or b"").decode("utf-8", "replace").splitlines():
        if line.startswith(MARK):
            # A process that was ended in the middle of a line.
            with contextlib.suppress(ValueError):
                values.update(json.loads(line[len(MARK) :]))
    return values
