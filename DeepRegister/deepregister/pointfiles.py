"""Points in files: 3D Slicer markups (.mrk.json, .fcsv) and tables (.csv); in memory always LPS mm.

A file says itself whether its coordinates are LPS or RAS: markups by their coordinate system, tables by the names of
their columns (`l,p,s` or `r,a,s`, as Slicer exports them). A table with columns `x,y,z`, or three columns without a
header, does not say it: it is read as `coordinates`, LPS unless the caller knows better; None refuses it.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FileError, InputError
from .landmarks import LandmarkPairs
from .writing import replacing

COORDINATES = ("LPS", "RAS")
POINT_ENDINGS = (".mrk.json", ".json", ".fcsv", ".csv")
_POINT_TYPES = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


@dataclass(frozen=True, eq=False)
class PointList:
    """Named points.

    Attributes:
        points: (n, 3), LPS mm.
        labels: n names; empty strings where the file has none.
        coordinates: "LPS" or "RAS": how the file has them and how it is written again.
        columns: names of the three coordinate columns of the table it came from; empty where that has no header, None
            where it came from no table.
        markups: the whole content of a .mrk.json file, so that what is not a position survives a rewriting.
    """

    points: np.ndarray
    labels: tuple[str, ...] = ()
    coordinates: str = "LPS"
    columns: tuple[str, ...] | None = None
    markups: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=float).reshape(-1, 3)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "labels", tuple(self.labels) or ("",) * len(points))

    def __len__(self) -> int:
        return len(self.points)

    def moved_to(self, points: np.ndarray) -> PointList:
        """The same list with other positions, (n, 3), LPS mm."""
        return replace(self, points=points)


def is_point_file(path: str | os.PathLike) -> bool:
    """Whether the name ends like a file of points."""
    return Path(path).name.lower().endswith(POINT_ENDINGS)


def read_points(path: str | os.PathLike, coordinates: str | None = "LPS") -> PointList:
    """Read the points of a .mrk.json, .fcsv or .csv file; markup points that were never placed are left out.

    Args:
        path: the file.
        coordinates: "LPS" or "RAS", for a table whose columns do not say it; None refuses such a table.

    Raises:
        FileError: the file is missing, damaged or of another kind.
        InputError: it holds no points, or points in other, unknown units or coordinates.
    """
    path = Path(path)
    if coordinates not in (*COORDINATES, None):
        raise InputError(f"No coordinates {coordinates!r}. Choose LPS or RAS.")
    if not is_point_file(path):
        raise FileError(f"{path.name}: no point format has this ending. Known are .mrk.json, .fcsv and .csv.")
    if not path.is_file():
        raise FileError(f"The point file {path} does not exist. Check the path.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"Cannot read {path}: {error}.") from error
    ending = path.name.lower().rsplit(".", 1)[-1]
    try:
        if ending == "json":
            found = _from_markups(json.loads(text), path.name)
        elif ending == "fcsv":
            found = _from_fcsv(text, path.name)
        else:
            found = _from_table(text, path.name, coordinates)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise FileError(f"{path} is damaged or not a file of points: {error!r}. Save it again.") from error
    if not len(found):
        raise InputError(f"{path.name} holds no placed point. Place at least one and save it again.")
    if not np.all(np.isfinite(found.points)):
        raise InputError(f"{path.name} holds a coordinate that is not a finite number. Correct or remove that point.")
    return found


def write_points(points: PointList, path: str | os.PathLike) -> None:
    """Write points as the ending of `path` asks: .mrk.json, .fcsv or .csv, in the coordinates of the list.

    Raises:
        FileError: an unknown ending, or a place that cannot be written.
    """
    path = Path(path)
    if not is_point_file(path):
        raise FileError(f"{path.name}: no point format has this ending. Use .mrk.json, .fcsv or .csv.")
    ending = path.name.lower().rsplit(".", 1)[-1]
    text = {"json": _to_markups, "fcsv": _to_fcsv, "csv": _to_table}[ending](points)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_landmark_pairs(
    fixed: str | os.PathLike, moving: str | os.PathLike, coordinates: str | None = "LPS"
) -> LandmarkPairs:
    """Landmark pairs from two files: partners by label where both files have the same unique labels, else by order.

    Raises:
        FileError: a file is missing or damaged.
        InputError: the numbers differ, a file holds no point, or its coordinates are not known.
    """
    first, second = read_points(fixed, coordinates), read_points(moving, coordinates)
    order = np.arange(len(second))
    names = set(first.labels)
    if len(names) == len(first) == len(second) and names == set(second.labels):
        order = np.array([second.labels.index(label) for label in first.labels])
    labels = first.labels if any(first.labels) else second.labels
    return LandmarkPairs(first.points, second.points[order], labels if len(labels) == len(first) else ())


def _sign(coordinates: str) -> np.ndarray:
    return np.array([-1.0, -1.0, 1.0]) if coordinates == "RAS" else np.ones(3)


def _three(values: Any) -> np.ndarray:
    # numpy would make three numbers of one, and a point of what is left of two.
    point = np.array(values, dtype=float)
    if point.shape != (3,):
        raise ValueError(f"{values} has no three coordinates")
    return point


def _coordinate_system(value: object, name: str) -> str:
    """ "LPS" or "RAS" from how Slicer has written it over the years: a name or a number."""
    found = {"0": "RAS", "1": "LPS"}.get(str(value).strip(), str(value).strip().upper())
    if found not in COORDINATES:
        raise InputError(f"{name} is in the coordinate system {value!r}; only LPS and RAS can be used. Save it in LPS.")
    return found


def _placed(markups: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    """(coordinate system, control point) of every placed point, in the order of the file."""
    found = []
    for markup in markups["markups"]:
        kind = markup.get("type", "Fiducial")
        if kind not in _POINT_TYPES:
            raise InputError(
                f"{name} holds a markup of type {kind}, which is more than its points. "
                f"Only these can be used: {', '.join(_POINT_TYPES)}."
            )
        units = markup.get("coordinateUnits", "mm")
        if units not in ("mm", ["mm", "mm", "mm"]):
            raise InputError(f"{name} is in {units!r}; points must be in mm.")
        system = _coordinate_system(markup.get("coordinateSystem", "LPS"), name)
        for point in markup.get("controlPoints", []):
            if point.get("positionStatus", "defined") == "defined" and point.get("position"):
                found.append((system, point))
    return found


def _from_markups(markups: dict[str, Any], name: str) -> PointList:
    placed = _placed(markups, name)
    points = [_three(point["position"]) * _sign(system) for system, point in placed]
    return PointList(
        np.array(points).reshape(-1, 3),
        tuple(str(point.get("label", "")) for _, point in placed),
        placed[0][0] if placed else "LPS",
        markups=markups,
    )


def _to_markups(points: PointList) -> str:
    if points.markups is not None:
        markups = copy.deepcopy(points.markups)
        for (system, point), position in zip(_placed(markups, "markups"), points.points, strict=True):
            point["position"] = (position * _sign(system)).tolist()
        for markup in markups["markups"]:
            # Lengths and angles of the old positions; Slicer measures again when it loads the file.
            markup.pop("measurements", None)
    else:
        control_points = [
            {
                "id": str(number + 1),
                "label": label,
                "position": (position * _sign(points.coordinates)).tolist(),
                "positionStatus": "defined",
            }
            for number, (label, position) in enumerate(zip(points.labels, points.points, strict=True))
        ]
        markup = {"type": "Fiducial", "coordinateSystem": points.coordinates, "coordinateUnits": "mm"}
        markups = {"@schema": _SCHEMA, "markups": [markup | {"controlPoints": control_points}]}
    return json.dumps(markups, indent=4) + "\n"


def _from_fcsv(text: str, name: str) -> PointList:
    # Slicer wrote RAS before it wrote this line.
    coordinates = "RAS"
    columns = _FCSV_COLUMNS.split(",")
    rows = []
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip().lower() == "coordinatesystem":
                coordinates = _coordinate_system(value, name)
            elif key.strip().lower() == "columns":
                columns = [column.strip() for column in value.split(",")]
        elif line.strip():
            rows.append(line)
    x, label = columns.index("x"), columns.index("label")
    # After the named columns Slicer adds the state of the point: 2 is placed.
    status = len(columns)
    cells = [row for row in csv.reader(rows) if len(row) <= status or row[status].strip() in ("", "2")]
    points = [_three(row[x : x + 3]) for row in cells]
    return PointList(
        np.array(points).reshape(-1, 3) * _sign(coordinates),
        tuple(row[label] if len(row) > label else "" for row in cells),
        coordinates,
    )


def _to_fcsv(points: PointList) -> str:
    text = io.StringIO()
    text.write("# Markups fiducial file version = 5.0\n")
    text.write(f"# CoordinateSystem = {points.coordinates}\n# columns = {_FCSV_COLUMNS}\n")
    rows = csv.writer(text, lineterminator="\n")
    for number, (label, position) in enumerate(zip(points.labels, points.points, strict=True)):
        rows.writerow([number + 1, *_numbers(position, points.coordinates), 0, 0, 0, 1, 1, 1, 0, label, "", ""])
    return text.getvalue()


def _from_table(text: str, name: str, coordinates: str | None) -> PointList:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return PointList(np.zeros((0, 3)))
    separator = next((sign for sign in ",;\t" if sign in lines[0]), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    header = [cell.lower() for cell in rows[0]]
    columns, label = (), None
    if not _is_number(header[0]) or not _is_number(header[-1]):
        rows = rows[1:]
        for names, system in ((("l", "p", "s"), "LPS"), (("r", "a", "s"), "RAS"), (("x", "y", "z"), coordinates)):
            if set(names) <= set(header):
                columns, coordinates = names, system
                break
        else:
            raise InputError(
                f"{name}: the columns are {', '.join(header)}. Three of them must be named x,y,z or l,p,s or r,a,s; "
                "a column named label is used where it is there."
            )
        label = header.index("label") if "label" in header else None
    if coordinates is None:
        raise InputError(
            f"{name} does not say whether its coordinates are LPS (ITK, DICOM) or RAS (what 3D Slicer shows). Say it "
            "with --csv-coordinates, or name the columns l,p,s or r,a,s."
        )
    where = [header.index(column) for column in columns] if columns else [0, 1, 2]
    points = []
    for number, row in enumerate(rows):
        try:
            points.append([float(row[column]) for column in where])
        except (ValueError, IndexError):
            raise InputError(f"{name}: point {number + 1} ({separator.join(row)}) has no three coordinates.") from None
    return PointList(
        np.array(points).reshape(-1, 3) * _sign(coordinates),
        tuple(row[label] for row in rows) if label is not None else (),
        coordinates,
        columns,
    )


def _to_table(points: PointList) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    labelled = any(points.labels)
    columns = tuple(points.coordinates.lower()) if points.columns is None else points.columns
    if columns:
        rows.writerow([*(["label"] if labelled else []), *columns])
    for label, position in zip(points.labels, points.points, strict=True):
        rows.writerow([*([label] if labelled else []), *_numbers(position, points.coordinates)])
    return text.getvalue()


def _numbers(position: np.ndarray, coordinates: str) -> list[str]:
    return [f"{value:.6f}" for value in position * _sign(coordinates)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
