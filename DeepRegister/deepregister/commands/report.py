"""`deepregister report`: the report page of a result that was saved before."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from ..errors import DeepRegisterError, FileError, InputError
from ..folders import check_writable
from ..landmarks import LandmarkPairs
from ..page import NAME, check_packages, write_page
from ..pointfiles import read_landmark_pairs
from ..report import Source
from ..result import Registration
from ..sources import TITLES, SourceFile
from ..volume import Volume

DESCRIPTION = """\
Write report.html for a result that was saved before: one page with the verdict, slices before and after, maps of the
deformation, all numbers, settings and versions. It needs no other file and no network to be read or printed.

FOLDER is a result folder of `deepregister register`, `demo` or `batch`, which knows where its volumes lie, or one that
was saved from Python; where they are not known or have been moved, --fixed and --moving name them.
"""
# Headers round: by so much a voxel may lie elsewhere than when the result was made, mm.
TOLERANCE_MM = 0.01


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "report",
        help="write the report page of a saved result",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="result folder")
    for side in ("fixed", "moving"):
        parser.add_argument(f"--{side}", type=Path, metavar="FILE", help=f"the {side} volume, where it is now")
        parser.add_argument(
            f"--{side}-frame", type=int, metavar="N", help=f"its frame (from 0), of a series in --{side}"
        )
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: {NAME} in FOLDER")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    check_packages()
    output = options.output or options.folder / NAME
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"The report is a page for a browser, so {output.name} should end in .html.")
    registration = Registration.load(options.folder)
    if not output.parent.is_dir():
        raise FileError(f"The folder {output.parent} does not exist. Create it or choose another.")
    check_writable(output.parent)
    fixed, moving = (
        _source(registration, side, options.folder, getattr(options, side), getattr(options, f"{side}_frame"))
        for side in ("fixed", "moving")
    )
    landmarks = _landmarks(registration, options.folder)
    write_page(output, registration, fixed.titled(), moving.titled(), landmarks=landmarks)
    print(f"Wrote {output}")


def _source(registration: Registration, side: str, folder: Path, named: Path | None, frame: int | None) -> Source:
    """The volume of one side, and a `FileError` or `InputError` if it is not the one that was registered."""
    if named is None:
        file = _file(registration, side)
        if file is None:
            raise FileError(
                f"{folder} does not say where its {side} volume lies: the result was not made from files. Name the "
                f"volume with --{side} FILE."
            )
        try:
            named = file.find(folder, TITLES[side])
        except FileError as error:
            raise FileError(f"{error} Where it lies elsewhere now, name it with --{side} FILE.") from None
        frame = file.frame
    source = Source(named, Volume.read(named, frame), frame)
    known = registration.inputs.get(side)
    if known is None:
        return source
    there, was = (
        source.volume.geometry,
        (known["size"], known["spacing_mm"], known["origin_lps_mm"], known["direction"]),
    )
    now = (there.size, there.spacing, there.origin, there.direction)
    # Axes are unit vectors: what they tell apart grows with the volume.
    reach = float(max(there.extent_mm))
    scales = (1, 1, 1, reach)
    if not all(
        np.shape(a) == np.shape(b) and np.abs(np.subtract(a, b)).max() * scale <= TOLERANCE_MM
        for a, b, scale in zip(now, was, scales, strict=True)
    ):
        raise InputError(
            f"{named} is not the {side} volume of this result: it has {there.describe()} with the origin "
            f"{_rounded(there.origin)}, the one that was registered {'x'.join(map(str, known['size']))} voxels of "
            f"{'x'.join(f'{s:.3g}' for s in known['spacing_mm'])} mm with {_rounded(known['origin_lps_mm'])}. Name the "
            f"right one with --{side} FILE."
        )
    return source


def _file(registration: Registration, name: str) -> SourceFile | None:
    values = (registration.inputs.get("files") or {}).get(name)
    return values and SourceFile.from_dict(values)


def _landmarks(registration: Registration, folder: Path) -> LandmarkPairs | None:
    """The pairs that steered the run; a report without their table is better than none."""
    files = [_file(registration, f"{side}_landmarks") for side in ("fixed", "moving")]
    if None in files:
        return None
    try:
        paths = [
            file.find(folder, TITLES[f"{side}_landmarks"])
            for file, side in zip(files, ("fixed", "moving"), strict=True)
        ]
        return read_landmark_pairs(*paths, registration.inputs.get("csv_coordinates", "LPS"))
    except DeepRegisterError as error:
        print(f"Note: The report has no table of landmarks. {error}", file=sys.stderr)
        return None


def _rounded(values) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in values)
