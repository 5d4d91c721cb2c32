"""How good a registration is: folding, volume change, landmark error, overlap. Numpy alone, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .errors import InputError
from .landmarks import LandmarkPairs
from .regions import Regions
from .transforms import Composite, DisplacementField, LinearTransform, Transform
from .transforms.tetrahedra import non_diffeomorphic_volume
from .volume import Geometry

# Large volumes are looked at in slabs of about so many voxels, or the arrays on the way would not fit into memory.
SLAB_VOXELS = 4_000_000


def landmark_errors(pairs: LandmarkPairs, transform: Transform | None = None) -> np.ndarray:
    """Target registration error of each pair in mm, (n,): how far a fixed landmark lands from its partner.

    Args:
        pairs: the landmarks.
        transform: fixed to moving; None measures before registration.
    """
    mapped = pairs.fixed if transform is None else transform.apply_to_points(pairs.fixed)
    return np.linalg.norm(mapped - pairs.moving, axis=1)


def dice(a: np.ndarray, b: np.ndarray, labels: Sequence[int] | None = None) -> dict[int, float]:
    """Dice overlap of each label of two label maps on one grid, 0 to 1.

    Args:
        a, b: integer arrays of one shape.
        labels: which to compare; None takes all but 0 that occur in either.

    Returns:
        By label; a label that is on neither side is left out.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise InputError(
            f"Label maps of shapes {a.shape} and {b.shape} cannot be compared: resample one onto the other."
        )
    if labels is None:
        labels = [int(label) for label in np.union1d(np.unique(a), np.unique(b)) if label != 0]
    # One pass over the voxels for all labels; the last place is for everything else.
    table = np.unique(np.asarray(labels, dtype=np.int64))
    index_a, index_b = (_places(x.ravel(), table) for x in (a, b))
    count_a, count_b = (np.bincount(index, minlength=len(table) + 1) for index in (index_a, index_b))
    both = np.bincount(index_a[index_a == index_b], minlength=len(table) + 1)
    result = {}
    for label in labels:
        place = int(np.searchsorted(table, label))
        total = int(count_a[place] + count_b[place])
        if total:
            result[int(label)] = 2 * int(both[place]) / total
    return result


