"""How busy `deepregister batch` keeps the cores: CPU time of its worker processes over wall time and cores.

    python Testing/benchmarks/batch.py [--pairs 50] [--quality balanced] [--data FOLDER]

Registers pairs of hippocampus crops (of the first 160, with label maps) on the local cluster and writes
results/batch.md. Two shares are given: over all of the run, from the command's start to its end, and from the first
finished pair to the last one. The machine should be quiet: what other programs take is missing from the shares. How
often the workers had something to compute, whether or not they got a core for it, holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "DeepRegister")]

from datasets import hippocampi  # noqa: E402

SECONDS_BETWEEN_LOOKS = 0.25


def main() -> int:
    """Run the cohort and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--quality", default="balanced")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data", help="folder of real images")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "batch.md")
    options = parser.parse_args()
    if not (options.data / "hippocampus").is_dir():
        print(f"There is no folder hippocampus in {options.data}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(options, Path(folder))
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(report(measured), encoding="utf-8")
    print(report(measured))
    return 0


def measure(options: argparse.Namespace, folder: Path) -> dict:
    """Run the command in a process of its own and look at its workers' CPU time while it runs."""
    table = folder / "pairs.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "fixed", "moving", "fixed_labels", "moving_labels"])
        for number, pair in enumerate(hippocampi(options.data, options.pairs, slice(160))):
            rows.writerow([f"pair-{number:03d}", pair.fixed, pair.moving, pair.fixed_labels, pair.moving_labels])
    command = [sys.executable, "-m", "deepregister", "batch", str(table), "--output", str(folder / "out")]
    command += ["--device", "cpu", "--quality", options.quality]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "DeepRegister")}
    elsewhere, started = busy_seconds(), time.monotonic()
    process = psutil.Popen(command, env=environment, stderr=-1, text=True, encoding="utf-8")
    finished: list[float] = []
    # Each finished pair is a line.
    listener = threading.Thread(
        target=lambda: [finished.append(time.monotonic()) for line in process.stderr if line.startswith("[")],
        daemon=True,
    )
    listener.start()
    looks = []
    while process.poll() is None:
        looks.append((time.monotonic(), cpu_seconds(process), workers_at_work(process)))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    ended = time.monotonic()
    listener.join()
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    within = [look for look in looks if finished[0] <= look[0] <= finished[options.pairs - 1]]
    total = looks[-1][1]
    return {
        "pairs": options.pairs,
        "quality": options.quality,
        "cores": len(psutil.Process().cpu_affinity()),
        "counts": {verdict: number for verdict, number in summary["counts"].items() if number},
        "seconds": ended - started,
        "cpu": total,
        "others": busy_seconds() - elsewhere - total,
        "steady_seconds": within[-1][0] - within[0][0],
        "steady_cpu": within[-1][1] - within[0][1],
        "at_work": sum(look[2] for look in within) / len(within),
        "dice": [
            sum(pair["measures"][f"dice_{when}"] for pair in summary["pairs"]) / options.pairs
            for when in ("before", "after")
        ],
    }


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process and of all that it started; what has ended is counted by its parent."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def workers_at_work(process: psutil.Process) -> int:
    """How many worker processes compute, or wait for a core to compute on."""
    count = 0
    for child in process.children():
        # Linux says it for each thread.
        for state in Path(f"/proc/{child.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                if state.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] in "RD":
                    count += 1
                    break
    return count


def busy_seconds() -> float:
    """CPU time of the whole machine since it started, idle time left out."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def report(measured: dict) -> str:
    """The result as a page of Markdown."""
    cores, counts = measured["cores"], measured["counts"]
    whole = measured["cpu"] / measured["seconds"] / cores
    steady = measured["steady_cpu"] / measured["steady_seconds"] / cores
    others = measured["others"] / measured["seconds"] / cores
    before, after = measured["dice"]
    return f"""# A cohort of small pairs on the local cluster

{measured["pairs"]} pairs of hippocampus crops, `--quality {measured["quality"]}`, on {cores} CPU cores: \
{", ".join(f"{number} {verdict}" for verdict, number in counts.items())}; Dice {before:.3f} before, {after:.3f} after.

| | |
| --- | --- |
| wall time | {measured["seconds"]:.0f} s, {measured["seconds"] / measured["pairs"]:.1f} s for a pair |
| cores busy with the cohort, from start to end | {whole:.1%} |
| the same, from the first finished pair to the last | {steady:.1%} |
| workers that computed or waited for a core, of as many as cores | {measured["at_work"] / cores:.1%} |
| cores busy with other programs meanwhile | {others:.1%} |
"""


if __name__ == "__main__":
    sys.exit(main())
