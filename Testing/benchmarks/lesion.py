"""What a lesion in one image, with its cost mask, does to the transform away from it.

    python Testing/benchmarks/lesion.py --count 6
    python Testing/benchmarks/lesion.py --case brains --only 2

A bright or dark textured ball of 15 to 20 mm radius is pasted into the fixed or the moving image, and the pair is
registered without it, with it, and with it and its cost mask. brains: development pairs of `brains_t1`; what counts is
how far the transform departs from the one without the lesion. renders: two scans of one label map, one of them through
a known deformation; there what counts is the rise of the error. Both are taken 10 mm and more away, inside the brain.
What chance alone does, a registration without the lesion from other random samples, stands beside them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "DeepRegister"), str(HERE)]

from datasets import DATASETS, labels  # noqa: E402
from deepregister import Geometry, Settings, Transform, Volume  # noqa: E402
from deformations import PointMap, labels_through, smooth_deformation  # noqa: E402
from perturbations import transform_errors  # noqa: E402
from renders import Appearance, head_labels, random_contrast, render, structures  # noqa: E402
from scipy.ndimage import distance_transform_edt, gaussian_filter  # noqa: E402
from studies import finish, generator, headline, new_run, numbers, option_parser, parsed, timed  # noqa: E402

CASES = ("brains", "renders")
LIMIT_MM, AWAY_MM, SHELL_MM = 0.2, 10.0, 20.0
RADII_MM = (15.0, 20.0)
# The mask as a person would paint it: a little beyond what is seen.
PAINTED_MM = 2.0
# Of the known deformation.
PEAK_MM, SIGMA_MM = 10.0, 30.0
SUBJECTS = 3
TITLES = {"masked": "with the mask", "unmasked": "without", "chance": "no lesion, other random samples"}


def main(arguments: list[str] | None = None) -> int:
    """Run the lesions and write results/<name>.json and .md."""
    parser = option_parser(__doc__, "lesion", 6)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--model", choices=("rigid", "affine", "deformable"), default="deformable")
    parser.add_argument("--quality", choices=("fast", "balanced", "accurate"), default="balanced")
    options = parsed(parser, arguments)
    run = new_run(options)
    for case in options.case:
        for number in numbers(options):
            run["rows"].append(one(case, number, options))
            row = run["rows"][-1]
            text = f"{case} {number}: {row['masked']['mean_mm']:.3f} masked, {row['unmasked']['mean_mm']:.3f} not"
            print(text, file=sys.stderr, flush=True)
    finish(run, options, summary(run), "lesions")
    return 0


@dataclass(frozen=True)
class Lesion:
    """A textured ball with an edge of about a millimetre.

    Attributes:
        centre: LPS mm.
        radius: mm.
        bright: whether it is brighter than all tissue, or darker.
    """

    centre: tuple[float, float, float]
    radius: float
    bright: bool

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distance of points (..., 3) from its surface, mm; negative inside."""
        return np.linalg.norm(points - np.asarray(self.centre), axis=-1) - self.radius

    def pasted(self, volume: Volume, rng: np.random.Generator) -> Volume:
        """The volume with the lesion in it."""
        share = np.clip(0.5 - self.distance(volume.geometry.points()), 0, 1)
        tissue = np.percentile(volume.data[volume.data > 0], 98)
        texture = gaussian_filter(rng.normal(size=share.shape), 2 / np.array(volume.geometry.spacing[::-1]))
        values = tissue * ((1.0 if self.bright else 0.15) + 0.1 * texture / texture.std())
        data = volume.data * (1 - share) + np.clip(values, 0, None) * share
        changed = np.where(share > 0, np.rint(data), volume.data).astype(volume.data.dtype)
        return Volume(changed, volume.geometry, volume.name)

    def mask(self, geometry: Geometry) -> Volume:
        """The cost mask: 0 in the lesion as painted, 1 elsewhere."""
        return Volume((self.distance(geometry.points()) > PAINTED_MM).astype(np.uint8), geometry, "cost mask")