def _places(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Where each value stands in a sorted table; its length for a value that is not in it."""
    if not len(table):
        return np.zeros(len(values), dtype=int)
    place = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return np.where(table[place] == values, place, len(table))


def folding(field: DisplacementField, regions: Regions | None = None) -> dict[str, float]:
    """Folding and volume change of a dense field at its own voxels.

    Args:
        field: the field.
        regions: where a field may jump; voxels at their borders are left out.

    Returns:
        "folded_fraction": share of voxels whose Jacobian determinant is not positive by central differences or at
        any of the eight corners of one-sided differences; "jacobian_min", "jacobian_max": of the central
        determinant; "jacobian_log_std": standard deviation of its logarithm (SDlogJ) where the field moves anything.
    """
    central = field.jacobian_determinant()
    corner = field.corner_jacobian_determinants()
    moving = np.linalg.norm(field.displacement, axis=-1) > 0.01
    if regions is not None:
        kept = ~regions.interface(field.geometry)
        central, corner, moving = central[kept], corner[kept], moving[kept]
    logarithm = np.log(np.clip(central[moving], 1e-3, None))
    return {
        "folded_fraction": float(np.mean((central <= 0) | (corner <= 0))),
        "jacobian_min": float(min(central.min(), corner.min())),
        "jacobian_max": float(central.max()),
        "jacobian_log_std": float(logarithm.std()) if len(logarithm) else 0.0,
    }


def over_volume(transform: Transform, over: Geometry, mask: np.ndarray | None = None) -> dict[str, float]:
    """Folding, volume change and displacement of any transform at every voxel of a volume, or of a mask.

    All of the transform counts, its affine part included; `folding` looks at a dense part alone, at its own voxels.

    Args:
        transform: fixed to moving.
        over: the volume's grid, in fixed space.
        mask: (k, j, i) of bool on that grid; None takes all voxels.

    Returns:
        "voxels": how many were looked at; "folded_voxels" and "folded_fraction": as in `folding`;
        "non_diffeomorphic_fraction": the space that is turned inside out, as a share of what was looked at; see
        `transforms.tetrahedra`; "jacobian_min", "jacobian_max": of the determinant, the least also over one-sided
        differences; "jacobian_mean", "jacobian_p1", "jacobian_p99": mean and percentiles; "jacobian_log_std": standard
        deviation of its logarithm (SDlogJ);
        "displacement_mean_mm", "displacement_p95_mm", "displacement_max_mm".

    Raises:
        InputError: the mask has another shape or selects nothing.
    """
    if mask is None:
        mask = np.ones(over.shape, dtype=bool)
    if mask.shape != over.shape:
        raise InputError(f"The mask has the shape {mask.shape}, the volume {over.shape}. Resample it onto the volume.")
    if not mask.any():
        raise InputError("The mask selects nothing inside the fixed volume. Check that both lie in the same place.")
    determinants, least, lengths, logarithms, inverted = [], [], [], np.zeros(2), 0.0
    for slab, field in _slabs_of(transform, over):
        chosen = mask[slab]
        inner = slice(min(slab.start, 1), min(slab.start, 1) + slab.stop - slab.start)
        central = field.jacobian_determinant()[inner][chosen]
        determinants.append(central)
        least.append(np.minimum(central, field.corner_jacobian_determinants()[inner][chosen]))
        lengths.append(np.linalg.norm(field.displacement[inner][chosen], axis=-1))
        inverted += float(non_diffeomorphic_volume(field)[inner][chosen].sum(dtype=float))
        logarithm = np.log(np.clip(central, 1e-3, None), dtype=float)
        logarithms += logarithm.sum(), (logarithm**2).sum()
    # 32 bits each: of a large volume these are the arrays that fill the memory.
    determinant, least, length = (np.concatenate(values) for values in (determinants, least, lengths))
    count = len(determinant)
    low, high = np.percentile(determinant, (1, 99))
    folded = int(np.count_nonzero(least <= 0))
    mean_logarithm, mean_square = logarithms / count
    return {
        "voxels": count,
        "folded_voxels": folded,
        "folded_fraction": folded / count,
        "non_diffeomorphic_fraction": inverted / count,
        "jacobian_min": float(least.min()),
        "jacobian_max": float(determinant.max()),
        "jacobian_mean": float(determinant.mean(dtype=float)),
        "jacobian_p1": float(low),
        "jacobian_p99": float(high),
        "jacobian_log_std": float(np.sqrt(max(mean_square - mean_logarithm**2, 0.0))),
        "displacement_mean_mm": float(length.mean(dtype=float)),
        "displacement_p95_mm": float(np.percentile(length, 95)),
        "displacement_max_mm": float(length.max()),
    }


def _slabs_of(transform: Transform, over: Geometry) -> Iterator[tuple[slice, DisplacementField]]:
    """Ranges of k of a grid, and the displacement there with one slice more on each side that has a neighbour."""
    count = over.size[2]
    step = max(1, SLAB_VOXELS // (over.size[0] * over.size[1]))
    for first in range(0, count, step):
        slab = slice(first, min(first + step, count))
        start, stop = max(slab.start - 1, 0), min(slab.stop + 1, count)
        yield slab, transform.sampled_on(over.cropped((0, 0, start), (*over.size[:2], stop)))


def sample_points(over: Geometry, samples: int = 20_000, mask: np.ndarray | None = None) -> np.ndarray:
    """About `samples` voxel centres spread evenly over a volume or over a mask on its grid, (n, 3), LPS mm."""
    if mask is None:
        step = max(1, round((np.prod(over.size) / samples) ** (1 / 3)))
        index = np.stack(np.meshgrid(*(np.arange(0, n, step) for n in over.size), indexing="ij"), -1).reshape(-1, 3)
    else:
        chosen = np.argwhere(mask)[:, ::-1]
        index = chosen[:: max(1, len(chosen) // samples)]
    return over.index_to_point(index)


def displacement(transform: Transform, over: Geometry, samples: int = 20_000) -> dict[str, float]:
    """How far the transform moves the points of a volume, mm."""
    points = sample_points(over, samples)
    moved = np.linalg.norm(transform.apply_to_points(points) - points, axis=1)
    return {"displacement_mean_mm": float(moved.mean()), "displacement_max_mm": float(moved.max())}


def inverse_error(transform: Transform, inverse: Transform, over: Geometry, samples: int = 20_000) -> dict[str, float]:
    """How far there and back misses the start, mm, over a sample of a volume's voxels."""
    points = sample_points(over, samples)
    missed = np.linalg.norm(inverse.apply_to_points(transform.apply_to_points(points)) - points, axis=1)
    return {"inverse_error_mean_mm": float(missed.mean()), "inverse_error_max_mm": float(missed.max())}


def difference(a: Transform, b: Transform, over: Geometry) -> dict[str, float]:
    """How far apart two transforms take the voxels of a volume, all of them: "mean_mm" and "max_mm"."""
    total, largest = 0.0, 0.0
    for (slab, one), (_, other) in zip(_slabs_of(a, over), _slabs_of(b, over), strict=True):
        inner = slice(min(slab.start, 1), min(slab.start, 1) + slab.stop - slab.start)
        apart = np.linalg.norm((one.displacement[inner] - other.displacement[inner]).astype(float), axis=-1)
        total += float(apart.sum())
        largest = max(largest, float(apart.max()))
    return {"mean_mm": total / float(np.prod(over.size)), "max_mm": largest}


def measure(
    transform: Transform,
    inverse: Transform,
    fixed: Geometry,
    landmarks: LandmarkPairs | None = None,
    regions: Regions | None = None,
) -> dict[str, Any]:
    """All that can be said of a transform without looking at the images, JSON-ready.

    Args:
        transform: fixed to moving.
        inverse: moving to fixed.
        fixed: the fixed volume's grid.
        landmarks: pairs to measure the target registration error with.
        regions: may slide along each other, so that folds at their borders do not count.
    """
    result: dict[str, Any] = {**displacement(transform, fixed), **inverse_error(transform, inverse, fixed)}
    if not isinstance(transform, LinearTransform):
        parts = transform.parts if isinstance(transform, Composite) else (transform,)
        fields = [folding(part, regions) for part in parts if isinstance(part, DisplacementField)]
        # Of several fields one after the other, as with a dense initial transform, the worst of each measure.
        for name in fields[0] if fields else ():
            worst = min if name == "jacobian_min" else max
            result[name] = worst(each[name] for each in fields)
    if landmarks is not None:
        before, after = landmark_errors(landmarks), landmark_errors(landmarks, transform)
        for name, errors in (("before", before), ("after", after)):
            result[f"tre_{name}_mean_mm"] = float(errors.mean())
            result[f"tre_{name}_median_mm"] = float(np.median(errors))
            result[f"tre_{name}_max_mm"] = float(errors.max())
    return result
