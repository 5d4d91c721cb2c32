"""The process that computes: `python -m deepregister.worker`. `protocol.py` says what it reads and writes.

It lives between runs, so that torch, CUDA and weights are loaded once, and ends with the pipe to its parent, whatever
it is doing. One thread reads requests, so that a cancel or the end is noticed during a computation; the main thread
computes.
"""

from __future__ import annotations

import faulthandler
import json
import os
import platform
import queue
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import deepregister

from .connection import FOLDER_PREFIX
from .errors import (
    OUT_OF_MEMORY,
    Cancelled,
    DeepRegisterError,
    FileError,
    ResourceError,
    WorkerError,
    is_out_of_memory,
)
from .progress import Progress
from .protocol import PROTOCOL, Device, Devices, Hello, describe_error, pack, unpack
from .result import Registration


def main(register: Callable[..., Registration] | None = None) -> None:
    """Serve the client at the other end of stdin and stdout; never returns.

    Args:
        register: what answers a register request; None is the engine's own `deepregister.register`.
    """
    requests, events = _claim_pipes()
    # Ctrl-C in the parent's terminal is for the parent to act upon.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    Worker(requests, events, register).serve()


class Worker:
    """Answers requests until `requests` ends, and then ends the process.

    Args:
        requests: lines from the client.
        events: lines to the client.
        register: see `main`.
    """

    def __init__(self, requests: BinaryIO, events: BinaryIO, register: Callable[..., Registration] | None = None):
        self._requests = requests
        self._events = events
        self._register = register
        self._writing = threading.Lock()
        self._work: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._waiting: set[int] = set()
        self._cancelled: set[int] = set()
        self._folder: Path | None = None

    def serve(self) -> None:
        """Read in one thread, compute in this one."""
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            request = self._work.get()
            if request["request"] == "hello":
                self._emit("devices", **asdict(_find_devices()))
            else:
                self._run(request)
                _release_gpu()

    def _read(self) -> None:
        try:
            for line in self._requests:
                if line.strip():
                    self._receive(line)
        finally:
            self._end()

    def _receive(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            answer = getattr(self, f"_on_{request['request']}")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._refuse(f"This line is not a request: {_shortened(line)}. See deepregister/protocol.py.")
            return
        try:
            answer(request)
        except (TypeError, KeyError, ValueError) as error:
            self._refuse(f"The request {_shortened(line)} cannot be answered: {type(error).__name__}: {error}.")

    def _on_hello(self, request: dict[str, Any]) -> None:
        if request["protocol"] != PROTOCOL:
            self._refuse(
                f"The client speaks protocol {request['protocol']}, this worker (DeepRegister "
                f"{deepregister.__version__}, {deepregister.__file__}) protocol {PROTOCOL}. Use both from one version."
            )
            return
        folder = Path(request["folder"])
        # It will be removed with all that it holds: a slip by hand must not name somebody's home.
        if not folder.name.startswith(FOLDER_PREFIX):
            raise ValueError(f"the folder {folder} is not named {FOLDER_PREFIX}...")
        self._folder = folder
        hello = Hello(os.getpid(), deepregister.__version__, deepregister.__file__, platform.python_version())
        self._emit("hello", protocol=PROTOCOL, **asdict(hello))
        self._work.put(request)

    def _on_register(self, request: dict[str, Any]) -> None:
        job = {name: request[name] for name in ("request", "job", "folder", "inputs")}
        # Before it is handed on, or a cancel in between would be lost.
        self._waiting.add(job["job"])
        self._work.put(job)

    _on_inspect = _on_write = _on_register

    def _on_cancel(self, request: dict[str, Any]) -> None:
        if request["job"] in self._waiting:
            self._cancelled.add(request["job"])

    def _on_shutdown(self, request: dict[str, Any]) -> None:
        self._end()

    def _run(self, request: dict[str, Any]) -> None:
        job = request["job"]
        folder = Path(request["folder"])

        def progress(report: Progress) -> None:
            self._emit("progress", job=job, **asdict(report))

        def cancelled() -> bool:
            return job in self._cancelled

        try:
            load = _WITHOUT_TORCH.get(request["request"])
            compute = load() if load is not None else self._register or _load_engine()
            if cancelled():
                raise Cancelled()
            inputs = unpack(request["inputs"], folder)
            value = compute(**inputs, progress=progress, cancelled=cancelled)
            self._emit("result", job=job, value=_packed(value, folder))
        except DeepRegisterError as error:
            self._emit("error", job=job, **describe_error(error))
        # Whatever a library raises, SystemExit included, ends the job and not the worker.
        except BaseException as error:
            traceback.print_exc()
            if is_out_of_memory(error):
                fault = ResourceError(OUT_OF_MEMORY)
            else:
                fault = WorkerError(
                    f"The registration failed with an unexpected {type(error).__name__}: {_shortened(str(error))}. "
                    "This is a fault in the program: please report it together with the log."
                )
            self._emit("error", job=job, **describe_error(fault))
        finally:
            self._waiting.discard(job)
            self._cancelled.discard(job)

    def _refuse(self, message: str) -> None:
        self._emit("error", job=None, **describe_error(WorkerError(message)))

    def _emit(self, event: str, **content: Any) -> None:
        line = json.dumps({"event": event, **content}) + "\n"
        try:
            with self._writing:
                self._events.write(line.encode("ascii"))
                self._events.flush()
        except OSError:
            # Nobody listens any more.
            self._end()

    def _end(self) -> None:
        # A parent that was killed could not remove its files. The main thread may be writing one at this moment.
        for _ in range(3):
            if self._folder is not None and self._folder.exists():
                shutil.rmtree(self._folder, ignore_errors=True)
        # Not sys.exit: a computation in another thread must not hold the process.
        os._exit(0)


def _packed(value: Any, folder: Path) -> Any:
    try:
        return pack(value, folder, "result")
    except OSError as error:
        raise FileError(
            f"The result cannot be written to {folder}: {error.strerror or error}. Free space there, or set the "
            "environment variable TMPDIR (on Windows TEMP) to a folder on a larger disk before the start."
        ) from error


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for the protocol, and give everybody else nothing to read and the log to write to."""
    requests, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Python's own stdout would hold prints back in a buffer, for it is no terminal.
    sys.stdout = sys.stderr
    # Importing this package has imported numpy and SimpleITK already: whatever they printed ends here.
    events.write(b"\n")
    events.flush()
    return requests, events


def _load_engine() -> Callable[..., Registration]:
    try:
        from .registration import register
    # A half-made installation of torch raises OSError, RuntimeError and more.
    except Exception as error:
        traceback.print_exc()
        if is_out_of_memory(error):
            raise ResourceError(OUT_OF_MEMORY) from error
        raise WorkerError(
            f"The engine cannot be loaded by {sys.executable}: {_shortened(str(error))}. If PyTorch is missing or "
            "damaged, install it for this Python: in 3D Slicer with the extension PyTorch, elsewhere with "
            "`pip install torch`."
        ) from error
    return register


def _load_inspection() -> Callable[..., dict[str, Any]]:
    # Without torch; and hello need not wait for it.
    from .inspection import inspect

    return inspect


def _load_writing() -> Callable[..., list[str]]:
    from .paperwork import write

    return write


_WITHOUT_TORCH = {"inspect": _load_inspection, "write": _load_writing}


def _find_devices() -> Devices:
    try:
        _load_engine()
    except DeepRegisterError as error:
        return Devices(None, (), str(error))
    import torch

    from .devices import describe_device

    memory = {"cpu": None}
    if torch.cuda.is_available():
        for n in range(torch.cuda.device_count()):
            memory[f"cuda:{n}"] = torch.cuda.get_device_properties(n).total_memory
    if torch.backends.mps.is_available():
        memory["mps"] = None
    devices = (Device(name, describe_device(torch.device(name)), size) for name, size in memory.items())
    return Devices(torch.__version__, tuple(devices), None)


def _release_gpu() -> None:
    """Give back what this run leaves on the GPU: a worker that waits must not keep it from Slicer's own rendering."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError:
        # A CUDA context that has failed once stays unusable; the next run gets a new process.
        traceback.print_exc()
        os._exit(1)


def _shortened(text: bytes | str, length: int = 200) -> str:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length] + "…"


if __name__ == "__main__":
    main()
