"""Landmark pairs as a table in a file: coordinates, and the errors before and after. What is written can be read back.

Columns: label, then R, A, S of the fixed and of the moving point in mm (as 3D Slicer shows them, the moving point
without the result), then the errors in mm, which reading ignores.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from deepregister.errors import FileError, InputError
from deepregister.landmarks import LandmarkPairs
from deepregister.writing import replacing

from .frame import flippedPoints, transformedPoints, transformToFrame
from .landmarkpairs import PairErrors

POINTS = ("fixed_r", "fixed_a", "fixed_s", "moving_r", "moving_a", "moving_s")
COLUMNS = ("label", *POINTS, "error_before_mm", "error_after_mm")


def writePairs(errors: PairErrors, path: str | os.PathLike) -> None:
    """Write the pairs and their errors as .csv; "error_after_mm" stays empty where there is no result.

    Raises:
        InputError: there is no pair.
        FileError: the place cannot be written.
    """
    if not len(errors):
        raise InputError("There is no landmark pair to write. Place at least one pair first.")
    after = [""] * len(errors) if errors.after is None else [f"{value:.4f}" for value in errors.after]
    points = np.hstack([flippedPoints(errors.pairs.fixed), flippedPoints(errors.pairs.moving)])
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for n, name in enumerate(errors.names):
            places = [f"{value:.4f}" for value in points[n]]
            table.writerow([name, *places, f"{errors.before[n]:.4f}", after[n]])


def readPairs(path: str | os.PathLike) -> LandmarkPairs:
    """The pairs of a file that `writePairs` wrote, or of any .csv with such columns; without "label" they are numbered.

    Raises:
        FileError: the file is missing or is no text.
        InputError: a column is missing, or a row has no six numbers; the text names it.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.DictReader(file) if any(value and str(value).strip() for value in row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if not rows:
        raise InputError(f"{path.name} holds no landmark pair. It needs a first row with the columns {_listed()}.")
    missing = [name for name in POINTS if name not in rows[0]]
    if missing:
        raise InputError(
            f"{path.name} has no column {', '.join(missing)}. A file of pairs needs a first row with the columns "
            f"{_listed()} (mm, right-anterior-superior)."
        )
    points, names = [], []
    for number, row in enumerate(rows, start=1):
        try:
            points.append([float(row[name]) for name in POINTS])
        except (TypeError, ValueError):
            cells = ", ".join(str(row[name] or "") for name in POINTS)
            raise InputError(f"{path.name}: pair {number} has no six numbers ({cells}). Correct that row.") from None
        names.append((row.get("label") or "").strip() or str(number))
    found = flippedPoints(np.array(points).reshape(-1, 2, 3))
    return LandmarkPairs(found[:, 0], found[:, 1], tuple(names))


def addPairs(fixedNode, movingNode, pairs: LandmarkPairs, transformNode=None) -> None:
    """Append pairs to two point lists.

    Args:
        fixedNode, movingNode: the lists; wherever they lie in the transform hierarchy, the points get these places.
        pairs: in the world, LPS mm, the moving points without the result.
        transformNode: the result, or None.
    """
    for node, points in ((fixedNode, pairs.fixed), (movingNode, pairs.moving)):
        toFrame = transformToFrame(node, transformNode)
        local = points if toFrame is None else transformedPoints(toFrame.GetInverse(), points)
        for name, point in zip(pairs.labels or map(str, range(1, len(pairs) + 1)), flippedPoints(local), strict=True):
            node.SetNthControlPointLabel(node.AddControlPoint(*map(float, point)), name)


def _listed() -> str:
    return ", ".join(POINTS)
