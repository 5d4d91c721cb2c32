"""Worker scripts of a known behaviour, and looking after processes: for the tests of everything that starts workers.

Where a test needs a computation that never stops, ignores a cancel or fails, it starts a worker process whose
`register` is one of these few lines; process, pipes and client are the real ones.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deepregister.connection import worker_environment

# A loaded machine may need long to start a Python; nothing waits that long when all is well.
PATIENCE_SECONDS = 120

posix = pytest.mark.skipif(os.name != "posix", reason="uses signals and shell scripts of POSIX systems")

# Loading torch takes seconds, and these computations need none.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
"""

# `register` reports progress until it is cancelled.
ENDLESS = f"""{WITHOUT_TORCH}
import time
from deepregister import worker
from deepregister.errors import Cancelled
from deepregister.progress import Progress

def register(fixed, moving, settings, progress, cancelled, **others):
    while not cancelled():
        progress(Progress("deform", 0.5, "still computing", None))
        time.sleep(0.01)
    raise Cancelled()

worker.main(register)
"""

# `register` does not look at `cancelled`.
DEAF = ENDLESS.replace("while not cancelled():", "while True:")

FAULTY = f"""{WITHOUT_TORCH}
from deepregister import worker

def register(**inputs):
    raise RuntimeError("expected scalar type Float but found Half")

worker.main(register)
"""

DYING = f"""{WITHOUT_TORCH}
import os
from deepregister import worker

def register(**inputs):
    print("CUDA driver is on fire", file=sys.stderr)
    os._exit(3)

worker.main(register)
"""

# Ends before it has said anything of its first job; the worker after it, which finds the file, is faulty.
DYING_ONCE = f"""{WITHOUT_TORCH}
import os, pathlib
from deepregister import worker

def register(**inputs):
    mark = pathlib.Path(__file__).with_suffix(".died")
    if not mark.exists():
        mark.touch()
        os._exit(3)
    raise RuntimeError("this is the second worker, and it got " + inputs["fixed"].name)

worker.main(register)
"""

# A process that the worker has started holds its pipes open, so that they do not end with the worker.
HELD_OPEN = """
import subprocess, sys
holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(holder.pid, file=sys.stderr, flush=True)
"""


def alive(pid):
    """Whether a process runs; one that has ended and that nobody has reaped yet does not."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False
    command = ["tasklist", "/fi", f"pid eq {pid}"] if os.name == "nt" else ["ps", "-o", "stat=", "-p", str(pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return str(pid) in listed if os.name == "nt" else bool(listed) and not listed.startswith("Z")


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def first_report(job):
    wait_until(lambda: job.poll() or job.done)
    return job


def run_script(text, *arguments):
    """A Python program of its own that uses the client; its output lines."""
    finished = subprocess.run(
        [sys.executable, "-c", text, *arguments],
        capture_output=True,
        text=True,
        env=worker_environment({}),
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()
