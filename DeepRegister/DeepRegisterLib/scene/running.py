"""`RunningRegistration`: a registration of nodes that computes in the worker process."""

from __future__ import annotations

import logging
from collections.abc import Callable

from deepregister import Progress
from deepregister.errors import Cancelled, InputError
from deepregister.job import Job

from .request import Request
from .results import RegistrationNodes, insertResult


class RunningRegistration:
    """A registration that computes in the worker process. Made by `RegistrationLogic.start`.

    The scene is not touched before `finish`, and only if the engine finished well.
    """

    def __init__(self, request: Request, job: Job):
        self._request = request
        self._job = job
        self._nodes: RegistrationNodes | None = None
        self._missing: InputError | None = None
        self._cancelled = False

    def poll(self) -> list[Progress]:
        """The reports that have come since the last call; does not wait.

        A node that the result is about and that has left the scene ends the run: it would have no place.
        """
        if self._missing is None and not self._cancelled:
            try:
                self._request.checkNodes()
            except InputError as error:
                self._missing = error
                self._job.cancel()
        return self._job.poll()

    @property
    def done(self) -> bool:
        """Whether the engine has ended, well or not: time to call `finish`."""
        return self._job.done

    def cancel(self) -> None:
        """Ask the worker to stop; returns at once. `finish` then raises `Cancelled`."""
        self._cancelled = True
        self._job.cancel()

    def finish(self, progress: Callable[[Progress], None] | None = None) -> RegistrationNodes:
        """Put the result into the scene, waiting for it if need be.

        Args:
            progress: called with each report while waiting; what it raises cancels the run.

        Raises:
            DeepRegisterError: what the engine raised, `Cancelled`, `WorkerError`, or why the result could not be
                inserted. The scene is then as it was before.
        """
        if self._nodes is None:
            try:
                registration = self._job.wait(progress)
            except Cancelled as error:
                raise self._missing or error from None
            self._nodes = insertResult(self._request, registration)
            logging.info(self._nodes.message)
        return self._nodes
