"""Slice pictures of a registration: three anatomical planes by what was there before and what came out, as one PNG.

Planes are cut through physical space (patient axes, not voxel axes), so that an oblique or anisotropic volume shows
upright and in true proportions. Orientation is radiological: the patient's right is on the left, anterior is up in
axial slices and left in sagittal ones.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from .geometry import Geometry
from .preparation import prepare
from .volume import Volume
from .writing import replacing

LONGEST_SIDE_PIXELS = 300
NARROWEST_COLUMN_PIXELS = 180
GAP_PIXELS = 10
SQUARES_ACROSS = 8
MARGIN = 0.02
BACKGROUND = (16, 17, 20)
TEXT = (214, 218, 224)
MARKS = (122, 190, 255)
# Hounsfield units: what air, lung and soft tissue need to be told apart, and soft tissue alone.
LUNG_WINDOW = (-1050.0, 450.0)
SOFT_TISSUE_WINDOW = (-160.0, 240.0)
LUNG_SHARE = 0.15
# A moving volume that covers less of the planes than this is shown elsewhere than its header says.
LEAST_SEEN = 0.1

# name; LPS directions of the picture's columns and rows; what lies at the left, right, top and bottom.
PLANES = (
    ("Axial", (1, 0, 0), (0, 1, 0), "RLAP"),
    ("Coronal", (1, 0, 0), (0, 0, -1), "RLSI"),
    ("Sagittal", (0, 1, 0), (0, 0, -1), "APSI"),
)


@dataclass(frozen=True)
class Plane:
    """A picture's place in space: LPS mm of its pixels and the letters at its sides."""

    name: str
    points: np.ndarray
    letters: str

    @property
    def pixel_mm(self) -> float:
        """Side of a pixel in mm; they are square."""
        flat = self.points.reshape(-1, 3)
        return float(np.linalg.norm(flat[1] - flat[0])) if len(flat) > 1 else 1.0


@dataclass(frozen=True)
class Views:
    """A pair in slices, as grey values from 0 (black) to 1 (white), NaN where a volume has no voxels.

    Attributes:
        planes: where they are cut.
        fixed: the fixed volume in each plane.
        before: the moving volume where its header puts it, or centred where that is out of sight.
        after: the registered one.
        when: what `before` is: "before" or "centred".
    """

    planes: tuple[Plane, ...]
    fixed: tuple[np.ndarray, ...]
    before: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]
    when: str


def write_pictures(
    path: str | os.PathLike, fixed: Volume, moving: Volume, registered: Volume, caption: str = ""
) -> None:
    """Write one PNG: rows axial, coronal and sagittal; columns fixed, moving before and after, checkerboards.

    Args:
        path: the .png file.
        fixed: the fixed volume; its content decides which slices are shown, and where.
        moving: the moving volume where its header puts it; where that is out of sight, it is shown centred, and the
            heading says so.
        registered: the moving volume on the fixed one, on any grid.
        caption: one line under the pictures.

    Raises:
        FileError: the place cannot be written.
    """
    seen = views(fixed, moving, registered)
    columns = (
        "Fixed",
        f"Moving, {seen.when}",
        "Moving, registered",
        f"Checkerboard, {seen.when}",
        "Checkerboard, registered",
    )
    rows = []
    for cuts in zip(seen.fixed, seen.before, seen.after, strict=True):
        still, first, after = (to_grey(values, (0, 1)) for values in cuts)
        rows.append([still, first, after, checkerboard(still, first), checkerboard(still, after)])
    with replacing(Path(path)) as temporary:
        _sheet(seen.planes, columns, rows, caption).save(temporary, format="PNG", optimize=True)


def views(fixed: Volume, moving: Volume, registered: Volume, longest: int = LONGEST_SIDE_PIXELS) -> Views:
    """The slices of a pair that show how well it was registered; arguments as for `write_pictures`.

    Args:
        fixed, moving, registered: the volumes.
        longest: pixels along the longest side.
    """
    planes = anatomical_planes(prepare(thinned(fixed))[0].content, longest)
    seen = np.mean([np.isfinite(cut(moving, plane)).mean() for plane in planes])
    if seen < LEAST_SEEN:
        shift = fixed.geometry.centre - moving.geometry.centre
        moving = replace(moving, geometry=replace(moving.geometry, origin=tuple(shift + moving.geometry.origin)))
    of_fixed, of_moving = grey_windows(fixed, moving)

    def cuts(volume: Volume, window: tuple[float, float]) -> tuple[np.ndarray, ...]:
        return tuple(in_window(cut(volume, plane), window) for plane in planes)

    when = "before" if seen >= LEAST_SEEN else "centred"
    return Views(planes, cuts(fixed, of_fixed), cuts(moving, of_moving), cuts(registered, of_moving), when)


def anatomical_planes(box: Geometry, longest: int = LONGEST_SIDE_PIXELS) -> tuple[Plane, ...]:
    """Axial, coronal and sagittal planes through the middle of `box`, all at one scale, covering it whole."""
    corners = box.index_to_point([[c * n - 0.5 for c, n in zip(corner, box.size, strict=True)] for corner in _CORNERS])
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = MARGIN * float((high - low).max())
    low, high = low - margin, high + margin
    pixel = float((high - low).max()) / longest
    planes = []
    for name, across, down, letters in PLANES:
        across, down = np.asarray(across, dtype=float), np.asarray(down, dtype=float)
        width, height = (max(1, round(float(np.abs(axis) @ (high - low)) / pixel)) for axis in (across, down))
        u, v = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
        points = (low + high) / 2 + pixel * (u[..., None] * across + v[..., None] * down)
        planes.append(Plane(name, points, letters))
    return tuple(planes)


