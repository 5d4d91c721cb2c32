"""The worker process, spoken to line by line: every test starts a real one."""

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import deepregister
import numpy as np
import pytest
from deepregister import Settings, Volume
from deepregister.connection import FOLDER_PREFIX, worker_command, worker_environment
from deepregister.protocol import PROTOCOL, pack
from processes import PATIENCE_SECONDS, WITHOUT_TORCH, posix

# A worker whose registration ends only when it is cancelled, and prints in every way a library can.
NOISY_WORKER = f"""{WITHOUT_TORCH}
import os, subprocess, sys, time
from deepregister import worker
from deepregister.errors import Cancelled
from deepregister.progress import Progress

if "--early" in sys.argv:
    print("printed early, ", end="")
    os.write(1, b"written early")

def register(fixed, moving, progress, cancelled, **others):
    while True:
        print("printed")
        print("printed without an end of line", end="")
        os.write(1, b"written to descriptor 1")
        sys.__stdout__.write("through the first stdout")
        subprocess.run([sys.executable, "-c", "print('printed by a child')"])
        assert sys.stdin.read() == ""
        progress(Progress("align", 0.5, "ä", None))
        if cancelled():
            raise Cancelled()

worker.main(register)
"""


class Worker:
    """A worker process and the lines it writes."""

    def __init__(self, command=None, environment=None):
        self.process = subprocess.Popen(
            command or worker_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=worker_environment({"OMP_NUM_THREADS": "1", **(environment or {})}),
        )
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self.lines = queue.Queue()
        self.log = []
        for target in (self._read, self._read_log):
            threading.Thread(target=target, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _read_log(self):
        self.log.extend(line.decode() for line in self.process.stderr)

    def write(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def request(self, name, **content):
        self.write(json.dumps({"request": name, **content}).encode())

    def line(self):
        """The next line that is not empty, or None at the end."""
        while (line := self.lines.get(timeout=PATIENCE_SECONDS)) is not None:
            if line.strip():
                return line
        return None

    def event(self, *names):
        """The next event, or the next of these names."""
        while True:
            event = json.loads(self.line())
            if not names or event["event"] in names:
                return event

    def hello(self):
        self.request("hello", protocol=PROTOCOL, folder=str(self.folder))
        return self.event("hello")

    def register(self, job, **settings):
        data = np.random.default_rng(0).random((24, 24, 24), dtype=np.float32)
        volume = Volume.from_array(data, name="noise")
        folder = self.folder / str(job)
        folder.mkdir()
        inputs = pack({"fixed": volume, "moving": volume, "settings": Settings(**settings)}, folder, "input")
        self.request("register", job=job, folder=str(folder), inputs=inputs)

    def ended(self):
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def start():
    workers = []

    def start(*arguments, **options):
        workers.append(Worker(*arguments, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.kill()
        worker.process.wait()
        if worker.folder.exists():
            for path in sorted(worker.folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            worker.folder.rmdir()


@pytest.fixture
def noisy_command(tmp_path):
    script = tmp_path / "noisy_worker.py"
    script.write_text(NOISY_WORKER, encoding="utf-8")
    return [sys.executable, "-u", str(script)]


def test_hello_says_who_computes_and_devices_follow(start):
    worker = start()
    hello = worker.hello()
    assert hello["pid"] == worker.process.pid
    assert hello["version"] == deepregister.__version__
    assert Path(hello["engine"]).samefile(deepregister.__file__)
    assert hello["protocol"] == PROTOCOL
    devices = worker.event()
    assert devices["event"] == "devices"
    assert devices["problem"] is None
    assert devices["torch"]
    assert devices["devices"][0]["name"] == "cpu"


def test_hello_comes_before_torch_and_a_broken_torch_is_explained(start, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libtorch_cpu.so is cut off')")
    worker = start(environment={"PYTHONPATH": str(tmp_path)})
    worker.hello()
    devices = worker.event()
    assert devices["torch"] is None
    assert devices["devices"] == []
    assert "libtorch_cpu.so is cut off" in devices["problem"]
    assert "install it" in devices["problem"]
    worker.register(1)
    error = worker.event()
    assert (error["event"], error["job"], error["kind"]) == ("error", 1, "WorkerError")
    assert error["message"] == devices["problem"]


def test_a_torch_that_finds_no_memory_is_not_taken_for_a_broken_one(start, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libtorch_cpu.so: failed to map segment')")
    worker = start(environment={"PYTHONPATH": str(tmp_path)})
    worker.hello()
    assert "memory of this machine" in worker.event()["problem"]


def test_garbage_is_answered_and_the_worker_lives_on(start, noisy_command):
    worker = start(noisy_command)
    for line in (
        b"rubbish",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"17",
        b'"text"',
        b"{}",
        b'{"request": "dance"}',
        b'{"request": null}',
        b'{"request": "register"}',
        b'{"request": "register", "job": [], "folder": "x", "inputs": {}}',
        b'{"request": "cancel"}',
        b'{"request": "hello"}',
        b"[" * 100_000,
    ):
        worker.write(line)
        error = worker.event("error")
        assert error["job"] is None
        assert error["kind"] == "WorkerError"
        assert line[:8].decode("utf-8", "backslashreplace") in error["message"]
    worker.write(b"")
    assert worker.hello()["pid"] == worker.process.pid


def test_garbage_does_not_disturb_a_run_of_the_engine(start):
    worker = start()
    worker.hello()
    worker.register(1, model="rigid", quality="fast", device="cpu", threads=1)
    worker.event("progress")
    worker.write(b"rubbish")
    assert worker.event("error")["job"] is None
    assert worker.event("result", "error")["value"]["settings"]["model"] == "rigid"


def test_unknown_protocol_is_refused_with_both_numbers(start, noisy_command):
    worker = start(noisy_command)
    worker.request("hello", protocol=99, folder=str(worker.folder))
    error = worker.event("error")
    assert "protocol 99" in error["message"]
    assert f"protocol {PROTOCOL}" in error["message"]


def test_a_folder_that_is_not_a_clients_is_never_adopted(start, noisy_command, tmp_path):
    keep = tmp_path / "keep"
    keep.mkdir()
    worker = start(noisy_command)
    worker.request("hello", protocol=PROTOCOL, folder=str(keep))
    assert "keep" in worker.event("error")["message"]
    worker.request("shutdown")
    worker.ended()
    assert keep.is_dir()


def test_a_library_that_prints_breaks_no_line(start, noisy_command):
    worker = start([*noisy_command, "--early"])
    worker.request("hello", protocol=PROTOCOL, folder=str(worker.folder))
    # What was printed while Python and the package were loading stands on a line of its own.
    assert worker.line().strip() == b"printed early, written early"
    assert worker.event()["event"] == "hello"
    assert worker.event()["event"] == "devices"
    worker.register(1)
    for _ in range(3):
        assert worker.event()["event"] == "progress"
    worker.request("cancel", job=1)
    while (event := worker.event())["event"] == "progress":
        pass
    assert (event["event"], event["kind"]) == ("error", "Cancelled")
    worker.request("shutdown")
    assert worker.ended() == 0
    log = "".join(worker.log)
    for text in ("printed", "written to descriptor 1", "printed by a child", "printed without an end of line"):
        assert text in log


def test_cancel_of_another_job_or_of_one_that_has_ended_is_harmless(start, noisy_command):
    worker = start(noisy_command)
    worker.hello()
    worker.request("cancel", job=1)
    worker.register(1)
    worker.event("progress")
    worker.request("cancel", job=2)
    worker.event("progress")
    worker.request("cancel", job=1)
    assert worker.event("error")["job"] == 1
    worker.request("cancel", job=1)
    # Cancelled while it waits behind another one, a job does not start.
    worker.register(2)
    worker.register(3)
    worker.event("progress")
    worker.request("cancel", job=3)
    worker.request("cancel", job=2)
    assert worker.event("error")["job"] == 2
    event = worker.event()
    assert (event["event"], event["job"], event["kind"]) == ("error", 3, "Cancelled")


@pytest.mark.parametrize("computing", [False, True])
@pytest.mark.parametrize("how", ["end of file", "shutdown"])
def test_the_end_of_the_client_is_the_end_of_the_worker(start, noisy_command, computing, how):
    worker = start(noisy_command)
    worker.hello()
    if computing:
        worker.register(1)
        worker.event("progress")
    if how == "shutdown":
        worker.request("shutdown")
    else:
        worker.process.stdin.close()
    assert worker.ended() == 0
    assert not worker.folder.exists()


@posix
def test_ctrl_c_in_the_terminal_is_left_to_the_parent(start, noisy_command):
    worker = start(noisy_command)
    worker.hello()
    worker.process.send_signal(signal.SIGINT)
    assert worker.hello()["pid"] == worker.process.pid
