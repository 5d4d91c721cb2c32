"""Modules of the engine in a process of their own: what they do there, a crash included, cannot end this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
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


class Diagnosis:
    """`deepregister doctor` in a process of its own, for a caller that must not wait for it.

    Args:
        offline: also show how to install everything from a folder, without a network.

    Raises:
        WorkerError: no Python can be started.
    """

    def __init__(self, offline: bool = False):
        self._command = [*engine_command("deepregister"), "doctor", *["--offline"] * offline]
        # Files rather than pipes: nobody has to read along for the process to go on. They live as long as it does.
        self._said, self._complained = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
        self._late = time.monotonic() + DOCTOR_SECONDS
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._complained,
                # Ended as a whole: the doctor has processes of its own, and under Slicer there is a launcher above it.
                start_new_session=os.name == "posix",
                **_surroundings(),
            )
        except OSError as error:
            self._close()
            raise WorkerError(f"The doctor cannot run: {error}. {self._by_hand}") from error

    @property
    def done(self) -> bool:
        """Whether it has ended, or has taken too long; does not wait."""
        return self._process.poll() is not None or time.monotonic() > self._late

    def text(self) -> str:
        """What the doctor printed. Waits for its end, some seconds.

        Raises:
            WorkerError: it did not end well, or not in time.
        """
        try:
            code = self._process.wait(max(0.0, self._late - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.end()
            raise WorkerError(f"The doctor did not end within {DOCTOR_SECONDS:.0f} s. {self._by_hand}") from None
        said, complained = (self._read(file) for file in (self._said, self._complained))
        self._close()
        if not said:
            raise WorkerError(f"{' '.join(self._command)} ended with {code} and said:\n{complained or 'nothing'}")
        return said

    def end(self) -> None:
        """End it, if it has not ended. Safe to call again."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(self._process.pid, KILL)
                else:
                    self._process.kill()
            self._process.wait()
        self._close()

    @property
    def _by_hand(self) -> str:
        return f"Type in a terminal: {' '.join(self._command)}"

    def _close(self) -> None:
        self._said.close()
        self._complained.close()

    def _read(self, file) -> str:
        file.seek(0)
        return file.read().decode("utf-8", "replace").strip()


def diagnose(offline: bool = False) -> str:
    """What `deepregister doctor` prints, from a process of its own; waits for it, some seconds.

    Raises:
        WorkerError: no Python can be started, or the doctor did not end well.
    """
    return Diagnosis(offline).text()


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
        **_surroundings(),
    )


def _surroundings() -> dict[str, Any]:
    """Where a module of the engine runs, for `subprocess`."""
    return {
        "env": worker_environment({}),
        "cwd": ENGINE_FOLDER,
        "creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0),
    }


def _values(output: bytes | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for line in (output or b"").decode("utf-8", "replace").splitlines():
        if line.startswith(MARK):
            # A process that was ended in the middle of a line.
            with contextlib.suppress(ValueError):
                values.update(json.loads(line[len(MARK) :]))
    return values
