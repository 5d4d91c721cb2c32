"""`deepregister register`: two volumes in, a folder with the transform and what shows it out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ..console import ProgressBar, interruption
from ..errors import Cancelled, InputError
from ..models.registry import find_model
from ..pointfiles import COORDINATES, read_landmark_pairs
from ..regions import Regions
from ..report import Source, check_output, save, summary
from ..result import Registration
from ..settings import DEVICES, QUALITIES, SIMILARITIES, Settings
from ..sources import SourceFile, model_source, with_files
from ..transforms import read_transform
from ..volume import Volume

DESCRIPTION = """\
Find the transform that carries MOVING onto FIXED. Both are volumes in any format that ITK reads, or folders that hold
one DICOM series; their sizes, spacings and orientations may differ.

FOLDER receives
  transform.h5        fixed to moving: resamples the moving volume onto the fixed one (ITK, 3D Slicer, ANTs)
  inverse.h5          moving to fixed: carries points of the moving volume onto the fixed one
  registered.nii.gz   the moving volume on the fixed volume's grid
  expected_error.nii.gz   mm by which each place may be off, as estimated; nine in ten by less than twice as much
  result.json         settings, quality measures, seconds by stage, versions
  report.html         all of it on one page to read, print and file: verdict, slices, maps, numbers, settings
  slices.png          three planes before and after
  scene.mrml          opens in 3D Slicer with the moving volume under its transform

