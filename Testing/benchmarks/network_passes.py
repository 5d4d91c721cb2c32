"""Seconds and peak memory of one pass of each recipe's network over what it is made for; weights do not matter.

    python Testing/benchmarks/network_passes.py [--device cuda]

Whole brains are boxes of 160x192x160 mm, hippocampus crops as large as their recipes' own. Each network runs in a
process of its own, whose peak memory is told; the interpreter and torch alone are told beside it. On CUDA it is the
peak of the device's memory. Writes results/network_passes.md, or network_passes-cuda.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

BRAIN_MM = (160, 192, 160)
REPEATS = 5


def main() -> int:
    """Measure each recipe's network and write the table."""
    from deepregister.training.recipe import built_in
    from machine import THREADS, processor

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=built_in(), metavar="RECIPE")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.device)))
        return 0
    lines, machine = [], processor()
    for recipe in options.recipes:
        command = [sys.executable, __file__, "--one", recipe, "--device", options.device]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        machine = found["machine"] or machine
        cells = [recipe, found["architecture"], f"{found['weights']:,}", f"{found['grid']} at {found['spacing']:g} mm"]
        cells += [f"{found[key]:.2f}" for key in ("seconds", "peak", "before")]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    head = [
        f"Best of {REPEATS} passes in float32, {THREADS} threads of {processor()}"
        + (f"; {machine}." if options.device == "cuda" else "."),
        "",
        "| recipe | network | weights | grid | seconds | peak GB | of it before the network |",
        "| --- " * 7 + "|",
    ]
    name = "network_passes.md" if options.device == "cpu" else "network_passes-cuda.md"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / name).write_text("\n".join(head + lines) + "\n", encoding="utf-8")
    return 0


def measure(name: str, device: str) -> dict:
    """One network: seconds, gigabytes."""
    # As the engine does: on a busy machine OpenMP's threads must not spin.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    import torch
    from deepregister.networks import build
    from deepregister.training.recipe import read_recipe
    from machine import THREADS

    torch.set_num_threads(THREADS)
    recipe = read_recipe(name)
    network = build(recipe.model["architecture"], recipe.model.get("parameters", {})).eval()
    spacing, cropped = recipe.data.spacing_mm, "hippocampus" in recipe.model.get("anatomies", ())
    sides = recipe.data.crop if cropped else [mm / spacing for mm in BRAIN_MM]
    grid = [-(-int(side) // network.multiple) * network.multiple for side in sides]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    network = network.to(device, memory_format=torch.channels_last_3d)
    images = [torch.rand(1, 1, *grid[::-1], device=device) for _ in range(2)]
    seconds = []
    with torch.inference_mode():
        for _ in range(REPEATS):
            started = time.perf_counter()
            network(*images)
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    if device == "cuda":
        peak, before, machine = torch.cuda.max_memory_allocated() / 1e9, 0.0, torch.cuda.get_device_name()
    else:
        peak, machine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, ""
    return {
        "architecture": recipe.model["architecture"],
        "weights": sum(weights.numel() for weights in network.parameters()),
        "grid": "x".join(map(str, grid)),
        "spacing": spacing,
        "seconds": min(seconds),
        "peak": peak,
        "before": before,
        "machine": machine,
    }


if __name__ == "__main__":
    sys.exit(main())
