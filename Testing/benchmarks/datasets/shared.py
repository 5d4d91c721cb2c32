"""The data sets in `shared/data` beside the checkout, and renders of its label maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from deepregister.landmarks import LandmarkPairs

from .pair import BenchmarkPair

# Of the 51 pairs of the lung (counted from 0) this one's motion differs from that of its five neighbours by 15 mm, the
# next one's by 7: a slip in the points, which every method leaves 12 to 14 mm apart. Named from the points alone.
LUNG_OUTLIER = 20


def brains(data: Path, count: int | None = None) -> list[BenchmarkPair]:
    """Ten pairs of T1 brains with 138 regions; nothing was tuned on the last four brains, of which seven pairs are."""
    folder = data / "brains_t1"
    names = [(1007, 1008), (1009, 1010), (1011, 1012), (1013, 1014), (1015, 1017)]
    names += [(1014, 1013), (1017, 1015), (1013, 1015), (1014, 1017), (1017, 1013)]
    return [
        BenchmarkPair(
            f"brain {fixed}<-{moving}",
            folder / f"{fixed}_t1.nii.gz",
            folder / f"{moving}_t1.nii.gz",
            folder / f"{fixed}_labels.nii.gz",
            folder / f"{moving}_labels.nii.gz",
            held_out=number > 2,
        )
        for number, (fixed, moving) in enumerate(names)
    ][:count]


def hippocampi(data: Path, count: int, subjects: slice, held_out: bool = False) -> list[BenchmarkPair]:
    """Fixed random pairs of some of the hippocampus crops, with 2 labels.

    The recipes train on the first 144 subjects and are validated on the next 16; the last 40 are held out.
    """
    folder = data / "hippocampus"
    names = sorted(path.name for path in (folder / "images").glob("*.nii.gz"))[subjects]
    rng = np.random.default_rng(2018)
    pairs = [rng.choice(len(names), 2, replace=False) for _ in range(count)]
    return [
        BenchmarkPair(
            f"hippocampus {fixed[12:15]}<-{moving[12:15]}",
            folder / "images" / fixed,
            folder / "images" / moving,
            folder / "labels" / fixed,
            folder / "labels" / moving,
            held_out=held_out,
            label_names={1: "anterior", 2: "posterior"},
        )
        for fixed, moving in ((names[f], names[m]) for f, m in pairs)
    ]


def lung(data: Path, count: int | None = None) -> list[BenchmarkPair]:
    """One lung, baseline and follow-up CT, with 51 point pairs; held out."""
    folder = data / "lung_ct"

    def landmarks() -> dict[str, LandmarkPairs]:
        sides = [_elastix_points(folder / f"CT_3D_lung_{side}_point_set_corrected.txt") for side in ("fixed", "moving")]
        kept = np.arange(len(sides[0])) != LUNG_OUTLIER
        return {"all": LandmarkPairs(*sides), "without outlier": LandmarkPairs(*(side[kept] for side in sides))}

    return [
        BenchmarkPair(
            "lung",
            folder / "3DCT_lung_baseline.mha",
            folder / "3DCT_lung_followup.mha",
            landmarks=landmarks,
            held_out=True,
        )
    ]


def liver(data: Path, count: int | None = None) -> list[BenchmarkPair]:
    """A liver in exhale and two inhale states; the vessel points lie on 5 mm slices, so in-plane errors count."""
    folder = data / "liver_mr"

    def reader(state: str) -> Callable[[], dict[str, LandmarkPairs]]:
        def landmarks() -> dict[str, LandmarkPairs]:
            fixed, moving = (_vtk_points(folder / f"{name}LMliver.vtk") for name in ("exhMaster", state))
            return {"all": LandmarkPairs(fixed, moving)}

        return landmarks

    return [
        BenchmarkPair(
            f"liver {state}",
            folder / "exhMaster_unmasked.force_direction.mha",
            folder / f"{state}.force_direction.mha",
            landmarks=reader(state),
            held_out=True,
        )
        for state in ("cyc_1_6", "cyc_1_9")
    ]


def rendered(data: Path, count: int | None = None) -> list[BenchmarkPair]:
    """Pairs of renders of two subjects' head label maps, in one or two contrasts; see renders.py."""
    from renders import render_pairs

    return [BenchmarkPair(name, **files) for name, files in render_pairs(data, min(count or 10, 10))]


DATASETS = {
    "brains": brains,
    "brains-development": lambda data, count=None: brains(data)[: min(count or 3, 3)],
    "brain-renders-development": rendered,
    "hippocampus": lambda data, count=None: hippocampi(data, count or 100, slice(160, None), held_out=True),
    "hippocampus-development": lambda data, count=None: hippocampi(data, count or 30, slice(160)),
    "hippocampus-validation": lambda data, count=None: hippocampi(data, count or 30, slice(144, 160)),
    "lung": lung,
    "liver": liver,
}


def _elastix_points(path: Path) -> np.ndarray:
    # Two lines, "point" and the number of points, come before the coordinates.
    return np.loadtxt(path, skiprows=2)


def _vtk_points(path: Path) -> np.ndarray:
    words = path.read_text(encoding="utf-8").split()
    start = next(n for n, word in enumerate(words) if word.upper() == "POINTS")
    count = int(words[start + 1])
    return np.array(words[start + 3 : start + 3 + 3 * count], dtype=float).reshape(count, 3)