With --regions, parts of FIXED may slide along each other, as lungs do along ribs: motion is smooth within each value of
the label map, 0 too, and may jump at their borders, where folds are not counted.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "register",
        help="register a moving volume to a fixed one",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fixed", type=Path, metavar="FIXED", help="the volume that stays")
    parser.add_argument("moving", type=Path, metavar="MOVING", help="the volume that is carried onto it")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the results go")
    add_settings(parser)
    start = parser.add_argument_group("what to start from and what to heed")
    start.add_argument("--fixed-frame", type=int, metavar="N", help="frame (from 0) of a four-dimensional FIXED")
    start.add_argument("--moving-frame", type=int, metavar="N", help="frame (from 0) of a four-dimensional MOVING")
    start.add_argument("--fixed-mask", type=Path, metavar="FILE", help="label map; only where it is not 0 counts")
    start.add_argument("--moving-mask", type=Path, metavar="FILE", help="the same for the moving volume")
    start.add_argument("--regions", type=Path, metavar="FILE", help="label map of what may slide in FIXED; see above")
    start.add_argument("--emphasis", type=Path, metavar="FILE", help="mask of where FIXED weighs four times as much")
    start.add_argument("--initial", type=Path, metavar="FILE", help="transform to start from, fixed to moving")
    start.add_argument(
        "--fixed-landmarks", type=Path, metavar="FILE", help="points (.mrk.json, .fcsv, .csv) that pull, with partners"
    )
    start.add_argument(
        "--moving-landmarks",
        type=Path,
        metavar="FILE",
        help="their partners: by label where both files have the same labels, else by order",
    )
    add_csv_coordinates(start)
    parser.set_defaults(run=run)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that become `Settings`."""
    default = Settings()
    group = parser.add_argument_group("settings")
    group.add_argument("--model", default=default.model, metavar="NAME", help="`deepregister models` lists them")
    group.add_argument("--quality", default=default.quality, choices=QUALITIES, help="default: %(default)s")
    group.add_argument(
        "--device", default=default.device, metavar="|".join(DEVICES), help="default: the fastest present; also cuda:N"
    )
    group.add_argument(
        "--similarity",
        default=default.similarity,
        choices=SIMILARITIES,
        help="lncc for one modality, mind for two; default: %(default)s",
    )
    group.add_argument("--field-spacing", type=float, metavar="MM", help="finest spacing of the displacement field")
    group.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        help="whether to refine the field of a learned model by optimisation; default: where its card says it helps",
    )
    group.add_argument(
        "--landmark-sigma",
        type=float,
        default=default.landmark_sigma_mm,
        metavar="MM",
        help="how exactly the landmarks were placed; smaller pulls harder; default: %(default)s",
    )
    group.add_argument("--seed", type=int, default=default.seed, metavar="N", help="of random sampling")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads; default: all")
    group.add_argument("--models-dir", type=Path, metavar="FOLDER", help="folder of your own models")


def add_csv_coordinates(parser: argparse._ActionsContainer) -> None:
    """The option that says how to read a table that does not say it."""
    parser.add_argument(
        "--csv-coordinates",
        choices=COORDINATES,
        default="LPS",
        help="of a .csv whose columns are x,y,z (l,p,s and r,a,s say it themselves); default: %(default)s",
    )


def settings_from(options: argparse.Namespace) -> Settings:
    """The `Settings` that the options ask for.

    Raises:
        InputError: a value that cannot be used.
        ModelError: there is no such model.
    """
    settings = Settings(
        model=options.model,
        quality=options.quality,
        device=options.device,
        similarity=options.similarity,
        field_spacing_mm=options.field_spacing,
        refine=options.refine,
        landmark_sigma_mm=options.landmark_sigma,
        seed=options.seed,
        threads=options.threads,
    )
    if settings.model != "auto":
        find_model(settings.model, options.models_dir)
    return settings


def run(options: argparse.Namespace) -> None:
    # All that is cheap comes first: a wrong name must not cost the user a computation, or the import of torch.
    check_output(options.output, options.fixed, options.moving)
    settings = settings_from(options)
    inputs = {
        "initial": options.initial and read_transform(options.initial),
        "landmarks": _landmarks(options),
        "fixed_mask": options.fixed_mask and Volume.read(options.fixed_mask),
        "moving_mask": options.moving_mask and Volume.read(options.moving_mask),
        "emphasis": options.emphasis and Volume.read(options.emphasis),
        "regions": options.regions and Regions(Volume.read(options.regions)).labels,
    }
    fixed = Source(options.fixed, Volume.read(options.fixed, options.fixed_frame), options.fixed_frame)
    moving = Source(options.moving, Volume.read(options.moving, options.moving_frame), options.moving_frame)
    files = _files(options)
    registration = register_with_progress(
        fixed.volume, moving.volume, settings=settings, models_dir=options.models_dir, **inputs
    )
    registration = with_files(registration, files, options.output)
    if inputs["landmarks"] is not None:
        read_as = {"csv_coordinates": options.csv_coordinates}
        registration = replace(registration, inputs={**registration.inputs, **read_as})
    save(registration, fixed, moving, options.output, inputs["landmarks"])
    print(summary(registration, options.output))


def register_with_progress(fixed: Volume, moving: Volume, **options) -> Registration:
    """`deepregister.register` under a progress bar; Ctrl-C ends it with `Cancelled`, doubts and warnings to stderr."""
    with interruption() as stop, ProgressBar() as bar:
        try:
            from ..registration import register
        except OSError as error:
            # A torch whose libraries are damaged or do not fit this system.
            raise ImportError(str(error), name="torch") from error
        registration = register(fixed, moving, progress=bar, cancelled=stop, **options)
        if stop():
            raise Cancelled()
    for sentence in (*registration.confidence.sentences, *registration.warnings):
        print(f"Note: {sentence}", file=sys.stderr)
    return registration


def _files(options: argparse.Namespace) -> dict[str, SourceFile | None]:
    frames = {"fixed": options.fixed_frame, "moving": options.moving_frame}
    names = ("fixed_mask", "moving_mask", "regions", "emphasis", "initial", "fixed_landmarks", "moving_landmarks")
    given = {name: getattr(options, name) for name in names}
    files = {name: SourceFile.of(getattr(options, name), frame) for name, frame in frames.items()}
    files |= {name: SourceFile.of(path) for name, path in given.items() if path is not None}
    return {**files, "model": model_source(options.model, options.models_dir)}


def _landmarks(options: argparse.Namespace):
    given = [path for path in (options.fixed_landmarks, options.moving_landmarks) if path]
    if len(given) == 1:
        raise InputError(
            f"Landmarks were given for one volume only ({given[0]}). Give both --fixed-landmarks and "
            "--moving-landmarks, or neither."
        )
    return read_landmark_pairs(*given, options.csv_coordinates) if given else None
