"""The maps of a bending: the warped grid, the Jacobian determinant and the length of the displacement, drawn.

matplotlib is imported when a map is drawn and not before, and its figures are made without pyplot: nothing of a
program that draws with it too, as Slicer's own modules do, is changed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ..expectederror import shown
from ..pictures import Plane, Views, cut
from ..transforms import Transform
from ..volume import Volume
from .figures import png_uri
from .motion import Bending, bending_at

WIDTH_INCHES = 9.6
DOTS_PER_INCH = 132
INK = "#1d2733"
FAINT = "#5b6875"
NO_DATA = "#dee0e4"
FOLD = "#e000b8"
GRID_LINES = 28
GRID_SPACINGS_MM = (1, 2, 5, 10, 20, 50)
# Ends of the scale of the determinant: 1/r to r, the smallest that holds nearly all of what is shown.
RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
# Marked between 1 and the end of each: round numbers, which its middle is not.
BETWEEN = {1.1: 1.05, 1.25: 1.1, 1.5: 1.25, 2.0: 1.5, 3.0: 2.0, 4.0: 2.0, 6.0: 2.0, 8.0: 2.0}
NEARLY_ALL = 99.5
# Grey value at which the fixed volume is outlined, and pixels over which it is smoothed for that.
OUTLINES = (0.3,)
OUTLINE_SMOOTHING = 1.5


@dataclass(frozen=True)
class Map:
    """A drawn map: its address, what it shows for those who cannot see it, and its size in pixels."""

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Maps:
    """The three maps of a bending.

    Attributes:
        grid, jacobian, displacement: the pictures.
        grid_mm: distance of the lines of the straight grid.
        ratio: the scale of the determinant runs from 1/ratio to ratio.
        top_mm: upper end of the scale of the displacement.
        fold: LPS mm of the deepest fold, through which the Jacobian map is then cut instead of the middle; or None.
    """

    grid: Map
    jacobian: Map
    displacement: Map
    grid_mm: int
    ratio: float
    top_mm: float
    fold: tuple[float, float, float] | None


def draw_maps(transform: Transform, bending: Bending, seen: Views) -> Maps:
    """Draw the maps of a transform that bends, in the planes of the slices."""
    moved = [bending_at(transform, plane.points) for plane in seen.planes]
    extent = max(max(plane.points.shape[:2]) * plane.pixel_mm for plane in seen.planes)
    grid_mm = min(GRID_SPACINGS_MM, key=lambda spacing: abs(np.log(extent / spacing / GRID_LINES)))
    grid = _grid(seen, moved, grid_mm)

    lengths = [np.linalg.norm(displacement, axis=-1) for displacement in moved]
    top = _ceiling(max(float(length.max()) for length in lengths))
    displacement = _displacement(seen, lengths, top)

    fold = bending.deepest_fold
    planes = seen.planes if fold is None else [_through(plane, fold) for plane in seen.planes]
    values = [cut(bending.determinant, plane) for plane in planes]
    values = [np.where(np.isnan(value), bending.outside, value) for value in values]
    marks = [cut(Volume(bending.folded, bending.determinant.geometry), plane) > 0 for plane in planes]
    ratio = _ratio(values)
    outlines = seen.fixed if fold is None else None
    jacobian = _jacobian(seen, outlines, values, marks, ratio)
    return Maps(grid, jacobian, displacement, grid_mm, ratio, top, None if fold is None else tuple(map(float, fold)))


def draw_expected_error(error: Volume, fixed: Volume, seen: Views) -> tuple[Map, float]:
    """Draw the expected error in the planes of the slices, where there is something to be off; also the upper end of
    its scale, mm.
    """
    from matplotlib import colormaps

    there = Volume(shown(fixed, error.geometry).astype(np.float32), error.geometry)
    values = []
    for plane, registered in zip(seen.planes, seen.after, strict=True):
        # Where the moving volume has no voxels nothing was compared either.
        speaks = (np.nan_to_num(cut(there, plane)) > 0.5) & np.isfinite(registered)
        values.append(np.where(speaks, cut(error, plane), np.nan))
    found = np.concatenate([value[np.isfinite(value)] for value in values])
    top = _ceiling(float(np.percentile(found, NEARLY_ALL)) if found.size else 1.0)
    colours = colormaps["inferno"].with_extremes(bad=NO_DATA)
    figure, axes, legend = _sheet(seen)
    for axis, grey, value in zip(axes, seen.fixed, values, strict=True):
        image = axis.imshow(np.ma.masked_invalid(value), cmap=colours, vmin=0, vmax=top, interpolation="nearest")
        _outline(axis, grey, "white")
    _label(figure.colorbar(image, cax=legend, extend="max"), "Expected error (mm)")
    alt = f"Expected error on a scale from 0 to {top:g} mm, axial, coronal and sagittal; grey where nothing is shown."
    return _picture(figure, alt), top


def _through(plane: Plane, point: np.ndarray) -> Plane:
    """The plane shifted along its normal so that it holds `point`."""
    rows, columns = plane.points[-1, 0] - plane.points[0, 0], plane.points[0, -1] - plane.points[0, 0]
    normal = np.cross(columns, rows)
    normal /= np.linalg.norm(normal)
    shift = normal * ((point - plane.points[0, 0]) @ normal)
    return Plane(plane.name, plane.points + shift, plane.letters)


def _ratio(values: Sequence[np.ndarray]) -> float:
    positive = np.concatenate([value[np.isfinite(value) & (value > 0)] for value in values])
    reach = float(np.exp(np.percentile(np.abs(np.log(positive)), NEARLY_ALL))) if positive.size else 1.0
    return next((ratio for ratio in RATIOS if ratio >= reach), RATIOS[-1])


def _ceiling(value: float) -> float:
    """The next round number: 1, 2 or 5 times a power of ten, or half-way between."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    return float(next(power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * step >= value * (1 - 1e-9)))


