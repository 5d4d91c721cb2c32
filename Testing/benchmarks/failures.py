"""How well the confidence of a result tells failures from good results: the area under the ROC curve.

    python Testing/benchmarks/failures.py --half development
    python Testing/benchmarks/failures.py --only "upside down 3" --models affine

`failure_cases.py` says which pairs are good and which are bad. Thresholds are tuned on the development half alone; a
look at the held-out half takes --changed, and is written into the ledger.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from deepregister import DeepRegisterError  # noqa: E402
from deepregister.confidence import LOW  # noqa: E402
from failure_cases import KINDS, Case, cases, error_mm  # noqa: E402
from studies import headline, new_run, timed  # noqa: E402

MODELS = ("rigid", "affine", "deformable", "auto")
HALVES = ("development", "held-out")
DRAWS = 2000
TARGET = 0.95


def main(arguments: list[str] | None = None) -> int:
    """Run the cases and write results/<name>.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--half", choices=(*HALVES, "both"), default="development")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--changed", default="", help="what was changed since the last look at the held-out half")
    parser.add_argument("--only", metavar="CASE", help="run this case alone, print it and write nothing")
    parser.add_argument("--name", default="failures", help="of the files under results/")
    options = parser.parse_args(arguments)
    if options.half != "development" and options.only is None and not options.changed:
        parser.error("nothing may be tuned on the held-out half: say with --changed what was changed")

    halves = HALVES if options.half == "both" else (options.half,)
    chosen = [each for each in cases() if (each.name == options.only if options.only else each.half in halves)]
    if not chosen:
        parser.error(f"there is no case {options.only!r}; the first is {cases()[0].name!r}")
    run = new_run(options)
    for number, case in enumerate(chosen):
        run["rows"] += rows(case, options.data, options.models)
        print(f"{number + 1} of {len(chosen)}: {case.name}", file=sys.stderr, flush=True)
    if options.only:
        print(json.dumps(run["rows"], indent=1))
        return 0
    text = summary(run)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{options.name}.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    (results / f"{options.name}.md").write_text(text, encoding="utf-8")
    held_out = sum(case.half == "held-out" for case in chosen)
    if held_out:
        with (HERE / "ledger.md").open("a", encoding="utf-8") as ledger:
            line = f"| {run['date']} | failures, held-out half | {held_out} | {', '.join(options.models)} |"
            ledger.write(f"{line} {options.changed} |\n")
    print(text)
    return 0


def rows(case: Case, data: Path, models: Sequence[str]) -> list[dict]:
    """A row for each model on one case."""
    from deepregister import register

    fixed, moving, limit = case.sides(data)
    common = {
        "case": case.name,
        "kind": case.kind,
        "half": case.half,
        "pair": f"{fixed.volume.name} <- {moving.volume.name}",
        "should_succeed": case.good,
    }
    found = []
    for model in models:
        try:
            result, row = timed(register, fixed.volume, moving.volume, model, quality="fast", device="cpu")
        except DeepRegisterError as error:
            # A clear refusal is a failure that nobody can mistake for a result.
            found.append({**common, "model": model, "confidence": 0.0, "reasons": [str(error)], "good": False})
            continue
        error = error_mm(result.transform, fixed, moving)
        right = case.good if error is None else error < limit
        # Neither a good pair that was missed, nor a bad one that was found, says anything of either class.
        good = case.good if right == case.good else None
        found.append(
            {
                **common,
                "model": model,
                "ran": result.settings.model,
                **row,
                "confidence": round(result.confidence.score, 4),
                "reasons": list(result.confidence.reasons),
                "error_mm": None if error is None else round(error, 2),
                "good": good,
                "measures": {k: round(v, 5) if isinstance(v, float) else v for k, v in result.measures.items()},
            }
        )
    return found


def area(good: Iterable[float], bad: Iterable[float]) -> float:
    """Area under the ROC curve: how often a good result has the higher confidence of the two, ties counted half."""
    good, bad = np.asarray(list(good))[:, None], np.asarray(list(bad))[None]
    return float(np.mean((good > bad) + 0.5 * (good == bad)))


def interval(judged: list[dict]) -> tuple[float, float]:
    """The middle 95 % of the area over bootstrap draws of cases: the models of one case are not independent."""
    rng = np.random.default_rng(0)
    names = {good: sorted({row["case"] for row in judged if row["good"] is good}) for good in (True, False)}
    scores = {(row["case"], row["good"]): [] for row in judged}
    for row in judged:
        scores[row["case"], row["good"]].append(row["confidence"])
    areas = []
    for _ in range(DRAWS):
        drawn = {
            good: [score for name in rng.choice(names[good], len(names[good])) for score in scores[str(name), good]]
            for good in names
        }
        areas.append(area(drawn[True], drawn[False]))
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def summary(run: dict) -> str:
    """The Markdown tables of a run."""
    halves = {"both": "both halves"}.get(run["options"]["half"], f"{run['options']['half']} half")
    lines = [
        f"{headline(run)[:-1]}, {halves}, quality `fast`.",
        "",
        f"Low is a confidence below {LOW}. The area is wanted at {TARGET} or above.",
        "",
        "| model | good results | failures | area under the curve (95 %) | failures marked low | good marked low |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    models = run["options"]["models"]
    for model in [*models, "all"]:
        judged = [row for row in run["rows"] if row["model"] in (model, *models * (model == "all"))]
        judged = [row for row in judged if row["good"] is not None]
        good, bad = ([row["confidence"] for row in judged if row["good"] is which] for which in (True, False))
        if not good or not bad:
            continue
        low, high = interval(judged)
        lines.append(
            f"| {model} | {len(good)} | {len(bad)} | {area(good, bad):.3f} ({low:.3f} to {high:.3f}) | "
            f"{_share(bad)} | {_share(good)} |"
        )
    lines += ["", "| kind | " + " | ".join(models) + " |", "| --- " * (len(models) + 1) + "|"]
    for kind, (should, _, _) in KINDS.items():
        cells = []
        for model in models:
            mine = [row for row in run["rows"] if row["kind"] == kind and row["model"] == model]
            cells.append(_share([row["confidence"] for row in mine if row["good"] is should]))
        lines.append(f"| {kind}, marked low | " + " | ".join(cells) + " |")
    lines += ["", "Results on the wrong side of the mark:", "", "| case | model | confidence | what is said |"]
    lines += ["| --- | --- | --- | --- |"]
    wrong = [row for row in run["rows"] if row["good"] is not None and (row["confidence"] < LOW) is row["good"]]
    lines += [
        f"| {row['case']} ({row['pair']}) | {row['model']} | {row['confidence']:.2f} | {' '.join(row['reasons'])} |"
        for row in sorted(wrong, key=lambda row: (row["good"], row["case"]))
    ]
    lines += [
        "",
        "Counted in neither class: pairs that should have succeeded and were missed, or the other way round.",
        "",
    ]
    lines += ["| case | model | error, mm | confidence |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['case']} ({row['pair']}) | {row['model']} | {row['error_mm']:.1f} | {row['confidence']:.2f} |"
        for row in run["rows"]
        if row["good"] is None
    ]
    return "\n".join(lines) + "\n"


def _share(confidences: Sequence[float]) -> str:
    return f"{sum(each < LOW for each in confidences)} of {len(confidences)}"


if __name__ == "__main__":
    sys.exit(main())
