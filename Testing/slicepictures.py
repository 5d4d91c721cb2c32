"""Pictures of slice views without a display: what Slicer's slice logic makes, and what is drawn over it."""

from __future__ import annotations

import ctypes.util
import sys

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_MANAGERS = ("vtkMRMLTransformsDisplayableManager2D", "vtkMRMLColorLegendDisplayableManager")


def pixels(sliceLogic) -> np.ndarray:
    """The picture of a slice view, (rows, columns, 4) from the bottom up, as Slicer's slice logic blends it."""
    sliceLogic.UpdatePipeline()
    connection = sliceLogic.GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    columns, rows, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 4).copy()


def canDraw() -> bool:
    """Whether a `Window` can be made here: on Linux it takes the library EGL, which needs no display."""
    return sys.platform != "linux" or ctypes.util.find_library("EGL") is not None


class Window:
    """A slice view as it is drawn: the picture of its slice logic, with transforms and colour legends over it."""

    def __init__(self, host, sliceLogic):
        self._window = vtk.vtkEGLRenderWindow() if sys.platform == "linux" else vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetNumberOfLayers(2)
        behind, front = vtk.vtkRenderer(), vtk.vtkRenderer()
        for layer, renderer in enumerate((behind, front)):
            renderer.SetLayer(layer)
            self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(host.applicationLogic)
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, front)
        self._group.SetMRMLDisplayableNode(sliceLogic.GetSliceNode())
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        behind.AddViewProp(actor)
        self._logic = sliceLogic

    def pixels(self) -> np.ndarray:
        """(rows, columns, 3) from the bottom up."""
        width, height, _ = self._logic.GetSliceNode().GetDimensions()
        self._window.SetSize(width, height)
        self._logic.UpdatePipeline()
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        columns, rows, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3).copy()

    def close(self) -> None:
        """Let go of the scene, before it is emptied."""
        self._group.SetMRMLDisplayableNode(None)
        self._window.Finalize()