@dataclass(frozen=True, eq=False)
class Subject:
    """A pair without a lesion.

    Attributes:
        name: unique.
        fixed, moving: images.
        fixed_brain, moving_brain: label maps, above 0 inside the brain.
        truth: fixed to moving, where it is known.
    """

    name: str
    fixed: Volume
    moving: Volume
    fixed_brain: Volume
    moving_brain: Volume
    truth: PointMap | None


def one(case: str, number: int, options) -> dict:
    """A row: one lesion, with and without its mask."""
    from deepregister import register

    rng = generator(options.seeds, CASES.index(case), number)
    which = number % SUBJECTS
    subject = _subject(case, options.data, options.seeds, which)
    key = (case, options.data, options.seeds, which, options.model, options.quality)
    reference, report = _reference(*key, 0)
    # Bright and dark, in the fixed and in the moving image, in every combination.
    in_fixed, bright = number % 2 == 0, number % 4 < 2
    lesion = placed(subject.fixed_brain if in_fixed else subject.moving_brain, bright, rng)
    fixed = lesion.pasted(subject.fixed, rng) if in_fixed else subject.fixed
    moving = subject.moving if in_fixed else lesion.pasted(subject.moving, rng)
    mask = {"fixed_mask": lesion.mask(fixed.geometry)} if in_fixed else {"moving_mask": lesion.mask(moving.geometry)}

    through = None if in_fixed else subject.truth or reference
    points, distance = scored_points(subject.fixed_brain, lesion, through)
    row = {"case": case, "number": number, "pair": subject.name, "side": "fixed" if in_fixed else "moving"}
    row |= {"bright": bright, "centre": [round(c, 1) for c in lesion.centre], "radius_mm": round(lesion.radius, 1)}
    row["reference"] = report
    row["chance"] = figures(_reference(*key, 1)[0], reference, subject.truth, points, distance)
    for name, extra in (("masked", mask), ("unmasked", {})):
        result, report = timed(register, fixed, moving, options.model, quality=options.quality, device="cpu", **extra)
        row[name] = {**figures(result.transform, reference, subject.truth, points, distance), **report}
    return row


def figures(found: Transform, reference: Transform, truth: PointMap | None, points: np.ndarray, distance) -> dict:
    """What the lesion did, mm: over all points away from it, and over those of the shell around it."""
    shell = distance < SHELL_MM
    change = transform_errors(found, reference, points)
    figures = {
        "change_mean_mm": float(change.mean()),
        "change_p95_mm": float(np.percentile(change, 95)),
        "change_shell_mm": float(change[shell].mean()),
    }
    counted = change
    if truth is not None:
        before = transform_errors(reference, truth, points)
        counted = transform_errors(found, truth, points) - before
        figures["reference_error_mm"] = float(before.mean())
    return {"mean_mm": float(counted.mean()), "shell_mm": float(counted[shell].mean()), **figures}


def placed(brain: Volume, bright: bool, rng: np.random.Generator) -> Lesion:
    """A lesion whose ball lies wholly in the brain's box and whose centre at least 12 mm deep in the brain."""
    inside = np.pad(brain.data > 0, 1)
    depth = distance_transform_edt(inside, sampling=brain.geometry.spacing[::-1])[1:-1, 1:-1, 1:-1]
    # Between the structures of a label map there are gaps, so not too deep.
    allowed = np.argwhere(depth >= min(12.0, 0.8 * depth.max()))[:, ::-1]
    centre = brain.geometry.index_to_point(allowed[rng.integers(len(allowed))])
    return Lesion(tuple(map(float, centre)), float(rng.uniform(*RADII_MM)), bright)


def scored_points(brain: Volume, lesion: Lesion, through: PointMap | None) -> tuple[np.ndarray, np.ndarray]:
    """Points of the fixed brain at least 10 mm from the lesion, and how far they are from it.

    Args:
        brain: of the fixed side.
        lesion: in fixed space, or in moving space with `through`.
        through: fixed to moving, for a lesion of the moving side.
    """
    points = brain.geometry.index_to_point(np.argwhere(brain.data > 0)[::7, ::-1])
    distance = lesion.distance(points if through is None else through.apply_to_points(points))
    away = distance >= AWAY_MM
    return points[away], distance[away]


