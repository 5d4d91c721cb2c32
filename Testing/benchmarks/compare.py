"""Runs DeepRegister and its peers over the same files, scores all alike, and writes one JSON, a table and pictures.

    python Testing/benchmarks/compare.py --suite quick --changed "a reader's run"
    python Testing/benchmarks/compare.py brains-development --methods balanced greedy --name trial
    python Testing/benchmarks/compare.py brains-development --methods elastix --name trial --add

Each pair and method runs in a process of its own. Rows are kept as they come: a run that was interrupted goes on with
--add, which also adds methods, data sets and pairs to a run of the same machine. README.md beside this file has the
peers' environments and the rules of evidence.
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

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from datasets import DATASETS, BenchmarkPair, load  # noqa: E402
from deepregister import Settings, __version__  # noqa: E402
from deepregister.errors import DeepRegisterError  # noqa: E402
from machine import THREADS, processor  # noqa: E402
from methods import METHODS  # noqa: E402
from plots import write_plots  # noqa: E402
from running import Runner  # noqa: E402
from scoring import score  # noqa: E402
from suites import SUITES, Suite  # noqa: E402
from summary import summary  # noqa: E402

LEDGER = HERE / "ledger.md"
# What the rows of one run must have in common to be compared.
SAME = ("machine", "threads")
# Options that say where things lie on a machine.
PLACES = ("--data", "--environments", "--results")
ORDER = ["headers", *METHODS]
# One thing to run: the data set, the pair, and the method, or "headers" for what the headers alone give.
Job = tuple[str, BenchmarkPair, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, write results/NAME.json after each row, and NAME.md and pictures (NAME/) at the end."""
    options = _parsed(arguments)
    suite = _suite(options)
    path = options.results / f"{options.name}.json"
    run = _described(options)
    if options.add and path.exists():
        run = _continued(run, json.loads(path.read_text(encoding="utf-8")), options)
    try:
        todo = _missing(run, suite, options.data)
    except DeepRegisterError as error:
        sys.exit(str(error))
    held_out = {pair.name for _, pair, _ in todo if pair.held_out}
    if held_out and not options.changed:
        sys.exit("These data sets hold pairs that nothing may be tuned on: say with --changed what was changed.")
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        runner = Runner(options.environments, Path(work), options.threads, options.limit or suite.limit)
        todo = _runnable(todo, run, runner)
        if held_out:
            _record(todo, len(held_out), options)
        try:
            for number, job in enumerate(todo, 1):
                print(f"[{number}/{len(todo)}] {_add(job, run, runner)}", file=sys.stderr, flush=True)
                _save(run, path)
        except KeyboardInterrupt:
            print(f"\nInterrupted. {path} holds what was done; with --add the same command goes on.", file=sys.stderr)
            return 130
    _save(run, path)
    table = summary(run)
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    write_plots(run, path.with_suffix(""))
    print(table)
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help=f"{', '.join(DATASETS)}, or a folder")
    parser.add_argument("--suite", choices=SUITES, help="data sets, pairs and methods that belong together")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="instead of all, or of the suite's")
    parser.add_argument("--count", type=int, help="pairs of each data set, instead of all, or of the suite's")
    parser.add_argument("--environments", type=Path, default=HERE.parents[1] / "build" / "peers", help="of the peers")
    parser.add_argument("--threads", type=int, default=THREADS, help="of each method")
    parser.add_argument("--limit", type=float, help="seconds for a pair, after which a method has failed")
    parser.add_argument("--name", help="of the files of results; default: the suite's, or compare")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of these files")
    parser.add_argument("--add", action="store_true", help="go on with these files: run what they lack")
    parser.add_argument("--retry", action="store_true", help="with --add: run again what has failed")
    parser.add_argument("--changed", default="", help="what was changed since the last look at held-out pairs")
    options = parser.parse_args(arguments)
    if bool(options.datasets) == bool(options.suite):
        parser.error("name data sets, or a suite with --suite")
    options.name = options.name or options.suite or "compare"
    options.command = _command(sys.argv[1:] if arguments is None else arguments)
    return options


def _command(words: Sequence[str]) -> str:
    """The command that makes a run again, without where things lie on this machine."""
    given = iter(words)
    kept: list[str] = []
    for word in given:
        if word in PLACES:
            next(given, None)
        elif not word.startswith(tuple(f"{place}=" for place in PLACES)):
            kept.append(word)
    return shlex.join(["python", "Testing/benchmarks/compare.py", *kept])


