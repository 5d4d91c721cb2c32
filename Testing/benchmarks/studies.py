"""What the studies share: their options, what a run says about itself, and where its figures are written."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from deepregister import __version__
from deepregister.result import Registration
from machine import HERE, THREADS, processor

# Every draw of a study comes from (stream, case, number): parameters are tuned on the first stream alone.
SEED_STREAMS = {"development": 0, "held-out": 1}


def option_parser(doc: str, name: str, count: int) -> argparse.ArgumentParser:
    """A parser with what every study takes: --data, --count, --seeds, --changed, --only and --name."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--count", type=int, default=count, help="seeds of each case")
    parser.add_argument("--seeds", choices=SEED_STREAMS, default="development", help="which stream of random numbers")
    parser.add_argument("--changed", default="", help="what was changed since the last look at held-out seeds")
    parser.add_argument("--only", type=int, metavar="N", help="replay this seed alone, print it and write nothing")
    parser.add_argument("--name", default=name, help="of the files under results/")
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; held-out seeds need --changed, as held-out pairs do."""
    options = parser.parse_args(arguments)
    if options.seeds == "held-out" and options.only is None and not options.changed:
        parser.error("nothing may be tuned on the held-out seeds: say with --changed what was changed")
    return options


def numbers(options: argparse.Namespace) -> list[int]:
    """The seeds to run."""
    return list(range(options.count)) if options.only is None else [options.only]


def generator(seeds: str, case: int, number: int) -> np.random.Generator:
    """Random numbers of one seed of one case of a study."""
    return np.random.default_rng([SEED_STREAMS[seeds], case, number])


def new_run(options: argparse.Namespace) -> dict:
    """What is said of a run beside its rows: versions, machine and how busy it was, options."""
    return {
        "versions": {"deepregister": __version__, "python": platform.python_version()},
        "threads": THREADS,
        "machine": processor(),
        "load_at_start": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "date": date.today().isoformat(),
        "options": {k: v for k, v in vars(options).items() if k != "data" and not isinstance(v, Path)},
        "rows": [],
    }


def headline(run: dict) -> str:
    """The first line of a table."""
    seeds = run["options"].get("seeds")
    return (
        f"DeepRegister {run['versions']['deepregister']}, {run['date']}, {run['threads']} threads of {run['machine']}, "
        f"{run['load_at_start']} programs running at the start{f', {seeds} seeds' if seeds else ''}."
    )


def timed(call: Callable[..., Registration], *arguments, **options) -> tuple[Registration, dict]:
    """A registration, and what a row says of every registration: seconds, stages, confidence, warnings."""
    started = time.perf_counter()
    result = call(*arguments, **options)
    return result, {
        "seconds": round(time.perf_counter() - started, 2),
        "stages": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
        "confidence": round(result.confidence.score, 3),
        "warnings": list(result.warnings),
    }


def finish(run: dict, options: argparse.Namespace, text: str, study: str, held_out: str = "") -> None:
    """Write results/NAME.json and NAME.md, and the ledger's line for held-out seeds; a replay writes nothing.

    Args:
        run: all that is said of it.
        options: as `parsed` gives them.
        text: the page.
        study: what the ledger calls it.
        held_out: what else was looked at that nothing may be tuned on; a line of its own in the ledger.
    """
    if options.only is not None:
        print(json.dumps(run["rows"], indent=1))
        return
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{options.name}.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (results / f"{options.name}.md").write_text(text, encoding="utf-8")
    for looked_at in ("held-out seeds" if options.seeds == "held-out" else "", held_out):
        if looked_at:
            with (HERE / "ledger.md").open("a", encoding="utf-8") as ledger:
                line = f"| {run['date']} | {study}, {looked_at} | {len(run['rows'])} | ours |"
                ledger.write(f"{line} {options.changed} |\n")
    print(text)
