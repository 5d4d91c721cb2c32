"""The client of the worker process: starts it, hands it work, ends it. Needs neither torch nor Qt.

    with EngineClient() as client:
        registration = client.register(fixed, moving, Settings(model="affine"), progress=print)

A caller that must not block keeps the `Job` that `submit` returns, and polls it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import deepregister

from .connection import Connection, worker_command, worker_environment
from .errors import Cancelled, DeepRegisterError, FileError, WorkerError
from .job import POLL_SECONDS, Job
from .labelmaps import Structures
from .landmarks import LandmarkPairs
from .progress import Progress
from .protocol import PROTOCOL, Devices, Hello, pack, rebuild_error
from .result import Registration
from .settings import Settings
from .transforms import Transform, read_transform
from .volume import Geometry, Volume, as_volume

# A cold start from a slow disk under a virus scanner.
START_SECONDS = 120.0
# A cancel is noticed within an iteration; a worker that does not notice it by then is ended.
CANCEL_GRACE_SECONDS = 10.0
DIED = (
    "The registration process ended unexpectedly; nothing was changed. Most often memory has run out: close other "
    "programs, or choose smaller volumes or the quality 'fast'. The next run starts a new process. "
)


class EngineClient:
    """Runs registrations in a worker process, which is started at the first need and kept for the next run.

    A worker that died is replaced by a new one at the next run. Use a client from one thread; `Job.cancel` may be
    called from any.

    Args:
        command: of the worker; None finds the right Python by itself.
        environment: variables to set for the worker besides those of this process.
        log: called with each line that the worker logs, in the thread that polls or waits.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
    ):
        self.cancel_grace_seconds = CANCEL_GRACE_SECONDS
        self._command = command
        self._environment = dict(environment or {})
        self._log = log
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._log_text = ""
        self._hello: Hello | None = None
        self._devices: Devices | None = None
        self._answer_due = 0.0
        self._obituary = ""
        self._job: Job | None = None
        self._unread: weakref.WeakSet[Job] = weakref.WeakSet()
        self._jobs = 0

    def __enter__(self) -> EngineClient:
        self.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.shutdown()

    @property
    def hello(self) -> Hello | None:
        """What the running worker said of itself; None while there is none."""
        self._pump()
        return self._hello

    @property
    def devices(self) -> Devices | None:
        """What the running worker can compute with; None while it is still loading torch, which takes seconds."""
        self._pump()
        return self._devices

    @property
    def pid(self) -> int | None:
        """The worker's own process id; None while there is none."""
        hello = self.hello
        return hello.pid if hello else None

    @property
    def log_text(self) -> str:
        """The last lines that the worker logged, also after its end."""
        return self._connection.log_text if self._connection else self._log_text

    def start(self) -> None:
        """Start the worker, unless it runs, and wait until it has said hello (not until torch is loaded).

        Raises:
            WorkerError: it cannot be started, does not answer, or runs another engine than this one.
        """
        self._launch()
        while self.hello is None:
            if self._connection is None:
                raise WorkerError(self._obituary)
            time.sleep(POLL_SECONDS)

    def wait_for_devices(self) -> Devices:
        """Start the worker if needed and wait until it has loaded torch.

        Raises:
            WorkerError: as in `start`, or it died while it loaded torch.
        """
        self._launch()
        while (devices := self.devices) is None:
            if self._connection is None:
                raise WorkerError(self._obituary)
            time.sleep(POLL_SECONDS)
        return devices

    def submit(
        self,
        fixed: Volume,
        moving: Volume,
        settings: Settings | None = None,
        *,
        fixed_mask: Volume | None = None,
        moving_mask: Volume | None = None,
        regions: Volume | None = None,
        emphasis: Volume | None = None,
        initial: Transform | str | os.PathLike | None = None,
        landmarks: LandmarkPairs | None = None,
        models_dir: str | os.PathLike | None = None,
    ) -> Job:
        """Hand a registration to the worker, and start one if none runs, without waiting for it.

        The arguments are those of `deepregister.register`.

        Raises:
            WorkerError: another registration is still running, or the worker's command cannot be started. Whatever
                else is wrong with the worker ends the job.
            FileError: the volumes cannot be written to the temporary folder.
            InputError: an argument that is no volume.
        """
        inputs = {
            "fixed": as_volume(fixed, "fixed volume"),
            "moving": as_volume(moving, "moving volume"),
            "settings": settings or Settings(),
            "fixed_mask": None if fixed_mask is None else as_volume(fixed_mask, "fixed mask"),
            "moving_mask": None if moving_mask is None else as_volume(moving_mask, "moving mask"),
            "regions": None if regions is None else as_volume(regions, "region map"),
            "emphasis": None if emphasis is None else as_volume(emphasis, "region of emphasis"),
            "initial": read_transform(initial) if isinstance(initial, (str, os.PathLike)) else initial,
            "landmarks": landmarks,
            # The worker runs in a folder of its own.
            "models_dir": None if models_dir is None else str(Path(models_dir).absolute()),
        }
        return self._hand_over("register", inputs)

    def register(
        self,
        fixed: Volume,
        moving: Volume,
        settings: Settings | None = None,
        *,
        fixed_mask: Volume | None = None,
        moving_mask: Volume | None = None,
        regions: Volume | None = None,
        initial: Transform | str | os.PathLike | None = None,
        landmarks: LandmarkPairs | None = None,
        models_dir: str | os.PathLike | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Registration:
        """Run one registration and wait for it; see `submit` and `Job.wait`."""
        job = self.submit(
            fixed,
            moving,
            settings,
            fixed_mask=fixed_mask,
            moving_mask=moving_mask,
            regions=regions,
            initial=initial,
            landmarks=landmarks,
            models_dir=models_dir,
        )
        return job.wait(progress)

    def inspect(
        self,
        transform: Transform,
        fixed: Geometry,
        inverse: Transform | None = None,
        structures: Sequence[Structures] = (),
    ) -> Job:
        """Hand a closer look at a transform to the worker; see `inspection.inspect`, whose answer the job's result is.

        Raises:
            WorkerError, FileError: as `submit`.
        """
        inputs = {"transform": transform, "fixed": fixed, "inverse": inverse, "structures": list(structures)}
        return self._hand_over("inspect", inputs)

    def write(self, kind: str, path: str | os.PathLike, **arguments: Any) -> Job:
        """Hand the writing of a "page", a "dicom" series or a "transform" to the worker; see `paperwork.write`.

        Args:
            kind: what to write.
            path: the file, or the series' folder.
            arguments: the other arguments that `paperwork.write` takes for that kind.

        Raises:
            WorkerError, FileError: as `submit`.
        """
        place = "folder" if kind == "dicom" else "path"
        # The worker runs in a folder of its own.
        arguments[place] = str(Path(path).absolute())
        return self._hand_over("write", {"kind": kind, "arguments": arguments})

    def shutdown(self) -> None:
        """End the worker, in the middle of a run too; that run is then cancelled. The next run starts a new worker."""
        with self._lock:
            self._disconnect()
            if self._job is not None:
                self._job._finish(Cancelled())

    def _hand_over(self, request: str, inputs: dict[str, Any]) -> Job:
        """Start a job with these inputs."""
        self._pump()
        if self._job is not None:
            raise WorkerError(
                "A registration is still running in this process. Wait for it or cancel it first, "
                "or use an EngineClient of its own for the second one."
            )
        self._launch()
        self._jobs += 1
        job = Job(self, self._jobs, self._connection.folder / str(self._jobs))
        try:
            job._folder.mkdir()
            packed = pack(inputs, job._folder, "input")
        except BaseException as error:
            shutil.rmtree(job._folder, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise FileError(
                f"Cannot write the volumes to {job._folder}: {error.strerror or error}. Free space there, or set the "
                "environment variable TMPDIR (on Windows TEMP) to a folder on a larger disk before the start."
            ) from error
        self._job = job
        job._request = {"request": request, "inputs": packed}
        self._send(job, job._request)
        return job

    def _send(self, job: Job, request: dict[str, Any]) -> None:
        # A worker that has just died is noticed by the next poll.
        with contextlib.suppress(OSError):
            self._connection.send(job=job._number, folder=str(job._folder), **request)

    def _hand_over_again(self, dead: Connection) -> None:
        """Give the job of a worker that had ended before it looked at it to a new one."""
        job = self._job
        job._request, request = None, job._request
        try:
            self._forget()
            self._launch()
            job._folder = Path(shutil.move(job._folder, self._connection.folder / str(job._number)))
        except (DeepRegisterError, OSError) as error:
            self._fail(f"The registration process ended, and another cannot be started: {error} {dead.last_words}")
        else:
            # Once: what ends two workers would end a third.
            self._send(job, request)
        dead.close(kill=True)

    def _launch(self) -> None:
        self._pump()
        if self._connection is not None:
            return
        self._connection = Connection(self._command or worker_command(), worker_environment(self._environment))
        self._answer_due = time.monotonic() + START_SECONDS
        # A worker that is gone already is noticed by the next poll.
        with contextlib.suppress(OSError):
            self._connection.send(request="hello", protocol=PROTOCOL, folder=str(self._connection.folder))

    def _pump(self) -> None:
        """Act on everything that has come from the worker, without waiting."""
        with self._lock:
            connection = self._connection
            if connection is None:
                return
            # Asked of the process too: its pipes end later, or not at all where a child of it holds them open.
            ended = connection.ended
            if ended:
                connection.settle()
            while (item := connection.receive()) is not None:
                kind, content = item
                if kind == "event" and self._connection is connection:
                    try:
                        self._on_event(content)
                    except (KeyError, TypeError, ValueError, AttributeError) as error:
                        self._fail(
                            f"The registration process sent what this version does not understand ({error!r}). "
                            f"{connection.last_words}"
                        )
                elif kind == "log" and self._log is not None:
                    self._log(content)
                elif kind == "end":
                    ended = True
                    connection.settle()
            if self._connection is not connection:
                return
            if ended and self._job is not None and self._hello and self._job._is_untouched():
                self._hand_over_again(connection)
            elif ended:
                self._fail(
                    (DIED if self._hello else "The registration process did not start. ") + connection.last_words
                )
            elif self._job is not None and self._job._overdue():
                self._disconnect(kill=True)
                self._job._finish(Cancelled())
            elif self._hello is None and time.monotonic() > self._answer_due:
                self._fail(
                    f"The registration process did not answer within {START_SECONDS:.0f} s. {connection.last_words}"
                )

    def _on_event(self, event: dict[str, Any]) -> None:
        name = event.pop("event")
        job = self._job if self._job is not None and event.get("job") == self._job._number else None
        if job is not None:
            job._request = None
        if name == "hello":
            self._hello = Hello(event["pid"], event["version"], event["engine"], event["python"])
            self._connection.pid = self._hello.pid
            if not _same_engine(self._hello):
                self._fail(
                    f"The registration process runs DeepRegister {event['version']} from {event['engine']}, not "
                    f"version {deepregister.__version__} from {deepregister.__file__}. Remove the other copy (in its "
                    "Python: `pip uninstall deepregister`), or unset the PYTHON... variable or path that leads to it."
                )
        elif name == "devices":
            self._devices = Devices.from_dict(event)
        elif name == "error" and event["job"] is None:
            # It does not understand this client, so no job would ever end.
            self._fail(event["message"])
        elif job is not None and name == "progress":
            del event["job"]
            job._reports.append(Progress(**event))
        elif job is not None and name == "error":
            job._finish(rebuild_error(event["kind"], event["message"]))
        elif job is not None and name == "result":
            job._arrive(event["value"])

    def _fail(self, reason: str) -> None:
        """End the worker; `reason` is what a run or a start that waits for it will say."""
        self._obituary = reason
        self._disconnect(kill=True)
        if self._job is not None:
            self._job._finish(WorkerError(reason))

    def _disconnect(self, kill: bool = False) -> None:
        connection = self._connection
        self._forget()
        if connection is not None:
            connection.close(kill)
            self._log_text = connection.log_text

    def _forget(self) -> None:
        self._connection = self._hello = self._devices = None
        for job in [*self._unread]:
            # Its files go with the connection.
            job._read()


def _same_engine(hello: Hello) -> bool:
    with contextlib.suppress(OSError):
        return hello.version == deepregister.__version__ and Path(hello.engine).samefile(deepregister.__file__)
    return False
