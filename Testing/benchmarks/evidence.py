"""Makes all figures again with one command: `quick` within 15 minutes on two cores, `full` what is published.

    python Testing/benchmarks/evidence.py quick --changed "a look of a reader"
    python Testing/benchmarks/evidence.py full --changed "what was changed since the last look"

Runs the commands of `STEPS` in turn, each of which can also be run by hand. One that fails is reported, and the others
go on; --only names the steps to run, and with --add the comparison and the sizes go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: for --only.
        words: a script, from the folder of benchmarks, and its arguments.
        takes: which of --data, --environments, --changed and --add it is given.
    """

    name: str
    words: tuple[str, ...]
    takes: tuple[str, ...] = ()


COMPARISON = ("data", "environments", "changed", "add")
STEPS = {
    "quick": (
        Step("comparison", ("compare.py", "--suite", "quick"), COMPARISON),
        Step("sizes", ("sizes.py", "--sizes", "64", "128", "--name", "sizes-quick"), ("add",)),
        Step("page", ("publish.py", "quick", "--output", str(CHECKOUT / "build" / "evidence"))),
    ),
    "full": (
        Step("overhead", ("overhead.py",), ("data", "environments")),
        Step("comparison", ("compare.py", "--suite", "full"), COMPARISON),
        Step("slow peers", ("compare.py", "--suite", "slow", "--name", "full", "--add"), COMPARISON[:-1]),
        Step("contrasts", ("contrasts.py", "--seeds", "held-out"), ("data", "changed")),
        Step("sizes", ("sizes.py",), ("add",)),
        Step("expected error", ("expected_error.py", "--seeds", "held-out", "--count", "10"), ("data", "changed")),
        Step(
            "expected error at landmarks",
            ("expected_error.py", "--landmarks", "lung", "liver", "--name", "expected-error-landmarks"),
            ("data", "changed"),
        ),
        Step("robustness", ("../robustness/full.py", "--kills", "200", "--fuzz-minutes", "60")),
        Step("page", ("publish.py", "full")),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=STEPS)
    parser.add_argument("--data", help="folder of the images; default: shared/data beside the checkout")
    parser.add_argument("--environments", help="of the peers; default: build/peers")
    parser.add_argument("--changed", default="", help="what was changed since the last look at held-out pairs")
    parser.add_argument("--add", action="store_true", help="go on with what an interrupted run has left")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="of those of quick or full")
    options = parser.parse_args(arguments)
    steps = STEPS[options.which]
    if unknown := sorted(set(options.only or ()) - {step.name for step in steps}):
        parser.error(f"there is no step {', '.join(unknown)}; there are {', '.join(step.name for step in steps)}")
    failed = []
    for step in steps:
        if options.only and step.name not in options.only:
            continue
        command = command_of(step, options)
        print(f"== {step.name}: {' '.join(command[1:])}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        status = subprocess.run(command, check=False).returncode
        print(f"== {step.name}: {(time.perf_counter() - started) / 60:.1f} minutes", file=sys.stderr, flush=True)
        if status:
            failed.append(f"{step.name} (exit status {status})")
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def command_of(step: Step, options: argparse.Namespace) -> list[str]:
    """The words of one step's command."""
    script, *words = step.words
    given = {name: getattr(options, name) for name in step.takes}
    return [
        sys.executable,
        str((HERE / script).resolve()),
        *words,
        *(word for name, value in given.items() if value for word in (f"--{name}", value) if word is not True),
    ]


if __name__ == "__main__":
    sys.exit(main())
