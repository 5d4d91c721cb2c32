"""Two slice views side by side, which cut alike: the fixed volume in one, the moving volume in the other."""

from __future__ import annotations

import slicer

from .views import SliceView, Views, copyPlane

ORIENTATIONS = ("Axial", "Sagittal", "Coronal")
# The views of Slicer's layout of two views.
_NAMES = ("Red", "Yellow")


class Sides:
    """The pair of views, linked by Slicer: what is moved or zoomed in one is so in the other."""

    def __init__(self, views: Views, fixedNode):
        self._views = views
        self._fixed = fixedNode
        self._sizes: dict[object, tuple[int, int]] = {}
        self._fitting = False

    def arrange(self) -> None:
        """Set Slicer's layout of two views, and remember those that it may have made."""
        self._views.arrange(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
        self._views.remember()

    def views(self) -> list[SliceView]:
        """The view for the fixed volume and the one for the moving volume; fewer where the scene lacks one."""
        return [view for view in map(self._views.named, _NAMES) if view is not None]

    def turn(self, orientation: str) -> None:
        """Cut both this way."""
        pair = self.views()
        for view in pair:
            with slicer.util.NodeModify(view.compositeNode):
                view.compositeNode.SetLinkedControl(1)
                view.compositeNode.SetHotLinkedControl(1)
        if pair and (not self._sizes or pair[0].sliceNode.GetOrientation() != orientation):
            pair[0].sliceNode.SetOrientation(orientation)
            self._fit()

    def resized(self, sliceNode) -> None:
        """Fit both again if the size of this one is new: Slicer gives the views of a layout their size late."""
        if not self._fitting and self._sizes.get(sliceNode) not in (None, sliceNode.GetDimensions()[:2]):
            self._fit()

    def _fit(self) -> None:
        first, *others = self.views()
        self._fitting = True
        try:
            fit(first, self._fixed)
            for view in others:
                copyPlane(first.sliceNode, view.sliceNode)
            self._sizes = {view.sliceNode: view.sliceNode.GetDimensions()[:2] for view in (first, *others)}
        finally:
            self._fitting = False


def fit(view: SliceView, volumeNode) -> None:
    """Centre a view on a volume, which then is seen whole."""
    view.logic.FitSliceToVolume(volumeNode, *view.sliceNode.GetDimensions()[:2])
