"""What a caller holds of work that the worker does: a `Job`, to be polled, waited for or cancelled; see `client.py`."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, DeepRegisterError, WorkerError
from .progress import Progress
from .protocol import unpack
from .result import Registration

if TYPE_CHECKING:
    from .client import EngineClient

POLL_SECONDS = 0.02


class Job:
    """One registration in the worker. Made by `EngineClient.submit`."""

    def __init__(self, client: EngineClient, number: int, folder: Path):
        self._client = client
        self._number = number
        self._folder = folder
        self._reports: list[Progress] = []
        self._outcome: Registration | DeepRegisterError | None = None
        self._packed: dict[str, Any] | None = None
        self._cancelled_at: float | None = None
        # What the worker was asked, until it says something of it, or has been asked a second time.
        self._request: dict[str, Any] | None = None

    def poll(self) -> list[Progress]:
        """The reports that have come since the last call, oldest first; does not wait."""
        self._client._pump()
        with self._client._lock:
            reports, self._reports = self._reports, []
        return reports

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not; does not wait."""
        self._client._pump()
        return self._outcome is not None or self._packed is not None

    def cancel(self) -> None:
        """Ask the worker to stop; returns at once. A run that has not ended will end with `Cancelled`, soon.

        A worker that does not stop within the client's `cancel_grace_seconds` is ended.
        """
        with self._client._lock:
            if self._outcome is not None or self._packed is not None or self._cancelled_at is not None:
                return
            self._cancelled_at = time.monotonic()
            with contextlib.suppress(OSError):
                self._client._connection.send(request="cancel", job=self._number)

    def wait(self, progress: Callable[[Progress], None] | None = None, timeout: float | None = None) -> Registration:
        """Wait for the end and return the result.

        Args:
            progress: called with each report. What it raises cancels the run and is raised here.
            timeout: seconds after which to give up waiting; the run goes on.

        Raises:
            DeepRegisterError: what the engine raised, of the same class; `Cancelled`; or `WorkerError`.
            TimeoutError: the time is over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            done = False
            while not done:
                if deadline is not None and time.monotonic() > deadline:
                    break
                time.sleep(POLL_SECONDS)
                # Asked before the reports are fetched, so that none of them is left behind.
                done = self.done
                for report in self.poll():
                    if progress is not None:
                        progress(report)
        # Ctrl-C as well: a run that nobody waits for must not go on.
        except BaseException:
            self.cancel()
            while not self.done:
                time.sleep(POLL_SECONDS)
            raise
        if not done:
            raise TimeoutError(f"The registration has not ended within {timeout:g} s; it goes on.")
        return self.result()

    def result(self) -> Registration:
        """The result, waited for if need be, and read, which takes a moment for a large one; raises as `wait` does."""
        if not self.done:
            return self.wait()
        self._read()
        if isinstance(self._outcome, DeepRegisterError):
            raise self._outcome
        return self._outcome

    def _is_untouched(self) -> bool:
        return self._request is not None and self._cancelled_at is None

    def _overdue(self) -> bool:
        waited = None if self._cancelled_at is None else time.monotonic() - self._cancelled_at
        return waited is not None and waited > self._client.cancel_grace_seconds

    def _arrive(self, packed: dict[str, Any]) -> None:
        """The result lies in the folder. It is read when it is asked for: who polls must not be held up."""
        if self._cancelled_at is not None:
            self._finish(Cancelled())
            return
        self._packed = packed
        self._client._job = None
        self._client._unread.add(self)

    def _read(self) -> None:
        with self._client._lock:
            if self._packed is not None:
                self._outcome, self._packed = _unpacked(self._packed, self._folder), None
                self._client._unread.discard(self)
                shutil.rmtree(self._folder, ignore_errors=True)

    def _finish(self, outcome: Registration | DeepRegisterError) -> None:
        # A result that crossed the cancel on its way must not change the scene of a user who cancelled.
        self._outcome = outcome if self._cancelled_at is None else Cancelled()
        self._client._job = None
        shutil.rmtree(self._folder, ignore_errors=True)


def _unpacked(value: dict[str, Any], folder: Path) -> Registration | dict[str, Any] | WorkerError:
    try:
        return unpack(value, folder)
    except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        return WorkerError(f"The result cannot be read from {folder}: {type(error).__name__} {error}. Run it again.")
