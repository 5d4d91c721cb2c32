"""`Looking`: fixed and moving volume compared in the slice views, in every way the panel offers, and put back after.

The parts are beside this file: the views, the stencils of checkerboard and reveal, the moving volume on its way, the
coloured overlays, the transform's grid and arrows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import slicer
import vtk
from deepregister import Volume
from deepregister.errors import InputError

from ..volumes import volumeFromNode, voxels
from . import stencils
from .helpers import Helpers
from .motion import Motion
from .moving import MovingImage
from .overlays import DIFFERENCE, DISPLACEMENT, EXPECTED_ERROR, KINDS, VOLUME_CHANGE, Overlays
from .pattern import Pattern
from .sides import Sides, fit
from .views import SliceView, Views, meetingPoint

FADE, FLICKER, CHECKERBOARD, REVEAL = "fade", "flicker", "checkerboard", "reveal"
SIDE_BY_SIDE = "sideBySide"
MODES = (FADE, FLICKER, CHECKERBOARD, REVEAL, SIDE_BY_SIDE, DIFFERENCE, DISPLACEMENT, VOLUME_CHANGE, EXPECTED_ERROR)
# Those that show the transform itself.
OF_THE_TRANSFORM = (DISPLACEMENT, VOLUME_CHANGE, EXPECTED_ERROR)


class Looking:
    """Compares two volumes in all slice views; `reset` gives the views back as they were.

        looking = Looking(slicer.mrmlScene, slicer.app.applicationLogic())
        looking.begin(fixedNode, movingNode, transformNode)
        looking.show("checkerboard")
        looking.setAmount(0.5)       # half of the warp
        looking.reset()

    Args:
        applicationLogic: the `vtkMRMLApplicationLogic`, which knows the views.

    Attributes:
        fade: how much of the moving volume the fade shows, 0 to 1.
        overlayOpacity: how dense the colours of an overlay are, 0 to 1.
        tileMm: edge of the checkerboard's tiles, mm.
        radiusMm: of the circle about the mouse, mm.
        orientation: of the two views side by side.
        whole: whether displacement, grid and arrows count the shift and turn of the whole, which say where the
            patient lay; without it they show the change of shape.
        grid, arrows: whether the transform is drawn as a warped grid, as arrows.
        onEnd: called when looking has ended by itself, because a volume, the transform or the scene is gone.
    """

    def __init__(self, scene, applicationLogic):
        self._scene = scene
        self._helpers = Helpers(scene)
        self._views = Views(scene, applicationLogic)
        self._observed: list[tuple[object, object, int]] = []
        self.onEnd: Callable[[], None] = lambda: None
        self.fade, self.overlayOpacity, self.tileMm, self.radiusMm, self.orientation = 0.5, 0.7, 20.0, 25.0, "Axial"
        self.whole = self.grid = self.arrows = False
        self._forget()

    def _forget(self) -> None:
        self._fixed = self._moving = self._transform = self._fixedVolume = None
        self._image: MovingImage | None = None
        self._overlays: Overlays | None = None
        self._motion: Motion | None = None
        self._pattern: Pattern | None = None
        self._sides: Sides | None = None
        self._mode: str | None = None
        self._flipped = False
        self._cursor: tuple | None = None
        self._hasError = False

    @property
    def active(self) -> bool:
        """Whether two volumes are being compared."""
        return self._image is not None

    @property
    def mode(self) -> str | None:
        """How they are compared now; None before the first `show`."""
        return self._mode

    @property
    def amount(self) -> float:
        """How much of the warp is shown, 0 to 1."""
        return self._image.amount if self.active else 1.0

    def begin(
        self, fixedNode, movingNode, transformNode=None, registeredNode=None, expectedError: Volume | None = None
    ) -> None:
        """Say what is to be compared from now on; the views change with `show`.

        Args:
            transformNode: the result that brings the moving volume onto the fixed one; None compares the volumes
                where they are.
            registeredNode: the moving volume resampled through the result, or None.
            expectedError: the map of the result's expected error, in the world as it was when it was made, or None.

        Raises:
            DeepRegisterError: a volume holds no image.
        """
        volume, _ = volumeFromNode(fixedNode)
        voxels(movingNode)
        self.reset()
        self._fixed, self._moving, self._transform, self._fixedVolume = fixedNode, movingNode, transformNode, volume
        self._image = MovingImage(self._helpers, movingNode, transformNode, registeredNode, volume.geometry)
        self._motion = None if transformNode is None else Motion(transformNode, volume)
        self._overlays = Overlays(self._helpers, fixedNode, volume, self._motion, expectedError)
        self._hasError = expectedError is not None
        self._pattern = Pattern(self._helpers, volume.geometry)
        self._observe(self._scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)
        self._observe(self._scene, slicer.vtkMRMLScene.StartCloseEvent, self._onStartClose)

    def prepare(self, mode: str) -> Generator[float, None, None]:
        """Compute what `show(mode)` needs, in steps of some 20 ms: yields the share that is done.

        After the share 1 what is left is one longer step, of about a tenth of a second.

        Raises:
            InputError: nothing is being compared, or there is no transform to show.
        """
        if not self.active:
            raise InputError("There is nothing to compare. Choose a fixed and a moving volume first.")
        if mode in OF_THE_TRANSFORM and self._transform is None:
            raise InputError("There is no transform to show. Register the volumes first.")
        if mode == EXPECTED_ERROR and not self._hasError:
            raise InputError("The expected error is not kept in a saved scene. Register again to see it.")
        if mode in KINDS:
            views = [view.sliceNode.GetID() for view in self._views.all()]
            yield from self._overlays.make(mode, self._image, self.whole, views)
        if (self.grid or self.arrows) and self._motion is not None:
            yield from self._motion.steps()

    def show(self, mode: str) -> None:
        """Compare in this way; what `prepare` has not computed yet is computed now.

        Raises:
            InputError: as `prepare`.
        """
        for _ in self.prepare(mode):
            pass
        place = None
        if mode != self._mode and SIDE_BY_SIDE in (mode, self._mode):
            if self._mode is not None:
                place = meetingPoint(self._shown())
            # The two arrangements begin from what was there at first, but at the place that is being looked at.
            self._views.restore()
        self._views.remember()
        self._mode = mode
        if mode == SIDE_BY_SIDE:
            self._sides = Sides(self._views, self._fixed)
            self._sides.arrange()
        for view in self._views.all():
            self._observe(view.sliceNode, vtk.vtkCommand.ModifiedEvent, self._onPlane)
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            self._observe(crosshair, slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._onCursor)
        self.update()
        if place is not None:
            for view in self._shown():
                view.sliceNode.JumpSliceByOffsetting(*place)

    def update(self) -> None:
        """Make the views show what the attributes say; for `whole`, `grid` and `arrows` call `show` instead."""
        if self._mode is None:
            return
        self._drawPattern()
        known = {node.GetID() for node in (self._fixed, self._moving, self._image.node)}
        for number, view in enumerate(self._shown()):
            background, foreground, opacity = self._layers(number)
            composite = view.compositeNode
            elsewhere = composite.GetBackgroundVolumeID() not in known
            with slicer.util.NodeModify(composite):
                composite.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)
                composite.SetBackgroundVolumeID(background.GetID())
                composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
                composite.SetForegroundOpacity(opacity)
            if elsewhere:
                fit(view, self._fixed)
            self._setStencil(view, self._stencil(view))
        self._overlays.showLegend(self._layers(0)[1])
        if self._mode == SIDE_BY_SIDE:
            self._sides.turn(self.orientation)

    def flip(self) -> None:
        """Show the flicker's other volume."""
        self._flipped = not self._flipped
        self.update()

    def setAmount(self, amount: float) -> None:
        """Show so much of the warp: 0 is the moving volume before the registration, 1 after it.

        A difference is shown again with `show`, since it has to be computed for each amount.
        """
        if self.active:
            self._image.setAmount(amount)
            self.update()

    def reset(self) -> None:
        """Give the views back as they were before the first `show`, and remove all helpers from the scene."""
        for observed, _, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
        for view in self._views.all():
            self._setStencil(view, None)
        self._views.restore()
        self._helpers.clear()
        self._forget()

    def _shown(self) -> list[SliceView]:
        return self._sides.views() if self._mode == SIDE_BY_SIDE else self._views.all()

    def _layers(self, number: int) -> tuple:
        """Background, foreground and its opacity in a view; `number` tells the two side by side apart."""
        moving = self._image.node
        if self._mode == SIDE_BY_SIDE:
            return (moving if number else self._fixed), None, 0.0
        if self._mode in KINDS:
            overlay = self._overlays.get(self._mode, self._image.amount, self.whole)
            return self._fixed, overlay, self.overlayOpacity
        if self._mode == FADE and self.fade == 1.0:
            # Alone: over the fixed volume, that would be seen wherever the moving one ends.
            return moving, None, 0.0
        opacity = {FADE: self.fade, FLICKER: float(self._flipped)}.get(self._mode, 1.0)
        return self._fixed, moving, opacity

    def _drawPattern(self) -> None:
        if self._motion is None or self._motion.whole is None:
            return
        self._pattern.show(self.grid, self.arrows)
        if self._pattern.shown:
            self._pattern.draw(self._motion.whole if self.whole else self._motion.shape, self._image.amount)

    def _stencil(self, view: SliceView) -> vtk.vtkImageStencilData | None:
        if self._mode == CHECKERBOARD:
            centre = self._fixedVolume.geometry.centre * np.array([-1, -1, 1])
            return stencils.checkerboard(view.sliceNode, self.tileMm, centre)
        if self._mode == REVEAL:
            if self._cursor is None or self._cursor[0] is not view.sliceNode:
                return stencils.nowhere(view.sliceNode)
            return stencils.circle(view.sliceNode, *self._cursor[1], self.radiusMm)
        return None

    def _setStencil(self, view: SliceView, stencil: vtk.vtkImageStencilData | None) -> None:
        blend = view.logic.GetBlend()
        if stencil is None and blend.GetStencil() is None:
            return
        blend.SetStencilData(stencil)
        # Views draw themselves anew when their logic says so.
        view.logic.Modified()

    def _onPlane(self, sliceNode, event) -> None:
        """A view was moved, zoomed, turned or resized."""
        if self._mode == SIDE_BY_SIDE:
            self._sides.resized(sliceNode)
        elif self._mode in (CHECKERBOARD, REVEAL):
            view = next((view for view in self._views.all() if view.sliceNode is sliceNode), None)
            if view is not None:
                self._setStencil(view, self._stencil(view))

    def _onCursor(self, crosshair, event) -> None:
        """The mouse moved in a view, or left it."""
        if self._mode != REVEAL:
            return
        position = [0.0, 0.0, 0.0]
        node = crosshair.GetCursorPositionXYZ(position)
        left = self._cursor[0] if self._cursor is not None else None
        self._cursor = (node, tuple(position[:2])) if node is not None else None
        for view in self._views.all():
            if view.sliceNode in (node, left):
                self._setStencil(view, self._stencil(view))

    def _onNodeRemoved(self, scene, event) -> None:
        compared = (self._fixed, self._moving, self._transform)
        if any(node is not None and not scene.IsNodePresent(node) for node in compared):
            self._end()

    def _onStartClose(self, scene, event) -> None:
        self._end()

    def _end(self) -> None:
        self.reset()
        self.onEnd()

    def _observe(self, observed, event, callback) -> None:
        if not any(known is observed and of == event for known, of, _ in self._observed):
            self._observed.append((observed, event, observed.AddObserver(event, callback)))
