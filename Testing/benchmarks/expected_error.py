"""Is the expected error of a result true? Known deformations, and landmarks that people set.

    python Testing/benchmarks/expected_error.py --count 20 --fit
    python Testing/benchmarks/expected_error.py --count 10 --seeds held-out --changed "first look"
    python Testing/benchmarks/expected_error.py --landmarks lung liver --changed "first look"

Each pair of `known_errors.py` is registered, and at points that show something the true error is compared with what the
result says of itself: does it lie within the stated bound as often as stated, and is it large where the map is? --fit
first fits the weights of `deepregister.expectederror` to these pairs, prints them, and judges each kind of pair by the
weights that the other kinds give. --landmarks asks the same of data sets with landmarks, or with labels, whose centres
then stand for landmarks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from datasets import BenchmarkPair, labels, load  # noqa: E402
from deepregister import Settings, Volume, register  # noqa: E402
from deepregister.expectederror import WEIGHTS, Weights, columns  # noqa: E402
from deepregister.landmarks import LandmarkPairs  # noqa: E402
from deepregister.models.rematching import signs  # noqa: E402
from deepregister.preparation import Pair, prepare  # noqa: E402
from deepregister.quality import landmark_errors  # noqa: E402
from deepregister.result import Registration  # noqa: E402
from error_figures import draw, summary  # noqa: E402
from error_weights import Sample, fit, median_mm  # noqa: E402
from known_errors import KINDS, known_pair  # noqa: E402
from perturbations import transform_errors  # noqa: E402
from scipy.ndimage import center_of_mass, map_coordinates  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402
from studies import finish, new_run, numbers, option_parser, parsed  # noqa: E402

POINTS = 2000
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# Of each kind in turn; crops of the hippocampus are also given to the networks that were made for them.
QUALITIES, CROP_MODELS = ("fast", "fast", "balanced"), ("deformable", "pyramid-hippocampus")
# Regions of fewer voxels have no steady centre.
LEAST_REGION = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and write results/<name>.json, .md and .png."""
    parser = option_parser(__doc__, "expected-error", 10)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--fit", action="store_true", help="fit the weights to the pairs and judge by other kinds'")
    parser.add_argument("--landmarks", nargs="+", metavar="DATASET", help="judge on landmarks of these instead")
    options = parsed(parser, arguments)
    if options.fit and options.seeds != "development":
        parser.error("weights are fitted to the development seeds alone")
    looked_at = ""
    if options.landmarks:
        pairs = {name: load(name, options.data) for name in options.landmarks}
        looked_at = ", ".join(name for name, of_set in pairs.items() if any(pair.held_out for pair in of_set))
        if looked_at and not options.changed:
            parser.error("nothing may be tuned on held-out pairs: say with --changed what was changed")
    run = new_run(options)
    if options.landmarks:
        run["rows"] = [row for name, of_set in pairs.items() for pair in of_set for row in on_landmarks(name, pair)]
    else:
        run["rows"] = on_known(options)
    finish(run, options, summary(run), "expected error", looked_at)
    if options.only is None:
        draw(run, HERE / "results" / f"{options.name}.png")
    return 0


def on_known(options) -> list[dict]:
    """A row for each pair with a known truth and each kind of transform; with --fit also prints weights."""
    found: dict[str, list[Sample]] = {"deformable": [], "linear": []}
    named = []
    for number in numbers(options):
        for kind in options.kinds:
            for transform, sample in samples(kind, number, options).items():
                found[transform].append(sample)
                named.append((transform, number, sample))
    weights = {transform: dict.fromkeys(KINDS, WEIGHTS[transform]) for transform in found}
    if options.fit:
        for transform, of_kind in found.items():
            everything, weights[transform] = fit(of_kind, list(WEIGHTS[transform].by_sign))
            print(f'    "{transform}": {everything},')
    rows = []
    for transform, number, sample in named:
        own = weights[transform][sample.kind]
        judged = figures(sample.error_mm, median_mm(sample, own), own)
        rows.append({"case": sample.kind, "number": number, "transform": transform, **judged})
    return rows


