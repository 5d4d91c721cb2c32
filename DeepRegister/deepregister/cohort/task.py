"""A row as a Dask task: what runs in the worker's process, and what it tells the others while it does."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import Cancelled, DeepRegisterError
from ..progress import Progress
from .outcome import FAILED, Outcome
from .rows import Row

if TYPE_CHECKING:
    from distributed import Worker

# Between two words to the scheduler: a thousand workers must not keep it busy with listening.
SECONDS_BETWEEN_REPORTS = 2.0
# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# A process has one device and one set of threads, also where somebody started its worker with many.
_one_at_a_time = threading.Lock()

Work = Callable[[Row, Callable[[Progress], None], Callable[[], bool]], Outcome]


def dask_setup(worker: Worker) -> None:
    """Called by Dask in the main thread of each process of the local cluster: Ctrl-C is the parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_task(row: Row, work: Work, run: str) -> Outcome | None:
    """What `work` makes of a row; whatever it raises becomes a failed outcome. None where the cohort was stopped.

    Args:
        row: the pair.
        work: `register_row`.
        run: name of the cohort's topic and of its event that says stop.
    """
    from distributed import Event, get_worker

    keep_memory()
    worker = get_worker()
    where = f"{socket.gethostname()}:{os.getpid()}"
    stop = Event(run)
    last = {"told": time.monotonic(), "asked": 0.0, "stopped": False}

    def progress(report: Progress) -> None:
        if time.monotonic() - last["told"] >= SECONDS_BETWEEN_REPORTS:
            last["told"] = time.monotonic()
            worker.log_event(run, {"name": row.name, "fraction": float(report.fraction)})

    def cancelled() -> bool:
        # Asked in every iteration; the answer comes over the network.
        if time.monotonic() - last["asked"] >= SECONDS_BETWEEN_REPORTS:
            last["stopped"] = last["stopped"] or stop.is_set()
            last["asked"] = time.monotonic()
        return last["stopped"]

    if row.settings.threads is None:
        row = replace(row, settings=replace(row.settings, threads=worker.state.nthreads))
    with _one_at_a_time:
        try:
            if cancelled():
                return None
            outcome = work(row, progress, cancelled)
        except Cancelled:
            return None
        except DeepRegisterError as error:
            outcome = failure(row, str(error))
        except MemoryError:
            outcome = failure(row, "Memory ran out. Crop the volumes, or choose the quality 'fast' or fewer --workers.")
        # One pair's fault, whatever it is, must not stop the others.
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            outcome = failure(row, f"Unexpected {type(error).__name__}: {told}. Please report it: it is a fault here.")
    return replace(outcome, worker=where)


@cache
def keep_memory() -> None:
    """Let glibc keep freed memory for the next allocation, as it does outside of Dask.

    Dask's nannies set MALLOC_TRIM_THRESHOLD_ to 64 KB, and every tensor is then taken from the system anew: measured on
    small pairs, two thirds of the CPU time went there.
    """
    if sys.platform.startswith("linux"):
        # Elsewhere, and with another C library, there is nothing to undo.
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
            libc.mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def failure(row: Row, error: str) -> Outcome:
    """The outcome of a row that came to nothing."""
    return Outcome(row.name, str(row.fixed), str(row.moving), FAILED, error)


def look_around(output: str) -> tuple[str, str | None]:
    """The engine's version on a worker, and what keeps it from writing into `output`, if anything."""
    from ..folders import check_writable

    try:
        check_writable(output)
    except DeepRegisterError as error:
        return __version__, str(error)
    return __version__, None
