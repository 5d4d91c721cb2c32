"""One head in three MR contrasts and a known smooth motion: what does another contrast cost?

    python Testing/benchmarks/contrasts.py --count 2
    python Testing/benchmarks/contrasts.py --only 1 --methods balanced pyramid

The fixed image is the moving one's head, in the same or another contrast, through a known map, so the truth is exact;
each side has a contrast curve, bias and noise of its own. Errors are counted in the brain, and in the whole head,
where skin and skull are thin layers that look unlike in each contrast.
"""

from __future__ import annotations

import sys
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from deepregister import Rigid, Volume  # noqa: E402
from deformations import PointMap, seen_through, smooth_deformation  # noqa: E402
from motion import figures  # noqa: E402
from renders import Appearance  # noqa: E402
from scipy.ndimage import binary_closing, binary_dilation, binary_erosion, binary_fill_holes, label  # noqa: E402
from studies import finish, generator, headline, new_run, numbers, option_parser, parsed, timed  # noqa: E402

CONTRASTS = {"T1": "brainweb165a10f17.mha", "PD": "brainweb1e1a10f20.mha", "T2": "brainweb1e5a10f17.mha"}
# Model, quality and whether instance optimisation follows, where a network is in it.
METHODS: dict[str, tuple[str, str, bool | None]] = {
    "affine": ("affine", "balanced", None),
    "fast": ("deformable", "fast", None),
    "balanced": ("deformable", "balanced", None),
    "accurate": ("deformable", "accurate", None),
    "pyramid": ("pyramid", "balanced", False),
    "pyramid refined": ("pyramid", "balanced", True),
}
PEAK_MM, SIGMA_MM = (6.0, 14.0), (18.0, 30.0)


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds and write results/<name>.json and .md."""
    parser = option_parser(__doc__, "contrasts", 2)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parsed(parser, arguments)
    run = new_run(options)
    for number in numbers(options):
        for fixed, moving in product(CONTRASTS, repeat=2):
            run["rows"] += rows(fixed, moving, number, options)
    finish(run, options, summary(run), "contrasts")
    return 0


def rows(fixed: str, moving: str, number: int, options) -> list[dict]:
    """A row for each method on one pair of contrasts, and one of where it began."""
    from deepregister import Settings, register

    *images, truth, points = pair(fixed, moving, options.data, options.seeds, number)
    common = {"fixed": fixed, "moving": moving, "number": number}
    begun = errors(Rigid.identity(), truth, points)
    found = [{**common, "method": "headers", **begun}]
    for method in options.methods:
        model, quality, refine = METHODS[method]
        settings = Settings(model=model, quality=quality, refine=refine, device="cpu")
        result, report = timed(register, *images, settings=settings)
        row = {**common, "method": method, **errors(result.transform, truth, points), **report}
        row["folded_percent"] = 100 * result.measures.get("folded_fraction", 0.0)
        found.append(row)
        text = f"{fixed}<-{moving} {number} {method}: {begun['mean_mm']:.2f} -> {row['mean_mm']:.2f} mm"
        print(f"{text}, {row['seconds']} s", file=sys.stderr, flush=True)
    return found


def errors(found, truth: PointMap, points: dict[str, np.ndarray]) -> dict:
    """Errors in mm in the brain, and in the head."""
    head = figures(found, truth, points["head"], points["head"][:0])
    return {**figures(found, truth, points["brain"], points["brain"][:0]), "head_mean_mm": head["mean_mm"]}


def pair(fixed: str, moving: str, data: Path, seeds: str, number: int):
    """Fixed, moving, truth, and points of the fixed brain and head; a seed has one motion for all contrasts."""
    rng = generator(seeds, 0, number)
    head = _head(data)
    geometry = _image(data, moving).geometry
    peak, sigma = rng.uniform(*PEAK_MM), rng.uniform(*SIGMA_MM)
    truth = smooth_deformation(geometry, rng, peak, sigma, geometry.points()[head][::50])
    rng = generator(seeds, 1 + list(product(CONTRASTS, repeat=2)).index((fixed, moving)), number)
    sides = [
        Appearance.random(rng).of(Volume(image.data.astype(np.float32) / 255, geometry, image.name), rng)
        for image in (seen_through(_image(data, fixed), truth, geometry, 0.0), _image(data, moving))
    ]
    points = {}
    for name, mask in (("brain", _brain(data)), ("head", head)):
        moved = seen_through(Volume(mask.astype(np.float32), geometry), truth, geometry, 0).data > 0.5
        points[name] = geometry.points()[moved][::20]
    return sides[0], sides[1], truth, points


@cache
def _image(data: Path, contrast: str) -> Volume:
    return Volume.read(data / "brain_contrasts" / CONTRASTS[contrast])


@cache
def _head(data: Path) -> np.ndarray:
    """The voxels of the head, from the contrast whose background is darkest against the skin."""
    bright = binary_closing(_image(data, "PD").data > 60, iterations=2)
    parts, _ = label(bright)
    head = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return np.stack([binary_fill_holes(part) for part in head])


@cache
def _brain(data: Path) -> np.ndarray:
    """The brain, cut free of what lies around it in the contrast that shows it brightest."""
    inside = binary_erosion(_image(data, "T1").data > 75, iterations=5)
    parts, _ = label(inside)
    brain = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return binary_fill_holes(binary_closing(binary_dilation(brain, iterations=6), iterations=4))


def summary(run: dict) -> str:
    """Mean errors by method, of one contrast and of each ordered pair of two."""
    pairs = [(one, other) for one, other in product(CONTRASTS, repeat=2) if one != other]
    columns = ("method", "seeds", "one contrast mm", *(f"{one} from {other} mm" for one, other in pairs))
    columns += ("worst of two contrasts over one", "95th percentile of two mm")
    columns += ("whole head, one mm", "whole head, two mm", "folds %", "seconds")
    lines = [headline(run), "", "Mean error in the brain of one head; fixed from moving contrast.", ""]
    lines += ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for method in dict.fromkeys(row["method"] for row in run["rows"]):
        mine = [row for row in run["rows"] if row["method"] == method]
        one = np.mean([row["mean_mm"] for row in mine if row["fixed"] == row["moving"]])
        two = [np.mean([r["mean_mm"] for r in mine if (r["fixed"], r["moving"]) == each]) for each in pairs]
        tail = np.mean([row["p95_mm"] for row in mine if row["fixed"] != row["moving"]])
        cells = ["before" if method == "headers" else method, str(len({row["number"] for row in mine})), f"{one:.2f}"]
        cells += [f"{value:.2f}" for value in two] + [f"{max(two) / one:.2f}", f"{tail:.2f}"]
        for alike in (True, False):
            cells.append(f"{np.mean([r['head_mean_mm'] for r in mine if (r['fixed'] == r['moving']) == alike]):.2f}")
        if method == "headers":
            cells += ["", ""]
        else:
            cells += [f"{np.mean([row[key] for row in mine]):{form}}" for key, form in TIMES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


TIMES = (("folded_percent", ".4f"), ("seconds", ".1f"))

if __name__ == "__main__":
    sys.exit(main())
