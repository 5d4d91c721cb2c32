"""The slices of the page, as pictures inside the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from ..pictures import Plane, Views, checkerboard, to_grey, views
from ..transforms import Transform
from ..volume import Volume

LONGEST_SIDE_PIXELS = 440
BAR_LENGTHS_MM = (100, 50, 20, 10, 5, 2, 1)
# The bar takes at most this share of the narrowest picture.
BAR_SHARE = 0.4
# Levels of a difference that are told apart; an even number of steps has equal ones in the middle.
LEVELS = 255
DIFFERENCE_COLOURS = "RdBu_r"
# Of the range of greys: where the colours end. Tissues that should meet differ by less than black and white do.
MOST_DIFFERENCE = 0.6
SIDES = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "top", "I": "bottom"}


@dataclass(frozen=True)
class Picture:
    """One picture of the page.

    Attributes:
        uri: its content, as a `data:` address.
        alt: what it shows, for those who cannot see it.
        width, height: pixels.
        share: its width as a share of the widest plane's, so that all planes are shown at one scale.
        letters: what lies at its left, right, top and bottom; empty where the page does not say.
    """

    uri: str
    alt: str
    width: int
    height: int
    share: float
    letters: str = ""


@dataclass(frozen=True)
class PlaneFigures:
    """All pictures of one plane."""

    name: str
    fixed: Picture
    before: Picture
    after: Picture
    checks: tuple[Picture, Picture]
    differences: tuple[Picture, Picture]


@dataclass(frozen=True)
class Slices:
    """The slices of a pair.

    Attributes:
        planes: axial, coronal and sagittal.
        when: what "before" is: "before" or "centred".
        bar_mm: length of the scale bar.
        bar_share: the same as a share of the widest plane.
        legend: a strip of the colours of the differences.
        height: of all planes on top of each other, by the width of the widest.
    """

    planes: tuple[PlaneFigures, ...]
    when: str
    bar_mm: int
    bar_share: float
    legend: str
    height: float


def pair_views(fixed: Volume, moving: Volume, registered: Volume, transform: Transform) -> Views:
    """The slices of a pair; the registered volume only where the moving one has voxels for it."""
    seen = views(fixed, moving, registered, LONGEST_SIDE_PIXELS)
    size = np.asarray(moving.geometry.size)
    after = []
    for plane, values in zip(seen.planes, seen.after, strict=True):
        index = moving.geometry.point_to_index(transform.apply_to_points(plane.points))
        has = np.all((index >= 0) & (index <= size - 1), axis=-1)
        # Voxels of the registered volume beside its edge are part filling, and colour what lies between them.
        edge = int(np.ceil(max(fixed.geometry.spacing) / plane.pixel_mm))
        has = binary_erosion(has, iterations=edge, border_value=True)
        after.append(np.where(has, values, np.nan))
    return Views(seen.planes, seen.fixed, seen.before, tuple(after), seen.when)


def slices(seen: Views) -> Slices:
    """Every slice picture of the page."""
    from matplotlib import colormaps

    colours = (255 * colormaps[DIFFERENCE_COLOURS](np.linspace(0, 1, LEVELS))[:, :3]).round().astype(np.uint8)
    widest = max(plane.points.shape[1] for plane in seen.planes)
    planes = tuple(
        _plane(*cuts, seen.when, widest, colours)
        for cuts in zip(seen.planes, seen.fixed, seen.before, seen.after, strict=True)
    )
    narrowest = min(plane.points.shape[1] for plane in seen.planes) * seen.planes[0].pixel_mm
    bar = next((length for length in BAR_LENGTHS_MM if length <= BAR_SHARE * narrowest), BAR_LENGTHS_MM[-1])
    strip = Image.fromarray(np.repeat(colours[None], 8, axis=0))
    height = sum(plane.points.shape[0] for plane in seen.planes) / widest
    return Slices(planes, seen.when, bar, bar / (widest * seen.planes[0].pixel_mm), data_uri(strip), height)


def _plane(
    plane: Plane,
    fixed: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    when: str,
    widest: int,
    colours: np.ndarray,
) -> PlaneFigures:
    share = plane.points.shape[1] / widest
    still, first, last = (to_grey(values, (0, 1)) for values in (fixed, before, after))
    left, right, top, bottom = (SIDES[letter] for letter in plane.letters)
    seen = f"the patient's {left} is at the left, {right} at the right, {top} at the top and {bottom} at the bottom"
    slice_of = f"{plane.name} slice"
    moved = "registered" if when == "before" else "registered, its place in its file being out of sight"

    def grey(values: np.ndarray, alt: str, letters: str = "") -> Picture:
        picture = Image.fromarray(values)
        return Picture(data_uri(picture), f"{slice_of}, {alt}.", *picture.size, share, letters)

    def difference(values: np.ndarray, alt: str) -> Picture:
        picture = _coloured(values - fixed, colours)
        return Picture(data_uri(picture), f"{slice_of}, {alt}.", *picture.size, share)

    return PlaneFigures(
        plane.name,
        grey(still, f"fixed volume; {seen}", plane.letters),
        grey(first, f"moving volume {when}" if when == "before" else "moving volume, centred"),
        grey(last, f"moving volume, {moved}"),
        (
            grey(checkerboard(still, first, LONGEST_SIDE_PIXELS), f"checkerboard of fixed and moving volume, {when}"),
            grey(checkerboard(still, last, LONGEST_SIDE_PIXELS), "checkerboard of fixed and registered volume"),
        ),
        (
            difference(before, f"moving less fixed volume, {when}"),
            difference(after, "registered less fixed volume"),
        ),
    )


def _coloured(difference: np.ndarray, colours: np.ndarray) -> Image.Image:
    """Differences of greys in colours; where either volume has no voxels, grey."""
    scaled = np.clip(np.nan_to_num(difference) / MOST_DIFFERENCE, -1, 1)
    scaled = ((scaled + 1) / 2 * (LEVELS - 1)).round()
    index = np.where(np.isfinite(difference), scaled, LEVELS)
    # One byte a pixel: a palette costs a third of full colour.
    picture = Image.fromarray(index.astype(np.uint8))
    picture.putpalette([*colours.ravel().tolist(), 222, 224, 228])
    return picture


def data_uri(picture: Image.Image) -> str:
    """A picture as an address that holds all of it."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=7)
    return png_uri(buffer.getvalue())


def png_uri(content: bytes) -> str:
    """A PNG file's content as an address."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
