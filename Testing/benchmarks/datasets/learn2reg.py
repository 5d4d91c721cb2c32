"""Data sets in the layout of the Learn2Reg challenge, LUMIR among them.

A folder holds `TASK_dataset.json` and `imagesTr/TASK_0001_0000.nii.gz` (case, modality), with files of the same name
under `labelsTr`, `masksTr`, `landmarksTr` and `keypointsTr` where the task has them (`Ts` for the test cases). Points
are voxels of their image, counted from 0, along the axes of the NIfTI file (Hering et al., IEEE TMI 2023; as the
challenge's own evaluation at https://github.com/MDL-UzL/L2R reads them).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from deepregister.errors import FileError

from .pair import BenchmarkPair, folder_of, voxel_landmarks

TASKS = ("AbdomenCTCT", "AbdomenMRCT", "HippocampusMR", "LungCT", "NLST", "OASIS", "ThoraxCBCT", "LUMIR", "LUMIR25")
# Of LUMIR the pairs are called "validation"; other tasks have a list of that name with images alone, or none.
SPLITS = {"validation": ("registration_val", "validation"), "test": ("registration_test", "test")}


def learn2reg(folder: Path, count: int | None = None, split: str = "validation") -> list[BenchmarkPair]:
    """The pairs of one task that the challenge evaluates on.

    Args:
        folder: holds one `*_dataset.json`.
        count: at most so many, the first ones.
        split: "validation" or "test".

    Raises:
        FileError: no description of a data set, or more than one; no such pairs; an image that is missing.
    """
    described = sorted(folder.glob("*_dataset.json"))
    if len(described) != 1:
        raise FileError(f"{folder} holds {len(described)} files *_dataset.json, and one is needed.")
    try:
        content = json.loads(described[0].read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{described[0]} is not JSON: {error}. Unpack the data set again.") from None
    task = content.get("name") or described[0].name.removesuffix("_dataset.json")
    listed = [
        entry
        for key in SPLITS[split]
        for entry in content.get(key) or []
        if isinstance(entry, dict) and "fixed" in entry
    ]
    if not listed:
        raise FileError(f"{described[0]} lists no pairs under {' or '.join(SPLITS[split])}.")
    names = _label_names(content.get("labels"))
    return [_pair(task, folder, folder / entry["fixed"], folder / entry["moving"], names) for entry in listed[:count]]


def _pair(task: str, folder: Path, fixed: Path, moving: Path, names: dict[int, str]) -> BenchmarkPair:
    for image in (fixed, moving):
        if not image.is_file():
            raise FileError(f"{image} is listed in the data set and missing. Unpack the data set whole.")
    labels = [_beside(image, "labels") for image in (fixed, moving)]
    have_labels = all(path.is_file() for path in labels)
    points = {
        kind: tuple(_points(image, kind, fixed, moving) for image in (fixed, moving))
        for kind in ("landmarks", "keypoints")
    }
    points = {kind: files for kind, files in points.items() if all(path.is_file() for path in files)}
    # What people set comes first; keypoints were found by a program.
    parts = {"all" if number == 0 else kind: files for number, (kind, files) in enumerate(points.items())}
    mask = _beside(fixed, "masks")
    return BenchmarkPair(
        f"{task} {_case(fixed, task)}<-{_case(moving, task)}",
        fixed,
        moving,
        *(labels if have_labels else (None, None)),
        landmarks=voxel_landmarks(parts, fixed, moving) if parts else None,
        held_out=True,
        mask=mask if mask.is_file() else None,
        label_names=names if have_labels else {},
    )


def _beside(image: Path, kind: str) -> Path:
    """imagesTr/X.nii.gz -> labelsTr/X.nii.gz."""
    return image.parent.with_name(image.parent.name.replace("images", kind, 1)) / image.name


def _points(image: Path, kind: str, fixed: Path, moving: Path) -> Path:
    """The description names them .nii.gz, but they are .csv; where one image has several partners, the folder's name
    says which modality the points are for: keypoints02Tr are those between 0000 and 0002."""
    modalities = sorted({_modality(fixed), _modality(moving)})
    path = _beside(image, kind)
    several = path.parent.with_name(path.parent.name.replace(kind, f"{kind}0{modalities[-1][-1]}", 1))
    return (several if several.is_dir() else path.parent) / (image.name.split(".")[0] + ".csv")


def _modality(image: Path) -> str:
    return image.name.split(".")[0].rsplit("_", 1)[-1]


def _case(image: Path, task: str) -> str:
    return image.name.split(".")[0].removeprefix(f"{task}_")


def _label_names(listed: object) -> dict[int, str]:
    """{"1": "liver"}, or that under the number of a modality; background left out."""
    if not isinstance(listed, dict):
        return {}
    flat = {key: value for key, value in listed.items() if isinstance(value, str)}
    for inner in listed.values():
        flat |= (
            {key: value for key, value in inner.items() if isinstance(value, str)} if isinstance(inner, dict) else {}
        )
    return {int(key): value for key, value in flat.items() if key.isdigit() and int(key) != 0}


def _task(task: str) -> Callable[[Path, int | None], list[BenchmarkPair]]:
    def load(data: Path, count: int | None = None) -> list[BenchmarkPair]:
        marker = f"{task}_dataset.json"
        what = f"{task} of Learn2Reg (https://learn2reg.grand-challenge.org)"
        return learn2reg(folder_of(data, (task, f"learn2reg/{task}", f"Learn2Reg/{task}"), marker, what), count)

    load.__doc__ = f"The validation pairs of {task}; held out."
    return load


DATASETS = {("" if task.startswith("LUMIR") else "learn2reg-") + task.lower(): _task(task) for task in TASKS}
