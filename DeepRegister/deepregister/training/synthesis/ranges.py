"""What synthesis draws from: the table `[synthesis]` of a recipe. No torch.

A pair of numbers is a range that each pair of images draws evenly from; a share is a probability. Lengths are in mm.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ...errors import InputError

Range = tuple[float, float]


class _Checked:
    """Refuses ranges that end before they begin, negative numbers, and shares above 1."""

    def __post_init__(self) -> None:
        table = type(self).__name__
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "Range" and not 0 <= value[0] <= value[1] < float("inf"):
                raise InputError(f"{table}.{each.name} must be two numbers, 0 or more, in order, not {list(value)}.")
            if each.type == "float" and not 0 <= value < float("inf"):
                raise InputError(f"{table}.{each.name} must be 0 or more, not {value:g}.")
            if each.metadata.get("share") and value > 1:
                raise InputError(f"{table}.{each.name} is a share: it must be at most 1, not {value:g}.")
            least = each.metadata.get("least", 0)
            if each.type in ("int", "Range") and (value if each.type == "int" else value[0]) < least:
                raise InputError(f"{table}.{each.name} must be at least {least:g}, not {value}.")


SHARE = {"share": True}


@dataclass(frozen=True)
class AffineRanges(_Checked):
    """Largest turn (degrees), shift (mm) and stretch (percent, along each of three axes of random direction)."""

    degrees: float = 15.0
    mm: float = 10.0
    percent: float = 12.0


@dataclass(frozen=True)
class FieldRanges(_Checked):
    """A random smooth motion without folds.

    Attributes:
        mm: its longest displacement anywhere.
        scale_mm: distances over which it changes.
        strain: largest derivative of the velocity: over short distances it moves less far for it.
        layers: random velocities that are added up; each has its own part of the distances.
    """

    mm: Range = (2.0, 15.0)
    scale_mm: Range = field(default=(8.0, 64.0), metadata={"least": 0.5})
    strain: float = 1.2
    layers: int = field(default=2, metadata={"least": 1})


@dataclass(frozen=True)
class ContrastRanges(_Checked):
    """Intensities of labels, 0 to 1.

    Attributes:
        deviation: standard deviation of the noise within a tissue.
        independence: of the structures within one kind of tissue: 0 gives all grey matter one mean, 1 each its own.
        dark_background: share of images whose background is dark, as in most real ones.
        t1_like: share of contrasts that look like a T1-weighted head; for label maps whose tissues are known.
        jitter: of the means of these.
        same: share of pairs in which both images have one contrast.
        stripped: share of images without skull and skin; for label maps that say what the brain is.
        same_stripping: share of pairs in which either both images are stripped or none.
    """

    deviation: Range = (0.01, 0.1)
    independence: Range = (0.0, 1.0)
    dark_background: float = field(default=0.8, metadata=SHARE)
    t1_like: float = field(default=0.2, metadata=SHARE)
    jitter: float = 0.06
    same: float = field(default=0.3, metadata=SHARE)
    stripped: float = field(default=0.4, metadata=SHARE)
    same_stripping: float = field(default=0.85, metadata=SHARE)


@dataclass(frozen=True)
class AcquisitionRanges(_Checked):
    """What a scanner and its operator do to an image.

    Attributes:
        blur_mm: standard deviation of the blur, along each axis by itself.
        thick_slices: share of images of thick slices, along one axis.
        slice_mm: their thickness.
        bias: standard deviation of the logarithm of the smooth field that the image is multiplied by.
        bias_scale_mm: distance over which that changes.
        noise: standard deviation, where the image runs from 0 to 1.
        gamma: the exponent of the intensities is drawn between 2 to minus and to plus this.
        cropped: share of images that a smaller field of view cuts off.
        crop: share of the image's length that is cut off at a side.
    """

    blur_mm: Range = (0.0, 1.0)
    thick_slices: float = field(default=0.3, metadata=SHARE)
    slice_mm: Range = field(default=(1.0, 6.0), metadata={"least": 0.1})
    bias: Range = (0.0, 0.3)
    bias_scale_mm: Range = field(default=(40.0, 120.0), metadata={"least": 1.0})
    noise: Range = (0.0, 0.05)
    gamma: float = 0.6
    cropped: float = field(default=0.25, metadata=SHARE)
    crop: Range = (0.0, 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop[1] > 0.45:
            raise InputError(f"AcquisitionRanges.crop must leave something of an image: at most 0.45, not {self.crop}.")


@dataclass(frozen=True)
class ShapeRanges(_Checked):
    """Label maps of random shapes: space is cut into cells several times over, at different scales.

    Attributes:
        scale_mm: typical size of a cell; each partition draws one, evenly in its logarithm.
        partitions: how many cut each other.
        cells: kinds of cells in each partition.
        walls: share of the maps in which the borders of one partition are sheets of their own, as a cortex or a skull.
        wall_mm: thickness of these.
    """

    scale_mm: Range = field(default=(16.0, 80.0), metadata={"least": 2.0})
    partitions: int = field(default=2, metadata={"least": 1})
    cells: int = field(default=4, metadata={"least": 2})
    walls: float = field(default=0.5, metadata=SHARE)
    wall_mm: Range = (2.0, 6.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cells**self.partitions > 254:
            raise InputError(
                f"ShapeRanges: {self.partitions} partitions of {self.cells} cells are over 254 labels: take fewer."
            )


@dataclass(frozen=True)
class Synthesis:
    """All that synthesis draws from.

    Attributes:
        between_subjects, one_subject, shapes: how often each kind of pair is drawn, in proportion: two label maps;
            one, moved by a known field; random shapes, moved likewise.
        pose: affine of both images, from the typical pose of the label maps.
        residual: affine between the two, what the engine's affine step may leave over.
        variation: smooth motion that makes another subject of each label map.
        motion: the smooth part of the known field.
        mirrored: share of label maps that are mirrored, left for right; for those that say what is left.
        zoom: each pair shows a part of the label maps enlarged so many times, drawn evenly in its logarithm, so that
            one network can look at an anatomy as a whole and then again at finer spacings. All lengths are of what is
            shown.
        contrast, acquisition: of the images.
        shape: of the random shapes.
        structures: labels whose overlap counts; empty takes those that are known to be structures of the brain, or all.
        kept: labels that skull-stripping leaves; empty takes the brain where that is known, or all.
        channels: most structures that one batch compares, drawn anew each time: each costs time. 0 takes all.
        overlap_stride: the structures are compared on voxels that are so many times as long; 2 takes an eighth of the
            time and memory.
    """

    between_subjects: float = 0.5
    one_subject: float = 0.3
    shapes: float = 0.2
    pose: AffineRanges = AffineRanges(15.0, 10.0, 10.0)
    residual: AffineRanges = AffineRanges(15.0, 10.0, 12.0)
    variation: FieldRanges = FieldRanges(mm=(0.0, 6.0), scale_mm=(12.0, 64.0), strain=0.6)
    motion: FieldRanges = FieldRanges()
    mirrored: float = field(default=0.5, metadata=SHARE)
    zoom: Range = field(default=(1.0, 1.0), metadata={"least": 1.0})
    contrast: ContrastRanges = ContrastRanges()
    acquisition: AcquisitionRanges = AcquisitionRanges()
    shape: ShapeRanges = ShapeRanges()
    structures: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    channels: int = 0
    overlap_stride: int = field(default=1, metadata={"least": 1})

    def __post_init__(self) -> None:
        _Checked.__post_init__(self)
        if not self.between_subjects + self.one_subject + self.shapes > 0:
            raise InputError("[synthesis] draws nothing: between_subjects, one_subject and shapes are all 0.")

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)
