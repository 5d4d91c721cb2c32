"""The full robustness run, whose counts are published: hundreds of kills and faults, an hour of fuzzing, all else.

    python Testing/robustness/full.py --kills 200 --faults 30 --fuzz-minutes 60 --conditions 200

writes results/robustness.json and results/robustness.md. A part that is left out keeps what an earlier run of it found:
`--only fuzz` runs that part alone. The exit status is 1 where anything ended otherwise than promised.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
RESULTS = HERE / "results"
sys.path[:0] = [str(CHECKOUT / "DeepRegister"), str(HERE)]

from publishing import made, made_in_words, table, tell  # noqa: E402

PARTS = ("kills", "faults", "fuzz", "conditions", "equivariance")


def kills(options: argparse.Namespace) -> dict:
    import kills

    return kills.summary(kills.kill(options.kills, options.seed, tell))


def faults(options: argparse.Namespace) -> dict:
    import faults

    return faults.summary(faults.inject(options.faults, options.seed, tell))


def fuzz(options: argparse.Namespace) -> dict:
    import fuzz

    folder = CHECKOUT / "build" / "faults"
    found = []
    for target in fuzz.NAMES:
        found.append(fuzz.fuzz(target, 60 * options.fuzz_minutes / len(fuzz.NAMES), folder, options.seed))
        tell(found[-1])
    return {
        "targets": [
            {
                "target": each.target,
                "inputs": each.inputs,
                "seconds": round(each.seconds),
                "outgrown": each.outgrown,
                "engine": each.engine,
            }
            for each in found
        ],
        "faults": [{"target": each.target, "fault": fault} for each in found for fault in each.faults],
    }


def conditions(options: argparse.Namespace) -> dict:
    import conditions

    return conditions.summary(conditions.examine(options.conditions, options.seed, tell))


def equivariance(options: argparse.Namespace) -> dict:
    import equivariance

    return equivariance.summary(equivariance.matrix(equivariance.MODELS, equivariance.CHANGES, tell))


def report(parts: dict) -> str:
    """The counts in Markdown."""
    lines = ["# Robustness: what was done to break it, and how it ended", ""]
    lines += ["Made by `Testing/robustness/full.py`; the README there says what each part does.", ""]
    for name in PARTS:
        if name in parts:
            lines += [f"## {name.capitalize()}", ""]
            lines += [made_in_words(parts[name]["made"]), ""]
            lines += [*_TABLES[name](parts[name]), ""]
            found = parts[name]["faults"]
            lines += [f"Otherwise than promised: {len(found)}.", *(f"- {json.dumps(fault)}" for fault in found), ""]
    return "\n".join(lines).rstrip() + "\n"


def _counted(part: dict) -> list[str]:
    names = list(part["ended"][0])
    return table(names, [[row[name] for name in names] for row in part["ended"]])


def _fuzzed(part: dict) -> list[str]:
    names = ("target", "inputs", "seconds", "outgrown", "engine")
    words = (
        "Outgrown: processes that had grown beyond 6 GB over thousands of inputs, none of which takes that much alone."
    )
    return [words, "", *table(names, [[row[name] for name in names] for row in part["targets"]])]


def _matrix(part: dict) -> list[str]:
    models = [name for name in part["rows"][0] if name != "change"]
    rows = [[row["change"], *(row[model] for model in models)] for row in part["rows"]]
    words = "Between where a point goes by the changed pair and by the pair as it was, mm: mean / 99th percentile."
    return [words, "", *table(("the same pair, but", *models), rows)]


_TABLES = {"kills": _counted, "faults": _counted, "fuzz": _fuzzed, "conditions": _counted, "equivariance": _matrix}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--faults", type=int, default=30, help="of each kind; default: %(default)s")
    parser.add_argument("--fuzz-minutes", type=float, default=60, help="over all readers; default: %(default)s")
    parser.add_argument("--conditions", type=int, default=200, help="strange pairs; default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: all parts")
    parser.add_argument("--seed", type=int, default=1, help="of all random numbers; default: %(default)s")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "robustness.json"
    run = {"kills": kills, "faults": faults, "fuzz": fuzz, "conditions": conditions, "equivariance": equivariance}
    wrong = False
    for name in options.only:
        found = run[name](options)
        wrong = wrong or bool(found["faults"])
        found["made"] = made("Testing/robustness/full.py")
        # Read again: another part may have been written meanwhile.
        parts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        parts = {part: found if part == name else parts[part] for part in PARTS if part in parts or part == name}
        file.write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")
        (RESULTS / "robustness.md").write_text(report(parts), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
