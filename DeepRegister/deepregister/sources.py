"""The files that a result came from: where they are and what was in them, so that a run can be repeated.

They stand in `result.json` under `inputs.files`, by what they were: "fixed", "moving", "fixed_mask", "moving_mask",
"regions", "initial", "fixed_landmarks", "moving_landmarks", and "model" where it is not one that comes with
DeepRegister.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from .errors import FileError
from .models.registry import BUILT_IN, find_model
from .result import Registration

TITLES = {
    "fixed": "fixed volume",
    "moving": "moving volume",
    "fixed_mask": "mask of the fixed volume",
    "moving_mask": "mask of the moving volume",
    "regions": "region map of the fixed volume",
    "emphasis": "region of emphasis in the fixed volume",
    "initial": "initial transform",
    "fixed_landmarks": "file of fixed landmarks",
    "moving_landmarks": "file of moving landmarks",
    "fixed_labels": "label map of the fixed volume",
    "moving_labels": "label map of the moving volume",
    "model": "model",
}
# Header files name the file that has the voxels.
_DATA_FILE = re.compile(rb"^(?:ElementDataFile\s*=|data file:)[ \t]*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class SourceFile:
    """A file, DICOM folder or model folder as it was when it was used.

    Attributes:
        path: absolute.
        sha256: of its content: of a header with its data file, of all slices of a DICOM series, of all of a model.
        frame: which of several volumes in the file was taken; None where there is only one.
        relative: the path from the result folder, with forward slashes: where both were moved together, it still holds.
    """

    path: Path
    sha256: str
    frame: int | None = None
    relative: str | None = None

    @classmethod
    def of(cls, path: str | os.PathLike, frame: int | None = None) -> SourceFile:
        """The file or folder `path` as it is now.

        Raises:
            FileError: it is missing or cannot be read.
        """
        path = Path(path).absolute()
        return cls(path, content_sha256(path), frame)

    def seen_from(self, folder: str | os.PathLike) -> SourceFile:
        """The same, which also knows its path from the result folder."""
        try:
            relative = Path(os.path.relpath(self.path, Path(folder).absolute())).as_posix()
        except ValueError:
            # Another drive of Windows.
            relative = None
        return replace(self, relative=relative)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` turns it back."""
        return {"path": str(self.path), "frame": self.frame, "sha256": self.sha256, "relative": self.relative}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SourceFile:
        """What `to_dict` made."""
        return cls(Path(values["path"]), values["sha256"], values["frame"], values.get("relative"))

    def find(self, folder: str | os.PathLike, title: str = "file") -> Path:
        """Where it is today: at its old place, or as far from the result folder as it was.

        Args:
            folder: the result folder.
            title: what it is, for messages.

        Raises:
            FileError: it is at neither place, or what is there has another content.
        """
        places = [self.path]
        if self.relative:
            places.append(Path(os.path.normpath(Path(folder).absolute() / self.relative)))
        there = [place for place in places if place.exists()]
        for place in there:
            if content_sha256(place) == self.sha256:
                return place
        if there:
            raise FileError(
                f"The {title} {there[0]} has changed since this result was made: the SHA-256 of its content was "
                f"{self.sha256[:12]}… and is {content_sha256(there[0])[:12]}…. Put the original back, or "
                "register what is there now."
            )
        raise FileError(
            f"The {title} {self.path} is gone, and it has not moved with the result either. Put it back where it was."
        )


def with_files(
    registration: Registration, files: Mapping[str, SourceFile | None], folder: str | os.PathLike
) -> Registration:
    """The registration with `inputs["files"]`: what it came from, as seen from the result folder; None is left out.

    With them goes the sum of the engine's own files: a checkout changes more often than its version.
    """
    there = {name: source.seen_from(folder).to_dict() for name, source in files.items() if source is not None}
    return replace(registration, inputs={**registration.inputs, "files": there, "engine_sha256": engine_sha256()})


def model_source(name: str, models_dir: str | os.PathLike | None = None) -> SourceFile | None:
    """The folder of a user's own model; None for one that comes with DeepRegister, whose version says what it is."""
    if name == "auto":
        return None
    folder = find_model(name, models_dir).folder
    return None if folder.parent == BUILT_IN else SourceFile.of(folder)


@cache
def engine_sha256() -> str:
    """SHA-256 of the files that compute: the engine's modules, model cards and weights."""
    engine = Path(__file__).parent
    return _sum_of(sorted(path for kind in ("py", "toml", "safetensors") for path in engine.rglob(f"*.{kind}")))


def content_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of all that belongs to a file or folder, in hexadecimal digits.

    Raises:
        FileError: it is missing or cannot be read.
    """
    try:
        return _sum_of(_parts(Path(path)))
    except OSError as error:
        raise FileError(f"Cannot read {path}: {error.strerror or error}. Check the path.") from error


def _sum_of(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for part in files:
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()


def _parts(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        yield from _data_files(path)
        return
    # Not whatever else lies in the folder: previews and notes that systems leave there come and go.
    slices = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
    yield from map(Path, slices) if slices else sorted(part for part in path.rglob("*") if part.is_file())


def _data_files(path: Path) -> Iterator[Path]:
    """Files beside a header that hold its voxels."""
    ending = path.suffix.lower()
    if ending == ".hdr":
        yield from sorted(path.parent.glob(f"{path.stem}.img*"))
    elif ending in (".mhd", ".nhdr"):
        with path.open("rb") as file:
            header = file.read(_LONGEST_HEADER)
        found = _DATA_FILE.search(header)
        if found is None:
            return
        names = [found[1]]
        if names[0].upper().startswith(b"LIST"):
            names = header[found.end() :].split()
        for name in names:
            data = path.parent / name.decode("utf-8", "replace")
            if data.is_file():
                yield data
