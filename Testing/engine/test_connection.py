"""How worker processes are started and how they end: with their client, its program, or the power switch."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import deepregister
import pytest
from deepregister.client import EngineClient
from deepregister.connection import ENGINE_FOLDER, worker_command, worker_environment
from deepregister.errors import Cancelled, FileError, WorkerError
from processes import DEAF, ENDLESS, FAULTY, alive, first_report, posix, run_script, wait_until


def test_another_copy_of_the_engine_is_refused(folders, tmp_path, small):
    copy = tmp_path / "other" / "deepregister"
    shutil.copytree(ENGINE_FOLDER / "deepregister", copy, ignore=shutil.ignore_patterns("*.safetensors"))
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(copy.parent)!r}); import deepregister.worker",
    ]
    command[-1] += "; deepregister.worker.main()"
    client = EngineClient(command)
    for attempt in (client.start, lambda: client.register(small, small)):
        with pytest.raises(WorkerError) as caught:
            attempt()
        assert str(copy) in str(caught.value)
        assert "pip uninstall" in str(caught.value)
        assert client.pid is None
        assert not list(folders.iterdir())


def test_an_installed_copy_does_not_stand_in_for_the_engine_beside_the_client(client_of, tmp_path):
    decoy = tmp_path / "site" / "deepregister"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text("raise SystemExit('this is the wrong engine')")
    client = client_of(environment={"PYTHONPATH": str(decoy.parent)})
    client.start()
    assert Path(client.hello.engine).samefile(deepregister.__file__)


def test_a_command_that_does_not_exist_is_named(folders, tmp_path):
    client = EngineClient([str(tmp_path / "no-python")])
    with pytest.raises(WorkerError, match="no-python"):
        client.start()
    assert not list(folders.iterdir())


def test_a_worker_that_cannot_start_says_why(client_of, folders, small):
    client = client_of("import sys; sys.exit('numpy is cut off')")
    for attempt in (client.start, client.wait_for_devices, lambda: client.register(small, small)):
        with pytest.raises(WorkerError, match=r"did not start(.|\n)*numpy is cut off"):
            attempt()
        assert not list(folders.iterdir())


def test_a_worker_that_never_answers_is_given_up(client_of, folders, monkeypatch):
    monkeypatch.setattr("deepregister.client.START_SECONDS", 0.3)
    client = client_of("import time; time.sleep(600)")
    with pytest.raises(WorkerError, match="did not answer"):
        client.start()
    assert not list(folders.iterdir())


def test_a_run_is_submitted_without_waiting_for_the_worker_to_start(client_of, tmp_path, small):
    gate = tmp_path / "open"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.01)\n"
    client = client_of(wait + ENDLESS)
    job = client.submit(small, small)
    assert client.hello is None
    gate.touch()
    assert not first_report(job).done
    assert client.hello is not None


def test_a_temporary_folder_that_cannot_be_written_is_named(client_of, folders, monkeypatch, small):
    client = client_of(ENDLESS)
    client.start()
    shutil.rmtree(client._connection.folder)
    with pytest.raises(FileError, match=rf"{client._connection.folder}(.|\n)*TMPDIR"):
        client.submit(small, small)
    client.shutdown()
    monkeypatch.setattr("tempfile.tempdir", str(folders / "missing"))
    with pytest.raises(FileError, match="TMPDIR"):
        client.submit(small, small)


@posix
def test_under_slicer_the_launcher_is_used_and_its_child_is_ended(folders, tmp_path, monkeypatch, small):
    # As Slicer's own: a launcher that stays, hands its pipes to a child, and dies without it if it is killed.
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" -u "{script}"\nexit $?\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for application in ("", "/opt/Slicer/bin/SlicerApp-real", str(launcher)):
        monkeypatch.setattr(sys, "executable", application)
        assert worker_command() == [str(launcher), "-u", "-m", "deepregister.worker"]
    client = EngineClient()
    client.cancel_grace_seconds = 0.2
    job = first_report(client.submit(small, small))
    pid = client.pid
    assert pid != client._connection._process.pid
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert not alive(pid)
    assert not list(folders.iterdir())


def test_without_an_interpreter_the_reason_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/Slicer/bin/SlicerApp-real")
    with pytest.raises(WorkerError, match="PythonSlicer is not on the PATH"):
        EngineClient().start()


@posix
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_parent_that_dies_takes_the_worker_with_it(folders, how):
    script = """
import sys, time
import numpy as np
from deepregister import Settings, Volume
from deepregister.client import EngineClient

data = np.random.default_rng(0).random((64, 64, 64), dtype=np.float32)
volume = Volume.from_array(data)
client = EngineClient(environment={"OMP_NUM_THREADS": "1"})
job = client.submit(volume, volume, Settings(model="deformable", quality="accurate", device="cpu", threads=1))
while not job.poll():
    time.sleep(0.01)
print(client.pid, flush=True)
job.wait()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=worker_environment({})
    )
    pid = int(parent.stdout.readline())
    assert alive(pid)
    assert list(folders.iterdir())
    parent.send_signal(getattr(signal, how))
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not alive(pid))
    assert not list(folders.iterdir())


@pytest.mark.parametrize("ending", ["", "raise SystemExit", "client = job = None; import gc; gc.collect()"])
def test_a_program_that_forgets_to_shut_down_leaves_nothing(folders, tmp_path, ending):
    worker = tmp_path / "endless.py"
    worker.write_text(ENDLESS)
    lines = run_script(
        f"""
import sys, time
import numpy as np
from deepregister import Volume
from deepregister.client import EngineClient

client = EngineClient([sys.executable, "-u", sys.argv[1]])
volume = Volume.from_array(np.zeros((4, 4, 4)))
job = client.submit(volume, volume)
while not job.poll():
    time.sleep(0.01)
print(client.pid, flush=True)
{ending}
""",
        str(worker),
    )
    assert not alive(int(lines[0]))
    assert not list(folders.iterdir())


@posix
def test_a_forked_copy_of_the_program_ends_no_worker(folders, tmp_path):
    worker = tmp_path / "faulty.py"
    worker.write_text(FAULTY)
    lines = run_script(
        """
import os, sys
from deepregister.client import EngineClient

client = EngineClient([sys.executable, "-u", sys.argv[1]])
client.start()
before = client.pid
child = os.fork()
if child == 0:
    sys.exit()
os.waitpid(child, 0)
print(client.wait_for_devices() is not None and client.pid == before)
client.shutdown()
""",
        str(worker),
    )
    assert lines == ["True"]


def test_a_client_that_is_dropped_ends_its_worker(client_of, folders, tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    client = EngineClient([sys.executable, "-u", str(script)])
    client.start()
    pid = client.pid
    del client
    gc.collect()
    assert not alive(pid)
    assert not list(folders.iterdir())


def test_ten_starts_and_cancels_leave_no_process_and_no_file(client_of, folders, small):
    pids = []
    for _ in range(10):
        client = client_of(ENDLESS)
        job = first_report(client.submit(small, small))
        pids.append(client.pid)
        job.cancel()
        with pytest.raises(Cancelled):
            job.result()
        client.shutdown()
    assert len(set(pids)) == 10
    assert not [pid for pid in pids if alive(pid)]
    assert not list(folders.iterdir())
