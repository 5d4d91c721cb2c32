"""The numbers of a result as people read them: the terminal and the report page show the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..geometry import Geometry
from ..settings import Settings
from .motion import LinearMotion
from .verdict import millimetres, share

# Left or right, anterior or posterior, superior or inferior: the sign of LPS coordinates in words.
SIDES = (("left", "right"), ("posterior", "anterior"), ("up", "down"))


@dataclass(frozen=True)
class Row:
    """One measure.

    Attributes:
        title: its name.
        before, after: what it was and is; `before` is empty for what exists only after the registration.
        meaning: one sentence for a reader who does not know it.
    """

    title: str
    before: str
    after: str
    meaning: str


def measure_rows(measures: Mapping[str, Any], failed: bool = False) -> list[Row]:
    """The measures of `Registration.measures` that a person can use; absent ones give no row.

    Args:
        measures: of the result.
        failed: the verdict is that it did: what it says of its own error is then left out.
    """
    rows = []

    def pair(title: str, key: str, text: str, meaning: str) -> None:
        before, after = (measures.get(key.format(when)) for when in ("before", "after"))
        if after is not None:
            rows.append(Row(title, "" if before is None else text.format(before), text.format(after), meaning))

    def one(title: str, text: str, meaning: str, *keys: str, show=lambda value: f"{value:.2f}") -> None:
        if all(key in measures for key in keys):
            rows.append(Row(title, "", text.format(*(show(measures[key]) for key in keys)), meaning))

    apart = "How far apart partners among the given landmarks lie; these also steered the registration."
    pair("Landmark error, mean", "tre_{}_mean_mm", "{:.2f} mm", apart)
    pair("Landmark error, median", "tre_{}_median_mm", "{:.2f} mm", "Half of the landmarks lie nearer than this.")
    pair("Landmark error, largest", "tre_{}_max_mm", "{:.2f} mm", "Of the landmark that fits worst.")
    like = "Local correlation of the two volumes where the fixed one shows structure; 1 is a perfect match."
    pair("Similarity (0 to 1)", "similarity_{}", "{:.3f}", like)
    folds = "Places where the field turns space inside out, which no tissue does."
    one("Folded voxels", "{}", folds, "folded_fraction", show=share)
    change = "Smallest and largest Jacobian determinant of the bending part; 1 keeps volume."
    one("Local volume change", "times {} to {}", change, "jacobian_min", "jacobian_max")
    spread = "Standard deviation of the logarithm of the Jacobian determinant; smaller is smoother."
    one("Spread of the volume change", "{}", spread, "jacobian_log_std", show=lambda value: f"{value:.3f}")
    moved = "Between a point of the fixed volume and where it lies in the moving one, shift and turn included."
    one("Displacement", "{} mm on average, {} mm at most", moved, "displacement_mean_mm", "displacement_max_mm")
    expected = "Standard deviation of the motion as the network itself expects it; larger where the images say little."
    one("Predicted uncertainty", "{} mm on average", expected, "predicted_sd_mm")
    off = "How far points may lie from their true places, as the images and the deformation suggest."
    if not failed:
        one(
            "Expected error",
            "{} for half of the points, {} for nine in ten",
            off,
            "expected_error_median_mm",
            "expected_error_90_mm",
            show=millimetres,
        )
    back = "How far a point lands from its start after transform and inverse."
    one(
        "Error of the inverse",
        "{} on average, {} at most",
        back,
        "inverse_error_mean_mm",
        "inverse_error_max_mm",
        show=millimetres,
    )
    return rows


def overlap_rows(measures: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The Dice overlap by structure, where it was measured: names of the stages, then each structure's values."""
    overlap = measures.get("overlap_dice") or {}
    stages = list(next(iter(overlap.values()), {}))
    return stages, [(name, [f"{values[stage]:.3f}" for stage in stages]) for name, values in overlap.items()]


def motion_rows(motion: LinearMotion) -> list[tuple[str, str]]:
    """How the moving volume was carried as a whole, in words."""
    x, y, z = (
        f"{abs(value):.1f} mm {sides[0] if value >= 0 else sides[1]}"
        for value, sides in zip(motion.shift_mm, SIDES, strict=True)
    )
    low, middle, high = motion.stretches
    rows = [
        ("Turned by", f"{motion.turn_degrees:.1f}°"),
        ("Shifted by", f"{sum(value**2 for value in motion.shift_mm) ** 0.5:.1f} mm: {x}, {y}, {z}"),
        ("Stretched by", f"{low:.3f}, {middle:.3f} and {high:.3f} along three axes"),
        ("Volume", f"times {abs(motion.volume_factor):.3f}"),
    ]
    if motion.volume_factor < 0:
        rows.append(("Mirrored", "yes: left and right may be exchanged"))
    return rows


def volume_rows(geometries: Sequence[Geometry]) -> list[tuple[str, list[str]]]:
    """Size, spacing, extent, origin and axes of volumes, side by side."""

    def triple(values, digits: int, unit: str, sign: str = " × ") -> str:
        return sign.join(f"{value:.{digits}f}".rstrip("0").rstrip(".") for value in values) + f" {unit}"

    return [
        ("Size", [triple(g.size, 1, "voxels") for g in geometries]),
        ("Spacing", [triple(g.spacing, 3, "mm") for g in geometries]),
        ("Extent", [triple(g.extent_mm, 1, "mm") for g in geometries]),
        ("Centre (LPS)", [triple(g.centre, 1, "mm", ", ") for g in geometries]),
        (
            "Axes (LPS)",
            ["; ".join(triple(axis, 3, "", ", ").strip() for axis in _axes(g)) for g in geometries],
        ),
    ]


def setting_rows(settings: Settings) -> list[tuple[str, str]]:
    """All settings by name."""

    def title(name: str) -> str:
        words, millimetre = name.removesuffix("_mm").replace("_", " "), name.endswith("_mm")
        return words.capitalize() + (" (mm)" if millimetre else "")

    return [(title(name), "automatic" if value is None else str(value)) for name, value in settings.to_dict().items()]


def _axes(geometry: Geometry) -> list[tuple[float, ...]]:
    return list(zip(*geometry.direction, strict=True))
