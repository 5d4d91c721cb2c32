"""`deepregister rerun`: do a saved run again and say whether the same came out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..errors import FileError, InputError
from ..repetition import Comparison, Recipe, compare
from ..report import check_output, save, summary
from ..result import Registration
from ..settings import DEVICES
from ..sources import with_files
from .register import register_with_progress

DESCRIPTION = """\
Register again what RESULT came from, with its settings, and compare the new transform with the saved one.

On the same machine and with the same versions the CPU gives the same transform bit for bit. Elsewhere it is told what
is not as it was (versions, device, threads) and how far apart the two transforms take the voxels of the fixed volume.

The files are looked for where they were, then as far from the result folder as they were; one that is gone or whose
content has changed ends the command with status 2.
"""
EXIT_DIFFERENT = 1


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "rerun",
        help="do a saved run again and compare",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("result", type=Path, metavar="RESULT", help="result folder, or the result.json in it")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the new result goes; default: nowhere")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"end with status {EXIT_DIFFERENT} unless the transform is the same: bit for bit, or within --tolerance",
    )
    parser.add_argument(
        "--tolerance", type=float, metavar="MM", help="the largest difference that --check lets pass as the same"
    )
    parser.add_argument(
        "--device", metavar="|".join(DEVICES), help="compute on this one; default: as the saved run, CPU or not"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    folder = options.result.parent if options.result.name == "result.json" else options.result
    if options.tolerance is not None and not (options.check and options.tolerance >= 0):
        raise InputError(f"--tolerance {options.tolerance:g} is for --check, and a length in mm of at least 0.")
    if options.output is not None:
        if options.output.resolve() == folder.resolve():
            raise FileError(f"The new result would overwrite the saved one in {folder}. Choose another --output.")
        check_output(options.output)
    saved = Registration.load(folder)
    recipe = Recipe.of(saved, folder)
    if options.output is not None:
        check_output(options.output, *(source.path for source in recipe.files.values()))
    settings = replace(recipe.settings, device=options.device) if options.device else recipe.settings
    again = register_with_progress(
        recipe.fixed.volume,
        recipe.moving.volume,
        settings=settings,
        models_dir=recipe.models_dir,
        fixed_mask=recipe.fixed_mask,
        moving_mask=recipe.moving_mask,
        regions=recipe.regions,
        emphasis=recipe.emphasis,
        initial=recipe.initial,
        landmarks=recipe.landmarks,
    )
    comparison = compare(saved, again, recipe.fixed.volume.geometry)
    if options.output is not None:
        again = with_files(again, recipe.files, options.output)
        if recipe.csv_coordinates is not None:
            again = replace(again, inputs={**again.inputs, "csv_coordinates": recipe.csv_coordinates})
        save(again, recipe.fixed, recipe.moving, options.output, recipe.landmarks)
        print(summary(again, options.output) + "\n")
    print(report(comparison))
    same = comparison.identical or (options.tolerance is not None and comparison.max_mm <= options.tolerance)
    return EXIT_DIFFERENT if options.check and not same else 0


def report(comparison: Comparison) -> str:
    """The comparison in sentences."""
    if comparison.identical:
        lines = ["The transform is the same, bit for bit."]
    else:
        lines = [
            f"The transform differs: over the voxels of the fixed volume by {comparison.mean_mm:.3g} mm on average and "
            f"{comparison.max_mm:.3g} mm at most."
        ]
    lines += comparison.differences
    if not comparison.identical and not comparison.differences:
        lines.append(
            "Versions, device, threads and settings are as they were; another processor may round otherwise, and "
            "graphics cards do not sum in a fixed order."
        )
    return "\n".join(lines)
