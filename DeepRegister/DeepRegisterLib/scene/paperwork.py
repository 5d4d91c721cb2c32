"""`RunningPaperwork`: a report page or a DICOM series that the worker process writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deepregister import Progress
from deepregister.job import Job


class RunningPaperwork:
    """Files that are being written; polled like a `RunningRegistration`. The scene is not touched."""

    def __init__(self, job: Job):
        self._job = job

    def poll(self) -> list[Progress]:
        """The reports that have come since the last call; does not wait."""
        return self._job.poll()

    @property
    def done(self) -> bool:
        """Whether the worker has ended, well or not: time to call `finish`."""
        return self._job.done

    def cancel(self) -> None:
        """Ask the worker to stop; returns at once. `finish` then raises `Cancelled`; a file may be there all the same,
        and is then a whole one."""
        self._job.cancel()

    def finish(self, progress: Callable[[Progress], None] | None = None) -> list[Path]:
        """The files that were written, waited for if need be.

        Args:
            progress: called with each report while waiting; what it raises cancels the writing.

        Raises:
            DeepRegisterError: why nothing was written, or `Cancelled`.
        """
        return [Path(path) for path in self._job.wait(progress)]
