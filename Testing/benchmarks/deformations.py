"""Known deformations: smooth ones that fold nothing, and two regions that slide along each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from deepregister import DisplacementField, Geometry, Volume
from deepregister.spatial import exponentiate, field_to_mm, least_corner_determinant, smooth
from scipy.ndimage import map_coordinates

# Steps of the velocity's grid per standard deviation of its smoothing, and the least determinant that is accepted.
STEPS_PER_SIGMA, LEAST_DETERMINANT = 6, 0.3


class PointMap(Protocol):
    """A map from points of fixed space to points of moving space, LPS mm."""

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 3)."""


@dataclass(frozen=True)
class Slide:
    """A column around the z axis slides along its wall: both move along z, each by its own amount.

    The wall is a cylinder and both motions run along it, so each side is mapped onto itself without gap or overlap.

    Attributes:
        centre, radii: of the ellipse in x, y, mm.
        ends: z between which both move; towards either end the motion falls to zero.
        inside_mm, outside_mm: the largest shift of each side along z.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    ends: tuple[float, float]
    inside_mm: float
    outside_mm: float

    def is_inside(self, points: np.ndarray) -> np.ndarray:
        """Whether points (..., 3) lie in the column."""
        return (((points[..., :2] - self.centre) / self.radii) ** 2).sum(-1) < 1

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 3), LPS mm."""
        middle, half = sum(self.ends) / 2, (self.ends[1] - self.ends[0]) / 2
        rise = np.cos(np.clip((points[..., 2] - middle) / half, -1, 1) * np.pi / 2) ** 2
        moved = points.copy()
        moved[..., 2] += rise * np.where(self.is_inside(points), self.inside_mm, self.outside_mm)
        return moved

    def steepest(self) -> float:
        """The largest change of shift per mm along z; below 1 nothing folds."""
        return max(abs(self.inside_mm), abs(self.outside_mm)) * np.pi / (self.ends[1] - self.ends[0])


@dataclass(frozen=True)
class Chain:
    """Maps one after the other."""

    parts: tuple[PointMap, ...]

    def apply_to_points(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 3), LPS mm."""
        for part in self.parts:
            points = part.apply_to_points(points)
        return points


def smooth_deformation(
    geometry: Geometry, rng: np.random.Generator, peak_mm: float, sigma_mm: float, at: np.ndarray
) -> DisplacementField:
    """A random diffeomorphism: the exponential of a smoothed random velocity (Arsigny et al., MICCAI 2006).

    Nothing crosses the faces of the volume, so that all of it is known before and after.

    Args:
        geometry: the volume.
        rng: of the velocity.
        peak_mm: the longest displacement of the points `at`.
        sigma_mm: how smooth; raised until nothing comes near to folding.
        at: (n, 3), LPS mm.
    """
    white = rng.normal(size=(3, *geometry.with_spacing(np.maximum(geometry.spacing, sigma_mm / 3)).shape))
    while True:
        grid = geometry.with_spacing(np.maximum(geometry.spacing, sigma_mm / STEPS_PER_SIGMA))
        velocity = _velocity(white, grid, sigma_mm)
        scale = 1.0
        # Almost proportional: a few rounds meet the peak.
        for _ in range(3):
            field = exponentiate(velocity * scale)
            found = DisplacementField(field_to_mm(field, grid), grid)
            scale *= peak_mm / np.linalg.norm(found.displacement_at(at), axis=-1).max()
        if float(least_corner_determinant(field).min()) > LEAST_DETERMINANT:
            return found
        sigma_mm *= 1.15


def _velocity(white: np.ndarray, grid: Geometry, sigma_mm: float) -> torch.Tensor:
    """(1, 3, D, H, W) in voxels; along each axis it falls to zero at the faces that it would cross."""
    noise = torch.as_tensor(white, dtype=torch.float32)[None]
    noise = torch.nn.functional.interpolate(noise, grid.shape, mode="nearest")
    sigma = sigma_mm / np.asarray(grid.spacing)
    # The tensor filter cuts its kernel at 2.5 standard deviations; two passes round that off.
    velocity = smooth(smooth(noise, tuple(sigma / np.sqrt(2))), tuple(sigma / np.sqrt(2)))
    velocity = velocity / np.sqrt(float((velocity**2).mean()))
    for axis, length in enumerate(grid.size):
        from_face = torch.arange(length, dtype=torch.float32)
        from_face = torch.minimum(from_face, from_face.flip(0)) / float(sigma[axis])
        shape = [1, 1, 1]
        shape[2 - axis] = length
        velocity[0, axis] *= from_face.clamp_(max=1).mul_(np.pi / 2).sin_().view(shape) ** 2
    return velocity


def seen_through(volume: Volume, truth: PointMap, onto: Geometry, fill: float) -> Volume:
    """The volume as it lies in fixed space: the voxel at x shows it at truth(x), linearly interpolated."""
    index = volume.geometry.point_to_index(truth.apply_to_points(onto.points()))
    coordinates = np.moveaxis(index[..., ::-1], -1, 0)
    values = map_coordinates(volume.data.astype(np.float32), coordinates, order=1, mode="constant", cval=fill)
    return Volume(values, onto, volume.name)


def labels_through(labels: Volume, truth: PointMap, onto: Geometry) -> Volume:
    """As `seen_through`, for a label map: by the nearest neighbour, 0 outside."""
    index = labels.geometry.point_to_index(truth.apply_to_points(onto.points()))
    values = map_coordinates(labels.data, np.moveaxis(index[..., ::-1], -1, 0), order=0, mode="constant", cval=0)
    return Volume(values, onto, labels.name)


def distance_mm(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance of each voxel to the nearest one of `mask`, mm; arrays are (k, j, i), spacing i, j, k."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask, sampling=tuple(spacing)[::-1])
