"""Pairs that a registration should manage, and pairs that it cannot: what `failures.py` measures the confidence with.

Good: other subjects of one organ as their headers have them; turned by up to 45 degrees and shifted by up to 60 mm; one
head in two contrasts; thick slices; only a part of the field of view on one side; small motion between two scans.

Bad, so that no transform within reach is right:
- wrong patient: the file is of another patient's other examination, a CT of abdomen and pelvis in place of an MR of the
  head or the other way round. (Another patient's same organ is what registration between subjects is for: good.)
- wrong body part: a crop of the same size and modality from elsewhere, a hippocampus against a frontal lobe; or against
  a crop of the abdomen.
- no overlap: the lower part of a scan against the upper part of one, half of them with headers that hide it.
- upside down: the voxels are turned by 180 degrees about one axis and the header keeps quiet. `affine` looks for such
  turns too, so some of these pairs are found after all.

Where the true partner of some points is known (by a known motion, or as the centres of labelled structures), each
result is judged by it: a good pair that was missed is no good result, and a bad one that was found is no failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from datasets import brains, hippocampi, labels
from deepregister import Affine, Geometry, Rigid, Transform, Volume
from deformations import seen_through, smooth_deformation
from perturbations import Perturbation, head_points
from renders import Appearance, render_pairs
from scipy.ndimage import center_of_mass

HEADS = ("brainweb1e1a10f20.mha", "brainweb1e5a10f17.mha", "brainweb165a10f17.mha")
# A result is right where the mean error of its points is below this, mm: a known motion, structures of two brains,
# the two halves of a hippocampus. Between subjects the centres cannot meet exactly, by rigid motion least of all.
KNOWN_MM, BRAIN_MM, HIPPOCAMPUS_MM = 5.0, 10.0, 6.0
# A crop as large as those of the hippocampi, mm, in front of the middle of a brain; the labels of the hippocampi.
CROP_MM, FRONT_MM, HIPPOCAMPI = (36, 50, 36), (18, -50, 8), (47, 48)
CT_NOISE, AIR = 20.0, -1000.0


@dataclass(frozen=True)
class Side:
    """A volume and points in it, LPS mm, (n, 3), whose partners on the other side stand in the same order; or None."""

    volume: Volume
    points: np.ndarray | None = None


@dataclass(frozen=True)
class Case:
    """One pair.

    Attributes:
        name: unique.
        kind: a key of `KINDS`.
        good: whether a registration should manage it.
        half: "development", to tune thresholds on, or "held-out".
    """

    name: str
    kind: str
    good: bool
    half: str
    number: int

    def sides(self, data: Path) -> tuple[Side, Side, float]:
        """Fixed, moving, and the mean error below which a result is right, mm."""
        return KINDS[self.kind][2](data, self.number, np.random.default_rng(list(self.name.encode())))


def error_mm(transform: Transform, fixed: Side, moving: Side) -> float | None:
    """Mean distance of the fixed points from their partners among those that both volumes show; None if unknown."""
    if fixed.points is None or moving.points is None:
        return None
    seen = _inside(fixed.points, fixed.volume.geometry) & _inside(moving.points, moving.volume.geometry)
    missed = transform.apply_to_points(fixed.points[seen]) - moving.points[seen]
    return float(np.linalg.norm(missed, axis=1).mean())


# What happens to one side.


def placed(side: Side, motion: Affine) -> Side:
    """Moved by its header alone, no voxel touched; as a patient who lies otherwise, with oblique slices."""
    geometry = side.volume.geometry
    moved = Geometry.from_matrix(motion.matrix @ geometry.matrix, geometry.size)
    points = None if side.points is None else motion.apply_to_points(side.points)
    return Side(replace(side.volume, geometry=moved), points)


def anywhere(side: Side, rng: np.random.Generator, part: float = 1.0) -> Side:
    """Turned by up to 45 degrees and shifted by up to 60 mm; `part` of that."""
    drawn = Perturbation.random(rng, side.volume.geometry.centre, "none")
    turn, shift = (tuple(part * np.asarray(values)) for values in (drawn.turn_degrees, drawn.shift_mm))
    return placed(side, replace(drawn, turn_degrees=turn, shift_mm=shift).transform)


def slab(side: Side, axis: int, low: float, high: float) -> Side:
    """What lies between two fractions of the extent along the x, y or z axis of space."""
    geometry = side.volume.geometry
    along = int(np.abs(np.asarray(geometry.direction)[axis]).argmax())
    if geometry.direction[axis][along] < 0:
        low, high = 1 - high, 1 - low
    start, stop = np.zeros(3, int), np.array(geometry.size)
    start[along], stop[along] = round(low * geometry.size[along]), round(high * geometry.size[along])
    return Side(_cut(side.volume, start, stop), side.points)


def upside_down(side: Side, axis: int) -> Side:
    """Voxels turned by 180 degrees about an axis of the grid, the header as before."""
    others = [n for n in range(3) if n != axis]
    data = np.flip(side.volume.data, [2 - n for n in others])
    points = None
    if side.points is not None:
        geometry = side.volume.geometry
        index = geometry.point_to_index(side.points)
        index[:, others] = np.asarray(geometry.size)[others] - 1 - index[:, others]
        points = geometry.index_to_point(index)
    return Side(replace(side.volume, data=np.ascontiguousarray(data)), points)


def scanned(side: Side, rng: np.random.Generator, slices_mm: float = 0.0) -> Side:
    """The same MR with a contrast curve, bias and noise of its own, and thick slices where asked for."""
    data = side.volume.data.astype(np.float32)
    picture = replace(side.volume, data=np.clip(data / np.percentile(data, 99.8), 0, 1))
    appearance = replace(Appearance.random(rng), slices_mm=slices_mm, slice_axis=2)
    return Side(replace(appearance.of(picture, rng), name=side.volume.name), side.points)


def _noisy(side: Side, rng: np.random.Generator) -> Side:
    data = side.volume.data + rng.normal(0, CT_NOISE, side.volume.data.shape)
    return Side(replace(side.volume, data=data.astype(np.int16)), side.points)


def _cut(volume: Volume, start: np.ndarray, stop: np.ndarray) -> Volume:
    data = volume.data[start[2] : stop[2], start[1] : stop[1], start[0] : stop[0]]
    return Volume(np.ascontiguousarray(data), volume.geometry.cropped(start, stop), volume.name)


def _inside(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    index = geometry.point_to_index(points)
    return np.all((index >= -0.5) & (index < np.asarray(geometry.size) - 0.5), axis=1)


# What there is.


def labelled(fixed: Path, moving: Path, fixed_labels: Path, moving_labels: Path) -> tuple[Side, Side]:
    """Two images and the centres of the structures that both have."""
    maps = [labels(path) for path in (fixed_labels, moving_labels)]
    common = sorted(set.intersection(*(set(np.unique(each.data).tolist()) for each in maps)) - {0})
    centres = [np.array(center_of_mass(each.data > 0, each.data, common))[:, ::-1] for each in maps]
    return tuple(
        Side(Volume.read(path), each.geometry.index_to_point(centre))
        for path, each, centre in zip((fixed, moving), maps, centres, strict=True)
    )


@cache
def brain_pair(data: Path, number: int) -> tuple[Side, Side]:
    """Two T1 brains; those that may be developed on."""
    pair = brains(data)[number % 3]
    return labelled(pair.fixed, pair.moving, pair.fixed_labels, pair.moving_labels)


def rendered_pair(data: Path, number: int) -> tuple[Side, Side]:
    """Whole heads of two subjects drawn from their labels, in one contrast (even numbers) or two."""
    files = render_pairs(data, 4)[number % 4][1]
    return labelled(**files)


def hippocampus_pair(data: Path, number: int) -> tuple[Side, Side]:
    """Two crops of those that may be developed on."""
    pair = hippocampi(data, 20, slice(160))[number]
    return labelled(pair.fixed, pair.moving, pair.fixed_labels, pair.moving_labels)


@cache
def head(data: Path, number: int) -> Side:
    """One simulated head in one of three MR contrasts, all aligned."""
    volumes = [Volume.read(data / "brain_contrasts" / name) for name in HEADS]
    return Side(volumes[number % 3], head_points(volumes, 8))


@cache
def body(data: Path) -> Side:
    """A CT of abdomen and pelvis."""
    volume = Volume.read(data / "body_ct" / "example_ct.nii.gz")
    inside = np.argwhere(volume.data > -300)[::50, ::-1]
    return Side(volume, volume.geometry.index_to_point(inside))


def frontal(data: Path, number: int) -> Side:
    """A crop of a brain in front of the hippocampi."""
    pair = brains(data)[number % 3]
    volume, regions = Volume.read(pair.fixed), labels(pair.fixed_labels)
    middle = regions.geometry.index_to_point(np.argwhere(regions.data > 0)[:, ::-1].mean(0))
    crop = _crop_around(volume, middle + FRONT_MM)
    found = Rigid.identity().resample(regions, crop.geometry, "nearest").data
    if np.isin(found, HIPPOCAMPI).any() or np.mean(found > 0) < 0.5:
        raise ValueError(f"the crop of {volume.name} holds a hippocampus, or mostly air")
    return Side(crop)


def abdominal(data: Path, number: int) -> Side:
    """A crop of the abdomen as large as those of the hippocampi."""
    volume = body(data).volume
    return Side(_crop_around(volume, volume.geometry.centre + [20.0 - 40.0 * (number % 2), -20.0, 10.0]))


def _crop_around(volume: Volume, centre: np.ndarray) -> Volume:
    grid = Geometry(CROP_MM, origin=tuple(centre - (np.asarray(CROP_MM) - 1) / 2))
    return Rigid.identity().resample(volume.astype(np.float32), grid, "linear")


# The kinds of pairs.


def _other_subject(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    if number < 3:
        return *brain_pair(data, number), BRAIN_MM
    if number < 7:
        return *rendered_pair(data, number - 3), BRAIN_MM
    return *hippocampus_pair(data, number - 7), HIPPOCAMPUS_MM


def _turned(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    if number < 4:
        fixed, moving = brain_pair(data, number) if number < 3 else rendered_pair(data, 0)
        return fixed, anywhere(moving, rng), BRAIN_MM
    return body(data), anywhere(_noisy(body(data), rng), rng, 0.5), KNOWN_MM


def _other_contrast(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    return head(data, number), anywhere(scanned(head(data, number + 1), rng), rng), KNOWN_MM


def _thick_slices(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    return head(data, 0), anywhere(scanned(head(data, number), rng, 5.0), rng, 0.4), KNOWN_MM


def _part_of_the_field(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    fixed, moving = {
        0: lambda: (head(data, 0), scanned(slab(head(data, 1), 2, 0.35, 1.0), rng)),
        1: lambda: (head(data, 2), scanned(slab(head(data, 2), 1, 0.0, 0.65), rng)),
        2: lambda: (slab(brain_pair(data, 0)[0], 2, 0.0, 0.65), brain_pair(data, 0)[1]),
        3: lambda: (slab(body(data), 2, 0.0, 0.8), slab(_noisy(body(data), rng), 2, 0.2, 1.0)),
    }[number]()
    return fixed, anywhere(moving, rng, 0.4), BRAIN_MM if number == 2 else KNOWN_MM


def _small_motion(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    if number >= 2:
        return head(data, number), anywhere(scanned(head(data, number), rng), rng, 0.08), KNOWN_MM
    volume, points = body(data).volume, body(data).points
    truth = smooth_deformation(volume.geometry, rng, 8.0, 50.0, points)
    fixed = replace(seen_through(volume, truth, volume.geometry, AIR), name="the same in motion")
    return _noisy(Side(fixed, points), rng), Side(volume, truth.apply_to_points(points)), KNOWN_MM


def _wrong_patient(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    abdomen, pelvis = slab(body(data), 2, 0.45, 1.0), slab(body(data), 2, 0.0, 0.5)
    fixed, moving = {
        0: lambda: (brain_pair(data, 0)[0], body(data)),
        1: lambda: (body(data), brain_pair(data, 1)[0]),
        2: lambda: (head(data, 0), abdomen),
        3: lambda: (pelvis, head(data, 1)),
        4: lambda: (rendered_pair(data, 0)[0], pelvis),
        5: lambda: (abdomen, rendered_pair(data, 1)[0]),
        6: lambda: (brain_pair(data, 2)[0], abdomen),
        7: lambda: (head(data, 2), body(data)),
    }[number]()
    return _unknown(fixed), _unknown(moving), KNOWN_MM


def _wrong_part(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    crop = hippocampus_pair(data, number)[0]
    other = frontal(data, number // 2) if number < 4 else abdominal(data, number)
    sides = (crop, other) if number % 4 < 2 else (other, crop)
    return *map(_unknown, sides), KNOWN_MM


def _no_overlap(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    if number < 3:
        fixed, moving = brain_pair(data, number)
    elif number < 5:
        fixed, moving = head(data, 0), scanned(head(data, number - 3), rng)
    elif number < 7:
        fixed, moving = body(data), _noisy(body(data), rng)
    else:
        fixed, moving = rendered_pair(data, number - 7)
    fixed, moving = slab(fixed, 2, 0.0, 0.42), slab(moving, 2, 0.58, 1.0)
    if number % 4 >= 2:
        # Centres on each other, as two headers that know nothing of each other may have it.
        motion = np.eye(4)
        motion[:3, 3] = fixed.volume.geometry.centre - moving.volume.geometry.centre
        moving = placed(moving, Affine(motion))
    return _unknown(fixed), _unknown(moving), KNOWN_MM


def _upside_down(data: Path, number: int, rng: np.random.Generator) -> tuple[Side, Side, float]:
    if number < 3:
        fixed, moving, limit = *brain_pair(data, number), BRAIN_MM
    elif number < 5:
        fixed, moving, limit = head(data, 0), scanned(head(data, number - 3), rng), KNOWN_MM
    elif number < 7:
        fixed, moving, limit = body(data), _noisy(body(data), rng), KNOWN_MM
    else:
        fixed, moving, limit = *hippocampus_pair(data, number), HIPPOCAMPUS_MM
    # A hippocampus lies along j: turned about that axis, its two halves would stay where they are.
    return fixed, upside_down(moving, 0 if number >= 7 else number % 2), limit


def _unknown(side: Side) -> Side:
    return Side(side.volume)


# Whether a registration should manage it, how many, and what makes them.
KINDS: dict[str, tuple[bool, int, Callable]] = {
    "other subject": (True, 12, _other_subject),
    "turned and shifted": (True, 6, _turned),
    "other contrast": (True, 3, _other_contrast),
    "thick slices": (True, 3, _thick_slices),
    "part of the field": (True, 4, _part_of_the_field),
    "small motion": (True, 4, _small_motion),
    "wrong patient": (False, 8, _wrong_patient),
    "wrong body part": (False, 8, _wrong_part),
    "no overlap": (False, 9, _no_overlap),
    "upside down": (False, 9, _upside_down),
}


def cases() -> list[Case]:
    """All pairs; every other one of a kind is held out, beginning with the second."""
    return [
        Case(f"{kind} {number}", kind, good, ("development", "held-out")[number % 2], number)
        for kind, (good, count, _) in KINDS.items()
        for number in range(count)
    ]
