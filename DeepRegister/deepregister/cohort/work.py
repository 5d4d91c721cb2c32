"""One row of a cohort: registered, measured and saved; or, where that was done before, read. Knows nothing of Dask."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..folders import settle
from ..labelmaps import read_label_maps
from ..pointfiles import read_landmark_pairs
from ..progress import Progress
from ..quality import dice
from ..report import RESULTS, Source, save
from ..sources import SourceFile, model_source, with_files
from ..transforms import Rigid, Transform
from ..volume import Volume
from .outcome import Outcome
from .rows import Row

# Where and how fast it is computed is not what was asked for: a cohort may go on elsewhere.
_NOT_ASKED = ("device", "threads")
_FILES = (
    "fixed_mask",
    "moving_mask",
    "regions",
    "initial",
    "fixed_landmarks",
    "moving_landmarks",
    "fixed_labels",
    "moving_labels",
)


def register_row(
    row: Row,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Outcome:
    """Register a row and fill its folder, unless that holds the result of the same files and settings already.

    Args:
        row: the pair.
        progress, cancelled: as for `deepregister.register`.

    Raises:
        DeepRegisterError: the files cannot be registered; the folder is as it was before.
    """
    files = source_files(row)
    names = row.name, str(row.fixed), str(row.moving)
    settle(row.folder)
    earlier = finished(row, files)
    if earlier is not None:
        return replace(Outcome.of_result(*names, earlier), reused=True)
    # What a process that was killed while it wrote has left behind; nobody else writes here.
    for leftover in row.folder.glob(".unfinished-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # torch is loaded only where something is computed.
    from ..registration import register

    fixed = Source(row.fixed, Volume.read(row.fixed, row.fixed_frame), row.fixed_frame)
    moving = Source(row.moving, Volume.read(row.moving, row.moving_frame), row.moving_frame)
    landmarks, read_as = None, {}
    if row.fixed_landmarks and row.moving_landmarks:
        read_as = {"csv_coordinates": row.csv_coordinates}
        landmarks = read_landmark_pairs(row.fixed_landmarks, row.moving_landmarks, row.csv_coordinates)
    registration = register(
        fixed.volume,
        moving.volume,
        settings=row.settings,
        fixed_mask=row.fixed_mask,
        moving_mask=row.moving_mask,
        regions=row.regions,
        initial=row.initial,
        landmarks=landmarks,
        models_dir=row.models_dir,
        progress=progress,
        cancelled=cancelled,
    )
    registration = replace(
        registration,
        measures={**registration.measures, **overlap(row, registration.transform)},
        inputs={**registration.inputs, "asked": asked(row), **read_as},
    )
    registration = with_files(registration, files, row.folder)
    save(registration, fixed, moving, row.folder, landmarks)
    return Outcome.of_result(*names, registration.summary())


def source_files(row: Row) -> dict[str, SourceFile | None]:
    """The files of a row, and its model where it is the user's own, as they are now.

    Raises:
        FileError: one is missing or cannot be read.
    """
    files = {"fixed": SourceFile.of(row.fixed, row.fixed_frame), "moving": SourceFile.of(row.moving, row.moving_frame)}
    given = {name: getattr(row, name) for name in _FILES}
    files |= {name: SourceFile.of(path) for name, path in given.items() if path is not None}
    return {**files, "model": model_source(row.settings.model, row.models_dir)}


def finished(row: Row, files: Mapping[str, SourceFile | None]) -> dict[str, Any] | None:
    """The content of the row's result.json where its folder holds the whole result of these files and settings."""
    if not all((row.folder / name).is_file() for name in RESULTS):
        return None
    try:
        summary = json.loads((row.folder / "result.json").read_text(encoding="utf-8"))
        known = {name: (entry["sha256"], entry["frame"]) for name, entry in summary["inputs"]["files"].items()}
        same = known == {name: (file.sha256, file.frame) for name, file in files.items() if file is not None}
        same = same and summary["inputs"]["asked"] == asked(row)
        Outcome.of_result(row.name, "", "", summary)
    # Another program's file, an older version's, half a file: whatever it is, it is not this result.
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return summary if same else None


def asked(row: Row) -> dict[str, Any]:
    """What a result is the answer to, beside its files: the settings, and how tables of landmarks were read."""
    settings = {name: value for name, value in row.settings.to_dict().items() if name not in _NOT_ASKED}
    return {**settings, "csv_coordinates": row.csv_coordinates if row.fixed_landmarks else None}


def overlap(row: Row, transform: Transform) -> dict[str, Any]:
    """Dice of the row's label maps on the grid of the fixed one, before and after; empty where it has none.

    Returns:
        "overlap_dice": by structure that both maps hold, before and after; "dice_before", "dice_after": their means.
    """
    if row.fixed_labels is None or row.moving_labels is None:
        return {}
    maps = read_label_maps(row.fixed_labels, row.moving_labels)
    fixed, moving = (each.volume for each in maps)
    labels = sorted(set(np.unique(fixed.data).tolist()) & set(np.unique(moving.data).tolist()) - {0})
    scores = {
        stage: dice(fixed.data, through.resample(moving, fixed.geometry, "nearest").data, labels)
        for stage, through in (("before", Rigid.identity()), ("after", transform))
    }
    names = {label: f"{label} {maps[0].names.get(label, '')}".rstrip() for label in labels}
    structures = {names[label]: {stage: score[label] for stage, score in scores.items()} for label in labels}
    if not structures:
        return {}
    means = {f"dice_{stage}": float(np.mean([score[label] for label in labels])) for stage, score in scores.items()}
    return {"overlap_dice": structures, **means}
