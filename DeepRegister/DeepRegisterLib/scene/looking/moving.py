"""The moving volume at any stage of its way onto the fixed one, without touching the volume or its transform."""

from __future__ import annotations

import vtk
from deepregister import Geometry

from ..frame import transformToFrame
from ..parents import parentChain
from .helpers import Helpers
from .warping import Warp


class MovingImage:
    """Answers which node shows the moving volume at an amount of the warp; nodes for the stages between are helpers.

    Args:
        transformNode: that brings the moving volume onto the fixed one; None: it is shown where it is.
        registeredNode: the moving volume already resampled through all of it, or None. It is shown where there is one:
            a slice of it costs a tenth of one through a displacement grid.
        geometry: grid of the fixed volume in the world.
    """

    def __init__(self, helpers: Helpers, movingNode, transformNode, registeredNode, geometry: Geometry):
        self._helpers = helpers
        self._moving = movingNode
        self._transform = transformNode
        self._registered = registeredNode
        self._warp = None if transformNode is None else Warp(transformNode, geometry)
        self._stage = self._stageTransform = None
        self.setAmount(1.0)

    @property
    def node(self):
        """The volume node that shows the moving volume now."""
        if self._transform is None:
            return self._moving
        if self._amount == 1.0:
            if self._registered is not None and self._registered.GetScene() is not None:
                return self._registered
            if self._transform in parentChain(self._moving):
                return self._moving
        return self._stage

    @property
    def sampled(self):
        """As `node`, but never the registered volume, whose voxels do not tell what lay outside the moving volume."""
        if self._transform is None or (self._amount == 1.0 and self._transform in parentChain(self._moving)):
            return self._moving
        if self._stage is None:
            self._makeStage()
            self.setAmount(self._amount)
        return self._stage

    @property
    def amount(self) -> float:
        """How much of the warp is shown: 0 to 1."""
        return self._amount

    def setAmount(self, amount: float) -> None:
        """Show so much of the warp."""
        self._amount = amount
        if self._transform is None:
            return
        if self._stage is None and self.node is None:
            self._makeStage()
        if self._stageTransform is not None:
            self._stageTransform.SetAndObserveTransformFromParent(self._warp.at(amount))

    def _makeStage(self) -> None:
        """A volume that shares voxels and display with the moving one, under a transform of its own."""
        moving = self._moving
        self._stageTransform = self._helpers.add("vtkMRMLTransformNode", f"{self._transform.GetName()} in part")
        parent = self._stageTransform
        own = transformToFrame(moving, self._transform)
        if own is not None:
            place = self._helpers.add("vtkMRMLTransformNode", f"Place of {moving.GetName()}")
            place.SetAndObserveTransformToParent(own)
            place.SetAndObserveTransformNodeID(parent.GetID())
            parent = place
        self._stage = self._helpers.add(moving.GetClassName(), f"{moving.GetName()} under way")
        toRAS = vtk.vtkMatrix4x4()
        moving.GetIJKToRASMatrix(toRAS)
        self._stage.SetIJKToRASMatrix(toRAS)
        self._stage.SetImageDataConnection(moving.GetImageDataConnection())
        if moving.GetDisplayNode() is not None:
            # The same, so that a window set for one is set for the other.
            self._stage.SetAndObserveDisplayNodeID(moving.GetDisplayNode().GetID())
        self._stage.SetAndObserveTransformNodeID(parent.GetID())
