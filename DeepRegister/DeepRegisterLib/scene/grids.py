"""One engine transform as what a transform node can hold: a matrix, or a grid just fine enough to lose nothing.

The scene keeps its fields coarse, since every one is saved with it. How coarse is measured, not guessed: the grid is
compared with the engine's transform at many points of the fixed volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from deepregister import Affine, Composite, DisplacementField, Geometry, Transform
from deepregister.transforms import LinearTransform
from vtk.util.numpy_support import numpy_to_vtk

from .frame import flippedMatrix, flippedPoints, ijkToRAS, transformedPoints, vtkMatrix

# How far the scene may be from the engine inside the fixed volume, in units of its smallest voxel spacing: anywhere,
# and at 99 of 100 points. The engine's field is linear between its voxels as ITK has it, Slicer's is cubic: where the
# field bends within one of its own voxels they differ, and a grid that followed every kink would fill the disk.
LOSS_ANYWHERE = 0.25
LOSS_NEARLY_EVERYWHERE = 0.1

# Voxels of the starting grid to one of the coarse grid, tried in this order.
_COARSENINGS = (16, 12, 8, 6, 4, 3, 2, 1)
_REFINEMENTS = 4
_USEFUL_GAIN = 0.8
# 200 MB of float32: a finer grid than this is not tried.
_MOST_VOXELS = 2**24
_MOST_STARTING_VOXELS = 2**22
# Cells of the grid beyond the fixed volume: cubic interpolation looks two cells far.
_MARGIN = 2
_PROBES = 200_000
_FEW_PROBES = 10_000
_INVERSE_PROBES = 10_000


@dataclass(frozen=True)
class NodeTransform:
    """What goes onto a transform node.

    Attributes:
        fromParent: maps fixed to moving, RAS mm: what a node calls "from parent".
        lossMm: largest distance in mm, over the points looked at inside the fixed volume, from the engine's own map.
        lostByInverse: share of the points of the fixed volume that VTK's inverse, which moves points, models and
            segmentations, does not bring back to where they started.
    """

    fromParent: vtk.vtkAbstractTransform
    lossMm: float = 0.0
    lostByInverse: float = 0.0

    @property
    def isLinear(self) -> bool:
        """Whether it is a matrix."""
        return isinstance(self.fromParent, vtk.vtkTransform)

    @property
    def nodeClass(self) -> str:
        """The class of transform node that Slicer itself makes for such a transform."""
        if self.isLinear:
            return "vtkMRMLLinearTransformNode"
        if isinstance(self.fromParent, vtk.vtkGridTransform):
            return "vtkMRMLGridTransformNode"
        return "vtkMRMLTransformNode"


def nodeTransform(transform: Transform, fixed: Geometry, oneGrid: bool = False) -> NodeTransform:
    """The engine's `transform` as a matrix or as one cubic displacement grid on the axes of `fixed`.

    The grid holds the whole map, the affine part included, so that every tool of Slicer can read it. Only where the
    affine part turns so far (from about 45 degrees) that VTK's iterative inverse of such a grid loses points does the
    result keep the grid of the residual and the affine apart, in one composite.

    Args:
        transform: fixed to moving, LPS mm.
        fixed: grid of the fixed volume in the world: where the scene has to agree with the engine.
        oneGrid: whatever the transform, a linear one too, the result is one grid.
    """
    linear = linearPart(transform)
    if linear is not None and not oneGrid:
        matrix = vtk.vtkTransform()
        matrix.SetMatrix(vtkMatrix(flippedMatrix(linear.matrix)))
        return NodeTransform(matrix)
    whole = _gridded(transform, fixed)
    if oneGrid or not whole.lostByInverse:
        return whole
    apart = _residualAndAffine(transform, fixed)
    return apart if apart.lostByInverse < whole.lostByInverse / 2 else whole


def linearPart(transform: Transform) -> LinearTransform | None:
    """The transform as one matrix if it is linear throughout, else None."""
    if isinstance(transform, LinearTransform):
        return transform
    if isinstance(transform, Composite) and all(isinstance(part, LinearTransform) for part in transform.parts):
        linear = transform.parts[0]
        for part in transform.parts[1:]:
            linear = linear.then(part)
        return linear
    return None


def displacementGrid(transform: Transform, geometry: Geometry) -> slicer.vtkOrientedGridTransform:
    """`transform` sampled at the voxels of `geometry`, as the float32 grid that Slicer reads from files too."""
    field = transform.sampled_on(geometry)
    image = vtk.vtkImageData()
    image.SetDimensions(geometry.size)
    image.SetSpacing(geometry.spacing)
    toRAS = ijkToRAS(geometry)
    image.SetOrigin(toRAS[:3, 3])
    vectors = np.ascontiguousarray(flippedPoints(field.displacement).reshape(-1, 3), dtype=np.float32)
    # The scalars: VTK takes a grid whose values are set as vectors for the identity, without a word.
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
    directions = np.eye(4)
    directions[:3, :3] = toRAS[:3, :3] / np.asarray(geometry.spacing)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    grid.SetGridDirectionMatrix(vtkMatrix(directions))
    # What Slicer sets for a grid that it reads from a file: the node must not change by saving and loading.
    grid.SetInterpolationModeToCubic()
    return grid


def _gridded(transform: Transform, fixed: Geometry) -> NodeTransform:
    start = _startingGrid(transform, fixed)
    everywhere = _spread(fixed)
    spread = len(everywhere)
    probes = np.concatenate([everywhere, _gathered(transform, start, fixed)])
    wanted = transform.apply_to_points(probes)
    voxel = min(fixed.spacing)
    best, bestNearlyEverywhere, coarserLoss = None, np.inf, np.inf
    few = slice(None, None, max(1, len(probes) // _FEW_PROBES))
    for refined, geometry in _candidates(start, fixed):
        grid = displacementGrid(transform, geometry)
        # What is too coarse for some of the points need not be tried on all; the last one is what finer ones are
        # compared with.
        coarse = not refined and geometry.spacing != start.spacing
        if coarse and _farthest(transformedPoints(grid, probes[few]), wanted[few]) > LOSS_ANYWHERE * voxel:
            continue
        distance = np.linalg.norm(transformedPoints(grid, probes) - wanted, axis=-1)
        loss, nearlyEverywhere = float(distance.max()), float(np.quantile(distance[:spread], 0.99))
        if nearlyEverywhere < bestNearlyEverywhere:
            best, bestNearlyEverywhere = (grid, loss), nearlyEverywhere
        # Where halving the spacing hardly helps, the field jumps, as at the border of one that does not taper.
        jumps = refined and loss > _USEFUL_GAIN * coarserLoss
        coarserLoss = loss
        if nearlyEverywhere <= LOSS_NEARLY_EVERYWHERE * voxel and (jumps or loss <= LOSS_ANYWHERE * voxel):
            break
    grid, loss = best
    return NodeTransform(grid, loss, _lostByInverse(grid, probes, voxel))


def _residualAndAffine(transform: Transform, fixed: Geometry) -> NodeTransform:
    """The same map as a residual grid in fixed space followed by the affine that fits it best."""
    points = fixed.with_spacing(fixed.extent_mm / 12).points().reshape(-1, 3)
    homogeneous = np.column_stack([points, np.ones(len(points))])
    matrix = np.eye(4)
    matrix[:3] = np.linalg.lstsq(homogeneous, transform.apply_to_points(points), rcond=None)[0].T
    affine = Affine(matrix)
    residual = _gridded(transform.then(affine.inverse()), fixed)
    both = vtk.vtkGeneralTransform()
    both.PostMultiply()
    both.Concatenate(residual.fromParent)
    both.Concatenate(vtkMatrix(flippedMatrix(affine.matrix)))
    probes = _spread(fixed)
    loss = _farthest(transformedPoints(both, probes), transform.apply_to_points(probes))
    return NodeTransform(both, loss, _lostByInverse(both, probes, min(fixed.spacing)))


def _startingGrid(transform: Transform, fixed: Geometry) -> Geometry:
    """The grid that coarser ones take every so-many-th voxel of: the engine's own field where it lies on these axes.

    Between its voxels the engine's field is only interpolated; taking its own voxels loses least.
    """
    first = transform.parts[0] if isinstance(transform, Composite) else transform
    if isinstance(first, DisplacementField) and np.allclose(first.geometry.direction, fixed.direction, atol=1e-6):
        return first.geometry
    return atMost(_MOST_STARTING_VOXELS, fixed)


def atMost(voxels: int, geometry: Geometry) -> Geometry:
    """The grid itself, or where it has more than so many voxels, one with larger voxels over the same box."""
    excess = float(np.prod(geometry.size, dtype=float)) / voxels
    return geometry if excess <= 1 else geometry.with_spacing(np.asarray(geometry.spacing) * excess ** (1 / 3))


def _candidates(start: Geometry, fixed: Geometry) -> Iterator[tuple[bool, Geometry]]:
    """Grids over the fixed volume and a margin, from coarse to fine, aligned with `start`; True for finer ones."""
    spacing = np.asarray(start.spacing)
    for coarsening in _COARSENINGS:
        # Thick slices are coarse already: each axis is thinned to about the same spacing.
        steps = np.maximum(1, np.round(coarsening * spacing.min() / spacing))
        grid = _aligned(start, fixed, steps)
        if coarsening != _COARSENINGS[0] and np.prod(grid.size, dtype=float) > _MOST_VOXELS:
            return
        yield False, grid
    for _ in range(_REFINEMENTS):
        now = spacing * steps
        steps = np.where(now > 0.7 * now.max(), steps / 2, steps)
        grid = _aligned(start, fixed, steps)
        if np.prod(grid.size, dtype=float) > _MOST_VOXELS:
            return
        yield True, grid


def _aligned(start: Geometry, fixed: Geometry, steps: np.ndarray) -> Geometry:
    """The grid of spacing `steps` x `start`'s through `start`'s first voxel that covers both grids and a margin."""
    last = np.asarray(fixed.size) - 0.5
    corners = fixed.index_to_point(np.stack(np.meshgrid(*([-0.5, n] for n in last)), axis=-1).reshape(-1, 3))
    inside = start.point_to_index(corners) / steps
    low = np.minimum(np.floor(inside.min(axis=0)) - _MARGIN, 0)
    high = np.maximum(np.ceil(inside.max(axis=0)) + _MARGIN, np.ceil((np.asarray(start.size) - 1) / steps))
    return Geometry(
        tuple((high - low + 1).astype(int)),
        tuple(np.asarray(start.spacing) * steps),
        tuple(start.index_to_point(low * steps)),
        start.direction,
    )


def _spread(fixed: Geometry) -> np.ndarray:
    """Points (n, 3) all over the fixed volume."""
    count = min(_PROBES, 4 * int(np.prod(fixed.size)))
    return fixed.index_to_point(np.random.default_rng(0).uniform(-0.5, np.asarray(fixed.size) - 0.5, (count, 3)))


def _gathered(transform: Transform, start: Geometry, fixed: Geometry) -> np.ndarray:
    """Points (n, 3) of the fixed volume about the voxels of `start` where the field bends most."""
    displacement = transform.sampled_on(start).displacement
    bending = np.zeros(start.shape, dtype=np.float32)
    for axis in range(3):
        if displacement.shape[axis] > 2:
            second = np.linalg.norm(np.diff(displacement, 2, axis=axis), axis=-1)
            inner = tuple(slice(1, -1) if other == axis else slice(None) for other in range(3))
            bending[inner] += second
    j, i = np.meshgrid(*map(np.arange, start.shape[1:]), indexing="ij")
    for k, layer in enumerate(bending):
        layer[~_within(fixed, start.index_to_point(np.stack([i, j, np.full_like(i, k)], axis=-1)))] = 0
    count = min(_PROBES // 100, bending.size)
    sharpest = np.argpartition(bending, -count, axis=None)[-count:]
    index = np.stack(np.unravel_index(sharpest, start.shape), axis=-1)[:, ::-1].astype(float)
    around = np.random.default_rng(1).uniform(-1, 1, (20, *index.shape))
    around[0] = 0
    gathered = start.index_to_point((index + around).reshape(-1, 3))
    return gathered[_within(fixed, gathered)]


def _within(fixed: Geometry, points: np.ndarray) -> np.ndarray:
    index = fixed.point_to_index(points)
    return np.all((index >= -0.5) & (index <= np.asarray(fixed.size) - 0.5), axis=-1)


def _lostByInverse(fromParent: vtk.vtkAbstractTransform, probes: np.ndarray, voxel: float) -> float:
    points = probes[:: max(1, len(probes) // _INVERSE_PROBES)]
    there = transformedPoints(fromParent, points)
    # A grid that does not invert says so for every point on the error log; that it does not is the answer here.
    shown = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.SetGlobalWarningDisplay(0)
    try:
        back = transformedPoints(fromParent.GetInverse(), there)
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(shown)
    # Not "farther than", which a point that became not a number is not.
    return float(np.mean(~(np.linalg.norm(back - points, axis=-1) <= LOSS_ANYWHERE * voxel)))


def _farthest(points: np.ndarray, others: np.ndarray) -> float:
    return float(np.linalg.norm(points - others, axis=-1).max())
