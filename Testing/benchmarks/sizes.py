"""How time and peak memory grow with the size of a pair, by stage, and where the time goes.

    python Testing/benchmarks/sizes.py --sizes 64 128 192 256 384 512
    python Testing/benchmarks/sizes.py --sizes 512x512x400 --device cuda --name sizes-cuda

Each size runs in a process of its own, and once more watched up to --profile voxels along an axis. Writes
results/NAME.json, .md and .png; rows are kept as they come, and --add goes on with a run. POSIX systems alone; peaks by
stage on Linux, or of the device's memory. The objects are mathematical: what they look like does not matter here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from deepregister import Geometry, Settings, Volume, __version__  # noqa: E402
from machine import THREADS, processor  # noqa: E402
from measured import Usage, measure  # noqa: E402
from peaks import Peaks  # noqa: E402
from sizes_page import plot, shown, summary  # noqa: E402

QUALITIES = ("fast", "balanced", "accurate")
EXTENT_MM = 360
# Arrays far beyond all caches, for what a copy takes.
COPY_MB = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size and write the results."""
    options = _parsed(arguments)
    path = options.results / f"{options.name}.json"
    run = _new(options)
    if options.add and path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        for key in ("machine", "threads", "device", "versions"):
            if earlier[key] != run[key]:
                sys.exit(f"The earlier run has {key} {earlier[key]!r}, this one {run[key]!r}: take another --name.")
        run |= {"rows": earlier["rows"], "command": f"{earlier['command']} && {run['command']}"}
    done = {(tuple(row["size"]), row["quality"]) for row in run["rows"] if "failed" not in row}
    run["rows"] = [row for row in run["rows"] if "failed" not in row]
    options.results.mkdir(parents=True, exist_ok=True)
    for size in sorted(options.sizes, key=np.prod):
        for quality in options.quality:
            if (size, quality) in done:
                continue
            job = {"size": size, "quality": quality, "device": options.device, "threads": options.threads}
            row = {"size": size, "quality": quality, **_measured(job, options)}
            if max(size) <= options.profile and "failed" not in row:
                # In one more process: a watched run is slower.
                found = _measured({**job, "watch": True}, options, ())
                row |= {"not_watched": found["failed"]} if "failed" in found else found
            run["rows"].append(row)
            path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
            told = row.get("failed") or f"{sum(row['stages'].values()):.1f} s, {row['peak_mb']:.0f} MB"
            print(f"{shown(size)}, {quality}: {told}", file=sys.stderr, flush=True)
    text = summary(run)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    plot(run, path.with_suffix(".png"))
    print(text)
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = ["64", "128", "192", "256", "384", "512"]
    parser.add_argument("--sizes", nargs="+", type=_size, default=list(map(_size, sizes)), help="64 or 512x512x400")
    parser.add_argument("--quality", nargs="+", choices=QUALITIES, default=["balanced"])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N or mps")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--limit", type=float, default=3600, help="seconds for a size, after which it has failed")
    parser.add_argument("--profile", type=int, default=256, help="watch sizes up to so many voxels along an axis")
    parser.add_argument("--name", default="sizes", help="of the files of results")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of these files")
    parser.add_argument("--add", action="store_true", help="go on with these files: run what they lack")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else list(arguments)
    options.command = shlex.join(["python", "Testing/benchmarks/sizes.py", *words])
    return options


def _size(text: str) -> tuple[int, int, int]:
    numbers = tuple(int(word) for word in text.split("x"))
    numbers = numbers * 3 if len(numbers) == 1 else numbers
    if len(numbers) != 3 or min(numbers) < 8:
        raise argparse.ArgumentTypeError(f"{text} is no size: write 64, or 512x512x400, of at least 8 voxels each.")
    return numbers


def _new(options: argparse.Namespace) -> dict:
    return {
        "versions": {"deepregister": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "machine": processor(),
        "threads": options.threads,
        "device": options.device,
        "load_at_start": round(os.getloadavg()[0], 1),
        "date": date.today().isoformat(),
        "command": options.command,
        "rows": [],
    }


def _measured(job: dict, options: argparse.Namespace, kept: Sequence[str] = ("seconds", "cpu_seconds")) -> dict:
    """What a process of its own says of the job, what it took as a whole, or what became of it."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        command = [sys.executable, __file__, "--one"]
        usage = measure(command, json.dumps(job), log, limit=options.limit, threads=options.threads)
        whole = {"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds}
        return {f"process_{name}": round(whole[name], 2) for name in kept} | _report(log, usage, options.limit)


def _report(log: Path, usage: Usage, limit: float) -> dict:
    found = log.parent / "report.json"
    if usage.ended == "limit":
        return {"failed": f"it took longer than {limit:g} s and was ended"}
    if usage.status < 0:
        return {"failed": f"it was ended by signal {-usage.status}: out of memory?"}
    if usage.status or not found.is_file():
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return {"failed": f"exit status {usage.status}: {lines[-1] if lines else 'it printed nothing'}"}
    return json.loads(found.read_text(encoding="utf-8"))


def one() -> int:
    """In a process of its own: the size that standard input names; what was measured goes into report.json."""
    job = json.load(sys.stdin)
    settings = Settings("deformable", job["quality"], job["device"], threads=job["threads"])
    fixed, moving = synthetic_pair(job["size"])
    report = _watched(fixed, moving, settings) if job.get("watch") else _run(fixed, moving, settings)
    Path("report.json").write_text(json.dumps(report), encoding="utf-8")
    return 0


def _run(fixed: Volume, moving: Volume, settings: Settings) -> dict:
    from deepregister import register

    peaks = Peaks(settings.device)
    result = register(fixed, moving, settings=settings, progress=peaks.enter)
    peaks.finish()
    return {
        "stages": {stage: round(seconds, 3) for stage, seconds in result.seconds.items()},
        "peaks": {stage: round(megabytes, 1) for stage, megabytes in peaks.by_stage.items()},
        "peak_mb": round(max(peaks.by_stage.values()), 1),
        "estimated_mb": round(result.measures["estimated_memory_bytes"] / 1e6, 1),
        "estimated_seconds": result.measures["estimated_seconds"],
        "device": result.device,
    }


def _watched(fixed: Volume, moving: Volume, settings: Settings) -> dict:
    from operations import copy_speed
    from profile_stages import watched

    return {"profile": watched(fixed, moving, settings), "copy": copy_speed(COPY_MB)}


def synthetic_pair(size: Sequence[int]) -> tuple[Volume, Volume]:
    """Two volumes like a CT of a body, as large as is asked for (i, j, k), one moved against the other."""
    from scipy.ndimage import gaussian_filter, zoom

    count = np.asarray(size)
    geometry = Geometry(tuple(map(int, count)), (EXTENT_MM / int(count.max()),) * 3)
    coarse = gaussian_filter(np.random.default_rng(0).normal(size=np.maximum(8, count[::-1] // 8)), 1.5)
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in coarse.shape), indexing="ij")
    inside = (k**2 + j**2 + i**2) < 0.8

    def volume(shift: int) -> Volume:
        values = np.where(inside, 400 + 2500 * np.roll(coarse, shift, 0), -1000)
        fine = zoom(values.astype(np.float32), count[::-1] / np.array(coarse.shape), order=1)
        return Volume(fine.astype(np.int16), geometry, "synthetic CT")

    return volume(0), volume(1)


if __name__ == "__main__":
    sys.exit(one() if sys.argv[1:] == ["--one"] else main())
