"""The Dask workers of a cohort: a cluster on this machine, one warm process for each device, or one that is there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..doctor.installing import remedy
from ..errors import MissingPackageError, WorkerError
from ..resources import BYTES_AT_REST, BYTES_PER_GRID_VOXEL, BYTES_PER_INPUT_VOXEL, available_memory
from ..settings import Settings

if TYPE_CHECKING:
    from distributed import Client, SpecCluster

CONNECT_SECONDS = 10
# How many processes a pair may take down before it is given up; the next pair gets a new process.
ALLOWED_FAILURES = 2
# No quality computes its field on more voxels than about this.
_LARGEST_GRID = 6_500_000


@dataclass(frozen=True)
class Layout:
    """Worker processes on this machine.

    Attributes:
        workers: how many.
        threads: CPU threads of each.
        gpus: for each worker the CUDA device that it sees, as CUDA_VISIBLE_DEVICES names it; empty on the CPU.
    """

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()

    def describe(self) -> str:
        """In words."""
        many = f"{self.workers} processes" if self.workers > 1 else "one process"
        if self.gpus:
            return f"{many}, each with a GPU of its own" if self.workers > 1 else "one process with a GPU"
        return f"{many} of {self.threads} thread{'s' if self.threads > 1 else ''}"


def lay_out(
    pairs: int,
    settings: Settings,
    workers: int | None = None,
    *,
    cores: int,
    gpus: tuple[str, ...] = (),
    pair_bytes: int = 0,
    free_bytes: int | None = None,
) -> Layout:
    """How many processes, and how many threads in each.

    On GPUs one process each. On the CPU as many as there are cores, each with one thread: small pairs leave the threads
    of a process idle between two steps, and processes do not wait for each other. Fewer, with more threads each, where
    there are fewer pairs than cores, or where memory would not suffice for so many at once: a pair that is short of
    memory would otherwise be computed more coarsely than asked.

    Args:
        pairs: to compute.
        settings: `threads` decides how many a process gets, where it is given.
        workers: as the user wants it.
        cores: of the machine.
        gpus: CUDA devices to use.
        pair_bytes: memory that the largest pair needs.
        free_bytes: memory that there is; None where it is not known.
    """
    if gpus:
        count = min(workers or len(gpus), len(gpus), pairs)
        return Layout(count, settings.threads or max(1, cores // count), gpus[:count])
    if workers is None:
        workers = max(1, cores // (settings.threads or 1))
        if pair_bytes and free_bytes is not None:
            workers = min(workers, max(1, free_bytes // pair_bytes))
    workers = min(workers, pairs)
    return Layout(workers, settings.threads or max(1, cores // workers))


def needed_bytes(voxels: int, similarity: str) -> int:
    """Memory that a pair of so many voxels needs at most."""
    grid = BYTES_PER_GRID_VOXEL[similarity] * min(voxels, _LARGEST_GRID)
    return BYTES_AT_REST + BYTES_PER_INPUT_VOXEL * voxels + grid


def layout_here(pairs: int, settings: Settings, voxels: int, workers: int | None = None) -> Layout:
    """The layout for this machine; see `lay_out`. Imports torch unless the CPU was asked for.

    Args:
        pairs: to compute.
        settings: `device`, `similarity` and `threads` matter.
        voxels: of the largest pair, both volumes together.
        workers: as the user wants it.

    Raises:
        DeviceError: the device that was asked for is not there.
    """
    from dask.system import CPU_COUNT

    gpus: tuple[str, ...] = ()
    if settings.device != "cpu":
        from ..devices import choose_device, cuda_names

        gpus = cuda_names(settings.device)
        if choose_device(settings.device).type == "mps":
            # One device, which cannot be divided.
            workers = 1
    need = needed_bytes(voxels, settings.similarity)
    known = {"cores": CPU_COUNT, "gpus": gpus, "pair_bytes": need, "free_bytes": available_memory()}
    return lay_out(pairs, settings, workers, **known)


def local_cluster(layout: Layout) -> SpecCluster:
    """A scheduler in this process and `layout.workers` processes, each with a nanny that replaces it if it dies."""
    from distributed import Nanny, Scheduler, SpecCluster

    threads = str(layout.threads)
    environment = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), threads
    )
    # Nobody else can reach it, and two cohorts on one machine do not meet.
    here = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    options = {
        # One pair at a time: its threads are inside.
        "nthreads": 1,
        "preload": ["deepregister.cohort.task"],
        # The layout leaves room for every pair; Dask would end a large one at its share of the memory, though there
        # is room while the others are small. Where memory does run out, the system ends the process, and Dask goes on.
        "memory_limit": None,
        "silence_logs": "CRITICAL",
        **here,
    }
    specification = {}
    for number in range(layout.workers):
        visible = {"CUDA_VISIBLE_DEVICES": layout.gpus[number]} if layout.gpus else {}
        specification[number] = {"cls": Nanny, "options": {**options, "env": {**environment, **visible}}}
    scheduler = {"cls": Scheduler, "options": {"port": 0, "allowed_failures": ALLOWED_FAILURES, **here}}
    return SpecCluster(specification, scheduler=scheduler, silence_logs="CRITICAL", name="deepregister")


def connect(address: str) -> Client:
    """A client of a scheduler that is there.

    Args:
        address: like "tcp://node:8786", or a scheduler file.

    Raises:
        WorkerError: nothing answers there.
    """
    from distributed import Client

    by_file = address.endswith(".json")
    try:
        if by_file:
            _wait_for(Path(address))
        where = {"scheduler_file": address} if by_file else {"address": address}
        return Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise WorkerError(
            f"No Dask scheduler answers at {address} within {CONNECT_SECONDS} s: {reason}. Check that it runs, that "
            "this machine may reach its port, and that the address is the one it printed at its start (like "
            "tcp://node:8786), or the file that it wrote with --scheduler-file."
        ) from error


def _wait_for(scheduler_file: Path) -> None:
    """Wait until a scheduler that is just starting has written its file."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while not scheduler_file.is_file():
        if time.monotonic() > deadline:
            raise FileNotFoundError("the scheduler file does not exist")
        time.sleep(0.1)


def require_dask() -> None:
    """Raise `MissingPackageError`, with the command that installs it, where Dask is missing."""
    if find_spec("distributed") is None:
        raise MissingPackageError(
            "A cohort runs on Dask, and its package distributed is not installed here. Install with: "
            f"{remedy('distributed')}"
        )
