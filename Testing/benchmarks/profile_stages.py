"""Where the time of `deformable` goes on one pair of brains, and what bounds it.

    python Testing/benchmarks/profile_stages.py --threads 1 2

Each quality runs once undisturbed for every number of threads, and once more watched: own seconds of every function of
the engine, and the bytes that its tensor operations have to read and write at the least. Held against a measured copy
these say what bounds it: what moves bytes as fast as a copy cannot be made faster by computing less.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

import deepregister.registration as journey  # noqa: E402
import torch  # noqa: E402
from datasets import DATASETS  # noqa: E402
from deepregister import Settings, Volume  # noqa: E402
from operations import Operations, Tally, copy_speed  # noqa: E402
from studies import headline, new_run  # noqa: E402

QUALITIES = ("fast", "balanced", "accurate")
# Arrays far beyond all caches, and of the size of a slab, which the engine means to keep in them.
LARGE_MB, SLAB_MB = 256, 2
# Shares of a large copy's speed from which the memory is the bound, and below which it is not.
MEMORY_BOUND, NOT_MEMORY_BOUND = 0.6, 0.3
# Below this an operation costs as much to call as to do.
SMALL_SECONDS = 30e-6
ROWS = 16


def main(arguments: list[str] | None = None) -> int:
    """Measure and write results/<name>.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--quality", nargs="+", choices=QUALITIES, default=list(QUALITIES))
    parser.add_argument("--threads", nargs="+", type=int, default=[os.cpu_count() or 1])
    parser.add_argument("--name", default="profile", help="of the files under results/")
    options = parser.parse_args(arguments)

    run = new_run(options)
    pair = DATASETS["brains-development"](options.data)[0]
    run["pair"] = pair.name
    run["copy"] = {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        run["copy"][str(threads)] = {"large": copy_speed(LARGE_MB), "slab": copy_speed(SLAB_MB)}
    _warm_up(pair)
    for quality in options.quality:
        row = {"quality": quality, "plain": {}}
        for threads in options.threads:
            row["plain"][str(threads)] = _plain(pair, quality, threads)
            print(f"{quality}, {threads} threads: {row['plain'][str(threads)]}", file=sys.stderr, flush=True)
        row["watched"] = watched(pair.fixed, pair.moving, _settings(quality, options.threads[-1]))
        run["rows"].append(row)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{options.name}.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    text = summary(run)
    (results / f"{options.name}.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _warm_up(pair) -> None:
    """What is done once in a process, such as starting threads, belongs to no stage."""
    small = []
    for path in (pair.fixed, pair.moving):
        volume = Volume.read(path)
        small.append(Volume.from_array(volume.data[::4, ::4, ::4].copy(), [4 * s for s in volume.geometry.spacing]))
    watched(*small, Settings("deformable", "fast", "cpu"))


def _settings(quality: str, threads: int) -> Settings:
    return Settings("deformable", quality, "cpu", threads=threads)


def _plain(pair, quality: str, threads: int) -> dict[str, float]:
    started = time.perf_counter()
    result = journey.register(pair.fixed, pair.moving, settings=_settings(quality, threads))
    stages = {stage: round(seconds, 3) for stage, seconds in result.seconds.items()}
    return {**stages, "all": round(time.perf_counter() - started, 3)}


def watched(fixed, moving, settings: Settings) -> dict:
    """One registration, watched: own seconds by stage and function, and by tensor operation."""
    operations = Operations()
    with operations.watching():
        # By its module: a name imported above would be that of the function before it was watched.
        journey.register(fixed, moving, settings=settings, progress=lambda step: operations.enter_stage(step.stage))
    functions = [{"stage": s, "name": n, **vars(tally)} for (s, n), tally in operations.functions.items()]
    tensor = [{"name": name, **vars(tally)} for name, tally in operations.tensor.items()]
    return {
        "functions": sorted(functions, key=lambda row: -row["seconds"]),
        "tensor": sorted(tensor, key=lambda row: -row["seconds"]),
    }


def bound(tally: Tally, copy: float) -> str:
    """What bounds it, in words, from the share of a large copy's speed that it reaches."""
    if tally.seconds and tally.tensor_seconds < 0.5 * tally.seconds:
        return "numpy, scipy or ITK"
    if tally.calls and tally.tensor_seconds / tally.calls < SMALL_SECONDS:
        return "calls"
    share = tally.moved / max(tally.tensor_seconds, 1e-9) / copy
    if share >= MEMORY_BOUND:
        return "memory" if share <= 1.1 else "caches"
    return "computation" if share < NOT_MEMORY_BOUND else "memory and computation"


def summary(run: dict) -> str:
    """Stages by quality and threads, then functions and tensor operations with what bounds them."""
    threads = list(run["copy"])
    lines = [headline(run), "", f"`deformable` on {run['pair']}, read from its files.", ""]
    lines += ["| copy of | " + " | ".join(f"GB/s, threads: {n}" for n in threads) + " |"]
    lines += ["| --- " * (len(threads) + 1) + "|"]
    for name, title in (("large", f"{LARGE_MB} MB"), ("slab", f"{SLAB_MB} MB")):
        speeds = [f"{run['copy'][n][name] / 1e9:.1f}" for n in threads]
        lines.append(f"| {title} | {' | '.join(speeds)} |")
    stages = [stage for stage in run["rows"][0]["plain"][threads[0]] if stage != "all"]
    lines += ["", "## Seconds by stage", "", "| quality | threads | " + " | ".join([*stages, "all"]) + " |"]
    lines += ["| --- " * (len(stages) + 3) + "|"]
    for row in run["rows"]:
        for n in threads:
            seconds = " | ".join(f"{row['plain'][n].get(stage, 0):.2f}" for stage in [*stages, "all"])
            lines.append(f"| {row['quality']} | {n} | {seconds} |")
    copy = run["copy"][threads[-1]]["large"]
    for row in run["rows"]:
        total = sum(entry["seconds"] for entry in row["watched"]["functions"])
        lines += ["", f"## {row['quality']}, watched ({threads[-1]} threads, {total:.1f} s)", ""]
        lines += profile_table("stage and function", "own seconds", row["watched"]["functions"], total, copy)
        lines += ["", *profile_table("tensor operation", "seconds", row["watched"]["tensor"], total, copy)]
    return "\n".join(lines) + "\n"


def profile_table(first: str, seconds: str, rows: list[dict], total: float, copy: float) -> list[str]:
    """The rows of `watched` with what bounds each; `copy` is the speed of a large copy in bytes a second."""
    lines = [f"| {first} | calls | {seconds} | share | GB moved | GB/s | of a copy | bound by |", "| --- " * 8 + "|"]
    for row in rows[:ROWS]:
        tally = Tally(*(row[key] for key in ("seconds", "tensor_seconds", "moved", "calls")))
        speed = tally.moved / max(tally.tensor_seconds, 1e-9)
        name = f"{row['stage']}: {row['name']}" if "stage" in row else row["name"]
        lines.append(
            f"| {name} | {tally.calls} | {tally.seconds:.2f} | {tally.seconds / total:.0%} | {tally.moved / 1e9:.1f} | "
            f"{speed / 1e9:.1f} | {speed / copy:.0%} | {bound(tally, copy)} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
