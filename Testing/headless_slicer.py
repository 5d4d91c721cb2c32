"""Slicer's scene without Slicer: the real MRML classes and module logics of the PyPI package `slicer-core`.

Nothing is imitated here. What Slicer's application does at its start for every scene is done with the same classes:
default colours, slice orientations, and one logic for each module that the tests use.
"""

from __future__ import annotations

import slicer

_LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
}


class HeadlessSlicer:
    """A scene of its own with the logics that belong to it; `slicer.mrmlScene` is set to it.

    Attributes:
        scene: the `vtkMRMLScene`.
        applicationLogic: the `vtkSlicerApplicationLogic`.
        logics: module logics by module name.
    """

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

    def addSliceView(self, name: str = "Red"):
        """A slice logic with its slice and composite node, which is what a slice view of Slicer shows."""
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.applicationLogic)
        logic.SetMRMLScene(self.scene)
        logic.AddSliceNode(name)
        return logic

    def close(self) -> None:
        """Empty the scene and let go of whoever watches it.

        A scene that Python's garbage collector frees together with a watcher, as a widget is one, would call what has
        just been taken apart.
        """
        self.scene.Clear(1)
        self.scene.RemoveAllObservers()


def start() -> HeadlessSlicer:
    """A scene that lasts as long as the process: for scripts, which have no fixture to keep it."""
    global _running
    _running = HeadlessSlicer()
    return _running


_running: HeadlessSlicer | None = None
