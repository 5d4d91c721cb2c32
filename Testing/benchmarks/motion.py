"""Large known motion of a body: 20 to 40 mm, other noise, bias and contrast on each side, with and without sliding.

    python Testing/benchmarks/motion.py --count 5
    python Testing/benchmarks/motion.py --case sliding --only 3 --methods balanced

The moving image is `body_ct`, the fixed one the same body through a known map, so the truth is exact. smooth: a random
diffeomorphism. sliding: before it, what lies inside a column in the abdomen and what lies around it shift along its
wall by different amounts. Errors are counted in the body, away from the wall of the column.
"""

from __future__ import annotations

import inspect
import sys
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from deepregister import Rigid, Volume  # noqa: E402
from deformations import Chain, PointMap, Slide, distance_mm, seen_through, smooth_deformation  # noqa: E402
from perturbations import transform_errors  # noqa: E402
from renders import Appearance  # noqa: E402
from scipy.ndimage import binary_fill_holes, binary_opening, label  # noqa: E402
from studies import finish, generator, headline, new_run, numbers, option_parser, parsed, timed  # noqa: E402

CASES = ("smooth", "sliding")
METHODS = ("affine", "fast", "balanced", "accurate")
# Of the figure to reach, and how near to the interface nothing is counted: two voxels.
LIMIT_MM, NEAR_MM = 2.0, 6.0
PEAK_MM, SIGMA_MM = (20.0, 40.0), 55.0
# The window that is shown in 0..1, HU.
WINDOW = (-250.0, 450.0)
AIR = -1000.0


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds and write results/<name>.json and .md."""
    parser = option_parser(__doc__, "motion", 5)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parsed(parser, arguments)
    run = new_run(options)
    for case in options.case:
        for number in numbers(options):
            run["rows"] += rows(case, number, options)
    finish(run, options, summary(run), "synthetic motion")
    return 0


def rows(case: str, number: int, options) -> list[dict]:
    """A row for each method on one seed, and one of where it began."""
    from deepregister import register

    fixed, moving, regions, truth, away, near = pair(case, options.data, options.seeds, number)
    common = {"case": case, "number": number}
    begun = figures(Rigid.identity(), truth, away, near)
    found = [{**common, "method": "headers", **begun}]
    for method, extra in calls(options.methods, regions if case == "sliding" else None):
        model, quality = ("affine", "balanced") if method == "affine" else ("deformable", method)
        result, report = timed(register, fixed, moving, model, quality=quality, device="cpu", **extra)
        row = {**common, "method": method + (" with regions" if extra else "")}
        row.update(figures(result.transform, truth, away, near), **report)
        row["folded_percent"] = 100 * result.measures.get("folded_fraction", 0.0)
        found.append(row)
        text = f"{case} {number} {row['method']}: {begun['mean_mm']:.2f} -> {row['mean_mm']:.2f} mm, {row['seconds']} s"
        print(text, file=sys.stderr, flush=True)
    return found


def calls(methods: list[str], regions: Volume | None) -> list[tuple[str, dict]]:
    """Methods and further arguments; with regions, once more, where `register` takes them."""
    from deepregister import register

    plain = [(method, {}) for method in methods]
    if regions is None or "regions" not in inspect.signature(register).parameters:
        return plain
    return plain + [(method, {"regions": regions}) for method in methods if method != "affine"]


def pair(case: str, data: Path, seeds: str, number: int):
    """One seed: fixed, moving, label map of the regions, truth, points away from the interface and near to it."""
    rng = generator(seeds, CASES.index(case), number)
    source, inside_body = body(data)
    geometry = source.geometry
    at = geometry.points()[inside_body][::20]
    peak = rng.uniform(*PEAK_MM)
    truth, slide = random_motion(case, geometry, at, peak, rng)
    sides = []
    for volume in (seen_through(source, truth, geometry, AIR), source):
        shown = np.clip((volume.data.astype(np.float32) - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1)
        sides.append(Appearance.random(rng).of(Volume(shown, geometry, volume.name), rng))
    points = geometry.points()
    inside = slide.is_inside(points)
    regions = Volume(np.where(inside, 1, 2).astype(np.uint8), geometry, "regions")
    moved_body = seen_through(Volume(inside_body.astype(np.float32), geometry), truth, geometry, 0).data > 0.5
    wall = np.maximum(distance_mm(inside, geometry.spacing), distance_mm(~inside, geometry.spacing))
    near = (wall <= NEAR_MM) if case == "sliding" else np.zeros_like(inside)
    return (*sides, regions, truth, points[moved_body & ~near][::5], points[moved_body & near][::5])


def random_motion(case: str, geometry, at: np.ndarray, peak: float, rng: np.random.Generator) -> tuple[PointMap, Slide]:
    """The truth, whose longest displacement of the points `at` is `peak` mm, and the column."""
    low, high = at.min(0), at.max(0)
    centre, half = (low + high) / 2, (high - low) / 2
    # The abdominal cavity lies before the spine, in front of the trunk's middle.
    front = -0.28 * half[1]
    slip = (0.35 * peak, -0.25 * peak) if rng.integers(2) else (-0.35 * peak, 0.25 * peak)
    slide = Slide(
        (float(centre[0]), float(centre[1] + front)),
        (float(0.62 * half[0]), float(0.43 * half[1])),
        (float(low[2]), float(high[2])),
        *slip,
    )
    if case == "smooth":
        return smooth_deformation(geometry, rng, peak, SIGMA_MM, at), slide
    state = rng.bit_generator.state
    share = 0.75
    for _ in range(5):
        # The same velocity again, weaker or stronger, until both motions together reach the peak.
        rng.bit_generator.state = state
        chain = Chain((slide, smooth_deformation(geometry, rng, share * peak, SIGMA_MM, at)))
        longest = np.linalg.norm(chain.apply_to_points(at) - at, axis=1).max()
        share *= peak / longest
    return chain, slide


@cache
def body(data: Path) -> tuple[Volume, np.ndarray]:
    """The CT and the voxels of the body, without the table."""
    source = Volume.read(data / "body_ct" / "example_ct.nii.gz")
    parts, _ = label(binary_opening(source.data > -300))
    body = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return source, np.stack([binary_fill_holes(slice_) for slice_ in body])


def figures(found, truth: PointMap, away: np.ndarray, near: np.ndarray) -> dict:
    """Errors of a transform in mm."""
    errors = transform_errors(found, truth, away)
    row = {
        "mean_mm": float(errors.mean()),
        "median_mm": float(np.median(errors)),
        "p95_mm": float(np.percentile(errors, 95)),
        "largest_mm": float(errors.max()),
        "under_limit": float((errors < LIMIT_MM).mean()),
    }
    if len(near):
        row["near_mean_mm"] = float(transform_errors(found, truth, near).mean())
    return row


def summary(run: dict) -> str:
    """Means over the seeds by case and method, and each seed's mean error."""
    columns = ("case", "method", "seeds", "mean mm", "median mm", "95th percentile mm", "voxels under 2 mm")
    columns += ("mean near the interface mm", "seeds under 2 mm", "folds %", "seconds", "mean of each seed mm")
    lines = [headline(run), "", f"Errors in the body, more than {NEAR_MM:g} mm from the interface.", ""]
    lines += ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for case in run["options"]["case"]:
        of_case = [row for row in run["rows"] if row["case"] == case]
        for method in dict.fromkeys(row["method"] for row in of_case):
            mine = [row for row in of_case if row["method"] == method]

            def mean(key: str, digits: str = ".2f", mine: list[dict] = mine) -> str:
                values = [row[key] for row in mine if key in row]
                return format(np.mean(values), digits) if values else ""

            each = ", ".join(f"{row['mean_mm']:.2f}" for row in mine)
            reached = sum(row["mean_mm"] < LIMIT_MM for row in mine)
            cells = [case, "before" if method == "headers" else method, str(len(mine)), mean("mean_mm")]
            cells += [mean("median_mm"), mean("p95_mm"), mean("under_limit", ".0%"), mean("near_mean_mm")]
            cells += [f"{reached} of {len(mine)}", mean("folded_percent", ".4f"), mean("seconds", ".1f"), each]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
