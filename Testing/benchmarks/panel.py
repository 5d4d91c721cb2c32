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


def timed(function, seconds: list[float]):
    """`function`, which notes how long each call took."""

    def measured(*arguments, **options):
        before = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds.append(time.perf_counter() - before)

    return measured


def opening(host: Host, module) -> tuple[float, float]:
    """Seconds to open the panel, the first time and once more."""
    seconds = []
    for _ in range(2):
        before = time.perf_counter()
        widget = host.open(module)
        seconds.append(time.perf_counter() - before)
        host.close(widget)
    return tuple(seconds)


def running(host: Host, panel, size: int) -> dict[str, float]:
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


def table(panel) -> float:
    """Seconds to measure and show 200 landmark pairs again after one point has moved."""
    from deepregister.landmarks import LandmarkPairs
    from DeepRegisterLib.scene.landmarkpairs import makeLists
    from DeepRegisterLib.scene.pairfiles import addPairs

    parameters = panel.check.parameters
    lists = makeLists(parameters.fixedVolume, parameters.movingVolume)
    parameters.fixedPoints, parameters.movingPoints = lists
    places = np.random.default_rng(0).uniform(-40, 40, (2, PAIRS, 3))
    addPairs(*lists, LandmarkPairs(*places), panel.current.transformNode)
    panel.check.update()
    seconds = []
    for turn in range(5):
        lists[1].SetNthControlPointPosition(turn, 1.0 + turn, 2.0, 3.0)
        timed(panel.check.update, seconds)()
    if panel.check.ui.pairsTable.rowCount != PAIRS:
        raise SystemExit(f"The table has {panel.check.ui.pairsTable.rowCount} rows.")
    for node in lists:
        slicer.mrmlScene.RemoveNode(node)
    return float(np.median(seconds))


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
    before = time.perf_counter()
    module = host.load(HERE.parents[1] / "DeepRegister" / "DeepRegister.py")
    imported = time.perf_counter() - before
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
        ("import of the module and its libraries, at Slicer's start", f"{imported:.2f} s"),
        ("the panel opens, the first time", f"{first:.2f} s"),
        ("the panel opens, once more", f"{second:.2f} s"),
        (f"longest block while the engine computes, {voxels}", f"{1000 * max(cold['block'], warm['block']):.0f} ms"),
        (f"handing the volumes over, {voxels}, with the start of the worker", f"{1000 * cold['hand over']:.0f} ms"),
        (f"handing the volumes over, {voxels}", f"{1000 * warm['hand over']:.0f} ms"),
        (f"reading and inserting the result, {voxels}", f"{1000 * warm['insert']:.0f} ms"),
        (f"{PAIRS} landmark pairs measured and shown again", f"{1000 * warm['pairs']:.0f} ms"),
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
