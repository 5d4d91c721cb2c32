"""A folder of results holds the old result or the new one, at whatever moment its process is killed."""

import os
import signal
import subprocess
import sys

import pytest
from deepregister import Rigid, Settings
from deepregister.connection import worker_environment
from deepregister.errors import FileError
from deepregister.folders import COMPLETE, filling, settle
from deepregister.result import Registration
from deepregister.writing import UNFINISHED, hold, release, replacing
from processes import PATIENCE_SECONDS, posix

# Fills a folder and kills itself at the step of this number, counted over what the operating system is asked to do.
DYING = """
import os, signal, sys, tempfile
from pathlib import Path
from deepregister.folders import filling

steps, last = 0, int(sys.argv[2])

def watched(function):
    def run(*arguments, **options):
        global steps
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        return function(*arguments, **options)
    return run

tempfile.mkdtemp = watched(tempfile.mkdtemp)
for name in ("write_text", "rename", "replace", "unlink", "rmdir"):
    setattr(Path, name, watched(getattr(Path, name)))
with filling(sys.argv[1], own=("result.json", "transform.txt", "extra.txt")) as aside:
    (aside / "transform.txt").write_text("new")
    (aside / "result.json").write_text("new")
print(steps)
"""
OLD = {"transform.txt": "old", "result.json": "old", "extra.txt": "old", "notes.txt": "mine"}
NEW = {"transform.txt": "new", "result.json": "new", "notes.txt": "mine"}


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def filled(folder, step):
    for name, text in OLD.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-c", DYING, folder, str(step)]
    options = {"capture_output": True, "text": True, "env": worker_environment({}), "timeout": PATIENCE_SECONDS}
    return subprocess.run(command, check=False, **options)


@posix
def test_killed_at_any_step_it_leaves_the_old_files_or_the_new_ones(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    done = filled(whole, -1)
    assert done.returncode == 0, done.stderr
    assert content(whole) == NEW
    found = []
    for step in range(int(done.stdout)):
        folder = tmp_path / str(step)
        folder.mkdir()
        assert filled(folder, step).returncode == -signal.SIGKILL
        settle(folder)
        assert content(folder) in (OLD, NEW), f"killed at step {step}"
        assert names(folder) == sorted(content(folder)), f"killed at step {step}"
        found.append(content(folder))
    # Early it is the old result, late the new one.
    assert found[0] == OLD and found[-1] == NEW


def test_a_result_that_was_not_moved_to_the_end_is_loaded_whole(tmp_path):
    def result(seed):
        return Registration(Rigid.identity(), Rigid.identity(), None, Settings(seed=seed), {}, {}, "CPU")

    result(1).save(tmp_path / "old")
    result(2).save(tmp_path / "new")
    (tmp_path / "new" / ".obsolete.json").write_text("[]")
    (tmp_path / "new").rename(tmp_path / "old" / f"{COMPLETE}x")
    assert Registration.load(tmp_path / "old").settings.seed == 2
    assert names(tmp_path / "old") == ["inverse.h5", "result.json", "transform.h5"]


@posix
def test_what_somebody_still_writes_is_left_alone(tmp_path):
    with filling(tmp_path) as aside:
        (aside / "a.txt").write_text("a")
        held = hold(tmp_path)
        # Another process looks into the folder, and begins to write there, too.
        script = "import sys\nfrom deepregister.folders import filling\nwith filling(sys.argv[1]) as aside:\n pass"
        subprocess.run([sys.executable, "-c", script, tmp_path], env=worker_environment({}), check=True)
        assert aside.is_dir()
        release(held)
    assert names(tmp_path) == ["a.txt"]


@posix
@pytest.mark.parametrize("write", [lambda folder: filling(folder), lambda folder: replacing(folder / "a.txt")])
def test_the_next_to_write_removes_what_a_killed_process_has_left(tmp_path, write):
    (tmp_path / f"{UNFINISHED}left").mkdir()
    (tmp_path / f"{UNFINISHED}left" / "half.txt").write_text("half")
    with write(tmp_path) as aside:
        (aside / "a.txt" if aside.is_dir() else aside).write_text("a")
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_where_a_file_must_go_is_said_before_anything_is_moved(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(FileError, match=r"b\.txt is a folder"), filling(tmp_path) as aside:
        for name in ("a.txt", "b.txt"):
            (aside / name).write_text("new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_what_cannot_be_written_is_told_by_the_place_that_the_user_knows(tmp_path):
    with pytest.raises(FileError) as error, filling(tmp_path / "out") as aside, replacing(aside / "a.txt"):
        raise OSError(28, "No space left on device")
    assert str(tmp_path / "out" / "a.txt") in str(error.value)
    assert UNFINISHED not in str(error.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between processes")
def test_sigterm_stops_the_command_line_cleanly(tmp_path):
    script = (
        "import sys, time\nfrom deepregister import cli\nfrom deepregister.folders import filling\n"
        "def wait(options):\n with filling(sys.argv[1]) as aside:\n  print(flush=True)\n  time.sleep(600)\n"
        "class Parser:\n def parse_args(self, arguments): return type('Options', (), {'run': staticmethod(wait)})\n"
        "cli.build_parser = lambda names: Parser()\nsys.exit(cli.main([]))"
    )
    command = [sys.executable, "-c", script, tmp_path / "out"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": worker_environment({})}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert (process.returncode, told) == (130, "Stopped: no result was written.\n")
    assert names(tmp_path) == []
