"""The table of a cohort: read, checked as a whole, every problem named with its line before anything is computed."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import SimpleITK as sitk

from ..errors import DeepRegisterError, FileError, InputError
from ..folders import check_writable
from ..imagefiles import require_complete_nifti, require_scalar_3d
from ..models.registry import find_model
from ..pointfiles import read_landmark_pairs
from ..report import check_output
from ..settings import Settings
from ..writing import itk_reason
from .summary import FILES as SUMMARY_FILES

IMAGES = ("fixed", "moving", "fixed_mask", "moving_mask", "regions", "fixed_labels", "moving_labels")
OTHER_FILES = ("initial", "fixed_landmarks", "moving_landmarks")
FRAMES = ("fixed_frame", "moving_frame")
COLUMNS = ("fixed", "moving", "name", "model", "quality", *FRAMES, *IMAGES[2:], *OTHER_FILES)
TOGETHER = (("fixed_landmarks", "moving_landmarks"), ("fixed_labels", "moving_labels"))
# What no file system minds in a name.
_BAD_IN_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_HEADERS_AT_ONCE = 16


@dataclass(frozen=True)
class Row:
    """One pair of a cohort: all that a worker needs to register it. Paths are absolute.

    Attributes:
        line: in the table, for messages.
        folder: where its result goes; its name is the pair's.
        settings: what was asked for.
        regions: label map of what may slide in the fixed volume.
        fixed_labels, moving_labels: label maps whose overlap is measured before and after.
        models_dir: folder of the user's own models.
        csv_coordinates: how to read a table of landmarks that does not say it; None refuses it.
        voxels: of both volumes together, 0 where the headers were not read (DICOM folders).
    """

    line: int
    folder: Path
    fixed: Path
    moving: Path
    settings: Settings
    fixed_frame: int | None = None
    moving_frame: int | None = None
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    regions: Path | None = None
    initial: Path | None = None
    fixed_landmarks: Path | None = None
    moving_landmarks: Path | None = None
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    models_dir: Path | None = None
    csv_coordinates: str | None = None
    voxels: int = 0

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class _Header:
    """What the header of an image file says, or why it cannot be read."""

    dimension: int = 0
    components: int = 0
    size: tuple[int, ...] = ()
    problem: str | None = None


def read_rows(
    table: Path,
    output: Path,
    settings: Settings,
    models_dir: Path | None = None,
    csv_coordinates: str | None = None,
) -> list[Row]:
    """The pairs of a table, all of them usable.

    Args:
        table: comma, semicolon or tab separated, with a header of `COLUMNS`; paths are relative to its folder.
        output: the folder that gets one folder for each pair.
        settings: of all rows that do not say otherwise.
        models_dir: folder of the user's own models.
        csv_coordinates: of tables of landmarks that do not say it; None refuses them.

    Raises:
        FileError: the table cannot be read, or `output` not be written.
        InputError: its header or any of its rows cannot be used: all problems at once, each with its line.
    """
    check_writable(output)
    cells = _read_table(table)
    headers = _read_headers(table.resolve().parent / row[name] for _, row in cells for name in IMAGES if name in row)
    # A cohort names few models, and often the same landmarks more than once.
    check_model = cache(lambda name: find_model(name, models_dir))
    check_landmarks = cache(lambda *files: read_landmark_pairs(*files, csv_coordinates))
    problems: list[tuple[int, str]] = []
    rows: list[Row] = []
    taken = {name.casefold(): "the summary of the cohort" for name in SUMMARY_FILES}
    for line, row in cells:

        def attempt(check: Callable, *arguments, line=line):
            """What `check` returns; None, and one more problem, where it refuses."""
            try:
                return check(*arguments)
            except DeepRegisterError as error:
                problems.append((line, str(error)))

        missing = [name for name in ("fixed", "moving") if name not in row]
        if missing:
            problems.append((line, f"{' and '.join(missing)} is empty. Every row needs both volumes."))
            continue
        files = {name: table.resolve().parent / row[name] for name in (*IMAGES, *OTHER_FILES) if name in row}
        frames = {name: attempt(_frame, name, row[name]) for name in FRAMES if name in row}
        for name in IMAGES:
            if name in files:
                attempt(_check_image, files[name], headers[files[name]], frames.get(f"{name}_frame"))
        for first, second in TOGETHER:
            if (first in files) != (second in files):
                problems.append((line, f"Only one of {first} and {second} is given. Give both, or neither."))
        if TOGETHER[0][0] in files and TOGETHER[0][1] in files:
            attempt(check_landmarks, *(files[name] for name in TOGETHER[0]))
        if "initial" in files and not files["initial"].is_file():
            problems.append((line, f"The initial transform {files['initial']} does not exist. Check the path."))
        asked = attempt(_settings, settings, row)
        if asked is not None and asked.model != "auto":
            attempt(check_model, asked.model)
        name = row.get("name") or default_name(files["fixed"], files["moving"], *frames.values())
        attempt(_check_name, name, taken)
        taken.setdefault(name.casefold(), f"line {line}")
        folder = output.resolve() / name
        if folder.exists():
            attempt(check_output, folder, *files.values())
        if asked is not None:
            pair = [headers[files[side]].size[:3] for side in ("fixed", "moving")]
            voxels = sum(_product(size) for size in pair)
            options = {"models_dir": models_dir and models_dir.resolve(), "csv_coordinates": csv_coordinates}
            rows.append(Row(line, folder, settings=asked, voxels=voxels, **files, **frames, **options))
    if problems:
        told = "\n".join(f"  line {line}: {text}" for line, text in problems)
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        raise InputError(f"{table.name} has {count}, so nothing was started:\n{told}")
    return rows


def default_name(fixed: Path, moving: Path, *frames: int | None) -> str:
    """The output folder of a row that names none."""
    stems = [path.name.split(".")[0] or path.name for path in (moving, fixed)]
    numbers = "".join(f"-frame{frame}" for frame in frames if frame is not None)
    return f"{stems[0]}-to-{stems[1]}{numbers}"


def _read_table(table: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, cells by column) of every row that is not empty; empty cells are left out."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"Cannot read the table {table}: {reason}. Check the path; save it as UTF-8.") from error
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    separator = next((sign for sign in ",;\t" if sign in header), ",")
    reader = csv.reader(lines, delimiter=separator)
    found = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    names = [name.lower() for name in found[0][1]] if found else []
    unknown = sorted({repr(name) for name in names if name not in COLUMNS})
    twice = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in ("fixed", "moving") if name not in names]
    wrong = [f"unknown: {', '.join(unknown)}"] * bool(unknown)
    wrong += [f"there twice: {', '.join(twice)}"] * bool(twice) + [f"missing: {', '.join(missing)}"] * bool(missing)
    if wrong:
        raise InputError(
            f"The columns of {table.name} cannot be used ({'; '.join(wrong)}). Its first line must name the columns "
            f"fixed and moving, and may name: {', '.join(COLUMNS[2:])}."
        )
    if len(found) == 1:
        raise InputError(f"{table.name} has a header and no rows. Write one row for each pair.")
    rows = []
    for line, cells in found[1:]:
        if len(cells) > len(names):
            raise InputError(
                f"{table.name}, line {line}: {len(cells)} cells for {len(names)} columns. Put a value that holds a "
                f"{separator!r} into quotation marks."
            )
        rows.append((line, {name: cell for name, cell in zip(names, cells, strict=False) if cell}))
    return rows


def _read_headers(paths: Iterable[Path]) -> Mapping[Path, _Header]:
    distinct = list(dict.fromkeys(paths))
    # The time goes into waiting for a disk or a network.
    with ThreadPoolExecutor(_HEADERS_AT_ONCE) as pool:
        return dict(zip(distinct, pool.map(_read_header, distinct), strict=True))


def _read_header(path: Path) -> _Header:
    if not path.exists():
        return _Header(problem=f"{path} does not exist. Check the path.")
    if path.is_dir():
        return _Header() if any(path.iterdir()) else _Header(problem=f"The folder {path} is empty.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        require_complete_nifti(path)
    except DeepRegisterError as error:
        return _Header(problem=str(error))
    except (RuntimeError, OSError) as error:
        reason = itk_reason(error)
        return _Header(problem=f"Cannot read {path}: {reason}. Check that it is a complete image file ITK can read.")
    return _Header(reader.GetDimension(), reader.GetNumberOfComponents(), reader.GetSize())


def _check_image(path: Path, header: _Header, frame: int | None) -> None:
    if header.problem is not None:
        raise FileError(header.problem)
    if header.size:
        require_scalar_3d(header.dimension, header.components, header.size, path.name, frame)


def _settings(settings: Settings, row: Mapping[str, str]) -> Settings:
    return replace(settings, **{name: row[name] for name in ("model", "quality") if name in row})


def _frame(column: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{column} is {text!r}. Give the number of a frame, from 0, or leave it empty.")
    return int(text)


def _check_name(name: str, taken: Mapping[str, str]) -> None:
    if _BAD_IN_NAME.search(name) or name.startswith(".") or name.endswith("."):
        raise InputError(
            f'The name {name!r} cannot be that of a folder. Leave out dots at its ends and any of < > : " / \\ | ? *.'
        )
    owner = taken.get(name.casefold())
    if owner is not None:
        raise InputError(
            f"The output name {name!r} is that of {owner} as well, and one result would replace the other. Give each "
            "row a name of its own in the column 'name'."
        )


def _product(size: tuple[int, ...]) -> int:
    voxels = 1 if size else 0
    for count in size:
        voxels *= count
    return voxels
