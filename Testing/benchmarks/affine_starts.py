"""How often `affine` or `rigid` finds a known pose: turns of up to 45 degrees, shifts of 60 mm, scales of 0.8 to 1.25.

    python Testing/benchmarks/affine_starts.py --count 100                      # all three cases
    python Testing/benchmarks/affine_starts.py --case cropped --only 17         # one start again

padded: one head (`brain_contrasts`), same and different contrast, seen on a grid that cuts nothing off; cropped: the
same, on the fixed image's own grid and then without a slab at a random side, with 60 to 100 % of the head left in view;
between: development pairs of `brains_t1`, scored by the overlap that the start costs. Errors are means over the head.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from datasets import DATASETS  # noqa: E402
from deepregister import Composite, Volume  # noqa: E402
from perturbations import (  # noqa: E402
    LEAST_IN_VIEW,
    Perturbation,
    cut_view,
    head_points,
    padded_view,
    perturbed,
    share_in_view,
    transform_errors,
)
from scoring import score  # noqa: E402
from studies import finish, generator, headline, new_run, numbers, option_parser, parsed, timed  # noqa: E402

FILES = {"T1": "brainweb165a10f17.mha", "PD": "brainweb1e1a10f20.mha", "T2": "brainweb1e5a10f17.mha"}
# One contrast, then the three pairs of contrasts; each in turn from either side.
CONTRASTS = [("T1", "T1"), ("T1", "T2"), ("T1", "PD"), ("T2", "PD")]
CONTRASTS += [("T2", "T2"), ("T2", "T1"), ("PD", "T1"), ("PD", "T2")]
CASES = ("padded", "cropped", "between")
# Of the figure to reach: mm for the first two, Dice for the last.
LIMITS = {"padded": 1.0, "cropped": 2.0, "between": 0.005}
NOISE_SHARE = 0.03
COLUMNS = ("case", "pair", "starts", "limit", "within", "median", "90th percentile", "largest", "worse by the limit")
COLUMNS += ("seconds median", "seconds largest")


def main(arguments: list[str] | None = None) -> int:
    """Run the starts and write results/<name>.json and .md."""
    parser = option_parser(__doc__, "affine_starts", 100)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--model", choices=("affine", "rigid"), default="affine", help="rigid: turn and shift alone")
    parser.add_argument("--scale", choices=("per-axis", "isotropic"), default="per-axis")
    parser.add_argument("--quality", choices=("fast", "balanced", "accurate"), default="balanced")
    options = parsed(parser, arguments)
    if options.model == "rigid":
        options.scale = "none"
        options.case = [case for case in options.case if case != "between"]
        options.name = options.name.replace("affine", "rigid")
    run = new_run(options)
    for case in options.case:
        for number in numbers(options):
            run["rows"].append(start(case, number, options))
            row = run["rows"][-1]
            print(f"{case} {number} {row['pair']}: {row['miss']:.4f}, {row['seconds']} s", file=sys.stderr, flush=True)
    finish(run, options, summary(run), f"{options.model} starts")
    return 0


def start(case: str, number: int, options) -> dict:
    """A row: one start, replayable by its number."""
    rng = generator(options.seeds, CASES.index(case), number)
    row = {"case": case, "number": number}
    return {**row, **(_between if case == "between" else _one_head)(case, number, options, rng)}


def _one_head(case: str, number: int, options, rng: np.random.Generator) -> dict:
    from deepregister import register

    fixed_name, moving_name = CONTRASTS[number % len(CONTRASTS)]
    volumes, points = _head(options.data)
    fixed, moving = volumes[fixed_name], volumes[moving_name]
    perturbation, view = drawn(case, moving, points, options.scale, rng)
    truth = perturbation.transform
    fill = float(np.median(moving.data[:, [0, -1]]))
    moving = perturbed(moving, truth, view, fill, NOISE_SHARE * float(np.percentile(moving.data, 99.8)), rng)
    result, report = timed(register, fixed, moving, options.model, quality=options.quality, device="cpu")
    errors = transform_errors(result.transform, truth, points)
    return {
        "pair": f"{fixed_name}<-{moving_name}",
        "miss": float(errors.mean()),
        "largest_error_mm": float(errors.max()),
        "in_view": round(share_in_view(points, truth, view), 3),
        **perturbation.describe(),
        **report,
    }


def drawn(case: str, moving: Volume, points: np.ndarray, scale: str, rng: np.random.Generator):
    """A perturbation and the grid that it is seen on."""
    while True:
        perturbation = Perturbation.random(rng, points.mean(0), scale)
        truth = perturbation.transform
        if case == "padded":
            return perturbation, padded_view(moving, points, truth)
        share = rng.uniform(LEAST_IN_VIEW, 1)
        if share_in_view(points, truth, moving.geometry) >= LEAST_IN_VIEW:
            return perturbation, cut_view(moving.geometry, points, truth, share, rng)


def _between(case: str, number: int, options, rng: np.random.Generator) -> dict:
    """Dice is that of the original labels through both transforms: the perturbation itself costs none."""
    from deepregister import register

    pairs = DATASETS["brains-development"](options.data)
    pair = pairs[number % len(pairs)]
    fixed, moving, points, unperturbed = _two_brains(pair, options.model, options.quality)
    perturbation = Perturbation.random(rng, points.mean(0), options.scale)
    truth = perturbation.transform
    moving = perturbed(moving, truth, padded_view(moving, points, truth), 0.0, 0.0, rng)
    result, report = timed(register, fixed, moving, options.model, quality=options.quality, device="cpu")
    dice = score(Composite((result.transform, truth.inverse())), pair)["dice"]
    return {
        "pair": pair.name,
        "miss": abs(dice - unperturbed),
        "dice": dice,
        "unperturbed_dice": unperturbed,
        **perturbation.describe(),
        **report,
    }


@cache
def _head(data: Path) -> tuple[dict[str, Volume], np.ndarray]:
    volumes = {name: Volume.read(data / "brain_contrasts" / file) for name, file in FILES.items()}
    return volumes, head_points(list(volumes.values()))


@cache
def _two_brains(pair, model: str, quality: str) -> tuple[Volume, Volume, np.ndarray, float]:
    from deepregister import register

    fixed, moving = Volume.read(pair.fixed), Volume.read(pair.moving)
    unperturbed = register(fixed, moving, model, quality=quality, device="cpu").transform
    return fixed, moving, head_points([moving]), score(unperturbed, pair)["dice"]


def summary(run: dict) -> str:
    """Shares under the limit by case and pair, and every start that missed it."""
    options = run["options"]
    scale = {"none": "no scale"}.get(options["scale"], f"{options['scale']} scale")
    lines = [headline(run), "", f"`{options['model']}`, {options['quality']}, {scale}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "| --- " * len(COLUMNS) + "|"]
    for case in options["case"]:
        rows = [row for row in run["rows"] if row["case"] == case]
        for pair in ["all", *dict.fromkeys(row["pair"] for row in rows)]:
            lines.append(_line(case, pair, [row for row in rows if pair in ("all", row["pair"])]))
    missed = [row for row in run["rows"] if row["miss"] > LIMITS[row["case"]]]
    note = "Errors in mm, between subjects in Dice; seconds of `register`, images in memory."
    lines += ["", note, "", f"## Starts that missed: {len(missed)}", ""]
    if missed:
        lines += ["| case | number | pair | miss | angle | shift mm | scales | in view | confidence | seconds |"]
        lines += ["| --- " * 10 + "|"]
    for row in missed:
        scales = " ".join(f"{s:.2f}" for s in row["scales"])
        lines.append(
            f"| {row['case']} | {row['number']} | {row['pair']} | {row['miss']:.4g} | {row['angle_degrees']} | "
            f"{row['shift_length_mm']} | {scales} | {row.get('in_view', '')} | {row['confidence']} | {row['seconds']} |"
        )
    return "\n".join(lines) + "\n"


def _line(case: str, pair: str, rows: list[dict]) -> str:
    limit = LIMITS[case]
    misses, seconds = np.array([row["miss"] for row in rows]), np.array([row["seconds"] for row in rows])
    # Between subjects a start may also end better than the unperturbed one did.
    worse = sum(row["dice"] < row["unperturbed_dice"] - limit for row in rows) if case == "between" else ""
    figures = [np.median(misses), np.percentile(misses, 90), misses.max()]
    return (
        f"| {case} | {pair} | {len(rows)} | {limit} | {np.mean(misses <= limit):.0%} | "
        + " | ".join(f"{figure:.4f}" if case == "between" else f"{figure:.2f}" for figure in figures)
        + f" | {worse} | {np.median(seconds):.1f} | {seconds.max():.1f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
