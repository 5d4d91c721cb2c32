"""What is laid over the fixed volume: the difference of the two, the displacement, the local change of volume.

The difference is a generator, whose steps a panel can run between two events: a brain at 1 mm takes some seconds
through a displacement grid. The other two are quick once the `Motion` is there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import vtk
from deepregister import Geometry, Rigid, Volume
from deepregister.expectederror import shown
from vtk.util.numpy_support import vtk_to_numpy

from ..frame import ijkToRAS, transformToFrame, vtkMatrix
from .motion import Motion

# Computed: yields the share that is done, returns the volume and the ends of its colour scale.
Steps = Generator[float, None, tuple[Volume, float, float]]

# Points taken through a grid in one step: some 20 ms.
_STEP = 40_000
_NEARLY_ALL = 99.5
_LARGEST_CHANGES = (0.1, 0.25, 0.5, 1.0)


def differenceSteps(fixed: Volume, fixedWindow: tuple[float, float] | None, movingNode) -> Steps:
    """The moving volume minus the fixed one, on the fixed volume's grid, in grey values of the fixed volume.

    The moving volume's grey values are stretched so that its display window becomes the fixed volume's: what looks
    the same in the views has no difference. With equal windows they are not changed at all. 0 outside the moving
    volume.

    Args:
        fixed: as it lies in the world.
        fixedWindow: lowest and highest value of its display window; None for labels, which are subtracted as they are.
        movingNode: as it is to be seen.
    """
    window = windowOf(movingNode)
    sample = _sampler(movingNode, fixed.geometry)
    values = np.zeros(fixed.geometry.shape, dtype=np.float32)
    layers = max(1, _STEP // int(np.prod(fixed.geometry.size[:2])))
    for start in range(0, len(values), layers):
        slab = slice(start, min(start + layers, len(values)))
        moved = sample(slab)
        if fixedWindow is not None and window is not None:
            moved = fixedWindow[0] + (moved - window[0]) * _ratio(fixedWindow, window)
        values[slab] = np.nan_to_num(moved - fixed.data[slab])
        yield slab.stop / len(values)
    half = (fixedWindow[1] - fixedWindow[0]) / 2 if fixedWindow is not None else float(np.abs(values).max())
    half = half or 1.0
    return Volume(values, fixed.geometry, "difference"), -half, half


def displacementMap(motion: Motion, whole: bool) -> tuple[Volume, float, float]:
    """How far each place of the fixed volume is moved, mm: by the change of shape, or by the whole transform."""
    field = motion.whole if whole else motion.shape
    lengths = np.linalg.norm(field.displacement, axis=-1).astype(np.float32)
    lengths[motion.empty] = 0
    top = _roundedUp(float(np.percentile(lengths[~motion.empty], _NEARLY_ALL)))
    return Volume(lengths, field.geometry, "displacement"), 0.0, top


def volumeChangeMap(motion: Motion) -> tuple[Volume, float, float]:
    """How many times its volume each place of the fixed volume has in the moving one; 0 or less where space folds."""
    determinant = motion.whole.jacobian_determinant().astype(np.float32)
    determinant[motion.empty] = 1
    extent = float(np.percentile(np.abs(determinant - 1)[~motion.empty], _NEARLY_ALL))
    change = next((step for step in _LARGEST_CHANGES if extent <= step), _LARGEST_CHANGES[-1])
    if determinant.min() <= 0:
        # The first colour, which a fold has, is then nothing else's.
        change = 1.0
    return Volume(determinant, motion.whole.geometry, "volume change"), 1 - change, 1 + change


def expectedErrorMap(error: Volume, motion: Motion, fixed: Volume) -> tuple[Volume, float, float]:
    """How far each place may be from where it belongs, mm, on the grid of the motion; 0 where nothing is shown.

    Args:
        error: the engine's map.
        motion: of the result.
        fixed: the fixed volume as it lies in the world: around what it shows the map has nothing to say.
    """
    onto = motion.whole.geometry
    values = Rigid.identity().resample(error, onto, fill=0.0).data.astype(np.float32)
    values[motion.empty | ~shown(fixed, onto)] = 0
    found = values[values > 0]
    return Volume(values, onto, error.name), 0.0, _roundedUp(float(np.percentile(found, _NEARLY_ALL)))


def windowOf(node) -> tuple[float, float] | None:
    """Lowest and highest grey value of a volume's display window; None for one that has no such thing."""
    display = node.GetDisplayNode()
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        return None
    return display.GetWindowLevelMin(), display.GetWindowLevelMax()


def _sampler(node, geometry: Geometry) -> Callable[[slice], np.ndarray]:
    """A function that resamples a volume node, as it lies in the world, onto some layers of a grid; NaN outside."""
    toIJK = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(toIJK)
    toWorld = transformToFrame(node)
    through = vtk.vtkGeneralTransform()
    through.PostMultiply()
    through.Concatenate(vtkMatrix(ijkToRAS(geometry)))
    if toWorld is not None:
        through.Concatenate(toWorld.GetInverse())
    through.Concatenate(toIJK)
    reslice = vtk.vtkImageReslice()
    # The voxels without the node's spacing and origin: the transform ends at indices.
    image = vtk.vtkImageData()
    image.ShallowCopy(node.GetImageData())
    image.SetSpacing(1, 1, 1)
    image.SetOrigin(0, 0, 0)
    reslice.SetInputData(image)
    reslice.SetResliceTransform(through)
    reslice.SetOutputDimensionality(3)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputScalarType(vtk.VTK_FLOAT)
    reslice.SetBackgroundLevel(np.nan)
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        reslice.SetInterpolationModeToNearestNeighbor()
    else:
        reslice.SetInterpolationModeToLinear()

    def sample(slab: slice) -> np.ndarray:
        reslice.SetOutputExtent(0, geometry.size[0] - 1, 0, geometry.size[1] - 1, slab.start, slab.stop - 1)
        reslice.Update()
        output = reslice.GetOutput()
        return vtk_to_numpy(output.GetPointData().GetScalars()).reshape(output.GetDimensions()[::-1])

    return sample


def _ratio(wanted: tuple[float, float], window: tuple[float, float]) -> float:
    return (wanted[1] - wanted[0]) / ((window[1] - window[0]) or 1.0)


def _roundedUp(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 ... tenths, so that the marks of a scale are round."""
    steps = [factor * 10.0**power for power in range(-1, 4) for factor in (1, 2, 3, 4, 5, 6, 8)]
    return next((step for step in steps if value <= step), value)