def _suite(options: argparse.Namespace) -> Suite:
    """The suite that was named, or one of the named data sets, with what the options change in it."""
    suite = SUITES[options.suite] if options.suite else Suite(dict.fromkeys(options.datasets), tuple(METHODS), 3600)
    pairs = dict.fromkeys(suite.pairs, options.count) if options.count else suite.pairs
    return Suite(pairs, tuple(options.methods or suite.methods), suite.limit)


def _described(options: argparse.Namespace) -> dict:
    """All that is said of a run beside its rows."""
    return {
        "versions": {"deepregister": __version__, "python": platform.python_version()},
        "machine": processor(),
        "threads": options.threads,
        "load_at_start": round(os.getloadavg()[0], 1),
        "seeds": {"deepregister": Settings().seed},
        "date": date.today().isoformat(),
        "command": options.command,
        "titles": {},
        "skipped": {},
        "rows": [],
    }


def _continued(run: dict, earlier: dict, options: argparse.Namespace) -> dict:
    """The earlier run, where its rows may stand beside new ones."""
    for key in SAME:
        if earlier.get(key) != run[key]:
            sys.exit(f"The earlier run has {key} {earlier.get(key)!r}, this one {run[key]!r}: take another --name.")
    _same_versions(earlier, run["versions"])
    if run["command"] not in earlier["command"].split(" && "):
        earlier["command"] += f" && {run['command']}"
    if options.retry:
        earlier["rows"] = [row for row in earlier["rows"] if "failed" not in row]
    return earlier


def _same_versions(run: dict, versions: dict[str, str]) -> None:
    for package, version in versions.items():
        if run["versions"].setdefault(package, version) != version:
            sys.exit(
                f"The rows of this run were made with {package} {run['versions'][package]}, here is {version}: take "
                "another --name."
            )


def _missing(run: dict, suite: Suite, data: Path) -> list[Job]:
    """What is to be run; all methods on one pair before the next pair."""
    there = {(row["dataset"], row["pair"], row["method"]) for row in run["rows"]}
    return [
        (group, pair, name)
        for group, count in suite.pairs.items()
        for pair in load(group, data, count)
        for name in ORDER
        if name == "headers" or (name in suite.methods and METHODS[name].suits in group)
        if (group, pair.name, name) not in there
    ]


def _runnable(todo: list[Job], run: dict, runner: Runner) -> list[Job]:
    """Without the methods that cannot run here; the run says why."""
    for name in dict.fromkeys(name for *_, name in todo if name != "headers"):
        told = runner.probe(METHODS[name])
        run["titles"][name] = METHODS[name].title
        run["skipped"].pop(name, None)
        if "skipped" in told:
            run["skipped"][name] = told["skipped"]
            print(f"Left out: {name}: {told['skipped']}", file=sys.stderr, flush=True)
        _same_versions(run, told.get("versions", {}))
    return [job for job in todo if job[2] not in run["skipped"]]


def _record(todo: list[Job], held_out: int, options: argparse.Namespace) -> None:
    """A line in the ledger, before anything is seen."""
    groups = dict.fromkeys(group for group, pair, _ in todo if pair.held_out)
    methods = dict.fromkeys(name for _, pair, name in todo if pair.held_out and name != "headers")
    with LEDGER.open("a", encoding="utf-8") as ledger:
        line = f"| {date.today().isoformat()} | {', '.join(groups)} | {held_out} | {', '.join(methods)} |"
        ledger.write(f"{line} {options.changed} |\n")


def _add(job: Job, run: dict, runner: Runner) -> str:
    """Run one thing and add its row; how it went, in a line."""
    group, pair, name = job
    if name == "headers":
        row = {"dataset": group, "pair": pair.name, "method": name, "start": "", "seconds": 0.0, **score(None, pair)}
    else:
        row = runner.row(group, name, METHODS[name], pair)
    run["rows"].append(row)
    groups = list(dict.fromkeys(row["dataset"] for row in run["rows"]))
    run["rows"].sort(key=lambda row: (groups.index(row["dataset"]), ORDER.index(row["method"])))
    told = f"failed, {row['failed']}" if "failed" in row else f"{row['seconds']:.1f} s"
    return f"{pair.name}: {name}, {told}"


def _save(run: dict, path: Path) -> None:
    """Write the run; whoever stops it at any moment finds a whole file."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
