"""Kill what computes at random moments: the command line, the worker, and the program that started the worker.

    python Testing/robustness/kills.py --kills 20

Each kill is of a real registration. The command line fills a folder that holds an older result: afterwards this must be
whole, the old one or the new one, with nothing beside it once somebody has looked. A worker that is killed must be
reported and replaced, and what it had in its temporary folder removed; it must not outlive the program that started it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deepregister import Geometry, Settings, Volume
from deepregister.client import EngineClient
from deepregister.connection import worker_environment
from deepregister.errors import DeepRegisterError, WorkerError
from deepregister.folders import COMPLETE
from deepregister.result import Registration
from deepregister.writing import UNFINISHED

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
SHIFT_MM = np.array([4.0, -3.0, 2.0])
# Beyond this the pose was not found; the voxels are 5 mm wide.
CORRECT_MM = 1.0
PATIENCE_SECONDS = 120.0
# How long the system may take to end processes and remove files once all is said.
SETTLING_SECONDS = 20.0
SETTINGS = Settings(model="rigid", quality="fast", device="cpu", threads=1)

# A program that registers by the worker and says where this is.
PROGRAM = """
import sys
from deepregister import Settings, Volume
from deepregister.client import EngineClient

client = EngineClient()
fixed, moving = (Volume.read(path) for path in sys.argv[1:])
job = client.submit(fixed, moving, Settings(model="rigid", quality="fast", device="cpu", threads=1))
client.start()
print(client.pid, flush=True)
job.wait()
print("done", flush=True)
"""


@dataclass(frozen=True)
class Kill:
    """One kill and how it ended.

    Attributes:
        what: "command line", "worker" or "program".
        signal: by which.
        seconds: after the start, or after the last stage began.
        outcome: "old result", "new result", "clear error", "correct result" or "ended".
        faults: what was not as promised; empty where all was.
    """

    what: str
    signal: str
    seconds: float
    outcome: str
    faults: tuple[str, ...] = ()


class Ground:
    """A pair of volumes in files and a folder with an older result, in a temporary folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.environment = worker_environment({"TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"})
        self.fixed, self.moving = folder / "fixed.nii.gz", folder / "moving.nii.gz"
        for path, shift in ((self.fixed, SHIFT_MM), (self.moving, np.zeros(3))):
            blobs(shift).write(path)
        self.output = folder / "output"
        began = time.monotonic()
        done = subprocess.run(self.command(seed=1), env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"The registration without a fault failed: {done.stderr}")
        self.seconds = time.monotonic() - began
        self.old = snapshot(self.output)

    def command(self, seed: int) -> list[str]:
        """A registration of the pair by the command line into the output folder."""
        options = {"--output": self.output, "--model": "rigid", "--quality": "fast", "--seed": seed, "--threads": 1}
        return [
            *(sys.executable, "-m", "deepregister", "register", str(self.fixed), str(self.moving), "--device", "cpu"),
            *(str(part) for option in options.items() for part in option),
        ]

    def restore(self) -> None:
        """Put the older result back, and nothing else."""
        for path in self.output.iterdir():
            path.unlink()
        for name, content in self.old.items():
            (self.output / name).write_bytes(content)


