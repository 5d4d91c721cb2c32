"""What measuring adds to what is measured: the same registration alone, and through the harness, in turns.

    python Testing/benchmarks/overhead.py [--methods affine greedy] [--repeats 9]

Writes results/overhead.json and results/overhead.md. The machine should be quiet; CPU seconds bear other programs
better than seconds do, and what the measuring process itself takes, which is in neither, is counted exactly.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from datasets import load  # noqa: E402
from deepregister import __version__  # noqa: E402
from machine import THREADS, processor  # noqa: E402
from measured import variables  # noqa: E402
from methods import METHODS, Method  # noqa: E402
from running import Runner  # noqa: E402

PAIR = "hippocampus-development"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both ways and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--environments", type=Path, default=HERE.parents[1] / "build" / "peers")
    own = [name for name, method in METHODS.items() if method.start == "own"]
    parser.add_argument("--methods", nargs="+", choices=own, default=["affine", "greedy"])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args(arguments)
    pair = load(PAIR, options.data, 1)[0]
    run = {"versions": {"deepregister": __version__}, "machine": processor(), "threads": THREADS, "rows": []}
    run["load_at_start"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as work:
        runner = Runner(options.environments, Path(work), THREADS, 600)
        for name in options.methods:
            # The first run reads the packages from the disk: it counts for neither.
            runner.probe(METHODS[name])
            for _ in range(options.repeats):
                job = runner.order(METHODS[name], {"fixed": str(pair.fixed), "moving": str(pair.moving)})
                run["rows"].append({"method": name, "way": "alone", **alone(runner, METHODS[name], job)})
                started = time.perf_counter()
                row = runner.row(PAIR, name, METHODS[name], pair)
                if "failed" in row:
                    sys.exit(f"{name} failed: {row['failed']}")
                kept = {key: row[key] for key in ("process_seconds", "cpu_seconds", "harness_seconds")}
                whole = time.perf_counter() - started
                run["rows"].append({"method": name, "way": "measured", **kept, "whole_seconds": round(whole, 3)})
    text = table(run)
    (options.results / "overhead.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (options.results / "overhead.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def alone(runner: Runner, method: Method, job: str) -> dict:
    """Seconds and CPU seconds of the same process, waited for and nothing else."""
    log = runner.folder / "log.txt"
    started = time.perf_counter()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            runner.command(method),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=runner.folder,
            env=variables(runner.threads, runner.environment(method)),
        ) as process,
    ):
        process.stdin.write(job.encode())
        process.stdin.close()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    seconds = time.perf_counter() - started
    return {"process_seconds": round(seconds, 3), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3)}


def table(run: dict) -> str:
    """Medians of both ways, as Markdown."""
    lines = [
        f"DeepRegister {run['versions']['deepregister']}, {run['threads']} threads of {run['machine']}, "
        f"{run['load_at_start']} programs running at the start. One pair of crops of the hippocampus: short runs, to "
        "which measuring adds the largest share. Medians; what is added is the median of the turns, one run alone and "
        "one measured.",
        "",
        "| method | runs each way | process s alone | measured | added % | CPU s alone | measured | added % | "
        "CPU s of measuring | % of the CPU s measured |",
        "| --- " * 10 + "|",
    ]
    for name in dict.fromkeys(row["method"] for row in run["rows"]):
        sides = {w: [r for r in run["rows"] if (r["method"], r["way"]) == (name, w)] for w in ("alone", "measured")}
        cells = [METHODS[name].title, str(len(sides["alone"]))]
        # Turn by turn: another program that starts in between changes both sides of all later turns.
        for key in ("process_seconds", "cpu_seconds"):
            before, after = (statistics.median(row[key] for row in rows) for rows in sides.values())
            ratios = [b[key] / a[key] for a, b in zip(sides["alone"], sides["measured"], strict=True)]
            cells += [f"{before:.2f}", f"{after:.2f}", f"{100 * (statistics.median(ratios) - 1):+.1f}"]
        own = statistics.median(row["harness_seconds"] for row in sides["measured"])
        cells += [f"{own:.3f}", f"{100 * own / after:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