def samples(kind: str, number: int, options) -> dict[str, Sample]:
    """Points of one pair's deformable result and of the affine one below it."""
    pair = known_pair(kind, options.data, options.seeds, number)
    model = CROP_MODELS[number % len(CROP_MODELS)] if kind == "hippocampus" else "deformable"
    settings = Settings(model=model, quality=QUALITIES[number % len(QUALITIES)], device="cpu")
    result = register(pair.fixed, pair.moving, settings=settings)
    points = pair.points[np.random.default_rng(number).permutation(len(pair.points))[:POINTS]]
    prepared = Pair(prepare(pair.fixed)[0], prepare(pair.moving)[0])
    found = {}
    for name, transform in (("deformable", result.transform), ("linear", result.transform.parts[-1])):
        seen = signs(prepared, transform, torch.device("cpu"))
        index = seen.geometry.point_to_index(points)[:, ::-1].T
        at_points = {
            sign: map_coordinates(values, index, order=1, mode="nearest")
            for sign, values in columns(seen.values).items()
        }
        found[name] = Sample(kind, transform_errors(transform, pair.truth, points), seen.geometry.spacing[0], at_points)
    error = found["deformable"].error_mm.mean()
    print(f"{kind} {number}: {found['linear'].error_mm.mean():.2f} -> {error:.2f} mm", file=sys.stderr, flush=True)
    return found


def on_landmarks(name: str, pair: BenchmarkPair) -> list[dict]:
    """A row for each set of landmarks of a pair."""
    result = register(pair.fixed, pair.moving, model="deformable", device="cpu")
    if pair.landmarks is not None:
        sets = {f"{name}, {which}": landmarks for which, landmarks in pair.landmarks().items()}
    else:
        sets = {f"{name}, centres of regions": centres(labels(pair.fixed_labels), labels(pair.moving_labels))}
    rows = []
    for title, landmarks in sets.items():
        errors = landmark_errors(landmarks, result.transform)
        median = stated_median(result, landmarks.fixed)
        judged = figures(errors, median, WEIGHTS["deformable"])
        rows.append({"case": title, "pair": pair.name, "transform": "deformable", **judged})
    return rows


def stated_median(result: Registration, points: np.ndarray) -> np.ndarray:
    """The error that half of such points lie below, mm, from the map that a result has."""
    index = result.expected_error.geometry.point_to_index(points)[:, ::-1].T
    mean = map_coordinates(result.expected_error.data, index, order=1, mode="nearest")
    return mean * np.exp(-(WEIGHTS["deformable"].spread ** 2) / 2)


def centres(fixed: Volume, moving: Volume) -> LandmarkPairs:
    """The centres of the regions that both label maps have."""
    sides = []
    regions = [
        {value for value, count in zip(*np.unique(side.data, return_counts=True), strict=True) if count >= LEAST_REGION}
        for side in (fixed, moving)
    ]
    common = sorted(set.intersection(*regions) - {0})
    for side in (fixed, moving):
        index = np.asarray(center_of_mass(np.ones_like(side.data), side.data, common))
        sides.append(side.geometry.index_to_point(index[:, ::-1]))
    return LandmarkPairs(*sides)


def figures(errors: np.ndarray, median: np.ndarray, weights: Weights) -> dict:
    """How true a statement was at some points.

    Args:
        errors: true ones, mm.
        median: stated, mm.
        weights: that it was made with.
    """
    return {
        "points": len(errors),
        "error_mean_mm": float(errors.mean()),
        "stated_mean_mm": float(median.mean() * np.exp(weights.spread**2 / 2)),
        "covered": {str(level): float(np.mean(errors <= median * weights.bound(level))) for level in LEVELS},
        "spearman": float(spearmanr(median, errors)[0]),
        "deciles": deciles(errors, median * np.exp(weights.spread**2 / 2)),
    }


def deciles(errors: np.ndarray, stated: np.ndarray) -> list[list[float]]:
    """Mean stated and mean true error of each tenth of the points, the least sure last."""
    parts = np.array_split(np.argsort(stated), min(10, len(stated)))
    return [[round(float(stated[part].mean()), 4), round(float(errors[part].mean()), 4)] for part in parts]


if __name__ == "__main__":
    sys.exit(main())
