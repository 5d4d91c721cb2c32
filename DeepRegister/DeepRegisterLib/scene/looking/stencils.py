"""Where in a slice view the moving volume is seen: the tiles of a checkerboard, or a circle about the mouse.

A view's picture is the foreground blended over the background by a `vtkImageBlend`, which takes a stencil: outside it
the foreground is left away. So nothing is resampled, and a mouse can be followed.
"""

from __future__ import annotations

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ..frame import matrixArray


def checkerboard(sliceNode, tileMm: float, centre: np.ndarray) -> vtk.vtkImageStencilData:
    """Every second tile of a view; the tiles stay with the anatomy when the view is moved or zoomed.

    Args:
        tileMm: edge of a tile, mm.
        centre: RAS mm; in each plane, a tile of the moving volume is about the point nearest to it.
    """
    odd = [np.floor(along / tileMm + 0.5) % 2 == 1 for along in _positions(sliceNode, centre)]
    return _stencil(odd[0][None] == odd[1][:, None])


def circle(sliceNode, x: float, y: float, radiusMm: float) -> vtk.vtkImageStencilData:
    """A circle about a pixel (x, y) of a view, as the mouse has it."""
    columns, rows = _positions(sliceNode, None)
    stepX, stepY = columns[1] - columns[0], rows[1] - rows[0]
    across, along = columns - columns[0] - x * stepX, rows - rows[0] - y * stepY
    return _stencil(across[None] ** 2 + along[:, None] ** 2 <= radiusMm**2)


def nowhere(sliceNode) -> vtk.vtkImageStencilData:
    """No pixel of a view."""
    columns, rows = _positions(sliceNode, None)
    return _stencil(np.zeros((len(rows), len(columns)), dtype=bool))


def _positions(sliceNode, centre: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres along the two axes of a view, from a point, of its columns and of its rows."""
    toRAS = matrixArray(sliceNode.GetXYToRAS())
    width, height, _ = (max(2, count) for count in sliceNode.GetDimensions())
    start = toRAS[:3, 3] - (0 if centre is None else np.asarray(centre))
    positions = []
    for axis, count in enumerate((width, height)):
        step = np.linalg.norm(toRAS[:3, axis])
        positions.append(start @ (toRAS[:3, axis] / step) + step * np.arange(count))
    return positions[0], positions[1]


def _stencil(mask: np.ndarray) -> vtk.vtkImageStencilData:
    image = vtk.vtkImageData()
    image.SetDimensions(mask.shape[1], mask.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    convert = vtk.vtkImageToImageStencil()
    convert.SetInputData(image)
    convert.ThresholdByUpper(0.5)
    convert.Update()
    return convert.GetOutput()
