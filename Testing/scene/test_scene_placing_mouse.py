"""Pairs placed with the mouse: Slicer's own markups widget gets the events that a slice view would hand it."""

import sys

import numpy as np
import pytest
import slicer
import vtk
from DeepRegisterLib.scene.landmarkpairs import makeLists, pairErrors, placedPoints
from DeepRegisterLib.scene.placing import FIXED as ON_FIXED
from DeepRegisterLib.scene.placing import PARTNER, PairPlacing
from scenery import PAIRS, addVolume, texture
from slicepictures import canDraw

FIXED, MOVING = PAIRS["oblique"]
_MANAGER = "vtkMRMLMarkupsDisplayableManager"

pytestmark = pytest.mark.skipif(not canDraw(), reason="no window can be made here")


class Mouse:
    """A slice view of 200 pixels and 100 mm with Slicer's markups in it, and a mouse over it."""

    def __init__(self, host):
        node = host.addSliceView("Red").GetSliceNode()
        node.SetDimensions(200, 200, 1)
        node.SetFieldOfView(100, 100, 1)
        self._window = vtk.vtkEGLRenderWindow() if sys.platform == "linux" else vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetSize(200, 200)
        renderer = vtk.vtkRenderer()
        self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(host.applicationLogic)
        if not factory.IsDisplayableManagerRegistered(_MANAGER):
            factory.RegisterDisplayableManager(_MANAGER)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, renderer)
        self._group.SetMRMLDisplayableNode(node)
        managers = [self._group.GetNthDisplayableManager(n) for n in range(self._group.GetDisplayableManagerCount())]
        self._markups = next(manager for manager in managers if manager.IsA(_MANAGER))
        self._window.Render()
        # Slicer's event loop, which calls what was put off.
        self.waiting = []

    def _send(self, event, x, y):
        data = slicer.vtkMRMLInteractionEventData()
        data.SetType(event)
        data.SetDisplayPosition((x, y))
        self._interactor.SetEventPosition(x, y)
        data.SetAttributesFromInteractor(self._interactor)
        self._markups.ProcessInteractionEvent(data)

    def move(self, x, y):
        self._send(vtk.vtkCommand.MouseMoveEvent, x, y)

    def click(self, x, y):
        self.drag([(x, y)])

    def drag(self, path):
        self.move(*path[0])
        self._send(vtk.vtkCommand.LeftButtonPressEvent, *path[0])
        for place in path[1:]:
            self.move(*place)
        self._send(vtk.vtkCommand.LeftButtonReleaseEvent, *path[-1])
        while self.waiting:
            self.waiting.pop(0)()

    def close(self):
        self._group.SetMRMLDisplayableNode(None)
        self._window.Finalize()


@pytest.fixture
def mouse(host):
    device = Mouse(host)
    yield device
    device.close()
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.UnRegisterDisplayableManager(_MANAGER)


def test_clicks_place_and_drags_move(scene, mouse):
    fixed, moving = addVolume(scene, texture(FIXED, 1), "CT"), addVolume(scene, texture(MOVING, 2), "MR")
    lists = makeLists(fixed, moving)
    placing = PairPlacing(*lists, fixed, moving, later=mouse.waiting.append)
    placing.start()
    # Half a millimetre for a pixel, the middle is the origin.
    mouse.click(120, 90)
    np.testing.assert_allclose(lists[0].GetNthControlPointPositionWorld(0), (10, -5, 0), atol=0.6)
    assert (placing.stage, placing.number) == (PARTNER, 1)
    np.testing.assert_allclose(pairErrors(*lists).before, 0, atol=1e-9)
    # Dragged there and back again, in more than one go.
    mouse.drag([(120, 90), (130, 90), (140, 90)])
    np.testing.assert_allclose(pairErrors(*lists).before, 10, atol=0.6)
    mouse.drag([(140, 90), (130, 96), (124, 98)])
    np.testing.assert_allclose(pairErrors(*lists).before, np.hypot(2, 4), atol=0.6)
    assert placing.stage == PARTNER
    placing.next()

    mouse.click(60, 70)
    placing.clickPartner()
    mouse.move(61, 71)
    # What follows the mouse is no point yet.
    assert pointCounts(lists) == (2, 3)
    assert len(pairErrors(*lists)) == 2
    mouse.click(66, 78)
    assert (placing.stage, placing.number) == (ON_FIXED, 3)
    assert pointCounts(lists) == (2, 2)
    np.testing.assert_allclose(pairErrors(*lists).before[1], 5, atol=0.6)
    mouse.move(100, 100)
    assert len(placedPoints(lists[0])) == 2
    placing.stop()
    assert pointCounts(lists) == (2, 2)


def pointCounts(lists):
    """How many points both lists hold, those that follow the mouse included."""
    return tuple(node.GetNumberOfControlPoints() for node in lists)
