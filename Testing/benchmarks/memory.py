"""Peak memory and seconds by stage on large synthetic pairs, each in a process of its own.

    python Testing/benchmarks/memory.py [256x256x256 512x512x400 ...]

Writes results/memory.md. The objects are mathematical: what they look like does not matter here.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE.parent / "engine")]


def main() -> int:
    """Measure each size and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", default=["256x256x256", "512x512x400"])
    parser.add_argument("--quality", nargs="+", default=["balanced", "accurate"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.quality[0])))
        return 0
    lines = ["| size | quality | peak GB | estimated GB | seconds | estimated | stages |", "| --- " * 7 + "|"]
    for size in options.sizes:
        for quality in options.quality:
            command = [sys.executable, __file__, "--one", size, "--quality", quality]
            found = json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
            stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in found["stages"].items())
            lines.append(
                f"| {size} | {quality} | {found['peak']:.2f} | {found['estimated']:.2f} | "
                f"{sum(found['stages'].values()):.0f} | {found['estimated_seconds']:.0f} | {stages} |"
            )
            print(lines[-1], flush=True)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "memory.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def measure(size: str, quality: str) -> dict:
    """Register one pair of this size; gigabytes and seconds."""
    import numpy as np
    from deepregister import Geometry, Volume, register
    from scipy.ndimage import gaussian_filter, zoom

    count = np.array([int(n) for n in size.split("x")])
    geometry = Geometry(tuple(count), tuple(360 / count.max() for _ in count))
    coarse = gaussian_filter(np.random.default_rng(0).normal(size=np.maximum(8, count[::-1] // 8)), 1.5)
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in coarse.shape), indexing="ij")
    inside = (k**2 + j**2 + i**2) < 0.8

    def volume(shift: int) -> Volume:
        values = np.where(inside, 400 + 2500 * np.roll(coarse, shift, 0), -1000)
        fine = zoom(values.astype(np.float32), count[::-1] / np.array(coarse.shape), order=1)
        return Volume(fine.astype(np.int16), geometry, "synthetic CT")

    fixed, moving = volume(0), volume(1)
    result = register(fixed, moving, "deformable", quality=quality, device="cpu")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "peak": peak,
        "estimated": result.measures["estimated_memory_bytes"] / 1e9,
        "estimated_seconds": result.measures["estimated_seconds"],
        "stages": dict(result.seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