@contextmanager
def ground() -> Iterator[Ground]:
    """A `Ground` for the block."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        yield Ground(Path(folder).resolve())


def blobs(shift: np.ndarray) -> Volume:
    """A few bodies of 12 to 25 mm on a grid of 5 mm; at x the volume shows what lies at x + `shift`, mm."""
    grid = Geometry((20, 18, 19), (5.0, 5.0, 5.0), (-47.0, -43.0, -45.0))
    points = grid.points() + shift
    draw = np.random.default_rng(5)
    image = np.zeros(grid.shape)
    for _ in range(7):
        centre, width = draw.uniform(-25, 25, 3), draw.uniform(6, 12)
        image += draw.uniform(300, 900) * np.exp(-((points - centre) ** 2).sum(-1) / (2 * width**2))
    return Volume(image.astype(np.float32), grid)


def is_correct(registration: Registration) -> bool:
    """Whether the shift between the volumes was found."""
    centre = np.zeros((1, 3))
    return bool(np.abs(registration.transform.apply_to_points(centre) - centre - SHIFT_MM).max() < CORRECT_MM)


def snapshot(folder: Path) -> dict[str, bytes]:
    """The content of every file in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def kill_command_line(place: Ground, draw: random.Random) -> Kill:
    """Kill a registration by the command line, half of them after it has begun to measure, when it soon writes."""
    place.restore()
    number = draw.choice(SIGNALS)
    with subprocess.Popen(
        place.command(seed=2),
        env=place.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        if draw.random() < 0.5:
            delay = draw.uniform(0, place.seconds)
        else:
            delay = draw.uniform(0, 0.3 * place.seconds)
            for line in process.stderr:
                if "measure" in line:
                    break
        time.sleep(delay)
        process.send_signal(number)
        told = process.stderr.read()
    faults = [] if ended_group(process.pid) else ["a process is left"]
    if "Traceback" in told:
        faults.append(f"a traceback: {told[-300:]}")
    left = [path.name for path in place.output.iterdir() if path.name.startswith(".")]
    if left and number == signal.SIGTERM and process.returncode > 0:
        faults.append(f"left in the output folder after SIGTERM: {left}")
    outcome, more = whole_result(place)
    faults += more
    # One that is killed cannot remove its temporary files; nothing of ours is made there.
    faults += [f"left in the temporary folder: {path.name}" for path in place.temporary.iterdir()]
    clear(place.temporary)
    return Kill("command line", signal.Signals(number).name, round(delay, 3), outcome, tuple(faults))


def whole_result(place: Ground) -> tuple[str, list[str]]:
    """Which result the output folder holds once somebody has looked, and what is wrong with it."""
    try:
        found = Registration.load(place.output)
    except DeepRegisterError as error:
        return "no result", [f"the result is not whole: {error}"]
    faults = []
    if names := sorted(path.name for path in place.output.iterdir() if path.name.startswith((UNFINISHED, COMPLETE))):
        faults.append(f"left in the output folder: {names}")
    now = snapshot(place.output)
    if set(now) != set(place.old):
        faults.append(f"other files than before: {sorted(set(now) ^ set(place.old))}")
    outcome = {1: "old result", 2: "new result"}[found.settings.seed]
    if outcome == "old result" and now != place.old:
        faults.append(f"the old result changed: {[name for name in now if now[name] != place.old.get(name)]}")
    if outcome == "new result":
        faults += [f"{name} is the old one" for name in ("report.html", "result.json") if now[name] == place.old[name]]
    if not is_correct(found):
        faults.append(f"the result is wrong: {found.transform}")
    return outcome, faults


def kill_worker(place: Ground, draw: random.Random) -> Kill:
    """Kill the worker during a run; the next run must start a new one and succeed."""
    number, faults = draw.choice(SIGNALS), []
    fixed, moving = Volume.read(place.fixed), Volume.read(place.moving)
    with client_in(place.temporary) as client:
        delay = draw.uniform(0, 0.9 * place.seconds)
        job = client.submit(fixed, moving, SETTINGS)
        client.start()
        pid = client.pid
        until = time.monotonic() + delay
        while time.monotonic() < until and not job.done:
            time.sleep(0.01)
        if client.pid == pid:
            os.kill(pid, number)
        outcome = ending(job, faults)
        if not eventually(lambda: not running(pid)):
            faults.append("the killed worker still runs")
        try:
            again = client.register(fixed, moving, SETTINGS)
            faults += [] if is_correct(again) else [f"the next result is wrong: {again.transform}"]
        except DeepRegisterError as error:
            faults.append(f"the next run failed: {error}")
    if not eventually(lambda: not list(place.temporary.iterdir())):
        faults.append(f"left in the temporary folder: {[path.name for path in place.temporary.iterdir()]}")
    clear(place.temporary)
    return Kill("worker", signal.Signals(number).name, round(delay, 3), outcome, tuple(faults))


def kill_program(place: Ground, draw: random.Random) -> Kill:
    """Kill the program that started a worker; the worker must end, and remove the temporary folder."""
    number, faults = draw.choice(SIGNALS), []
    delay = draw.uniform(0, 0.9 * place.seconds)
    command = [sys.executable, "-c", PROGRAM, str(place.fixed), str(place.moving)]
    with subprocess.Popen(command, env=place.environment, stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        time.sleep(delay)
        process.send_signal(number)
        process.stdout.read()
    if not eventually(lambda: not running(worker)):
        faults.append("the worker outlived the program")
        os.kill(worker, signal.SIGKILL)
    if not eventually(lambda: not list(place.temporary.iterdir())):
        faults.append(f"left in the temporary folder: {[path.name for path in place.temporary.iterdir()]}")
    clear(place.temporary)
    return Kill("program", signal.Signals(number).name, round(delay, 3), "ended", tuple(faults))


def ending(job, faults: list[str]) -> str:
    """How a job of the client ended; what is not as promised goes into `faults`."""
    try:
        registration = job.wait(timeout=PATIENCE_SECONDS)
    except WorkerError as error:
        if "ended unexpectedly" not in str(error):
            faults.append(f"an error that does not say what happened: {error}")
        return "clear error"
    except (DeepRegisterError, TimeoutError) as error:
        faults.append(f"another error than of a worker: {error!r}")
        return "error"
    if not is_correct(registration):
        faults.append(f"the result is wrong: {registration.transform}")
    return "correct result"


@contextmanager
def client_in(folder: Path, command: list[str] | None = None) -> Iterator[EngineClient]:
    """A client whose temporary files, and those of its worker, lie in `folder`."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    client = EngineClient(command, environment={"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)})
    try:
        yield client
    finally:
        client.shutdown()
        tempfile.tempdir = before


def running(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode == 0
    return state.rpartition(")")[2].split()[0] != "Z"


def ended_group(group: int) -> bool:
    """Whether no process of a session is left, once it has had time to end."""

    def gone() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    return eventually(gone)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true soon."""
    until = time.monotonic() + SETTLING_SECONDS
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def clear(folder: Path) -> None:
    """Empty a folder, so that one fault is not counted at the next kill again."""
    for path in folder.iterdir():
        subprocess.run(["rm", "-rf", str(path)], check=False)


KINDS = (kill_command_line, kill_worker, kill_command_line, kill_program)


def kill(count: int, seed: int = 1, told: Callable[[Kill], None] | None = None) -> list[Kill]:
    """Kill `count` times: half of them the command line, a quarter each the worker and its program.

    Args:
        count: how often.
        seed: of what is killed when and how.
        told: called with each.
    """
    draw, found = random.Random(seed), []
    with ground() as place:
        for number in range(count):
            found.append(KINDS[number % len(KINDS)](place, draw))
            if told is not None:
                told(found[-1])
    return found


def summary(found: list[Kill]) -> dict:
    """Counts by what was killed and how it ended, JSON-ready, and every fault."""
    counts = Counter((each.what, each.signal, each.outcome) for each in found)
    return {
        "kills": len(found),
        "ended": [
            {"what": what, "signal": by, "outcome": outcome, "count": number}
            for (what, by, outcome), number in sorted(counts.items())
        ],
        "faults": [
            {"what": each.what, "signal": each.signal, "faults": list(each.faults)} for each in found if each.faults
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when; default: %(default)s")
    options = parser.parse_args()
    found = kill(options.kills, options.seed, lambda each: print(each, flush=True))
    print(json.dumps(summary(found), indent=2))
    return 1 if any(each.faults for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