def cut(volume: Volume, plane: Plane) -> np.ndarray:
    """Values of the volume in the plane, interpolated linearly, (rows, columns); NaN outside the volume."""
    index = volume.geometry.point_to_index(plane.points)
    size = np.asarray(volume.geometry.size)
    inside = np.all((index >= -0.5) & (index <= size - 0.5), axis=-1)
    data = volume.data if volume.data.dtype.kind in "iu" or volume.data.dtype.itemsize >= 4 else volume.data * 1.0
    coordinates = np.moveaxis(np.clip(index, 0, size - 1)[..., ::-1], -1, 0)
    values = map_coordinates(data, coordinates, output=np.float64, order=1, mode="nearest")
    return np.where(inside, values, np.nan)


def thinned(volume: Volume, voxels: float = 2e6) -> Volume:
    """Every so many voxels of a large volume: enough to find its content and its range of values, in no time."""
    step = max(1, round((volume.data.size / voxels) ** (1 / 3)))
    data = volume.data[::step, ::step, ::step]
    spacing = tuple(step * s for s in volume.geometry.spacing)
    return replace(volume, data=data, geometry=replace(volume.geometry, size=data.shape[::-1], spacing=spacing))


def grey_window(volume: Volume) -> tuple[float, float]:
    """Values shown as black and as white."""
    values = thinned(volume).data.astype(float)
    values = values[np.isfinite(values)]
    if values.min() <= -900 and values.max() > 100:
        lung = np.mean((values > -960) & (values < -600))
        return LUNG_WINDOW if lung > LUNG_SHARE else SOFT_TISSUE_WINDOW
    low, top = (float(value) for value in np.percentile(values, (0.5, 99.9)))
    # The bright end from what is not background: a small object in much air must not become all white.
    shown = values[values > low + 0.02 * (top - low)]
    high = float(np.percentile(shown, 99.5)) if shown.size else float(values.max())
    return low, max(high, low + 1e-6)


def grey_windows(fixed: Volume, moving: Volume) -> tuple[tuple[float, float], tuple[float, float]]:
    """The windows of a pair: two CTs are shown alike, so that equal tissue is equally bright."""
    first, second = grey_window(fixed), grey_window(moving)
    both_ct = {first, second} <= {LUNG_WINDOW, SOFT_TISSUE_WINDOW}
    return first, first if both_ct else second


def in_window(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Values from 0 (black) to 1 (white); NaN stays."""
    return np.clip((values - window[0]) / (window[1] - window[0]), 0, 1)


def to_grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """uint8 grey values; NaN becomes 0."""
    return np.nan_to_num(255 * in_window(values, window)).astype(np.uint8)


def checkerboard(first: np.ndarray, second: np.ndarray, longest: int = LONGEST_SIDE_PIXELS) -> np.ndarray:
    """Squares of the one and of the other in turn; `longest` is the longest side of all planes, in pixels."""
    side = max(1, longest // SQUARES_ACROSS)
    rows, columns = np.indices(first.shape) // side
    return np.where((rows + columns) % 2 == 0, first, second)


_CORNERS = tuple(itertools.product((0, 1), repeat=3))


def _sheet(
    planes: Sequence[Plane], columns: Sequence[str], rows: Sequence[Sequence[np.ndarray]], caption: str
) -> Image.Image:
    heading, small = ImageFont.load_default(15), ImageFont.load_default(12)
    wide = max(NARROWEST_COLUMN_PIXELS, *(row[0].shape[1] for row in rows))
    tall = [row[0].shape[0] for row in rows]
    top, bottom = 34, 30 if caption else 0
    size = (
        len(columns) * (wide + GAP_PIXELS) + GAP_PIXELS,
        top + sum(tall) + len(rows) * GAP_PIXELS + bottom,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        left = GAP_PIXELS + column * (wide + GAP_PIXELS)
        draw.text((left + wide / 2, top / 2), name, fill=TEXT, font=heading, anchor="mm")
        y = top
        for plane, row, height in zip(planes, rows, tall, strict=True):
            picture = row[column]
            x = left + (wide - picture.shape[1]) // 2
            sheet.paste(Image.fromarray(picture), (x, y))
            if column == 0:
                _letters(draw, (x, y, x + picture.shape[1], y + height), plane, small)
            y += height + GAP_PIXELS
    if caption:
        draw.text((GAP_PIXELS, size[1] - bottom / 2 - 3), caption, fill=TEXT, font=small, anchor="lm")
    return sheet


def _letters(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], plane: Plane, font: ImageFont.FreeTypeFont
) -> None:
    left, top, right, bottom = box
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    places = ((left + 4, middle_y, "lm"), (right - 4, middle_y, "rm"), (middle_x, top + 3, "ma"))
    for letter, (x, y, anchor) in zip(plane.letters, (*places, (middle_x, bottom - 3, "md")), strict=True):
        draw.text((x, y), letter, fill=MARKS, font=font, anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)
