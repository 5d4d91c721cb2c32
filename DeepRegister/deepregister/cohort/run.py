"""A cohort on Dask: as many rows at work as there are workers, until all have come to something."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import WorkerError
from ..progress import Progress
from .cluster import Layout, connect, layout_here, local_cluster
from .outcome import FAILED, OPEN, Outcome
from .rows import Row
from .task import Work, failure, look_around, run_task
from .work import register_row

if TYPE_CHECKING:
    from distributed import Client, Future

# How often the loop looks after Ctrl-C, new workers and the clock.
LOOK_SECONDS = 0.5
COUNT_SECONDS = 5.0
# Workers that are told to stop finish within an iteration; what does not is left behind.
STOP_SECONDS = 10.0
LOST = "The Dask scheduler was lost or restarted. The finished results are there; give the same command again to go on."


@dataclass
class Cohort:
    """A run over many rows.

    Args:
        rows: checked ones; see `read_rows`.
        scheduler: address of a Dask scheduler; None starts a cluster on this machine.
        workers: processes of that; None takes as many as the machine carries.
        progress: called with the state of the whole.
        cancelled: True stops the run; finished results stay.
        finished: called with each outcome as it comes.
        work: what a worker does with a row.
    """

    rows: list[Row]
    scheduler: str | None = None
    workers: int | None = None
    progress: Callable[[Progress], None] = lambda report: None
    cancelled: Callable[[], bool] = lambda: False
    finished: Callable[[Outcome], None] = lambda outcome: None
    work: Work = register_row

    def __post_init__(self) -> None:
        # Topic and event of this run on a scheduler that others may use too.
        self._run = f"deepregister-{secrets.token_hex(6)}"
        self._outcomes = {row.name: Outcome(row.name, str(row.fixed), str(row.moving)) for row in self.rows}
        self._fractions: dict[str, float] = {}
        self._ended = self._reused = self._failed = self._workers_seen = 0
        self._started = time.monotonic()

    @property
    def outcomes(self) -> list[Outcome]:
        """What has become of each row, in their order."""
        return [self._outcomes[row.name] for row in self.rows]

    def run(self) -> list[Outcome]:
        """Register all rows and return their outcomes; a failed one is an outcome, too. After a stop some are open.

        Raises:
            DeviceError: the device that was asked for is not there.
            WorkerError: the scheduler cannot be reached, its workers cannot do the work, or the connection was lost.
        """
        with ExitStack() as stack:
            client, rows = self._workers(stack)
            self._started = time.monotonic()
            client.subscribe_topic(self._run, self._hear)
            try:
                self._register(client, rows)
            finally:
                with suppress(Exception):
                    client.unsubscribe_topic(self._run)
        return self.outcomes

    def layout(self) -> Layout:
        """The processes that would be started on this machine."""
        settings = self.rows[0].settings
        return layout_here(len(self.rows), settings, max(row.voxels for row in self.rows), self.workers)

    def _workers(self, stack: ExitStack) -> tuple[Client, list[Row]]:
        from distributed import Client

        if self.scheduler is not None:
            client = stack.enter_context(connect(self.scheduler))
            self._check_workers(client)
            return client, self.rows
        layout = self.layout()
        cluster = stack.enter_context(local_cluster(layout))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        # A worker that sees a single GPU knows it by no number.
        device = {"device": "cuda"} if layout.gpus else {}
        return client, [
            replace(row, settings=replace(row.settings, threads=layout.threads, **device)) for row in self.rows
        ]

    def _check_workers(self, client: Client) -> None:
        """Whether the workers that are there can do it: better now than a failure for every row."""
        output = self.rows[0].folder.parent
        found = client.run(look_around, str(output), on_error="return")
        for address, answer in found.items():
            if isinstance(answer, Exception):
                raise WorkerError(
                    f"The Dask worker {address} cannot load DeepRegister: {answer}. Start the workers in an "
                    f"environment with DeepRegister {__version__}."
                )
            version, problem = answer
            if version != __version__:
                raise WorkerError(
                    f"The Dask worker {address} has DeepRegister {version}, this is {__version__}. Install the same "
                    "on both."
                )
            if problem is not None:
                raise WorkerError(
                    f"On the Dask worker {address}: {problem} The volumes and the output must lie on a file system "
                    "that all workers share, under the same path."
                )

    def _register(self, client: Client, rows: Iterable[Row]) -> None:
        waiting, running = iter(rows), {}
        ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        window, counted, more = self._window(client), time.monotonic(), True
        self._report()
        while more or running:
            if time.monotonic() - counted >= COUNT_SECONDS:
                window, counted = self._window(client), time.monotonic()
            while more and len(running) < window:
                row = next(waiting, None)
                if row is None:
                    more = False
                    break
                future = client.submit(run_task, row, self.work, self._run, key=f"{row.name}-{self._run}", pure=False)
                running[future.key] = row, future
                future.add_done_callback(ended.put)
            with suppress(queue.Empty):
                future = ended.get(timeout=LOOK_SECONDS)
                self._note(running.pop(future.key)[0], future)
            if self.cancelled():
                self._stop(client, running, ended)
                return
            if client.status not in ("running", "connecting"):
                raise WorkerError(LOST)
            self._report()

    def _window(self, client: Client) -> int:
        """How many rows are handed out at once: few, so that a worker that dies takes none along that only waits there,
        and that ten thousand are no more load than ten. A cluster that grows with its work must see some waiting."""
        self._workers_seen = len(client.nthreads())
        return max(1, self._workers_seen) if self.scheduler is None else 2 * self._workers_seen + 1

    def _note(self, row: Row, future: Future) -> None:
        from distributed import KilledWorker

        self._fractions.pop(row.name, None)
        try:
            outcome = future.result()
        except KilledWorker as error:
            outcome = failure(
                row,
                f"The process that computed it ended unexpectedly, {error.allowed_failures + 1} times in a row. Most "
                "often memory has run out: crop the volumes, or choose the quality 'fast' or fewer --workers.",
            )
        except CancelledError:
            raise WorkerError(LOST) from None
        # A function or an argument that a worker cannot load.
        except Exception as error:
            outcome = failure(row, f"Dask could not compute it: {type(error).__name__}: {error}")
        if outcome is not None:
            self._outcomes[row.name] = outcome
            self._ended += 1
            self._reused += outcome.reused
            self._failed += outcome.status == FAILED
            self.finished(outcome)

    def _stop(self, client: Client, running: dict, ended: queue.SimpleQueue) -> None:
        from distributed import Event

        Event(self._run, client=client).set()
        deadline = time.monotonic() + STOP_SECONDS
        while running and (left := deadline - time.monotonic()) > 0:
            with suppress(queue.Empty):
                future = ended.get(timeout=left)
                self._note(running.pop(future.key)[0], future)
        client.cancel([future for _, future in running.values()])

    def _hear(self, event: tuple[float, dict]) -> None:
        """How far a row has come; called in a thread of Dask's."""
        _, told = event
        if self._outcomes[told["name"]].status == OPEN:
            self._fractions[told["name"]] = told["fraction"]

    def _report(self) -> None:
        total = len(self.rows)
        under_way = sum(list(self._fractions.values()))
        # What was done before took no time: the time left is judged by what is computed now.
        share = (self._ended - self._reused + under_way) / max(1, total - self._reused)
        left = (time.monotonic() - self._started) * (1 / share - 1) if share > 0.02 else None
        parts = [f"{self._ended} of {total} pairs"]
        parts += [f"{self._reused} of them done before"] * bool(self._reused)
        parts += [f"{self._failed} failed"] * bool(self._failed)
        parts += ["waiting for a worker"] * (self._workers_seen == 0)
        self.progress(Progress("register", min(1.0, (self._ended + under_way) / total), ", ".join(parts), left))
