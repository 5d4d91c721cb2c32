"""`deepregister apply`: take a saved transform to volumes, label maps and points."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileError, InputError
from ..folders import check_writable
from ..pointfiles import is_point_file, read_points, write_points
from ..transforms import Transform, read_transform
from ..transforms.base import INTERPOLATIONS
from ..transforms.inversion import inverse_at, inverse_on
from ..volume import Volume
from .register import add_csv_coordinates

DESCRIPTION = """\
Carry INPUT, which belongs to the MOVING volume, onto the FIXED one; with --inverse, carry what belongs to the fixed
volume onto the moving one. This holds for volumes, label maps and points alike; you need not think about the rest:

  A registration's transform maps points of the fixed volume to points of the moving one. That is what resampling needs
  (every voxel of the result asks where to look), so volumes use the transform, and points of the moving volume its
  inverse.

TRANSFORM is a result folder of `deepregister register`, where both directions are at hand, or a transform file (.h5,
.tfm, .txt, .mat; or a displacement field as .nii.gz, .nrrd, .mha), whose inverse is computed where it is needed.
"""
FEW_LABELS = 256


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "apply",
        help="take a transform to a volume, a label map or points",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("transform", type=Path, metavar="TRANSFORM", help="result folder or transform file")
    parser.add_argument(
        "input", type=Path, metavar="INPUT", help="volume, label map, or points: .mrk.json, .fcsv, .csv"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="its ending chooses the format")
    parser.add_argument("--inverse", action="store_true", help="carry from the fixed volume onto the moving one")
    images = parser.add_argument_group("volumes and label maps")
    images.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="volume whose grid the result gets: the fixed one, with --inverse the moving one; "
        "a result folder knows the fixed one",
    )
    images.add_argument(
        "--interpolation",
        choices=tuple(INTERPOLATIONS),
        default="linear",
        help="default: %(default)s; label: see --labels",
    )
    images.add_argument(
        "--labels",
        dest="interpolation",
        action="store_const",
        const="label",
        help="the input is a label map: no new values, smooth borders (the same as --interpolation label)",
    )
    images.add_argument("--frame", type=int, metavar="N", help="frame (from 0) of a four-dimensional input")
    add_csv_coordinates(parser.add_argument_group("points"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if not options.output.parent.is_dir():
        raise FileError(f"The folder {options.output.parent} does not exist. Create it or choose another.")
    check_writable(options.output.parent)
    pair = TransformPair.read(options.transform)
    if is_point_file(options.input):
        _apply_to_points(pair, options)
    else:
        _apply_to_volume(pair, options)
    print(f"Wrote {options.output}")


@dataclass(frozen=True)
class TransformPair:
    """A saved transform.

    Attributes:
        fixed_to_moving: the transform itself.
        moving_to_fixed: its inverse as it was saved with it; None where there is none.
        fixed: a volume on the grid of the fixed one, where the result folder has it.
    """

    fixed_to_moving: Transform
    moving_to_fixed: Transform | None = None
    fixed: Path | None = None

    @classmethod
    def read(cls, path: Path) -> TransformPair:
        """Read a result folder or a transform file.

        Raises:
            FileError: it is missing or damaged.
            TransformError: it is of another dimension or kind.
        """
        if not path.is_dir():
            return cls(read_transform(path))
        registered = path / "registered.nii.gz"
        return cls(
            read_transform(path / "transform.h5"),
            read_transform(path / "inverse.h5"),
            registered if registered.is_file() else None,
        )


def _apply_to_points(pair: TransformPair, options: argparse.Namespace) -> None:
    if not is_point_file(options.output):
        raise InputError(
            f"{options.input.name} holds points, so the output cannot be {options.output.name}: its name must end in "
            ".mrk.json, .fcsv or .csv."
        )
    read = read_points(options.input, options.csv_coordinates)
    if options.inverse:
        write_points(read.moved_to(pair.fixed_to_moving.apply_to_points(read.points)), options.output)
        return
    carried, known = inverse_at(pair.fixed_to_moving, read.points)
    write_points(read.moved_to(carried), options.output)
    if not known.all():
        lost = [read.labels[n] or f"number {n + 1}" for n in np.flatnonzero(~known)]
        print(
            f"Note: {len(lost)} of {len(known)} points lie outside of what was registered, where the inverse is not "
            f"known; do not trust their places: {', '.join(lost[:10])}{', ...' if len(lost) > 10 else ''}.",
            file=sys.stderr,
        )


def _apply_to_volume(pair: TransformPair, options: argparse.Namespace) -> None:
    if is_point_file(options.output):
        raise InputError(
            f"{options.input.name} is a volume, so the output cannot be {options.output.name}: its name must end like "
            "a volume's, in .nii.gz, .nrrd or .mha."
        )
    reference = options.reference or (None if options.inverse else pair.fixed)
    if reference is None:
        raise InputError(
            "On which grid shall the result lie? Give --reference with the volume that has it: the fixed one, "
            "with --inverse the moving one."
        )
    grid = Volume.read(reference).geometry
    volume = Volume.read(options.input, options.frame)
    if options.interpolation in ("linear", "cubic") and looks_like_labels(volume):
        print(
            f"Note: {options.input.name} looks like a label map; between labels, {options.interpolation} interpolation "
            "makes values that are no labels. If it is one, use --labels.",
            file=sys.stderr,
        )
    if options.inverse:
        transform = pair.moving_to_fixed or inverse_on(pair.fixed_to_moving, grid)
    else:
        transform = pair.fixed_to_moving
    transform.resample(volume, grid, options.interpolation).write(options.output)


def looks_like_labels(volume: Volume) -> bool:
    """Whether the voxels are few different whole numbers in large uniform regions."""
    data = volume.data
    if data.dtype.kind == "f" and not np.all(data == np.round(data)):
        return False
    along = data[..., 1:]
    inside = along != data.min()
    if not inside.any() or np.mean((along == data[..., :-1])[inside]) < 0.6:
        return False
    return len(np.unique(data)) <= FEW_LABELS
