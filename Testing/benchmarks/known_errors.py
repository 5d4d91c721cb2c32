"""Pairs whose true transform is known, of several kinds, for judging what a result says of its own errors.

Each side gets a contrast curve, a bias field, noise and texture of its own: what one image shows and the other does not
is what registration stumbles over. The random numbers of the held-out seeds also draw from other subjects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from deepregister import Geometry, Rigid, Volume
from deformations import PointMap, labels_through, seen_through, smooth_deformation
from motion import AIR, WINDOW, body, random_motion
from renders import Appearance, head_labels, random_contrast, render
from scipy.ndimage import gaussian_filter
from studies import generator

# Texture that the other side does not have: its standard deviation, of a picture in 0..1, and its size in voxels.
UNLIKE, UNLIKE_VOXELS = (0.0, 0.015, 0.03, 0.06), (1.5, 3.0)
# A voxel that is brighter shows something.
SHOWN = 0.08
# Voxels of the volumes that pairs are made from, so that a study of many pairs can end.
BODY_MM, HEAD_MM = 5.0, 2.5
# Subjects of each stream of seeds.
HEADS = {"development": range(1, 11), "held-out": range(11, 21)}
BRAINS = (1007, 1008, 1009, 1010, 1011, 1012)
CROPS = {"development": slice(0, 144), "held-out": slice(144, 160)}
CONTRASTS = ("brainweb1e1a10f20.mha", "brainweb1e5a10f17.mha", "brainweb165a10f17.mha")


@dataclass(frozen=True, eq=False)
class KnownPair:
    """Two volumes, the map from fixed to moving points that is true, and the points (n, 3) that show something."""

    fixed: Volume
    moving: Volume
    truth: PointMap
    points: np.ndarray


def known_pair(kind: str, data: Path, seeds: str, number: int) -> KnownPair:
    """One pair of one of `KINDS`.

    Args:
        kind: see `KINDS`.
        data: folder of the images.
        seeds: "development" or "held-out".
        number: of the seed.
    """
    return KINDS[kind](data, seeds, generator(seeds, list(KINDS).index(kind), number))


def _scans(fixed: Volume, moving: Volume, rng: np.random.Generator, thick: float = 0.0) -> list[Volume]:
    """Both pictures as two scanners would show them; with probability `thick` the moving one in thick slices."""
    strength = rng.choice(UNLIKE)
    size_mm = rng.uniform(*UNLIKE_VOXELS) * float(np.mean(fixed.geometry.spacing))
    is_thick = rng.random() < thick
    sides = []
    for number, picture in enumerate((fixed, moving)):
        texture = rng.standard_normal(picture.data.shape, dtype=np.float32)
        texture = gaussian_filter(texture, [size_mm / spacing for spacing in picture.geometry.spacing[::-1]])
        shown = picture.data + strength / texture.std() * texture * (picture.data > SHOWN)
        picture = Volume(np.clip(shown, 0, 1.2), picture.geometry, picture.name)
        sides.append(Appearance.random(rng, is_thick and number == 1).of(picture, rng))
    return sides


def _body(sliding: bool) -> Callable[[Path, str, np.random.Generator], KnownPair]:
    def make(data: Path, seeds: str, rng: np.random.Generator) -> KnownPair:
        source, inside = _small_body(data)
        geometry = source.geometry
        peak, spacing = rng.uniform(5, 35), rng.choice((6.0, 7.0))
        truth, _ = random_motion(
            "sliding" if sliding else "smooth", geometry, geometry.points()[inside][::20], peak, rng
        )
        sides = [
            _reduced(
                Volume(np.clip((each.data - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1), geometry, "body"), spacing
            )
            for each in (seen_through(source, truth, geometry, AIR), source)
        ]
        moved = seen_through(Volume(inside.astype(np.float32), geometry), truth, geometry, 0).data > 0.5
        return KnownPair(*_scans(*sides, rng), truth, geometry.points()[moved])

    return make


@cache
def _small_body(data: Path) -> tuple[Volume, np.ndarray]:
    """As `motion.body`, with larger voxels: what follows is done at every one."""
    source, inside = body(data)
    smaller = _reduced(source.astype(np.float32), BODY_MM)
    shape = Volume(inside.astype(np.float32), source.geometry)
    return smaller, Rigid.identity().resample(shape, smaller.geometry, "linear").data > 0.5


def _brain(data: Path, seeds: str, rng: np.random.Generator) -> KnownPair:
    path = data / "brains_t1" / f"{rng.choice(BRAINS)}_t1.nii.gz"
    picture = _reduced(_picture(path), rng.choice((2.8, 3.5)))
    truth = _smooth(picture, rng, (3, 14), (14, 35))
    fixed = seen_through(picture, truth, picture.geometry, 0)
    return KnownPair(*_scans(fixed, picture, rng, thick=0.2), truth, _shown(fixed))


def _contrasts(data: Path, seeds: str, rng: np.random.Generator) -> KnownPair:
    spacing = rng.choice((3.6, 4.5))
    names = rng.choice(CONTRASTS, 2, replace=False)
    fixed, moving = (_reduced(_picture(data / "brain_contrasts" / name), spacing) for name in names)
    truth = _smooth(moving, rng, (3, 14), (16, 35))
    fixed = seen_through(fixed, truth, moving.geometry, 0)
    return KnownPair(*_scans(fixed, moving, rng), truth, _shown(fixed))


def _head(data: Path, seeds: str, rng: np.random.Generator) -> KnownPair:
    whole = head_labels(data, int(rng.choice(list(HEADS[seeds]))))
    labels = Rigid.identity().resample(whole, whole.geometry.with_spacing((HEAD_MM,) * 3), "nearest")
    geometry, spacing = labels.geometry, rng.choice((4.0, 5.0))
    inside = geometry.points()[labels.data > 0]
    truth = smooth_deformation(geometry, rng, rng.uniform(3, 14), rng.uniform(14, 35), inside[::100])
    contrasts = [random_contrast(rng, np.arange(1, 600)) for _ in range(2)]
    if rng.random() < 0.6:
        contrasts[1] = contrasts[0]
    moved = labels_through(labels, truth, geometry)
    sides = [
        _reduced(_scaled(render(each, contrast, Appearance(bias=0, noise=0), rng)), spacing)
        for each, contrast in zip((moved, labels), contrasts, strict=True)
    ]
    return KnownPair(*_scans(*sides, rng, thick=0.2), truth, geometry.points()[moved.data > 0])


def _hippocampus(data: Path, seeds: str, rng: np.random.Generator) -> KnownPair:
    paths = sorted((data / "hippocampus" / "images").glob("*.nii.gz"))[CROPS[seeds]]
    picture = _picture(paths[rng.integers(len(paths))])
    truth = _smooth(picture, rng, (1.5, 5), (5, 10))
    fixed = seen_through(picture, truth, picture.geometry, 0)
    return KnownPair(*_scans(fixed, picture, rng), truth, _shown(fixed))


def _picture(path: Path) -> Volume:
    """An image in 0..1."""
    volume = Volume.read(path)
    low, high = np.percentile(volume.data, (0.2, 99.8))
    return Volume(np.clip((volume.data.astype(np.float32) - low) / (high - low), 0, 1), volume.geometry, path.name)


def _scaled(scan: Volume) -> Volume:
    """What `Appearance` made a scan of, in 0..1 again."""
    return Volume(scan.data.astype(np.float32) / 1000, scan.geometry, scan.name)


def _reduced(picture: Volume, spacing: float) -> Volume:
    """The picture at a larger spacing."""
    sigma = [0.4 * spacing / each for each in picture.geometry.spacing[::-1]]
    smoothed = Volume(gaussian_filter(picture.data, sigma), picture.geometry, picture.name)
    return Rigid.identity().resample(smoothed, picture.geometry.with_spacing((float(spacing),) * 3), "linear")


def _smooth(
    picture: Volume, rng: np.random.Generator, peak_mm: tuple[float, float], sigma_mm: tuple[float, float]
) -> PointMap:
    return smooth_deformation(
        picture.geometry, rng, rng.uniform(*peak_mm), rng.uniform(*sigma_mm), _shown(picture)[::20]
    )


def _shown(picture: Volume) -> np.ndarray:
    geometry: Geometry = picture.geometry
    return geometry.points()[picture.data > SHOWN]


KINDS = {
    "body, smooth": _body(False),
    "body, sliding": _body(True),
    "brain": _brain,
    "two contrasts": _contrasts,
    "head": _head,
    "hippocampus": _hippocampus,
}
