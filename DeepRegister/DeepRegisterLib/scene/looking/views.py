"""The slice views: found with their logics, remembered as they are, and put back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from ..frame import matrixArray, nodesOfClass, vtkMatrix


@dataclass(frozen=True)
class SliceView:
    """One slice view.

    Attributes:
        sliceNode: where it cuts.
        compositeNode: what it shows.
        logic: the `vtkMRMLSliceLogic` that makes its picture.
    """

    sliceNode: object
    compositeNode: object
    logic: object


@dataclass(frozen=True)
class _Layers:
    background: str | None
    foreground: str | None
    label: str | None
    foregroundOpacity: float
    labelOpacity: float
    compositing: int
    linked: int
    hotLinked: int


@dataclass(frozen=True)
class _Plane:
    sliceToRAS: np.ndarray
    fieldOfView: tuple[float, float, float]
    origin: tuple[float, float, float]


class Views:
    """All slice views of the scene.

    Args:
        applicationLogic: the `vtkMRMLApplicationLogic`, which knows the views' logics; in Slicer
            `slicer.app.applicationLogic()`.
    """

    def __init__(self, scene, applicationLogic):
        self._scene = scene
        self._applicationLogic = applicationLogic
        self._layers: dict[object, _Layers] = {}
        self._planes: dict[object, _Plane] = {}
        self._arrangement: int | None = None

    def all(self) -> list[SliceView]:
        """The views that there are now; a slice node that no view shows has no logic and is left out."""
        views = []
        for node in nodesOfClass(self._scene, "vtkMRMLSliceNode"):
            logic = self._applicationLogic.GetSliceLogic(node)
            if logic is not None and logic.GetSliceCompositeNode() is not None:
                views.append(SliceView(node, logic.GetSliceCompositeNode(), logic))
        return views

    def named(self, layoutName: str) -> SliceView | None:
        """The view of a name, such as "Red"."""
        return next((view for view in self.all() if view.sliceNode.GetLayoutName() == layoutName), None)

    def arrange(self, arrangement: int) -> None:
        """Set Slicer's layout by its number; without a layout node, outside Slicer, there is nothing to arrange."""
        layout = self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None and layout.GetViewArrangement() != arrangement:
            layout.SetViewArrangement(arrangement)

    def remember(self) -> None:
        """Note the state of every view that is not noted yet, and the layout."""
        layout = self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if self._arrangement is None and layout is not None:
            self._arrangement = layout.GetViewArrangement()
        for view in self.all():
            self._layers.setdefault(view.compositeNode, _layers(view.compositeNode))
            self._planes.setdefault(view.sliceNode, _plane(view.sliceNode))

    def restore(self) -> None:
        """Put everything back as it was noted, and forget it; what is gone from the scene is left out."""
        if self._arrangement is not None:
            self.arrange(self._arrangement)
        for node, layers in self._layers.items():
            if self._scene.IsNodePresent(node):
                self._setLayers(node, layers)
        for node, plane in self._planes.items():
            if self._scene.IsNodePresent(node):
                _setPlane(node, plane)
        self._layers, self._planes, self._arrangement = {}, {}, None

    def _setLayers(self, node, layers: _Layers) -> None:
        with slicer.util.NodeModify(node):
            node.SetBackgroundVolumeID(self._present(layers.background))
            node.SetForegroundVolumeID(self._present(layers.foreground))
            node.SetLabelVolumeID(self._present(layers.label))
            node.SetForegroundOpacity(layers.foregroundOpacity)
            node.SetLabelOpacity(layers.labelOpacity)
            node.SetCompositing(layers.compositing)
            node.SetLinkedControl(layers.linked)
            node.SetHotLinkedControl(layers.hotLinked)

    def _present(self, identifier: str | None) -> str | None:
        return identifier if identifier and self._scene.GetNodeByID(identifier) is not None else None


def meetingPoint(views: list[SliceView]) -> np.ndarray:
    """RAS mm of the point that lies in the planes of all views, as near as can be to the middle of the first."""
    planes = [matrixArray(view.sliceNode.GetSliceToRAS()) for view in views]
    normals = np.array([plane[:3, 2] / np.linalg.norm(plane[:3, 2]) for plane in planes])
    middle = planes[0][:3, 3]
    distances = [normal @ (plane[:3, 3] - middle) for normal, plane in zip(normals, planes, strict=True)]
    return middle + np.linalg.lstsq(normals, np.asarray(distances), rcond=None)[0]


def copyPlane(source, target) -> None:
    """Let a slice node cut where another one cuts, as wide."""
    _setPlane(target, _plane(source))


def _layers(node) -> _Layers:
    return _Layers(
        node.GetBackgroundVolumeID(),
        node.GetForegroundVolumeID(),
        node.GetLabelVolumeID(),
        node.GetForegroundOpacity(),
        node.GetLabelOpacity(),
        node.GetCompositing(),
        node.GetLinkedControl(),
        node.GetHotLinkedControl(),
    )


def _plane(node) -> _Plane:
    return _Plane(matrixArray(node.GetSliceToRAS()), node.GetFieldOfView(), node.GetXYZOrigin())


def _setPlane(node, plane: _Plane) -> None:
    with slicer.util.NodeModify(node):
        node.GetSliceToRAS().DeepCopy(vtkMatrix(plane.sliceToRAS))
        width, height, _ = node.GetDimensions()
        # The window may have another shape by now. A view that is resized keeps its height in mm: so does this.
        wide = plane.fieldOfView[1] * width / height if height else plane.fieldOfView[0]
        node.SetFieldOfView(wide, *plane.fieldOfView[1:])
        node.SetXYZOrigin(*plane.origin)
        node.UpdateMatrices()
