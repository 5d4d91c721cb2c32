"""How often does `auto` choose wrongly? Every model that suits a pair registers it, and `auto` too.

A choice is wrong where another model type reaches a Dice that is more than a hundredth higher. The pairs:
`hippocampus`: crops of the subjects that the bundled models were validated on, not trained on; `brain crops`: boxes of
45 mm out of two aligned brains, as large as a hippocampus crop and none; `brains`: whole ones.

python Testing/benchmarks/auto_choice.py
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from datasets import DATASETS, BenchmarkPair, brains, labels
from deepregister import Settings, Volume, register
from deepregister.models.registry import list_models
from scoring import score
from studies import finish, headline, new_run, numbers, option_parser, parsed, timed

# A Dice this much higher is worth another choice.
WORTH = 0.01
CROP_MM = 45.0
# A crop without much of a brain says nothing.
LEAST_LABELLED = 0.5


def brain_crops(data: Path, count: int, folder: Path) -> Iterator[BenchmarkPair]:
    """Boxes around one place of the first subject and, by the affine model, of the second; written into `folder`."""
    rng = np.random.default_rng(45)
    whole = [(pair, register(pair.fixed, pair.moving, "affine").transform) for pair in brains(data)[:3]]
    for number in range(count):
        pair, affine = whole[number % len(whole)]
        fixed = [Volume.read(pair.fixed), labels(pair.fixed_labels)]
        moving = [Volume.read(pair.moving), labels(pair.moving_labels)]
        while True:
            inside = np.argwhere(fixed[1].data > 0)
            centre = fixed[0].geometry.index_to_point(inside[rng.integers(len(inside))][::-1])
            boxes = [_boxed(volume, centre) for volume in fixed]
            if (boxes[1].data > 0).mean() >= LEAST_LABELLED:
                break
        boxes += [_boxed(volume, affine.apply_to_points(centre[None])[0]) for volume in moving]
        paths = [folder / f"{number}-{name}.nii.gz" for name in ("fixed", "fixed-labels", "moving", "moving-labels")]
        for box, path in zip(boxes, paths, strict=True):
            box.write(path)
        yield BenchmarkPair(f"crop {number}", paths[0], paths[2], paths[1], paths[3])


def _boxed(volume: Volume, centre: np.ndarray) -> Volume:
    geometry = volume.geometry
    half = np.rint(CROP_MM / 2 / np.asarray(geometry.spacing)).astype(int)
    middle = np.rint(geometry.point_to_index(centre)).astype(int)
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half, geometry.size)
    data = volume.data[tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))]
    return Volume(np.ascontiguousarray(data), geometry.cropped(low, high))


def judge(pair: BenchmarkPair, kind: str) -> dict:
    """What each model type reaches on a pair, and what `auto` took."""
    chosen, report = timed(register, pair.fixed, pair.moving, settings=Settings(device="cpu"))
    row = {"kind": kind, "pair": pair.name, "chosen": chosen.settings.model, "why": chosen.inputs["choice"]}
    row |= {"auto": score(chosen.transform, pair)["dice"], "auto_seconds": report["seconds"]}
    for card in list_models():
        if card.transform == "rigid" or (card.learned and kind == "brains"):
            continue
        result, report = timed(register, pair.fixed, pair.moving, settings=Settings(model=card.name, device="cpu"))
        row |= {card.name: score(result.transform, pair)["dice"], f"{card.name}_seconds": report["seconds"]}
    return row


def table(run: dict) -> str:
    """The Markdown page."""
    lines = [headline(run), "", f"Wrong: another model type is better by more than {WORTH} Dice.", ""]
    for kind in dict.fromkeys(row["kind"] for row in run["rows"]):
        rows = [row for row in run["rows"] if row["kind"] == kind]
        models = [name for name in rows[0] if f"{name}_seconds" in rows[0]]
        best = [max(row[name] for name in models) for row in rows]
        lost = np.array([high - row["auto"] for high, row in zip(best, rows, strict=True)])
        took = ", ".join(f"{name} {count}" for name, count in Counter(row["chosen"] for row in rows).most_common())
        lines += [f"## {kind}", "", "| model | Dice | least | seconds |", "| --- | --- | --- | --- |"]
        for name in models:
            values = [row[name] for row in rows]
            seconds = np.median([row[f"{name}_seconds"] for row in rows])
            lines.append(f"| {name} | {np.mean(values):.4f} | {min(values):.3f} | {seconds:.1f} |")
        wrong = f"wrong on {int((lost > WORTH).sum())} of {len(rows)} pairs"
        below = f"{max(0.0, float(lost.mean())):.4f} Dice below the best model of each pair on average"
        lines += ["", f"`auto` took {took}: {wrong}, {below}.", ""]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and write results/auto_choice.json and .md."""
    parser = option_parser(__doc__, "auto_choice", 30)
    options = parsed(parser, arguments)
    run = new_run(options)
    with tempfile.TemporaryDirectory() as folder:
        groups = {
            "hippocampus": iter(DATASETS["hippocampus-validation"](options.data, options.count)),
            "brain crops": brain_crops(options.data, min(options.count, 12), Path(folder)),
            "brains": iter(brains(options.data)[: min(options.count, 3)]),
        }
        for kind, pairs in groups.items():
            for number, pair in enumerate(pairs):
                if number in numbers(options):
                    run["rows"].append(judge(pair, kind))
                    print(kind, pair.name, run["rows"][-1]["chosen"], file=sys.stderr, flush=True)
    finish(run, options, table(run), "auto's choice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
