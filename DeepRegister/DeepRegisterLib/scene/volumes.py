"""Volume nodes to engine volumes in the world, and engine volumes to volume nodes.

A volume may sit under transforms, also non-linear ones such as the acquisition transform of a tilted CT: its whole
transform to the world is honoured, by its geometry alone where that is possible and by resampling where it is not.
"""

from __future__ import annotations

import contextlib

import numpy as np
import slicer
import vtk
from deepregister import Geometry, Volume
from deepregister.errors import GeometryError, InputError
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .frame import (
    flippedMatrix,
    ijkToRAS,
    lpsFromRAS,
    matrixArray,
    rasFromLPS,
    transformedPoints,
    transformToFrame,
    vtkMatrix,
)

# Points along each axis at which a volume's shape in the world is looked at.
_LATTICE = 13
# How far making nearly straight axes straight may move a corner, in units of the smallest voxel spacing: headers
# round, and nobody wants a volume interpolated for that.
_STRAIGHT_VOXELS = 0.1
# Volume of a voxel, as a share of what its edges would span at right angles, below which it counts as flat.
_FLAT = 1e-3


def volumeFromNode(node, frame=None) -> tuple[Volume, tuple[str, ...]]:
    """The image of a volume node as it lies in the world.

    Args:
        node: a scalar or label map volume node.
        frame: transform node that counts as the world; see `transformToFrame`.

    Returns:
        The volume (LPS mm; voxels are shared with the node where nothing had to be resampled) and what the user
        should know about its preparation, one sentence each.

    Raises:
        InputError: no voxels, colour or vector voxels, or a single slice.
        GeometryError: axes of length 0.
    """
    return placedInWorld(
        voxels(node),
        _indexToLocal(node),
        transformToFrame(node, frame),
        node.GetName(),
        labels=bool(node.IsA("vtkMRMLLabelMapVolumeNode")),
    )


def placedInWorld(
    data: np.ndarray,
    indexToLocal: np.ndarray,
    toWorld: vtk.vtkAbstractTransform | None,
    name: str,
    *,
    labels: bool = False,
) -> tuple[Volume, tuple[str, ...]]:
    """Voxels (k, j, i) with the matrix from their indices to local LPS mm, as a volume in the world; see above.

    `labels` resamples, where that has to be, by the nearest voxel.
    """
    if toWorld is None or isinstance(toWorld, vtk.vtkTransform):
        matrix = indexToLocal
        if toWorld is not None:
            matrix = flippedMatrix(matrixArray(toWorld.GetMatrix())) @ matrix
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if abs(np.linalg.det(matrix[:3, :3])) < _FLAT * np.prod(spacing) or spacing.min() == 0:
            raise GeometryError(
                f"{name} is flat in the world: its axes {np.round(matrix[:3, :3].T, 3).tolist()} span no volume. "
                "Correct its geometry or the transform that it sits under."
            )
        # Refuses axes that are not nearly at right angles.
        with contextlib.suppress(GeometryError):
            geometry = Geometry.from_matrix(matrix, data.shape[::-1])
            if _cornerDistance(geometry, matrix) <= _STRAIGHT_VOXELS * min(spacing):
                return Volume(data, geometry, name), ()
        reason = "its axes are not at right angles in the world"
    else:
        reason = "it sits under a non-linear transform"
    geometry = _straightGrid(indexToLocal, data.shape[::-1], toWorld)
    resampled = _resampled(data, indexToLocal, toWorld, geometry, labels)
    return Volume(resampled, geometry, name), (
        f"{name} was resampled onto a straight grid, {geometry.describe()}: {reason}.",
    )


def resampledOnto(node, geometry: Geometry, further: vtk.vtkAbstractTransform | None = None) -> Volume:
    """A volume node as it lies in the world, on another grid: labels by the nearest voxel, images linearly.

    Args:
        node: a scalar or label map volume node.
        geometry: the grid, LPS mm.
        further: where the volume goes on to from its place in the world (RAS); None leaves it there.

    Raises:
        InputError: as `voxels`.
    """
    toWorld = vtk.vtkGeneralTransform()
    toWorld.PostMultiply()
    for transform in (transformToFrame(node), further):
        if transform is not None:
            toWorld.Concatenate(transform)
    labels = bool(node.IsA("vtkMRMLLabelMapVolumeNode"))
    data = _resampled(voxels(node), _indexToLocal(node), toWorld, geometry, labels)
    return Volume(data, geometry, node.GetName())


def voxels(node) -> np.ndarray:
    """The voxels (k, j, i) of a scalar volume node, shared with it.

    Raises:
        InputError: no voxels, colour or vector voxels, or a single slice.
    """
    name = node.GetName()
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"{name} is a {node.GetTypeDisplayName()}, not a volume. Choose a scalar volume.")
    image = node.GetImageData()
    if image is None or image.GetPointData() is None or image.GetPointData().GetScalars() is None:
        raise InputError(
            f"{name} holds no image data. Load the volume, or choose one that is loaded (a volume whose file was not "
            "found stays empty)."
        )
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise InputError(
            f"{name} has {components} components in each voxel (a colour or vector volume). Registration needs one "
            "number per voxel: convert it with Slicer's Vector to Scalar Volume module."
        )
    size = image.GetDimensions()
    if min(size) < 2:
        raise InputError(
            f"{name} is a single slice ({'x'.join(map(str, size))} voxels). Registration needs a three-dimensional "
            "volume: load the whole series."
        )
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1])


