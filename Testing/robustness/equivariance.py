"""The same pair, expressed in another way, must give the same field in millimetres: a matrix of changes and models.

    python Testing/robustness/equivariance.py

A change makes other volumes of the pair, and says where a point of the old fixed and moving space lies now. Registering
the changed pair must take each point of the body to the same place as registering the pair as it was: the table has the
mean distance between the two places and the 99th percentile, in mm. The voxels are 4 mm wide.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from conditions import bodies
from deepregister import Geometry, Rigid, Settings, Volume, register
from scipy.ndimage import zoom
from scipy.spatial.transform import Rotation

MODELS = ("rigid", "affine", "deformable")
GRID = Geometry((30, 26, 28), (4.0, 4.0, 4.0), (-58.0, -50.0, -54.0))
# Voxels of the body whose places are compared.
BODY = 100.0
IDENTITY = np.eye(4)


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair, and where the old spaces lie in the new ones: (4, 4), mm."""

    fixed: Volume
    moving: Volume
    fixed_space: np.ndarray = field(default_factory=lambda: np.eye(4))
    moving_space: np.ndarray = field(default_factory=lambda: np.eye(4))


def pair() -> Pair:
    """Bodies, seen through a turn, a shift and a gentle swelling."""
    matrix = IDENTITY.copy()
    matrix[:3, :3] = Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix()
    matrix[:3, 3] = [4, -3, 2]
    points = GRID.points()
    swelling = (
        5 * np.exp(-((points - [12, -4, 8]) ** 2).sum(-1, keepdims=True) / (2 * 16**2)) * np.array([1, -0.6, 0.4])
    )
    seen = Rigid(matrix).apply_to_points(points + swelling)
    return Pair(Volume(bodies(seen), GRID, "fixed"), Volume(bodies(points), GRID, "moving"))


def stored(volume: Volume, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same voxels at the same places, with other axes first and some of them backwards."""
    geometry = volume.geometry
    columns = np.asarray(geometry.direction)[:, list(order)] * np.where(flips, -1.0, 1.0)
    last = np.where(flips, np.asarray(geometry.size)[list(order)] - 1, 0)
    index = np.zeros(3)
    index[list(order)] = last
    data = np.transpose(volume.data.T, order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)].T
    size, spacing = (tuple(np.asarray(each)[list(order)]) for each in (geometry.size, geometry.spacing))
    origin = tuple(geometry.index_to_point(index))
    size = tuple(int(n) for n in size)
    return Volume(np.ascontiguousarray(data), Geometry(size, spacing, origin, tuple(map(tuple, columns))), volume.name)


def padded(volume: Volume, voxels: int = 6) -> Volume:
    """With a margin of background."""
    return Volume(np.pad(volume.data, voxels), volume.geometry.padded(voxels), volume.name)


def finer(volume: Volume) -> Volume:
    """With voxels of half the width, interpolated; voxels of the same places stay where they are."""
    data = zoom(volume.data, 2 - 1 / np.asarray(volume.data.shape), order=1, grid_mode=False)
    geometry = volume.geometry
    spacing = np.asarray(geometry.spacing) * (np.asarray(geometry.size) - 1) / (np.asarray(data.shape[::-1]) - 1)
    return Volume(data, Geometry(data.shape[::-1], tuple(spacing), geometry.origin, geometry.direction), volume.name)


def moved(volume: Volume, matrix: np.ndarray) -> Volume:
    """The same voxels, at another place of the world."""
    return Volume(volume.data, Geometry.from_matrix(matrix @ volume.geometry.matrix, volume.geometry.size), volume.name)


def both(change: Callable[[Volume], Volume]) -> Callable[[Pair], Pair]:
    return lambda old: Pair(change(old.fixed), change(old.moving))


def _world(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    matrix = IDENTITY.copy()
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


AWAY, TURNED = _world((0, 0, 0), (321.0, -87.0, 1203.0)), _world((90, 0, 90), (10.0, 20.0, 30.0))
OBLIQUE = _world((20, -30, 15), (50.0, 0.0, -70.0))


def in_world(matrix: np.ndarray) -> Callable[[Pair], Pair]:
    return lambda old: Pair(moved(old.fixed, matrix), moved(old.moving, matrix), matrix, matrix)


CHANGES: dict[str, Callable[[Pair], Pair]] = {
    "computed again": lambda old: old,
    "axes permuted": both(lambda v: stored(v, (2, 0, 1), (False, False, False))),
    "axes flipped": both(lambda v: stored(v, (0, 1, 2), (True, False, True))),
    "axes of the moving volume permuted and flipped": lambda old: Pair(
        old.fixed, stored(old.moving, (1, 2, 0), (False, True, False))
    ),
    "stored as 16-bit whole numbers": both(lambda v: v.astype(np.int16)),
    "stored as 64-bit floats": both(lambda v: v.astype(np.float64)),
    "intensities times 3, plus 500": both(lambda v: Volume(v.data * 3 + 500, v.geometry, v.name)),
    "intensities of the moving volume times 0.01": lambda old: Pair(
        old.fixed, Volume(old.moving.data * 0.01, old.moving.geometry, old.moving.name)
    ),
    "padded by 6 voxels of background": both(padded),
    "voxels of half the width": both(finer),
    "a metre away in the world": in_world(AWAY),
    "world turned by right angles": in_world(TURNED),
    "world turned obliquely": in_world(OBLIQUE),
    "moving volume's world turned obliquely by 25 degrees": lambda old: Pair(
        old.fixed, moved(old.moving, _LITTLE), IDENTITY, _LITTLE
    ),
}
_LITTLE = _world((10, -15, 18), (8.0, -6.0, 5.0))


def places(changed: Pair, old: Pair, model: str) -> np.ndarray:
    """Where the changed pair's result takes the points of the old body, in the old moving space, (n, 3), mm."""
    settings = Settings(model=model, quality="fast", device="cpu", threads=1)
    transform = register(changed.fixed, changed.moving, settings=settings).transform
    points = old.fixed.geometry.points()[old.fixed.data > BODY]
    new = Rigid(changed.fixed_space).apply_to_points(points)
    return Rigid(np.linalg.inv(changed.moving_space)).apply_to_points(transform.apply_to_points(new))


def matrix(
    models: tuple[str, ...] = MODELS,
    changes: dict[str, Callable[[Pair], Pair]] = CHANGES,
    told: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Mean and 99th percentile of the distances in mm, for each change and model."""
    old = pair()
    reference = {model: places(old, old, model) for model in models}
    found = []
    for name, change in changes.items():
        row: dict = {"change": name}
        for model in models:
            off = np.linalg.norm(places(change(old), old, model) - reference[model], axis=1)
            row[model] = (float(off.mean()), float(np.quantile(off, 0.99)))
        found.append(row)
        if told is not None:
            told(row)
    return found


# Farther from each other, on average, two results are not the same: half a voxel.
SAME_MM = 2.0


def summary(found: list[dict]) -> dict:
    """The matrix, JSON-ready, and the cells that are not the same field."""
    rows = [
        {name: value if name == "change" else f"{value[0]:.3f} / {value[1]:.3f}" for name, value in row.items()}
        for row in found
    ]
    faults = [
        {"change": row["change"], "model": model, "mean_mm": value[0]}
        for row in found
        for model, value in row.items()
        if model != "change" and value[0] > SAME_MM
    ]
    return {"voxel_mm": 4.0, "rows": rows, "faults": faults}


def main() -> int:
    found = summary(matrix(told=lambda row: print(row, flush=True)))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
