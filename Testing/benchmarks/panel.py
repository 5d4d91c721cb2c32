"""How long the panel takes to open, and how long it holds up Slicer's interface, in the Qt host with the real worker.

    python Testing/benchmarks/panel.py [--size 192] [--cycles 100]

Writes results/panel.md. The host does in Python what Slicer does in C++, so that the real panel is the quicker one;
drawing the slice views is no part of it. Run it on a quiet machine: the table says how busy it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE.parent), str(HERE.parent / "panel")]

import numpy as np  # noqa: E402
import slicer  # noqa: E402
from headless_slicer import HeadlessSlicer  # noqa: E402
from qt_host.host import Host  # noqa: E402

PAIRS = 200


class Blocks:
    """How long the event loop was not asked for, while it is watched."""

    def __init__(self, host: Host):
        self._host = host
        self.longest = 0.0

    def watch(self, until) -> None:
        """Run the event loop until a condition holds, and keep the longest time that one turn of it took."""
        while not until():
            before = time.perf_counter()
            self._host.application.processEvents()
            self.longest = max(self.longest, time.perf_counter() - before)
            self._host.check()
            time.sleep(0.002)


@dataclass(frozen=True)
class Taken:
    """How long a call took: seconds on the clock, and of the processor in this process, which others cannot slow."""

    clock: float
    processor: float

    def __str__(self) -> str:
        return f"{self.clock:.2f} s ({self.processor:.2f} s of the processor)"


def timed(function, taken: list[Taken]):
    """`function`, which notes how long each call took."""

    def measured(*arguments, **options):
        before = time.perf_counter(), time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            taken.append(Taken(time.perf_counter() - before[0], time.process_time() - before[1]))

    return measured


def opening(host: Host, module) -> list[Taken]:
    """What it takes to open the panel, the first time and once more."""
    taken: list[Taken] = []
    for _ in range(2):
        host.close(timed(host.open, taken)(module))
    return taken


def running(host: Host, panel, size: int) -> dict:
    """Seconds that the interface is held up by a registration of two volumes of `size` voxels along each side."""
    from DeepRegisterLib.scene.running import RunningRegistration
    from driving import choosePair

    pair = volumes(size)
    choosePair(panel, pair, "deformable", "fast")
    handing, inserting = [], []
    start, finish = panel.logic.start, RunningRegistration.finish
    panel.logic.start, RunningRegistration.finish = timed(start, handing), timed(finish, inserting)
    computing = Blocks(host)
    try:
        panel.run.ui.runButton.click()
        before = time.perf_counter()
        computing.watch(lambda: panel.run._running.done)
        seconds = time.perf_counter() - before
        host.wait(lambda: not panel.running)
    finally:
        panel.logic.start, RunningRegistration.finish = start, finish
    if panel.run.ui.errorFrame.visible:
        raise SystemExit(panel.run.ui.errorLabel.text)
    pairs = table(panel)
    for node in (*pair, panel.current.registeredVolumeNode, panel.current.transformNode):
        slicer.mrmlScene.RemoveNode(node)
    return {
        "compute": seconds,
        "block": computing.longest,
        "hand over": handing[0],
        "insert": inserting[0],
        "pairs": pairs,
    }


def volumes(size: int) -> tuple:
    """Two nodes of smooth blobs a shift apart, with `size` voxels of 1 mm along each side."""
    from DeepRegisterLib.selftest import SHIFT_RAS_MM, addPhantom
    from scipy.ndimage import zoom

    nodes = addPhantom("Fixed", np.zeros(3)), addPhantom("Moving", SHIFT_RAS_MM)
    for node in nodes:
        coarse = slicer.util.arrayFromVolume(node)
        slicer.util.updateVolumeFromArray(node, zoom(coarse, size / coarse.shape[0], order=1))
        node.SetSpacing((1.0, 1.0, 1.0))
    return nodes


def table(panel) -> Taken:
    """What it takes to measure and show 200 landmark pairs again after one point has moved."""
    from deepregister.landmarks import LandmarkPairs
    from DeepRegisterLib.scene.landmarkpairs import makeLists
    from DeepRegisterLib.scene.pairfiles import addPairs

    parameters = panel.check.parameters
    lists = makeLists(parameters.fixedVolume, parameters.movingVolume)
    parameters.fixedPoints, parameters.movingPoints = lists
    places = np.random.default_rng(0).uniform(-40, 40, (2, PAIRS, 3))
    addPairs(*lists, LandmarkPairs(*places), panel.current.transformNode)
    panel.check.update()
    taken: list[Taken] = []
    for turn in range(5):
        lists[1].SetNthControlPointPosition(turn, 1.0 + turn, 2.0, 3.0)
        timed(panel.check.update, taken)()
    if panel.check.ui.pairsTable.rowCount != PAIRS:
        raise SystemExit(f"The table has {panel.check.ui.pairsTable.rowCount} rows.")
    for node in lists:
        slicer.mrmlScene.RemoveNode(node)
    return sorted(taken, key=lambda each: each.clock)[2]


def cycling(host: Host, panel, cycles: int, folder: Path) -> dict[str, float]:
    """Start and cancel over and over: seconds, and what more there is of nodes, processes and files than before."""
    from driving import choosePair
    from test_panel import childrenOf, nodesOf

    choosePair(panel, volumes(32), "deformable", "accurate")
    nodes, longest, workers = nodesOf(slicer.mrmlScene), 0.0, set()
    before = time.perf_counter()
    for cycle in range(cycles):
        panel.run.ui.runButton.click()
        if cycle % 2:
            host.wait(lambda: panel.run.ui.progressBar.value > 0)
        asked = time.perf_counter()
        panel.run.ui.runButton.click()
        host.wait(lambda: not panel.running)
        longest = max(longest, time.perf_counter() - asked)
        workers.add(panel.logic.client.pid)
    seconds = time.perf_counter() - before
    (private,) = folder.iterdir()
    return {
        "seconds": seconds,
        "longest": longest,
        "nodes": len(nodesOf(slicer.mrmlScene) ^ nodes),
        "workers": len(workers),
        "children": len(childrenOf(os.getpid())),
        "files": sum(1 for _ in private.iterdir()),
    }


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=192, help="voxels along each side of the volumes")
    parser.add_argument("--cycles", type=int, default=100)
    options = parser.parse_args()
    tempfile.tempdir = tempfile.mkdtemp(prefix="panel-benchmark-")
    load = os.getloadavg()[0]
    host, headless = Host(), HeadlessSlicer()
    views = [headless.addSliceView(name) for name in ("Red", "Yellow", "Green")]
    imported: list[Taken] = []
    module = timed(host.load, imported)(HERE.parents[1] / "DeepRegister" / "DeepRegister.py")
    first, second = opening(host, module)
    widget = host.open(module)
    cold = running(host, widget.panel, options.size)
    warm = running(host, widget.panel, options.size)
    cycles = cycling(host, widget.panel, options.cycles, Path(tempfile.tempdir))
    host.close(widget)
    left = sum(1 for _ in Path(tempfile.tempdir).iterdir())
    Path(tempfile.tempdir).rmdir()
    del views
    voxels = f"{options.size}³ voxels"
    rows = [
        ("import of the module and its libraries, at Slicer's start", imported[0]),
        ("the panel opens, the first time, while PySide6 makes its enumerations, which Slicer has", first),
        ("the panel opens, once more", second),
        (f"longest block while the engine computes, {voxels}", f"{1000 * max(cold['block'], warm['block']):.0f} ms"),
        (f"handing the volumes over, {voxels}, with the start of the worker", cold["hand over"]),
        (f"handing the volumes over, {voxels}", warm["hand over"]),
        (f"reading and inserting the result, {voxels}", warm["insert"]),
        (f"{PAIRS} landmark pairs measured and shown again", warm["pairs"]),
        (f"{options.cycles} starts and cancels", f"{cycles['seconds']:.0f} s"),
        ("longest wait from Cancel to the next start", f"{cycles['longest']:.2f} s"),
        ("nodes left by them", f"{cycles['nodes']}"),
        ("worker processes that they needed", f"{cycles['workers']}"),
        ("files left by them", f"{cycles['files']}"),
        ("files left after the panel was closed", f"{left}"),
    ]
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    lines += ["", f"On {os.cpu_count()} cores, with {load:.1f} processes waiting for them at the start."]
    (HERE / "results" / "panel.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
