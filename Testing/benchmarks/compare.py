"""Registers the same raw files with DeepRegister and its peers, scores all alike, and writes one table.

    python Testing/benchmarks/compare.py --data shared/data --peers-python PEERS/bin/python brains hippocampus

See README.md beside this file for the peers' environment and the rules of evidence.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from deepregister import Affine, Composite, Transform, __version__, read_transform  # noqa: E402
from pairs import DATASETS, BenchmarkPair  # noqa: E402
from scoring import score  # noqa: E402
from summary import summary  # noqa: E402

THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Method:
    """A way to register.

    Attributes:
        title: in the table.
        script: of a peer, under peers/; None for DeepRegister.
        model, quality, refine: of DeepRegister.
        needs_affine: whether it starts from DeepRegister's affine.
    """

    title: str
    script: str | None = None
    model: str = ""
    quality: str = "balanced"
    refine: bool | None = None
    needs_affine: bool = False


# What each anatomy's own models are compared on.
LEARNED = dict.fromkeys(("voxelmorph", "voxelmorph-refined", "voxelmorph-labels", "pyramid"), "hippocampus")
METHODS = {
    "affine": Method("DeepRegister affine", model="affine"),
    "fast": Method("DeepRegister deformable, fast", model="deformable", quality="fast"),
    "balanced": Method("DeepRegister deformable, balanced", model="deformable"),
    "accurate": Method("DeepRegister deformable, accurate", model="deformable", quality="accurate"),
    "voxelmorph": Method("DeepRegister voxelmorph-hippocampus", model="voxelmorph-hippocampus", refine=False),
    "voxelmorph-refined": Method(
        "DeepRegister voxelmorph-hippocampus, refined", model="voxelmorph-hippocampus", refine=True
    ),
    "voxelmorph-labels": Method(
        "DeepRegister voxelmorph-hippocampus-labels", model="voxelmorph-hippocampus-labels", refine=False
    ),
    "pyramid": Method("DeepRegister pyramid-hippocampus", model="pyramid-hippocampus", refine=False),
    "auto": Method("DeepRegister auto", model="auto"),
    "greedy": Method("greedy, own affine", "greedy"),
    "greedy-ours": Method("greedy, our affine", "greedy", needs_affine=True),
    "ants": Method("ANTs SyN, own affine", "ants_syn"),
    "demons": Method("SimpleITK demons, our affine", "demons", needs_affine=True),
    "convexadam": Method("ConvexAdam, our affine", "convexadam", needs_affine=True),
}


def main(arguments: list[str] | None = None) -> int:
    """Run, score, write results/<name>.json and .md, and record held-out evaluations in the ledger."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", choices=DATASETS)
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--peers-python", type=Path, help="Python of the peers' environment")
    parser.add_argument("--count", type=int, help="pairs of each data set")
    parser.add_argument("--name", default="compare", help="of the files under results/")
    parser.add_argument("--changed", default="", help="what was changed since the last look at held-out pairs")
    options = parser.parse_args(arguments)

    pairs = {name: DATASETS[name](options.data, options.count) for name in options.datasets}
    held_out = [pair.name for group in pairs.values() for pair in group if pair.held_out]
    if held_out and not options.changed:
        parser.error("these data sets hold pairs that nothing may be tuned on: say with --changed what was changed")
    methods = [name for name in options.methods if not METHODS[name].script or options.peers_python]
    skipped = sorted(set(options.methods) - set(methods))
    if skipped:
        print(f"Left out for want of --peers-python: {', '.join(skipped)}", file=sys.stderr)

    run = {"versions": {"deepregister": __version__, "python": platform.python_version()}, "threads": THREADS}
    run.update(date=date.today().isoformat(), machine=processor(), rows=[])
    run["titles"] = {name: METHODS[name].title for name in methods}
    for group, members in pairs.items():
        with tempfile.TemporaryDirectory() as folder:
            suited = [name for name in methods if LEARNED.get(name, group) in group]
            run["rows"] += _compare(group, members, suited, options.peers_python, Path(folder))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{options.name}.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    table = summary(run)
    (results / f"{options.name}.md").write_text(table, encoding="utf-8")
    if held_out:
        with (HERE / "ledger.md").open("a", encoding="utf-8") as ledger:
            line = f"| {run['date']} | {', '.join(options.datasets)} | {len(held_out)} | {', '.join(methods)} |"
            ledger.write(f"{line} {options.changed} |\n")
    print(table)
    return 0


def _compare(group: str, pairs: list[BenchmarkPair], methods: list[str], peers: Path | None, folder: Path) -> list:
    """A row for each pair and method."""
    rows = [{"dataset": group, "pair": p.name, "method": "headers", "seconds": 0.0, **score(None, p)} for p in pairs]
    affines: list[Transform | None] = []
    for name in sorted(methods, key=list(METHODS).index):
        method = METHODS[name]
        jobs = [_job(pair, folder / f"{name}-{n}") for n, pair in enumerate(pairs)]
        if method.needs_affine:
            affines = affines or _ours(METHODS["affine"], pairs)[0]
            for job, affine in zip(jobs, affines, strict=True):
                job["affine"] = affine.matrix.tolist()
        started = time.perf_counter()
        found, reports = _theirs(method, jobs, peers) if method.script else _ours(method, pairs)
        if name == "affine":
            affines = found
        for pair, transform, report in zip(pairs, found, reports, strict=True):
            scored = {} if transform is None else score(transform, pair)
            rows.append({"dataset": group, "pair": pair.name, "method": name, **report, **scored})
        print(f"{group}: {method.title}, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return rows


def _job(pair: BenchmarkPair, folder: Path) -> dict:
    folder.mkdir()
    return {"fixed": str(pair.fixed), "moving": str(pair.moving), "folder": str(folder), "threads": THREADS}


def _ours(method: Method, pairs: list[BenchmarkPair]) -> tuple[list, list]:
    """DeepRegister in this process; seconds from the files to transform, inverse and measures."""
    from deepregister import Settings, register
    from deepregister.models.registry import find_model

    settings = Settings(model=method.model, quality=method.quality, refine=method.refine, device="cpu")
    found, reports = [], []
    for pair in pairs:
        started = time.perf_counter()
        result = register(pair.fixed, pair.moving, settings=settings)
        found.append(result.transform)
        reports.append({"seconds": time.perf_counter() - started, "stages": dict(result.seconds)})
        if find_model(result.settings.model).learned and method.model != "auto":
            reports[-1]["network_seconds"] = result.seconds["deform"]
    return found, reports


def _theirs(method: Method, jobs: list[dict], peers: Path) -> tuple[list, list]:
    """A peer in its own environment; its imports are not counted, as ours are not."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS)}
    process = subprocess.run(
        [str(peers), str(HERE / "peers" / f"{method.script}.py")],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    reports = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    reason = process.stderr.strip().splitlines()[-1:] or ["no message"]
    reports += [{"failed": f"exit status {process.returncode}: {reason[0]}"}] * (len(jobs) - len(reports))
    return [None if "failed" in r else _read(Path(j["folder"])) for r, j in zip(reports, jobs, strict=True)], reports


def _read(folder: Path) -> Transform:
    return Composite((read_transform(folder / "field.nii.gz"), Affine(np.loadtxt(folder / "affine.txt"))))


def processor() -> str:
    """The processor in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