def _grid(seen: Views, moved: Sequence[np.ndarray], spacing: int) -> Map:
    figure, axes, _ = _sheet(seen, legend=False)
    for axis, plane, grey, displacement in zip(axes, seen.planes, seen.fixed, moved, strict=True):
        axis.imshow(np.nan_to_num(grey) * 0.75, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
        # Where the lines of a straight grid on the moving volume lie after it has been bent onto the fixed one.
        for direction in (plane.points[0, -1] - plane.points[0, 0], plane.points[-1, 0] - plane.points[0, 0]):
            if not np.any(direction):
                continue
            along = (plane.points + displacement) @ (direction / np.linalg.norm(direction))
            levels = np.arange(np.ceil(along.min() / spacing), np.floor(along.max() / spacing) + 1) * spacing
            if len(levels) and min(along.shape) > 1:
                axis.contour(along, levels=levels, colors="#ffd24d", linewidths=0.7, linestyles="solid")
    return _picture(figure, f"Warped grid with lines every {spacing} mm on axial, coronal and sagittal slices.")


def _displacement(seen: Views, lengths: Sequence[np.ndarray], top: float) -> Map:
    figure, axes, legend = _sheet(seen)
    for axis, grey, length in zip(axes, seen.fixed, lengths, strict=True):
        shown = axis.imshow(length, cmap="viridis", vmin=0, vmax=top, interpolation="nearest")
        _outline(axis, grey, "white")
    bar = figure.colorbar(shown, cax=legend)
    _label(bar, "Displacement (mm)")
    return _picture(
        figure, f"Length of the bending displacement on a scale from 0 to {top:g} mm, axial, coronal and sagittal."
    )


def _jacobian(
    seen: Views,
    outlines: Sequence[np.ndarray] | None,
    values: Sequence[np.ndarray],
    marks: Sequence[np.ndarray],
    ratio: float,
) -> Map:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Patch

    figure, axes, legend = _sheet(seen)
    colours = colormaps["PuOr"].with_extremes(bad=NO_DATA)
    for number, (axis, value, mark) in enumerate(zip(axes, values, marks, strict=True)):
        logarithmic = np.ma.masked_invalid(np.where(value > 0, value, np.nan))
        shown = axis.imshow(logarithmic, cmap=colours, norm=LogNorm(1 / ratio, ratio), interpolation="nearest")
        if outlines is not None:
            _outline(axis, outlines[number], INK)
        if mark.any():
            axis.imshow(np.ma.masked_where(~mark, mark), cmap=_one_colour(FOLD), interpolation="nearest")
    bar = figure.colorbar(shown, cax=legend, extend="both")
    between = BETWEEN[ratio]
    ticks = [1 / ratio, 1 / between, 1, between, ratio]
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" if tick > 1 else f"{tick:.2g}" for tick in ticks])
    bar.ax.minorticks_off()
    _label(bar, "Jacobian determinant")
    folds = any(mark.any() for mark in marks)
    if folds:
        figure.legend(handles=[Patch(color=FOLD, label="folded")], loc="lower right", frameon=False, fontsize=8)
    alt = f"Jacobian determinant on a logarithmic scale from {1 / ratio:.3g} to {ratio:.3g}, 1 in the middle"
    return _picture(figure, f"{alt}; {'folded voxels are marked' if folds else 'no folded voxel is marked'}.")


def _sheet(seen: Views, legend: bool = True):
    """A figure with one axis for each plane, all at one scale, their names, and an axis for a colour bar."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shapes = [plane.points.shape[:2] for plane in seen.planes]
    tallest, across = max(rows for rows, _ in shapes), sum(columns for _, columns in shapes)
    gap, beside, above = 0.12, 0.95 if legend else 0.0, 0.26
    inches = (WIDTH_INCHES - gap * (len(shapes) - 1) - beside) / across
    height = above + tallest * inches
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    axes, left = [], 0.0
    for plane, (rows, columns) in zip(seen.planes, shapes, strict=True):
        # At the same height in the middle: the planes differ in theirs.
        bottom = (tallest - rows) / 2 * inches
        box = (left / WIDTH_INCHES, bottom / height, columns * inches / WIDTH_INCHES, rows * inches / height)
        axis = figure.add_axes(box)
        axis.set_axis_off()
        axis.set_aspect("auto")
        axis.set_title(plane.name, fontsize=9, color=FAINT, pad=4)
        axes.append(axis)
        left += columns * inches + gap
    bar = None
    if legend:
        bar = figure.add_axes(
            ((left + 0.05) / WIDTH_INCHES, 0.14, 0.13 / WIDTH_INCHES, 0.72 * tallest * inches / height)
        )
    return figure, axes, bar


def _outline(axis, grey: np.ndarray, colour: str) -> None:
    """The shape of the fixed volume, so that a place in a map can be found."""
    smooth = gaussian_filter(np.nan_to_num(grey), OUTLINE_SMOOTHING)
    if min(smooth.shape) > 1 and smooth.min() < OUTLINES[0] < smooth.max():
        axis.contour(smooth, levels=OUTLINES, colors=colour, linewidths=0.5, alpha=0.75)


def _one_colour(colour: str):
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])


def _label(bar, text: str) -> None:
    bar.set_label(text, fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_linewidth(0.5)


def _picture(figure, alt: str) -> Map:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    width, height = (round(side) for side in figure.get_size_inches() * DOTS_PER_INCH)
    return Map(png_uri(buffer.getvalue()), alt, width, height)
