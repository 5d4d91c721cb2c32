"""Pairs as they should not be, but are: strange grids, strange intensities, strange files; each found or refused.

`conditions()` draws one: a volume of known bodies, seen a second time after a known shift, on grids that are turned,
flipped, cropped, long or flat, with intensities that are cut off, inverted, noisy or not numbers. `outcome` registers
it. A result must be near the truth wherever the pair shows enough for it (`Condition.fair`); else it may also be
refused in the words of a `DeepRegisterError`, or be wrong, which its own confidence or warnings should say.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from deepregister import Geometry, Volume, register
from deepregister.errors import DeepRegisterError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from kills import SETTINGS
from scipy.spatial.transform import Rotation

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr", ".img", "")
# Of the voxels of the coarser grid; a rigid alignment of strange images is not exact.
CORRECT_VOXELS = 1.0
EXTENT_MM = np.array([110.0, 96.0, 100.0])
SHIFT_MM = np.array([5.0, -4.0, 3.0])

# How voxel values become others, and whether the pair can still be expected to be found.
INTENSITIES: dict[str, tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], bool]] = {
    "as they are": (lambda v, r: v, True),
    "inverted": (lambda v, r: v.max() - v, True),
    "saturated": (lambda v, r: np.minimum(v, np.quantile(v, 0.9)), True),
    "noisy": (lambda v, r: v + r.normal(0, 0.1 * v.max(), v.shape), True),
    "drowned in noise": (lambda v, r: v + r.normal(0, 3 * v.max(), v.shape), False),
    "12-bit CT": (lambda v, r: np.clip(v * 2, 0, 4095).astype(np.int16) - 1024, True),
    "CT padded with -3024": (lambda v, r: _framed(np.clip(v, 0, 3000).astype(np.int16) - 1000, -3024), True),
    "8 bits": (lambda v, r: (255 * v / v.max()).astype(np.uint8), True),
    "tiny values": (lambda v, r: v * 1e-30, True),
    "huge values": (lambda v, r: (v.astype(np.float64) + 1) * 1e30, True),
    "64-bit whole numbers": (lambda v, r: v.astype(np.int64) * 10**12, True),
    "constant": (lambda v, r: np.full_like(v, 7), False),
    "constant margins": (lambda v, r: _framed(v, v.max() / 3), False),
    "metal": (lambda v, r: _with_metal(v), True),
    "thick metal": (lambda v, r: _with_metal(v, 2), True),
    "hot voxels": (lambda v, r: _spotted(v, r, 30 * v.max()), True),
    "many hot voxels": (lambda v, r: _spotted(v, r, 10 * v.max(), 0.02), True),
    "a few not numbers": (lambda v, r: _spotted(v, r, np.nan), True),
    "a few infinite": (lambda v, r: _spotted(v, r, np.inf), True),
    "mostly not numbers": (lambda v, r: np.where(r.random(v.shape) < 0.6, np.nan, v), False),
    "two values": (lambda v, r: (v > np.median(v)).astype(np.uint8), True),
}


@dataclass(frozen=True)
class Grid:
    """How one side is sampled.

    Attributes:
        spacing: mm along i, j, k.
        turn: degrees about x, y, z.
        order, flips: which way the axes are stored.
        cut: share of the extent that is cut away at one end of each axis.
        centre: of the bodies, mm: where the header puts the patient.
        flat: the axis that is this many voxels long, and how many; None for none.
    """

    spacing: tuple[float, float, float] = (5.0, 5.0, 5.0)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    order: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)
    cut: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flat: tuple[int, int] | None = None

    def geometry(self, centre: np.ndarray) -> Geometry:
        """The grid around a point."""
        axes = Rotation.from_euler("xyz", self.turn, degrees=True).as_matrix()[:, list(self.order)]
        axes = axes * np.where(self.flips, -1.0, 1.0)
        spacing, extent = np.asarray(self.spacing), EXTENT_MM[list(self.order)] * (1 - np.asarray(self.cut))
        size = np.maximum(1, np.round(extent / spacing)).astype(int)
        if self.flat is not None:
            size[self.flat[0]] = self.flat[1]
        origin = centre - axes @ (spacing * (size - 1) / 2)
        return Geometry(tuple(int(n) for n in size), tuple(spacing), tuple(origin), tuple(map(tuple, axes)))


@dataclass(frozen=True)
class Condition:
    """A pair and what is strange about it.

    Attributes:
        fixed, moving: their grids.
        values: names in `INTENSITIES`, of both sides.
        ending: of the files it travels in; empty for none.
        metres: how far from the origin the headers put the patient.
        number: of the random numbers.
    """

    fixed: Grid = Grid()
    moving: Grid = Grid()
    values: tuple[str, str] = ("as they are", "as they are")
    ending: str = ""
    metres: float = 0.0
    number: int = 0

    @property
    def fair(self) -> bool:
        """Whether the pair shows enough to be found."""
        grids = (self.fixed, self.moving)
        return all(INTENSITIES[name][1] for name in self.values) and all(
            grid.flat is None and max(grid.cut) <= 0.15 and max(grid.spacing) <= 6 and max(map(abs, grid.turn)) <= 30
            for grid in grids
        )

    def volumes(self) -> tuple[Volume, Volume]:
        """The fixed volume shows at x what the moving one shows at x + `SHIFT_MM`."""
        random = np.random.default_rng(self.number)
        centre = np.array([1000.0 * self.metres, 0.0, 0.0])
        found = []
        for grid, shift, name in ((self.fixed, SHIFT_MM, self.values[0]), (self.moving, np.zeros(3), self.values[1])):
            geometry = grid.geometry(centre)
            voxels = bodies(geometry.points() - centre + shift)
            found.append(Volume(INTENSITIES[name][0](voxels, random), geometry, f"{name} volume"))
        return found[0], found[1]


def bodies(points: np.ndarray) -> np.ndarray:
    """An asymmetric object around 0: a large body with nine others in it, values of 0 to about 1000."""
    draw = np.random.default_rng(11)
    image = 400 / (
        1 + np.exp(np.clip(20 * (np.sqrt((points**2 / np.array([42.0, 34, 38]) ** 2).sum(-1)) - 1), -40, 40))
    )
    for _ in range(9):
        centre, width = draw.uniform(-22, 22, 3), draw.uniform(5, 9)
        image = image + draw.uniform(-250, 450) * np.exp(-((points - centre) ** 2).sum(-1) / (2 * width**2))
    return np.maximum(image, 0).astype(np.float32)


@st.composite
def grids(draw) -> Grid:
    """Grids of every kind."""
    turn = draw(st.sampled_from([(0.0, 0.0, 0.0), (15.0, -10.0, 20.0), (0.0, 0.0, 90.0), (28.0, 0.0, -25.0)]))
    spacing = draw(
        st.sampled_from([(5.0, 5.0, 5.0), (4.0, 6.0, 5.0), (3.0, 3.0, 6.0), (4.0, 4.0, 14.0), (0.9, 9.0, 9.0)])
    )
    order, flips = draw(st.permutations(range(3))), draw(st.tuples(*[st.booleans()] * 3))
    cut = draw(st.sampled_from([(0.0, 0.0, 0.0), (0.0, 0.0, 0.15), (0.1, 0.1, 0.1), (0.0, 0.6, 0.0)]))
    flat = draw(st.sampled_from([None, None, None, None, None, (0, 1), (1, 1), (2, 1), (2, 2), (2, 3)]))
    return Grid(spacing, turn, tuple(order), flips, cut, flat)


@st.composite
def conditions(draw) -> Condition:
    """Strange pairs: of grids, of intensities, or of both."""
    plain = Grid()
    kind = draw(st.sampled_from(["grids", "intensities", "both"]))
    fixed, moving = (plain, plain) if kind == "intensities" else (draw(grids()), draw(grids()))
    values = ("as they are",) * 2 if kind == "grids" else (draw(st.sampled_from([*INTENSITIES])),) * 2
    if kind == "both" and draw(st.booleans()):
        values = values[0], draw(st.sampled_from([*INTENSITIES]))
    metres = draw(st.sampled_from([0.0, 0.0, 0.0, 2.0, -40.0]))
    return Condition(fixed, moving, values, draw(st.sampled_from(ENDINGS)), metres, draw(st.integers(0, 999)))


def outcome(condition: Condition) -> tuple[str, str]:
    """Register a pair: "correct result", "refused", "wrong and said so"; and what was said.

    Raises:
        AssertionError: a wrong result that looks right, or a refusal of a pair that shows enough.
    """
    try:
        volumes = condition.volumes()
        if condition.ending:
            volumes = _through_files(volumes, condition.ending)
        result = register(*volumes, settings=SETTINGS)
    except DeepRegisterError as error:
        if condition.fair:
            raise AssertionError(f"refused, though it shows enough: {error}") from error
        return "refused", str(error)
    # In the middle of what both sides show.
    points = volumes[0].geometry.centre + 15 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    off = float(np.linalg.norm(result.transform.apply_to_points(points) - points - SHIFT_MM, axis=1).max())
    tolerance = CORRECT_VOXELS * max(*volumes[0].geometry.spacing, *volumes[1].geometry.spacing)
    if not np.isfinite(off) or result.registered.data.shape != volumes[0].data.shape:
        raise AssertionError(f"no proper result: off by {off} mm, {result.registered}")
    if off <= tolerance:
        return "correct result", f"{off:.2f} mm"
    said = [*result.confidence.sentences, *result.warnings]
    if condition.fair:
        raise AssertionError(f"off by {off:.1f} mm of {tolerance:.1f}, with {said}")
    return ("wrong and said so" if result.confidence.low or said else "wrong in silence"), f"{off:.1f} mm: {said}"


def _through_files(volumes: tuple[Volume, Volume], ending: str) -> tuple[Volume, Volume]:
    with tempfile.TemporaryDirectory(prefix="conditions-") as folder:
        paths = [Path(folder) / f"{side}{ending}" for side in ("fixed", "moving")]
        for volume, path in zip(volumes, paths, strict=True):
            if volume.data.dtype == np.int64 and ending != ".nrrd":
                # Most formats have none that long, or ITK does not write them.
                volume = volume.astype(np.float64)
            volume.write(path)
        return Volume.read(paths[0]), Volume.read(paths[1])


def _framed(values: np.ndarray, value: float) -> np.ndarray:
    """What scanners do: another value outside a circle or at the border."""
    framed = np.full_like(values, value)
    inner = tuple(slice(n // 10, n - n // 10) for n in values.shape)
    framed[inner] = values[inner]
    return framed


def _with_metal(values: np.ndarray, width: int = 1) -> np.ndarray:
    """A screw of so many voxels' width, thirty times as bright as all else; of two in 0.3 % or more of the voxels."""
    screwed = values.astype(np.float32)
    k, j, i = (n // 2 for n in values.shape)
    screwed[k : k + width, j : j + width, i // (2 * width) : i] = 30 * values.max()
    return screwed


def _spotted(values: np.ndarray, random: np.random.Generator, value: float, share: float = 0.002) -> np.ndarray:
    spotted = values.astype(np.float32)
    spotted[random.random(values.shape) < share] = value
    return spotted


def examine(count: int, number: int = 1, told: Callable[[str], None] | None = None) -> list[tuple[str, str, str]]:
    """Draw and register `count` conditions: what each was, how it ended, and what was said.

    Args:
        count: how many.
        number: of the random numbers.
        told: called with each.
    """
    found = []

    def look(condition: Condition) -> None:
        try:
            how, said = outcome(condition)
        # Whatever it is, it is what is looked for here.
        except Exception as error:
            how, said = "otherwise than promised", f"{type(error).__name__}: {error}"
        found.append((str(condition), how, said))
        if told is not None:
            told(f"{how}: {said}")

    options = settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    seed(number)(options(given(conditions())(look)))()
    return found


def summary(found: list[tuple[str, str, str]]) -> dict:
    """Counts by how they ended, JSON-ready, and every one that ended otherwise than promised."""
    counts, wrong = Counter(how for _, how, _ in found), "otherwise than promised"
    return {
        "conditions": len(found),
        "ended": [{"outcome": how, "count": number} for how, number in counts.most_common()],
        "faults": [{"condition": condition, "outcome": said} for condition, how, said in found if how == wrong],
    }


def plain(**changes) -> Condition:
    """The pair with nothing strange but `changes`."""
    return replace(Condition(), **changes)
