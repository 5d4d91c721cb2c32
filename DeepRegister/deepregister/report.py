"""What a run leaves for people: the result folder with pictures and a Slicer scene, and a short table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .confidence import ADVICE
from .console import duration, table
from .errors import FileError
from .folders import check_writable, filling
from .landmarks import LandmarkPairs
from .page import NAME as PAGE
from .page import check_packages, write_page
from .page.numbers import measure_rows
from .page.verdict import judge
from .pictures import write_pictures
from .result import FILES, Registration
from .slicer_scene import slicer_reads, write_scene
from .transforms import Composite, DisplacementField, Transform
from .volume import Volume

SCENE_FIELD = "displacement.nrrd"
SCENE_COPIES = ("fixed.nrrd", "moving.nrrd")
RESULTS = (*FILES, "slices.png", "scene.mrml", PAGE)


@dataclass(frozen=True)
class Source:
    """A volume and where it came from.

    Attributes:
        path: the file or DICOM folder.
        volume: what was read from it.
        frame: which of several volumes in the file it is; None where there is only one.
    """

    path: Path
    volume: Volume
    frame: int | None = None

    def titled(self) -> Volume:
        """The volume under the name that a person knows it by: the file's, and which frame of it."""
        name = self.path.name if self.frame is None else f"{self.path.name}, frame {self.frame}"
        return replace(self.volume, name=name)


def check_output(folder: str | os.PathLike, *inputs: Path) -> None:
    """Raise an error before the computation rather than after it if the result could not be saved.

    Raises:
        FileError: `folder` cannot be written, or an input would be overwritten.
        MissingPackageError: the report page needs a package that is not there.
    """
    check_packages()
    check_writable(folder)
    folder = Path(folder).resolve()
    for path in inputs:
        if path.resolve().parent == folder and path.name in (*RESULTS, SCENE_FIELD, *SCENE_COPIES):
            raise FileError(f"The results would overwrite the input {path}. Choose another output folder.")


def save(
    registration: Registration,
    fixed: Source,
    moving: Source,
    folder: str | os.PathLike,
    landmarks: LandmarkPairs | None = None,
) -> Path:
    """Write the result, report.html, slices.png and scene.mrml into `folder`: all of it or nothing.

    The scene refers to the inputs where they are; where Slicer could not read them there, copies are written. A
    deformable transform is written once more for it, as one dense field: that is what all of Slicer's tools work on.

    Args:
        registration: the result.
        fixed, moving: what was registered.
        folder: made if missing.
        landmarks: the pairs that steered the run, for the report's table of them.

    Raises:
        FileError: the folder cannot be made or written.
        MissingPackageError: the report page needs a package that is not there.
    """
    folder = Path(folder)
    # What an earlier run left under these names is not this result's.
    with filling(folder, own=(*RESULTS, SCENE_FIELD, *SCENE_COPIES)) as aside:
        registration.save(aside)
        registered = registration.registered
        if registered is None:
            registered = registration.transform.resample(moving.volume, fixed.volume.geometry)
        settings = registration.settings
        caption = f"{moving.path.name} onto {fixed.path.name}: {settings.model}, {settings.quality}"
        write_pictures(aside / "slices.png", fixed.volume, moving.volume, registered, caption)
        transform = "transform.h5"
        if _is_dense(registration.transform):
            transform = SCENE_FIELD
            registration.transform.write(aside / SCENE_FIELD)
        files = [
            _file_for_scene(source, folder, aside / copy)
            for source, copy in zip((fixed, moving), SCENE_COPIES, strict=True)
        ]
        names = _names(fixed, moving)
        write_scene(aside / "scene.mrml", *files, transform, fixed.volume.geometry, names)
        write_page(aside / PAGE, registration, fixed.titled(), moving.titled(), landmarks=landmarks)
    return folder


def summary(registration: Registration, folder: str | os.PathLike) -> str:
    """The run in a table: each measure before and after, folding, time, confidence, device, where it was saved."""
    failed = judge(registration).level == "failed"
    rows: list[Sequence[str]] = [("", "before", "after")]
    rows += [(row.title, row.before, row.after) for row in measure_rows(registration.measures, failed)]
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in registration.seconds.items() if seconds >= 0.05)
    total = sum(registration.seconds.values())
    rows.append(("Time", "", f"{duration(total)} ({stages})"))
    confidence = registration.confidence
    advice = f": {ADVICE}" if confidence.low else ""
    rows.append(("Confidence (0 to 1)", "", f"{confidence.score:.2f}, {confidence.level}{advice}"))
    settings = registration.settings
    rows.append(("Model", "", f"{settings.model}, {settings.quality}, on {registration.device}"))
    rows.append(("Results", "", str(Path(folder).resolve())))
    return table(rows)


def _is_dense(transform: Transform) -> bool:
    parts = transform.parts if isinstance(transform, Composite) else (transform,)
    return any(isinstance(part, DisplacementField) for part in parts)


def _file_for_scene(source: Source, folder: Path, copy: Path) -> Path:
    if source.frame is None and slicer_reads(source.path):
        path, home = source.path.resolve(), folder.resolve()
        return path.relative_to(home) if path.is_relative_to(home) else path
    source.volume.write(copy)
    return Path(copy.name)


def _names(fixed: Source, moving: Source) -> tuple[str, str]:
    names = [source.path.name.split(".")[0] or source.path.name for source in (fixed, moving)]
    return (names[0], names[1]) if names[0] != names[1] else (f"{names[0]} (fixed)", f"{names[1]} (moving)")
