"""One pair that methods are compared on, and what its files hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from deepregister import Geometry, Volume
from deepregister.errors import FileError
from deepregister.landmarks import LandmarkPairs


@dataclass(frozen=True)
class BenchmarkPair:
    """One pair and what tells how well it was registered.

    Attributes:
        name: unique; ends with `FIXED<-MOVING` where images are in several pairs, for the intervals of means.
        fixed, moving: image files.
        fixed_labels, moving_labels: label maps, where overlap is the measure.
        landmarks: makes the landmark pairs by name ("all" and parts), where their error is the measure.
        held_out: whether nothing may be tuned on it: each evaluation is written into the ledger.
        mask: of the fixed image: where folds and the inverse are measured; None takes the labels, or everything.
        label_names: of the structures, where the data set says them.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    landmarks: Callable[[], dict[str, LandmarkPairs]] | None = None
    held_out: bool = False
    mask: Path | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)


def labels(path: Path) -> Volume:
    """A label map as integers."""
    return Volume.read(path).astype(np.int32)


def header(path: Path) -> Geometry:
    """The grid of an image file, without its voxels."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise FileError(f"{path} is no image that can be read: {error}.") from None
    # A fourth dimension of one frame, as Analyze files have it.
    direction = np.array(reader.GetDirection()).reshape(reader.GetDimension(), -1)[:3, :3]
    axes = tuple(map(tuple, direction))
    return Geometry(reader.GetSize()[:3], reader.GetSpacing()[:3], reader.GetOrigin()[:3], axes)


def voxel_points(path: Path, image: Path, first: int = 0) -> np.ndarray:
    """Points that a text file gives as voxels (i, j, k) of an image, (n, 3), LPS mm.

    Args:
        path: three numbers a line, separated by commas or blanks.
        image: whose voxels they are.
        first: the number of an axis' first voxel: 0, or 1 where the points were set in MATLAB.

    Raises:
        FileError: it is missing, or holds something else.
    """
    return header(image).index_to_point(_rows(path) - first)


def voxel_landmarks(
    parts: Mapping[str, tuple[Path, Path]], fixed: Path, moving: Path, first: int = 0
) -> Callable[[], dict[str, LandmarkPairs]]:
    """What makes landmark pairs by name from files of voxels, (fixed, moving) for each name; see `voxel_points`."""
    return partial(_read_landmarks, parts, fixed, moving, first)


def _read_landmarks(parts, fixed: Path, moving: Path, first: int) -> dict[str, LandmarkPairs]:
    return {
        name: LandmarkPairs(voxel_points(files[0], fixed, first), voxel_points(files[1], moving, first))
        for name, files in parts.items()
    }


def _rows(path: Path) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8").replace(",", " ")
        rows = np.array([line.split() for line in text.splitlines() if line.strip()], dtype=float)
    except (OSError, ValueError) as error:
        raise FileError(f"{path} does not hold points, three numbers a line: {error}.") from None
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise FileError(f"{path} holds a table of shape {rows.shape}, not points of three numbers a line.")
    return rows


def folder_of(data: Path, names: tuple[str, ...], marker: str, what: str) -> Path:
    """The first folder of these names under `data`, or `data` itself, that holds a file of the pattern `marker`.

    Raises:
        FileError: there is none; `what` says what it is and where it comes from.
    """
    for folder in (*(data / name for name in names), data):
        if folder.is_dir() and next(folder.glob(marker), None) is not None:
            return folder
    looked = " nor ".join(str(data / name) for name in names)
    raise FileError(f"{what} is not there: neither {looked} nor {data} holds {marker}. Say with --data where it lies.")
