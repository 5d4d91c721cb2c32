"""Images with structure to register, made from mathematics: any grid can look at the same object in space."""

import numpy as np
from deepregister import Geometry, Volume
from scipy.spatial.transform import Rotation

OBLIQUE = tuple(map(tuple, Rotation.from_euler("xyz", [20, -30, 15], degrees=True).as_matrix()))
FLIPPED = ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))


def head(points: np.ndarray, contrast: str = "one") -> np.ndarray:
    """An asymmetric object of about 90 x 70 x 80 mm around 0: a shell, tissue inside it, and a dozen smaller bodies.

    Args:
        points: (..., 3), mm.
        contrast: "one", or "two", in which the same bodies have other, partly inverted intensities.
    """
    rng = np.random.default_rng(7)
    x, y, z = np.moveaxis(points, -1, 0)
    skin = _ball((x / 45) ** 2 + (y / 35) ** 2 + (z / 40) ** 2)
    inside = _ball((x / 38) ** 2 + (y / 29) ** 2 + (z / 34) ** 2)
    levels = {"one": (300.0, 700.0), "two": (900.0, 350.0)}[contrast]
    image = levels[0] * skin + (levels[1] - levels[0]) * inside
    for _ in range(14):
        centre, radius = rng.uniform(-20, 20, 3), rng.uniform(4, 10, 3)
        values = rng.uniform(-450, 450), rng.uniform(-300, 300)
        distance = sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), centre, radius, strict=True))
        image = image + values[contrast == "two"] * inside * _ball(distance)
    return image


def _ball(squared: np.ndarray) -> np.ndarray:
    # An edge a few mm wide, so that every grid sees the same object.
    return 1 / (1 + np.exp(np.clip(30 * (np.sqrt(squared) - 1), -40, 40)))


def grid(spacing=(2.5, 2.5, 2.5), direction=None, centre=(0.0, 0.0, 0.0), extent=(104.0, 90.0, 96.0)) -> Geometry:
    """A grid of about `extent` mm around `centre`."""
    direction = np.eye(3) if direction is None else np.asarray(direction)
    spacing = np.asarray(spacing, dtype=float)
    size = np.ceil(np.abs(direction.T) @ np.asarray(extent) / spacing).astype(int)
    origin = np.asarray(centre) - direction @ (spacing * (size - 1) / 2)
    return Geometry(tuple(size), tuple(spacing), tuple(origin), tuple(map(tuple, direction)))


def seen_through(transform, geometry: Geometry, contrast="one", dtype=np.float32, noise=0.0) -> Volume:
    """The object as it lies in fixed space after `transform`: voxel x shows the object at transform(x).

    With the untransformed object as moving volume, `transform` is the fixed-to-moving truth.
    """
    image = head(transform.apply_to_points(geometry.points()), contrast)
    image = image + np.random.default_rng(3).normal(0, noise, image.shape) if noise else image
    return Volume(image.astype(dtype), geometry, f"{contrast} contrast")


def bumps(amplitude: float, geometry: Geometry):
    """A smooth field of a few gentle swellings and shifts, up to about `amplitude` mm."""
    from deepregister import DisplacementField

    points = geometry.points()
    displacement = np.zeros(points.shape)
    for axis, (centre, width) in enumerate([((15, -5, 10), 18.0), ((-15, 10, 0), 20.0), ((0, 0, -15), 16.0)]):
        fade = np.exp(-((points - centre) ** 2).sum(-1) / (2 * width**2))
        displacement[..., axis] += amplitude * fade
    return DisplacementField(displacement, geometry)