def setVolume(node, volume: Volume) -> None:
    """Put an engine volume into a volume node: voxels copied, geometry in RAS, no parent transform assumed."""
    data = volume.data
    if data.dtype == bool:
        data = data.astype(np.uint8)
    elif data.dtype == np.float16:
        data = data.astype(np.float32)
    elif data.dtype in (np.int64, np.uint64):
        # Slicer cannot show 64-bit integers.
        data = data.astype(np.float64)
    node.SetIJKToRASMatrix(vtkMatrix(ijkToRAS(volume.geometry)))
    slicer.util.updateVolumeFromArray(node, data)


def copyDisplay(source, target) -> None:
    """Show `target` as `source` is shown: colours, and for images window, level, threshold and interpolation."""
    shown, display = source.GetDisplayNode(), target.GetDisplayNode()
    if shown is None:
        return
    with slicer.util.NodeModify(display):
        display.SetAndObserveColorNodeID(shown.GetColorNodeID())
        if shown.IsA("vtkMRMLScalarVolumeDisplayNode") and display.IsA("vtkMRMLScalarVolumeDisplayNode"):
            # Automatic levels would be taken anew from the resampled voxels, and the two would look different.
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(shown.GetWindow(), shown.GetLevel())
            display.SetInterpolate(shown.GetInterpolate())
            display.SetAutoThreshold(False)
            display.SetThreshold(shown.GetLowerThreshold(), shown.GetUpperThreshold())
            display.SetApplyThreshold(shown.GetApplyThreshold())


def _indexToLocal(node) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return lpsFromRAS(matrixArray(matrix))


def _cornerDistance(geometry: Geometry, matrix: np.ndarray) -> float:
    """How far a corner of the grid lies from where `matrix` puts it, mm: what making the axes straight moved."""
    last = np.asarray(geometry.size) - 1
    corners = np.stack(np.meshgrid(*([0, n] for n in last)), axis=-1).reshape(-1, 3)
    wanted = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return float(np.linalg.norm(geometry.index_to_point(corners) - wanted, axis=1).max())


def _resampled(
    data: np.ndarray,
    indexToLocal: np.ndarray,
    toWorld: vtk.vtkAbstractTransform | None,
    geometry: Geometry,
    labels: bool,
) -> np.ndarray:
    """The voxels as they lie on `geometry` in the world."""
    through = vtk.vtkGeneralTransform()
    through.PostMultiply()
    through.Concatenate(vtkMatrix(ijkToRAS(geometry)))
    if toWorld is not None:
        through.Concatenate(toWorld.GetInverse())
    through.Concatenate(vtkMatrix(np.linalg.inv(rasFromLPS(indexToLocal))))

    # VTK only borrows these voxels: the name keeps them alive.
    flat = np.ascontiguousarray(data).ravel()
    image = vtk.vtkImageData()
    image.SetDimensions(data.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(flat))
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(through)
    reslice.SetOutputDimensionality(3)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(0, geometry.size[0] - 1, 0, geometry.size[1] - 1, 0, geometry.size[2] - 1)
    if labels:
        reslice.SetInterpolationModeToNearestNeighbor()
        reslice.SetBackgroundLevel(0)
    else:
        reslice.SetInterpolationModeToLinear()
        reslice.SetBackgroundLevel(float(np.nanmin(data)))
    reslice.Update()
    return vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars()).reshape(geometry.shape)


def _straightGrid(
    indexToLocal: np.ndarray, size: tuple[int, ...], toWorld: vtk.vtkAbstractTransform | None
) -> Geometry:
    """An orthogonal grid over the whole volume in the world, its axes as near to the volume's own as they can be."""
    steps = [np.linspace(-0.5, n - 0.5, _LATTICE) for n in size]
    index = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    local = index @ indexToLocal[:3, :3].T + indexToLocal[:3, 3]
    world = local if toWorld is None else transformedPoints(toWorld, local)
    fitted = np.linalg.lstsq(index - index.mean(axis=0), world - world.mean(axis=0), rcond=None)[0].T
    left, _, right = np.linalg.svd(fitted / np.linalg.norm(fitted, axis=0))
    axes = left @ right
    spacing = np.linalg.norm(fitted, axis=0)
    along = world @ axes
    low, high = along.min(axis=0), along.max(axis=0)
    voxelCount = np.maximum(2, np.ceil((high - low) / spacing - 1e-6)).astype(int)
    first = (low + high) / 2 - (voxelCount - 1) / 2 * spacing
    return Geometry(tuple(voxelCount), tuple(spacing), tuple(axes @ first), tuple(map(tuple, axes)))
