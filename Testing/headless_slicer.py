"""Slicer's scene without Slicer: the real MRML classes and module logics of the PyPI package `slicer-core`.

Nothing is imitated here. What Slicer's application does at its start for every scene is done with the same classes:
default colours, slice orientations, and one logic for each module that the tests use.
"""

from __future__ import annotations

from typing import ClassVar

import slicer
import vtk

_LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
}


# What the logic of the Segmentations module teaches every segmentation of the process: without these representations
# not even a copy of one can be made.
for _rule in ("BinaryLabelmapToClosedSurface", "ClosedSurfaceToBinaryLabelmap"):
    slicer.vtkSegmentationConverterFactory.GetInstance().RegisterConverterRule(
        getattr(slicer, f"vtk{_rule}ConversionRule")()
    )


class HeadlessSlicer:
    """A scene of its own with the logics that belong to it; `slicer.mrmlScene` is set to it.

    Attributes:
        scene: the `vtkMRMLScene`.
        applicationLogic: the `vtkSlicerApplicationLogic`.
        logics: module logics by module name.
        current: the last one made.
    """

    current: ClassVar[HeadlessSlicer | None] = None

    def __init__(self):
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        self.applicationLogic = slicer.vtkSlicerApplicationLogic()
        self.applicationLogic.SetMRMLScene(self.scene)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene)
        self.logics = {}
        for name, className in _LOGICS.items():
            logic = getattr(slicer, className)()
            logic.SetMRMLApplicationLogic(self.applicationLogic)
            logic.SetMRMLScene(self.scene)
            self.applicationLogic.SetModuleLogic(name, logic)
            self.logics[name] = logic
        self.logics["Colors"].AddDefaultColorNodes()
        # As Slicer's Colors module does.
        self.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
        # As Slicer's layout manager does with the views it makes.
        self._sliceLogics = vtk.vtkCollection()
        self.applicationLogic.SetSliceLogics(self._sliceLogics)
        HeadlessSlicer.current = self

    def addSliceView(self, name: str = "Red"):
        """A slice logic with its slice and composite node, which is what a slice view of Slicer shows."""
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.applicationLogic)
        logic.SetMRMLScene(self.scene)
        made = slicer.util.getNodesByClass("vtkMRMLSliceNode", self.scene)
        node = next((node for node in made if node.GetLayoutName() == name), None)
        # A layout has made the nodes of its views.
        if node is None:
            logic.AddSliceNode(name)
        else:
            logic.SetSliceNode(node)
        self._sliceLogics.AddItem(logic)
        return logic

    def sliceLogics(self) -> list:
        """The slice logics of the views, in the order in which they were added."""
        return [self._sliceLogics.GetItemAsObject(number) for number in range(self._sliceLogics.GetNumberOfItems())]

    def addLayout(self):
        """The layout node of Slicer's main window, with Slicer's layouts; it makes the nodes of the views it holds."""
        self._layout = slicer.vtkMRMLLayoutLogic()
        self._layout.SetMRMLApplicationLogic(self.applicationLogic)
        self._layout.SetMRMLScene(self.scene)
        node = self._layout.GetLayoutNode()
        node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        return node

    def close(self) -> None:
        """Empty the scene and let go of whoever watches it.

        A scene that Python's garbage collector frees together with a watcher, as a widget is one, would call what has
        just been taken apart.
        """
        self.scene.Clear(1)
        self.scene.RemoveAllObservers()
        self.applicationLogic.SetSliceLogics(None)
        HeadlessSlicer.current = None


def start() -> HeadlessSlicer:
    """A scene that lasts as long as the process: for scripts, which have no fixture to keep it."""
    global _running
    _running = HeadlessSlicer()
    return _running


_running: HeadlessSlicer | None = None
