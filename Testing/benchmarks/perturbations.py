"""Known linear perturbations: a volume seen through a random affine, so that the transform that undoes it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from deepregister import Affine, Geometry, Volume
from scipy.ndimage import binary_fill_holes, gaussian_filter, label
from scipy.spatial.transform import Rotation

LARGEST_ANGLE, LARGEST_SHIFT_MM, SCALES = 45.0, 60.0, (0.8, 1.25)
LEAST_IN_VIEW = 0.6
# Space around what must not be cut off.
MARGIN_MM = 10.0


@dataclass(frozen=True)
class Perturbation:
    """x -> R S (x - c) + c + t: S stretches along the axes of space, then R turns, then t shifts.

    Attributes:
        turn_degrees: rotation vector.
        shift_mm: t.
        scales: of S along x, y, z.
        centre: c, LPS mm.
    """

    turn_degrees: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    scales: tuple[float, float, float]
    centre: tuple[float, float, float]

    @classmethod
    def random(cls, rng: np.random.Generator, centre: np.ndarray, scale: str) -> Perturbation:
        """Angle, shift and the logarithm of the scale uniform up to the largest, axis and direction uniform.

        Args:
            rng: where the numbers come from.
            centre: LPS mm.
            scale: "per-axis" (three factors), "isotropic" (one) or "none".
        """
        # All are drawn whatever the kind, so that a seed turns and shifts alike in each.
        turn = _direction(rng) * rng.uniform(0, LARGEST_ANGLE)
        shift = _direction(rng) * rng.uniform(0, LARGEST_SHIFT_MM)
        scales = np.exp(rng.uniform(*np.log(SCALES), 3))
        scales = {"per-axis": scales, "isotropic": np.full(3, scales[0]), "none": np.ones(3)}[scale]
        return cls(*(tuple(map(float, values)) for values in (turn, shift, scales, centre)))

    @property
    def transform(self) -> Affine:
        """Fixed to moving: where a point of the unperturbed volume lies in the perturbed one."""
        rotation = Rotation.from_rotvec(self.turn_degrees, degrees=True).as_matrix()
        matrix = np.eye(4)
        matrix[:3, :3] = rotation @ np.diag(self.scales)
        matrix[:3, 3] = np.asarray(self.centre) + self.shift_mm - matrix[:3, :3] @ self.centre
        return Affine(matrix)

    def describe(self) -> dict:
        """For a row of a table."""
        return {
            "turn_degrees": [round(v, 2) for v in self.turn_degrees],
            "angle_degrees": round(float(np.linalg.norm(self.turn_degrees)), 1),
            "shift_mm": [round(v, 2) for v in self.shift_mm],
            "shift_length_mm": round(float(np.linalg.norm(self.shift_mm)), 1),
            "scales": [round(v, 3) for v in self.scales],
        }


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def head_points(volumes: list[Volume], step: int = 4) -> np.ndarray:
    """Points (n, 3), LPS mm, of every `step`-th voxel inside the largest object of aligned volumes."""
    mean = sum(v.data / np.percentile(v.data, 99.8) for v in volumes) / len(volumes)
    bright = gaussian_filter(mean.astype(np.float32), 2) > 0.12
    parts, _ = label(bright)
    head = binary_fill_holes(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
    thinned = np.zeros_like(head)
    thinned[::step, ::step, ::step] = True
    return volumes[0].geometry.index_to_point(np.argwhere(head & thinned)[:, ::-1])


def padded_view(volume: Volume, points: np.ndarray, truth: Affine) -> Geometry:
    """A grid of the volume's spacing and axes that holds all `points` of it, and its own box, after `truth`."""
    geometry = volume.geometry
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in geometry.size])).reshape(3, -1).T
    everything = np.concatenate([points, geometry.index_to_point(corners)])
    index = geometry.point_to_index(truth.apply_to_points(everything))
    margin = MARGIN_MM / np.asarray(geometry.spacing)
    return geometry.cropped(np.floor(index.min(0) - margin), np.ceil(index.max(0) + margin) + 1)


def share_in_view(points: np.ndarray, truth: Affine, view: Geometry) -> float:
    """How much of `points` the grid `view` shows after `truth`."""
    return float(_inside(view.point_to_index(truth.apply_to_points(points)), view).mean())


def cut_view(view: Geometry, points: np.ndarray, truth: Affine, share: float, rng: np.random.Generator) -> Geometry:
    """`view` without a slab at one random side, so that just `share` or a little more of `points` stays in it."""
    index = view.point_to_index(truth.apply_to_points(points))
    axis, from_start = int(rng.integers(3)), bool(rng.integers(2))
    along = np.sort(index[_inside(index, view), axis])
    keep = int(np.ceil(share * len(points)))
    if keep >= len(along):
        return view
    start, stop = np.zeros(3, int), np.array(view.size)
    if from_start:
        start[axis] = int(np.floor(along[-keep]))
    else:
        stop[axis] = int(np.ceil(along[keep - 1])) + 1
    return view.cropped(np.clip(start, 0, None), np.minimum(stop, view.size))


def _inside(index: np.ndarray, view: Geometry) -> np.ndarray:
    return np.all((index >= -0.5) & (index < np.asarray(view.size) - 0.5), axis=-1)


def perturbed(volume: Volume, truth: Affine, view: Geometry, fill: float, noise: float, rng) -> Volume:
    """The volume moved by `truth`, seen on `view`: its voxel at truth(x) shows what `volume` shows at x.

    Args:
        volume: unperturbed.
        truth: fixed to moving.
        view: the grid.
        fill: value where `volume` shows nothing.
        noise: standard deviation of new noise; without it both sides would share theirs, which helps.
        rng: of the noise.
    """
    moved = truth.inverse().resample(volume.astype(np.float32), view, "linear", fill=fill)
    data = moved.data + rng.normal(0, noise, moved.data.shape) if noise else moved.data
    limits = np.iinfo(volume.data.dtype)
    return Volume(np.clip(np.rint(data), limits.min, limits.max).astype(volume.data.dtype), view, volume.name)


def transform_errors(found, truth, points: np.ndarray) -> np.ndarray:
    """|found(x) - truth(x)| in mm at each point, (n,)."""
    return np.linalg.norm(found.apply_to_points(points) - truth.apply_to_points(points), axis=1)
