"""`deepregister evaluate`: how good a transform is, by landmarks, label maps, folding and its inverse."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

from .. import __version__
from ..console import table
from ..errors import InputError
from ..evaluation import Evaluation, evaluate
from ..folders import check_writable, filling
from ..labelmaps import read_label_maps
from ..pointfiles import COORDINATES, read_landmark_pairs
from ..sources import SourceFile, content_sha256
from ..transforms import read_transform
from ..volume import Volume
from .apply import TransformPair

DESCRIPTION = """\
Measure how good a registration is. RESULT is a result folder of `deepregister register`, or a transform of any program
(.h5, .tfm, .txt, .mat; or a displacement field as .nii.gz, .nrrd, .mha) that maps fixed points to moving points.

  landmarks    target registration error in mm: what a registration is judged by; use landmarks that it has not seen
  label maps   Dice overlap; surface distance in mm: mean, 95 % Hausdorff and largest. The moving label map is carried
               onto the fixed one by nearest neighbour
  deformation  folded voxels and volume change (Jacobian determinant), displacement, over the fixed volume or a mask
  inverse      how far there and back misses the start, in mm

Before means the volumes as their headers place them, after means through the transform.
"""
JSON, CSV = "evaluation.json", "evaluation.csv"
# More than these are on the screen only where they are worst; the files have all.
MOST_POINTS, MOST_LABELS = 20, 40
STATISTICS = {
    "mean_mm": "Landmark error, mean",
    "median_mm": "median",
    "p25_mm": "25th percentile",
    "p70_mm": "70th percentile",
    "p75_mm": "75th percentile",
    "p95_mm": "95th percentile",
    "max_mm": "largest",
    "trimmed_mean_mm": "mean without the outer tenths",
    "mad_deviation_mm": "robust deviation (from the MAD)",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a transform: landmark error, overlap, folding, inverse",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("result", type=Path, metavar="RESULT", help="result folder or transform file")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help=f"where {JSON} and {CSV} go; default: the result folder; for a transform file nothing is written",
    )
    parser.add_argument("--fixed", type=Path, metavar="FILE", help="fixed volume; a result folder knows it")
    parser.add_argument(
        "--inverse",
        type=Path,
        metavar="FILE",
        help="transform from moving to fixed points; a result folder has it, else it is computed",
    )
    parser.add_argument(
        "--mask", type=Path, metavar="FILE", help="in fixed space: measure the deformation where it is not 0"
    )
    points = parser.add_argument_group("landmarks (.mrk.json, .fcsv, .csv)")
    points.add_argument("--fixed-landmarks", type=Path, metavar="FILE", help="in the fixed volume")
    points.add_argument(
        "--moving-landmarks",
        type=Path,
        metavar="FILE",
        help="their partners: by label where both files have the same labels, else by order",
    )
    points.add_argument(
        "--csv-coordinates",
        choices=COORDINATES,
        help="of a .csv whose columns are x,y,z: it does not say it (l,p,s and r,a,s do)",
    )
    maps = parser.add_argument_group("label maps (any volume format, .seg.nrrd with names)")
    maps.add_argument("--fixed-labels", type=Path, metavar="FILE", help="of the fixed volume")
    maps.add_argument("--moving-labels", type=Path, metavar="FILE", help="of the moving volume")
    maps.add_argument("--labels", type=int, nargs="+", metavar="N", help="compare these only; default: all in both")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    given = {
        "landmarks": _both(options.fixed_landmarks, options.moving_landmarks, "landmarks"),
        "labels": _both(options.fixed_labels, options.moving_labels, "labels"),
    }
    if options.labels and not given["labels"]:
        raise InputError("--labels names labels to compare. Give --fixed-labels and --moving-labels with it.")
    output = options.output or (options.result if options.result.is_dir() else None)
    if output is not None:
        check_writable(output)
    pair = TransformPair.read(options.result)
    landmarks = read_landmark_pairs(*given["landmarks"], options.csv_coordinates) if given["landmarks"] else None
    maps = read_label_maps(*given["labels"]) if given["labels"] else ()
    fixed = options.fixed or pair.fixed
    found = evaluate(
        pair.fixed_to_moving,
        # All frames of a series have one grid.
        fixed=fixed and Volume.read(fixed, 0).geometry,
        inverse=read_transform(options.inverse) if options.inverse else pair.moving_to_fixed,
        landmarks=landmarks,
        fixed_labels=maps[0].volume if maps else None,
        moving_labels=maps[1].volume if maps else None,
        labels=options.labels,
        names={**maps[1].names, **maps[0].names} if maps else None,
        mask=options.mask and Volume.read(options.mask),
    )
    if given["landmarks"]:
        found = replace(found, warnings=found.warnings + _seen_before(options.result, given["landmarks"]))
    for warning in found.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    if output is not None:
        write(found, output, _files(options))
    print(report(found))
    if output is not None:
        print(f"\nAll numbers: {output / JSON} and {CSV}")


def write(evaluation: Evaluation, folder: Path, files: dict[str, Path]) -> None:
    """Write evaluation.json and evaluation.csv, one row for each number, into `folder`.

    Args:
        evaluation: what was found.
        folder: made if missing.
        files: what it was found with, by what it is.

    Raises:
        FileError: the folder cannot be made or written.
    """
    sources = {name: SourceFile.of(path).seen_from(folder).to_dict() for name, path in files.items()}
    content = {**evaluation.to_dict(), "files": sources, "versions": {"deepregister": __version__}}
    with filling(folder) as aside:
        (aside / JSON).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        with (aside / CSV).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("kind", "of", "measure", "before", "after"))
            rows.writerows(["" if cell is None else cell for cell in row] for row in evaluation.rows())


def report(evaluation: Evaluation) -> str:
    """What was found, as tables for a terminal."""
    parts = [_landmark_table(evaluation), _label_table(evaluation), _deformation_table(evaluation)]
    return "\n\n".join(part for part in parts if part)


def _landmark_table(evaluation: Evaluation) -> str:
    scores = evaluation.landmarks
    if scores is None:
        return ""
    found = scores.to_dict()
    rows = [(f"{found['count']} landmarks (mm)", "before", "after")]
    for name, title in STATISTICS.items():
        rows.append((title, *(f"{found[stage][name]:.2f}" for stage in ("before", "after"))))
    rows.append(("closer than before", "", f"{found['improved_fraction']:.0%}"))
    points, head = found["points"], "Error of each landmark (mm)"
    if len(points) > MOST_POINTS:
        points = sorted(points, key=lambda point: -point["after_mm"])[:MOST_POINTS]
        head = f"The {MOST_POINTS} largest errors (mm)"
    each = [(point["label"], f"{point['before_mm']:.2f}", f"{point['after_mm']:.2f}") for point in points]
    return table(rows) + "\n\n" + table([(head, "before", "after"), *each])


def _label_table(evaluation: Evaluation) -> str:
    if not evaluation.labels:
        return ""
    heads = ("Dice before", "after", "surface mean (mm)", "after", "95 % Hausdorff", "after", "largest", "after")
    scores, first = evaluation.labels, "Label"
    if len(scores) > MOST_LABELS:
        scores = sorted(scores, key=lambda score: score.dice_after)[:MOST_LABELS]
        first = f"The {MOST_LABELS} labels of least overlap"
    rows = [(first, *heads), ("mean of all", *_cells(*map(evaluation.label_means, ("before", "after"))))]
    rows += [(score.title, *_cells(score.measures("before"), score.measures("after"))) for score in scores]
    return table(rows)


def _cells(before: dict, after: dict) -> list[str]:
    return [
        "-" if stage[name] is None else f"{stage[name]:.3f}" if name == "dice" else f"{stage[name]:.2f}"
        for name in before
        for stage in (before, after)
    ]


def _deformation_table(evaluation: Evaluation) -> str:
    rows: list[tuple[str, str]] = []
    measures, inverse = evaluation.deformation, evaluation.inverse
    if measures:
        folded = "none"
        if measures["folded_voxels"]:
            folded = "{folded_voxels} of {voxels} ({folded_fraction:.3%})"
        texts = (
            ("Folded voxels", folded),
            ("Space turned inside out", "{non_diffeomorphic_fraction:.4%}" if measures["folded_voxels"] else "none"),
            ("Volume change", "times {jacobian_min:.2f} to {jacobian_max:.2f}, mean {jacobian_mean:.3f}"),
            ("", "98 % of voxels: {jacobian_p1:.2f} to {jacobian_p99:.2f}; SD of its logarithm {jacobian_log_std:.3f}"),
            ("Displacement", "mean {displacement_mean_mm:.2f} mm, largest {displacement_max_mm:.2f} mm"),
            ("", "95 % of voxels: up to {displacement_p95_mm:.2f} mm"),
        )
        rows = [(title, text.format(**measures)) for title, text in texts]
    if inverse and inverse["error_mean_mm"] is not None:
        text = "mean {error_mean_mm:.4f} mm, 95 % below {error_p95_mm:.4f} mm, largest {error_max_mm:.4f} mm"
        rows.append(("Error of the inverse", text.format(**inverse)))
    if inverse and inverse["known_fraction"] < 1:
        rows.append(("Without an inverse", f"{1 - inverse['known_fraction']:.2%} of the points"))
    return table(rows) if rows else ""


def _both(fixed: Path | None, moving: Path | None, what: str) -> tuple[Path, Path] | None:
    if (fixed is None) != (moving is None):
        raise InputError(
            f"The option for {what} was given for one volume only ({fixed or moving}). Give both --fixed-{what} and "
            f"--moving-{what}, or neither."
        )
    return None if fixed is None else (fixed, moving)


def _seen_before(result: Path, landmarks: tuple[Path, Path]) -> tuple[str, ...]:
    """A warning where these landmarks steered the registration that is now judged by them."""
    try:
        summary = json.loads((result / "result.json").read_text(encoding="utf-8"))
        recorded = summary["inputs"].get("files") or {}
    except (OSError, ValueError, KeyError):
        # A transform file, or a folder that holds transforms alone.
        return ()
    sums = {recorded[name]["sha256"] for name in ("fixed_landmarks", "moving_landmarks") if name in recorded}
    if not sums & {content_sha256(path) for path in landmarks}:
        return ()
    return ("The registration was given these landmarks, so their error says little of how good it is elsewhere.",)


def _files(options: argparse.Namespace) -> dict[str, Path]:
    result = options.result
    found = {"transform": result / "transform.h5" if result.is_dir() else result}
    names = ("inverse", "fixed", "mask", "fixed_landmarks", "moving_landmarks", "fixed_labels", "moving_labels")
    return found | {name: getattr(options, name) for name in names if getattr(options, name) is not None}
