"""One running worker as its client holds it: the process, its three pipes, two reader threads, a private folder.

`worker_command` and `worker_environment` choose the Python and the engine that it runs. Nothing outside the standard
library is imported here: the doctor starts its checks the same way.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import deepregister

from .errors import FileError, WorkerError

# The folder that holds the package: the worker must run the engine that lies beside its client.
ENGINE_FOLDER = Path(deepregister.__file__).resolve().parent.parent

# Of the private folder of each connection.
FOLDER_PREFIX = "deepregister-"

# How long a worker that was told to end may take before it is killed.
END_SECONDS = 5.0
# How long to wait for what a worker that has ended left in its pipes.
SETTLE_SECONDS = 1.0
LOG_LINES = 400
QUOTED_LINES = 6

# Windows has no SIGKILL; there os.kill ends the process at once for every signal.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def worker_command() -> list[str]:
    """The command of a worker; raises what `engine_command` raises."""
    return engine_command("deepregister.worker")


def engine_command(module: str) -> list[str]:
    """The command of a module of the engine in the Python that this process runs in.

    Slicer sets `sys.executable` to what it finds as PythonSlicer at its start, or to nothing; other programs that
    embed Python leave their own name there. So all that is not an interpreter by name is replaced by PythonSlicer,
    the launcher that gives Slicer's Python its environment.

    Raises:
        WorkerError: this program embeds Python, and no PythonSlicer is on its PATH.
    """
    interpreter = sys.executable
    name = Path(interpreter or "").stem.lower()
    if name == "pythonslicer" or not name.startswith(("python", "pypy")):
        interpreter = shutil.which("PythonSlicer")
    if interpreter is None:
        raise WorkerError(
            f"There is no Python interpreter for the registration: this program is {sys.executable!r}, and "
            "PythonSlicer is not on the PATH. Start Slicer by its launcher (Slicer, not SlicerApp-real)."
        )
    # Not resolved: the link in a virtual environment is what makes it one.
    return [str(Path(interpreter).absolute()), "-u", "-m", module]


def worker_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `extra`, leading to the engine beside this file before any other."""
    environment = {**os.environ, **extra}
    paths = [str(ENGINE_FOLDER), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment["PYTHONUTF8"] = "1"
    return environment


class Connection:
    """A worker process that was started and will be ended, also when this object is dropped or Python exits.

    Args:
        command: of the worker, with its arguments.
        environment: all of its environment variables.

    Attributes:
        pid: the worker's own process id, once it has said so; None before.
        folder: private to this connection, removed at its end.

    Raises:
        FileError: no temporary folder can be made.
        WorkerError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        except OSError as error:
            raise FileError(
                f"No temporary folder can be made: {error.strerror or error}. Set the environment variable TMPDIR (on "
                "Windows TEMP) to a folder that you may write to."
            ) from error
        self._command = " ".join(command)
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                # `python -m` looks here first: under Slicer the launcher puts site-packages before our PYTHONPATH.
                cwd=ENGINE_FOLDER,
                # Ctrl-C in the terminal must reach the parent alone, also while the worker's Python is starting.
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise WorkerError(
                f"The worker process cannot be started: {command[0]}: {error.strerror or error}. "
                "Check that this program exists and may be run."
            ) from error
        self._items: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._state = _State()
        self._sending = threading.Lock()
        # The threads hold no reference to this object: they must not keep it alive.
        self._threads = [
            threading.Thread(target=target, args=arguments, daemon=True)
            for target, arguments in (
                (_read_events, (self._process.stdout, self._items, self._log, self._state)),
                (_read_log, (self._process.stderr, self._items, self._log)),
            )
        ]
        for thread in self._threads:
            thread.start()
        self._finalizer = weakref.finalize(self, _end, self._process, self._state, self.folder, os.getpid())

    @property
    def pid(self) -> int | None:
        return self._state.pid

    @pid.setter
    def pid(self, value: int) -> None:
        self._state.pid = value

    @property
    def log_text(self) -> str:
        """The last lines that the worker wrote to stderr."""
        return "\n".join(list(self._log))

    @property
    def last_words(self) -> str:
        """The command, the exit code if it has ended, and the last lines of the log: for a message about a failure."""
        code = self._process.poll()
        words = f"Its command was {self._command}"
        if code is not None:
            # A negative code is the number of a signal, on POSIX systems.
            names = {-number: f" ({number.name})" for number in signal.Signals}
            words += f", its exit code {code}{names.get(code, '')}"
        lines = list(self._log)[-QUOTED_LINES:]
        return "\n".join([f"{words}. Its last lines were:", *lines]) if lines else f"{words}. It logged nothing."

    def send(self, **request: Any) -> None:
        """Write one request.

        Raises:
            OSError: the worker is gone.
        """
        line = (json.dumps(request) + "\n").encode("ascii")
        with self._sending:
            if self._process.stdin.closed:
                raise BrokenPipeError("The pipe to the worker is closed.")
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def receive(self) -> tuple[str, Any] | None:
        """The next of what came, without waiting: ("event", object), ("log", line) or ("end", None); None if nothing.

        "end" comes once, when the worker has closed its side; lines of the log may follow it.
        """
        with contextlib.suppress(queue.Empty):
            return self._items.get_nowait()
        return None

    @property
    def ended(self) -> bool:
        """Whether the process has ended, though its last lines may not have been received yet, nor "end"."""
        return self._process.poll() is not None

    def settle(self) -> None:
        """Of a worker that has ended: wait until all that it wrote can be received and its exit code is known."""
        for thread in self._threads:
            # A process that the worker started may hold the pipe open; it is not waited for.
            thread.join(SETTLE_SECONDS)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(SETTLE_SECONDS)

    def close(self, kill: bool = False) -> None:
        """End the worker and remove the folder. Safe to call again.

        Args:
            kill: do not wait for the worker to end by itself.
        """
        self._state.impatient = kill
        self._finalizer()
        for thread in self._threads:
            thread.join(SETTLE_SECONDS)


class _State:
    """What the reader threads and the finalizer need to know of a connection without holding it."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.impatient = False
        self.gone = threading.Event()


def _read_events(pipe: BinaryIO, items: queue.SimpleQueue, log: deque[str], state: _State) -> None:
    with pipe:
        for line in pipe:
            try:
                event = json.loads(line)
                event["event"]
            except (ValueError, TypeError, KeyError, RecursionError):
                _log_line(line.decode("utf-8", "replace"), items, log)
            else:
                items.put(("event", event))
    state.gone.set()
    items.put(("end", None))


def _read_log(pipe: BinaryIO, items: queue.SimpleQueue, log: deque[str]) -> None:
    # As text, so that a progress bar, which ends its lines with carriage returns, is not one endless line.
    with io.TextIOWrapper(pipe, "utf-8", errors="replace") as lines:
        for line in lines:
            _log_line(line, items, log)


def _log_line(line: str, items: queue.SimpleQueue, log: deque[str]) -> None:
    text = line.rstrip()
    if text:
        log.append(text)
        items.put(("log", text))


def _end(process: subprocess.Popen, state: _State, folder: Path, owner: int) -> None:
    """Let the worker end by itself, or end it, and remove the folder."""
    if os.getpid() != owner:
        # A forked copy of the client's process must not end what its parent uses.
        return
    if not state.impatient:
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(b'{"request": "shutdown"}\n')
            process.stdin.flush()
    with contextlib.suppress(OSError):
        process.stdin.close()
    if state.impatient or not _ended_within(END_SECONDS, process, state):
        # Under Slicer the process that was started is a launcher: ending it alone would leave the worker running.
        # Once it was waited for, its own id may be another program's.
        reaped = process.pid == state.pid and process.poll() is not None
        if state.pid is not None and not state.gone.is_set() and not reaped:
            with contextlib.suppress(OSError):
                os.kill(state.pid, KILL)
            _ended_within(1.0, process, state)
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _ended_within(seconds: float, process: subprocess.Popen, state: _State) -> bool:
    deadline = time.monotonic() + seconds
    if not state.gone.wait(seconds):
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.1, deadline - time.monotonic()))
    return process.returncode is not None
