"""`deepregister demo`: register a pair of real images and show how well it went."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..console import interruption, table
from ..demo import PAIRS, DemoPair, Structure, fetch
from ..errors import Cancelled, FileError
from ..quality import dice
from ..report import Source, check_output, save, summary
from ..sources import SourceFile, model_source, with_files
from ..transforms import Composite, Rigid, Transform
from ..volume import Volume
from .register import add_settings, register_with_progress, settings_from

DEFAULT_OUTPUT = "deepregister-demo"


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "demo",
        help="register a pair of real images",
        description="Fetch a pair of real images, register them, and show how well it went: a table, pictures, and a "
        "scene that 3D Slicer opens.",
    )
    parser.add_argument(
        "--pair",
        choices=tuple(PAIRS),
        default="chest",
        help="; ".join(f"{name}: {pair.title}" for name, pair in PAIRS.items()) + "; default: %(default)s",
    )
    parser.add_argument(
        "--output", type=Path, default=Path(DEFAULT_OUTPUT), metavar="FOLDER", help="default: %(default)s"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where the images' packages lie already (no network)"
    )
    add_settings(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    pair = PAIRS[options.pair]
    check_output(options.output)
    settings = settings_from(options)
    images = options.output / "images"
    fetch_images(pair, images, options.data)
    (images / "CREDITS.txt").write_text(pair.credit, encoding="utf-8")

    fixed, moving = (Source(images / item.file, Volume.read(images / item.file)) for item in (pair.fixed, pair.moving))
    print(f"Registering {pair.title}", file=sys.stderr)
    registration = register_with_progress(fixed.volume, moving.volume, settings=settings, models_dir=options.models_dir)
    scores = overlaps(pair, images, fixed.volume, registration.transform)
    if scores:
        registration = replace(registration, measures={**registration.measures, "overlap_dice": scores})
    files = {name: SourceFile.of(source.path) for name, source in (("fixed", fixed), ("moving", moving))}
    files["model"] = model_source(options.model, options.models_dir)
    registration = with_files(registration, files, options.output)
    save(registration, fixed, moving, options.output)
    if scores:
        stages = tuple(next(iter(scores.values())))
        rows = [(name, *(f"{score[stage]:.3f}" for stage in stages)) for name, score in scores.items()]
        print(table([("Overlap (Dice)", *stages), *rows]) + "\n")
    print(summary(registration, options.output))
    print(f"\n{pair.credit}\nOpen report.html in a browser, or scene.mrml in 3D Slicer.")


def fetch_images(pair: DemoPair, folder: Path, archives: Path | None) -> None:
    """Fetch the images of `pair` into `folder`; where that fails or is stopped, only whole images are left behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot make the folder {folder}: {error.strerror}. Choose another.") from error
    try:
        with interruption() as stop:
            fetch(pair, folder, archives, lambda text: print(text, file=sys.stderr), stop)
            if stop():
                raise Cancelled()
    finally:
        # Folders that stayed empty were made here.
        for made in (folder, folder.parent):
            with contextlib.suppress(OSError):
                made.rmdir()


def overlaps(pair: DemoPair, images: Path, fixed: Volume, transform: Transform) -> dict[str, dict[str, float]]:
    """Dice overlap of each structure on the fixed grid: as the files have it, through the affine part of the result
    where it has one, and through all of it."""
    stages = {"before": Rigid.identity()}
    if isinstance(transform, Composite):
        stages["affine part"] = transform.parts[-1]
    stages["after"] = transform
    return {
        structure.name: {stage: _overlap(structure, images, fixed, through) for stage, through in stages.items()}
        for structure in pair.structures
    }


def _overlap(structure: Structure, images: Path, fixed: Volume, transform: Transform) -> float:
    there, here = (Volume.read(images / item.file) for item in (structure.fixed, structure.moving))
    there = replace(there, data=(there.data > 0).astype(np.uint8))
    here = replace(here, data=np.isin(here.data, structure.moving_values).astype(np.uint8))
    on_fixed = Rigid.identity().resample(there, fixed.geometry, "nearest")
    carried = transform.resample(here, fixed.geometry, "nearest")
    return dice(on_fixed.data, carried.data)[1]