@cache
def _subject(case: str, data: Path, seeds: str, which: int) -> Subject:
    if case == "renders":
        return known_subject(data, generator(seeds, len(CASES), which), which + 1)
    pair = DATASETS["brains-development"](data)[which]
    images, brains = (pair.fixed, pair.moving), (pair.fixed_labels, pair.moving_labels)
    return Subject(pair.name, *map(Volume.read, images), *map(labels, brains), None)


def known_subject(data: Path, rng: np.random.Generator, number: int) -> Subject:
    """Two scans in one contrast of one label map of `brain_labels`, the fixed one through a known deformation."""
    moving_labels = head_labels(data, number)
    geometry, brain = moving_labels.geometry, structures(moving_labels)
    at = geometry.index_to_point(np.argwhere(brain.data > 0)[::50, ::-1])
    truth = smooth_deformation(geometry, rng, PEAK_MM, SIGMA_MM, at)
    fixed_labels = labels_through(moving_labels, truth, geometry)
    contrast = random_contrast(rng, np.arange(1, 600))
    images = [render(side, contrast, Appearance.random(rng), rng) for side in (fixed_labels, moving_labels)]
    return Subject(f"subject {number}", *images, structures(fixed_labels), brain, truth)


@cache
def _reference(
    case: str, data: Path, seeds: str, which: int, model: str, quality: str, seed: int
) -> tuple[Transform, dict]:
    """The transform without a lesion, once for all lesions of a pair; another `seed` tells what chance alone does."""
    from deepregister import register

    subject = _subject(case, data, seeds, which)
    settings = Settings(model, quality, "cpu", seed=seed)
    result, report = timed(register, subject.fixed, subject.moving, settings=settings)
    return result.transform, report


def summary(run: dict) -> str:
    """Means over the lesions with and without the mask, and every lesion."""
    options = run["options"]
    lines = [
        headline(run),
        "",
        f"`{options['model']}`, {options['quality']}. mm, in the brain, {AWAY_MM:g} mm and more",
    ]
    lines[-1] += f" from the lesion; shell: at most {SHELL_MM:g} mm from it. brains: how far the transform departs from"
    lines[-1] += " the one without the lesion; renders: by how much the error against the known deformation rises."
    columns = ("case", "", "lesions", "mean", "largest of a lesion", "shell", f"under {LIMIT_MM} mm")
    columns += ("change mean", "change 95th percentile", "error without lesion", "seconds")
    lines += ["", "| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for case in options["case"]:
        rows = [row for row in run["rows"] if row["case"] == case]
        for name, title in TITLES.items():

            def values(key: str, rows: list[dict] = rows, name: str = name) -> np.ndarray:
                return np.array([row[name][key] for row in rows if key in row[name]])

            under = (values("mean_mm") < LIMIT_MM).sum()
            cells = [case, title, str(len(rows)), f"{values('mean_mm').mean():.3f}", f"{values('mean_mm').max():.3f}"]
            cells += [f"{values('shell_mm').mean():.3f}", f"{under} of {len(rows)}"]
            cells += [f"{values(key).mean():.3f}" for key in ("change_mean_mm", "change_p95_mm")]
            cells += [f"{v.mean():.3f}" if len(v := values("reference_error_mm")) else ""]
            cells += [f"{v.mean():.1f}" if len(v := values("seconds")) else ""]
            lines.append("| " + " | ".join(cells) + " |")
    columns = ("case", "number", "pair", "side", "lesion", "radius mm", "with the mask", "shell", "without", "shell")
    columns += ("chance", "shell")
    lines += ["", "| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for row in run["rows"]:
        cells = [row["case"], row["number"], row["pair"], row["side"], "bright" if row["bright"] else "dark"]
        cells += [row["radius_mm"]]
        cells += [f"{row[name][key]:.3f}" for name in TITLES for key in ("mean_mm", "shell_mm")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
