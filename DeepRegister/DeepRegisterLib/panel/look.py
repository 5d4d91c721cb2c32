"""`LookPart`: fixed and moving volume compared in the slice views, one click for each way."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import nullcontext

import qt
import slicer
from deepregister.errors import DeepRegisterError

from ..scene.current import CurrentResult
from ..scene.looking.looking import MODES, OF_THE_TRANSFORM, Looking
from ..scene.looking.overlays import DIFFERENCE, DISPLACEMENT, EXPECTED_ERROR, KINDS
from ..scene.looking.sides import ORIENTATIONS
from .busy import busy
from .i18n import _
from .lookwords import explanation
from .part import Part

# Time that playing the warp takes, and the rest of an event loop between two of its pictures.
PLAY_SECONDS = 2.5
PLAY_PAUSE_MS = 15

# What a mode needs beside its button.
_CONTROLS = {
    "fade": ("fadeLabel", "fadeSlider"),
    "flicker": ("speedLabel", "speedSlider", "speedValue"),
    "checkerboard": ("tileLabel", "tileSlider", "tileValue"),
    "reveal": ("radiusLabel", "radiusSlider", "radiusValue"),
    "sideBySide": ("orientationLabel", "orientationSelector"),
    **dict.fromkeys(KINDS, ("overlayLabel", "overlaySlider")),
}


class LookPart(Part):
    """Shows the volumes of the current result, or before there is one those that are chosen, in the way that is asked
    for. The views are put back when the module is left.
    """

    uiFile = "Look.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self._looking = Looking(slicer.mrmlScene, slicer.app.applicationLogic())
        self._looking.onEnd = self._ended
        self._current: CurrentResult | None = None
        self._pair: tuple = ()
        self._work: Generator[float, None, None] | None = None
        self._working: str | None = None
        self._share = 0.0
        self._playedFrom = 0.0
        self._buttons = {mode: getattr(self.ui, f"{mode}Button") for mode in MODES}
        for mode, button in self._buttons.items():
            button.connect("clicked(bool)", lambda checked, mode=mode: self._choose(mode if checked else None))
        for orientation, title in zip(ORIENTATIONS, (_("Axial"), _("Sagittal"), _("Coronal")), strict=True):
            self.ui.orientationSelector.addItem(title, orientation)
        for slider in ("fade", "overlay", "tile", "radius"):
            getattr(self.ui, f"{slider}Slider").connect("valueChanged(int)", self._adjust)
        self.ui.orientationSelector.connect("currentIndexChanged(int)", self._adjust)
        self.ui.speedSlider.connect("valueChanged(int)", self._setSpeed)
        self.ui.warpSlider.connect("valueChanged(int)", self._setAmount)
        self.ui.beforeButton.connect("clicked(bool)", lambda checked: self._goTo(0 if checked else 100))
        self.ui.playButton.connect("clicked(bool)", self._play)
        for box in ("whole", "grid", "arrows"):
            getattr(self.ui, f"{box}CheckBox").connect("toggled(bool)", self._redraw)
        self.ui.restoreViewsButton.connect("clicked()", lambda: self._choose(None))
        self._flicker = self._timer(self._looking.flip)
        self._player = self._timer(self._playOn)
        self._player.setInterval(PLAY_PAUSE_MS)
        self._worker = self._timer(self._workOn)
        self._adjust()
        self._setSpeed()
        self._show()

    @property
    def ready(self) -> bool:
        """Whether the views show what was asked for; False while it is being computed."""
        return self._work is None

    def attach(self, parameters) -> None:
        """Follow these parameters."""
        super().attach(parameters)
        self._show()

    def detach(self) -> None:
        """Put the views back: another module's views are not this panel's to change."""
        self._choose(None)
        super().detach()

    def release(self) -> None:
        """Put the views back: another part needs them."""
        self._choose(None)

    def leaveScene(self) -> None:
        """Forget the result."""
        self.showResult(None)

    def showResult(self, current: CurrentResult | None) -> None:
        """Speak of this registration; one that has just been made is shown over the fixed volume at once."""
        fresh = current is not None and current is not self._current and current.registration is not None
        if current is None or fresh:
            self._choose(None)
        self._current = current
        self._show()
        if fresh and self.parameters is not None:
            self._choose("fade")

    def cleanup(self) -> None:
        """Put the views back for good."""
        self._choose(None)
        self._looking.onEnd = lambda: None

    def _timer(self, slot) -> qt.QTimer:
        timer = qt.QTimer()
        timer.setInterval(0)
        timer.connect("timeout()", slot)
        return timer

    def _choose(self, mode: str | None) -> None:
        """Compare in this way, or put the views back."""
        self._stop()
        if mode is None:
            if self._looking.active:
                self._looking.reset()
            self._pair = ()
        else:
            self.onError("")
            try:
                self._begin()
                self._compute(mode)
            except DeepRegisterError as error:
                self.onError(str(error))
        self._show()

    def _begin(self) -> None:
        """Say what is compared, if that is not what has been compared so far."""
        current = self._current if self._current is not None and self._current.alive else None
        if current is not None:
            pair = (current.fixedNode, current.movingNode, current.transformNode, current.registeredVolumeNode)
            pair += (current.expectedError,)
        elif self.parameters is not None:
            pair = (self.parameters.fixedVolume, self.parameters.movingVolume)
        else:
            pair = (None, None)
        if pair == self._pair:
            return
        if None in pair[:2]:
            self._looking.reset()
            self._pair = ()
            return
        with busy():
            self._looking.begin(*pair)
        self._pair = pair
        self._goTo(100)

    def _compute(self, mode: str) -> None:
        """Start to compute what a mode needs; shown when it is there."""
        self._takeOver()
        self._working, self._work, self._share = mode, self._looking.prepare(mode), 0.0
        # The first step tells at once whether there is anything to compute, or why there cannot be.
        self._workOn()
        if self._work is not None:
            self._worker.start()

    def _workOn(self) -> None:
        """One more step."""
        try:
            # What is left after the whole is computed takes longer than a step.
            with busy() if self._share == 1.0 else nullcontext():
                self._share = next(self._work)
        except StopIteration:
            mode = self._working
            self._stopWork()
            with busy():
                self._looking.show(mode)
            if mode == "flicker":
                self._flicker.start()
            self._show()
        except Exception as error:
            self._stopWork()
            self._show()
            if not isinstance(error, DeepRegisterError):
                # A mistake of ours: Slicer's Python console says where.
                raise
            self.onError(str(error))
        else:
            self.onStatus(_("Computing the colours: {share} %").format(share=round(100 * self._share)))

    def _stopWork(self) -> None:
        if self._work is not None:
            self.onStatus("")
        self._worker.stop()
        self._working = self._work = None

    def _stop(self) -> None:
        """End all that goes on by itself."""
        self._stopWork()
        self._flicker.stop()
        self._player.stop()
        self.ui.playButton.checked = False

    def _ended(self) -> None:
        """A volume was removed, or the scene is being closed: the views are back already."""
        self._choose(None)

    def _takeOver(self) -> None:
        """Tell what the widgets say."""
        ui, looking = self.ui, self._looking
        looking.fade, looking.overlayOpacity = ui.fadeSlider.value / 100, ui.overlaySlider.value / 100
        looking.tileMm, looking.radiusMm = float(ui.tileSlider.value), float(ui.radiusSlider.value)
        looking.orientation = ui.orientationSelector.itemData(ui.orientationSelector.currentIndex)
        looking.whole, looking.grid = ui.wholeCheckBox.checked, ui.gridCheckBox.checked
        looking.arrows = ui.arrowsCheckBox.checked

    def _adjust(self, value=None) -> None:
        self.ui.tileValue.text = _("{length} mm").format(length=self.ui.tileSlider.value)
        self.ui.radiusValue.text = _("{length} mm").format(length=self.ui.radiusSlider.value)
        # While something is computed the views show what was there before it.
        if self._work is None:
            self._takeOver()
            self._looking.update()

    def _redraw(self, checked: bool) -> None:
        """The transform is to be drawn otherwise: in the mode that is on, or over the fade if none is."""
        self._show()
        mode = self._working or self._looking.mode
        if mode is not None or checked:
            self._choose(mode or "fade")

    def _setSpeed(self, value=None) -> None:
        changes = self.ui.speedSlider.value / 2
        self._flicker.setInterval(round(1000 / changes))
        self.ui.speedValue.text = _("{count:g} each second").format(count=changes)

    def _goTo(self, percent: int) -> None:
        """Show so much of the warp."""
        self._player.stop()
        self.ui.playButton.checked = False
        if self.ui.warpSlider.value == percent:
            self._setAmount(percent)
        else:
            self.ui.warpSlider.value = percent

    def _setAmount(self, percent: int) -> None:
        self.ui.beforeButton.checked = percent == 0
        if not self._looking.active:
            return
        self._looking.setAmount(percent / 100)
        if DIFFERENCE in (self._looking.mode, self._working):
            # Another one for each amount; the buttons go from one end to the other.
            self._choose(DIFFERENCE)

    def _play(self, checked: bool) -> None:
        if not checked:
            self._player.stop()
            return
        if self._looking.mode is None:
            self._choose("fade")
            self.ui.playButton.checked = True
        self._playedFrom = time.monotonic()
        self._player.start()

    def _playOn(self) -> None:
        """The next picture: as far on as the clock says, so that a slow machine shows fewer of them."""
        share = min(1.0, (time.monotonic() - self._playedFrom) / PLAY_SECONDS)
        self.ui.warpSlider.value = round(100 * share)
        if share == 1.0:
            self._player.stop()
            self.ui.playButton.checked = False

    def _show(self) -> None:
        """Show the widgets that the mode needs, and say what is seen."""
        mode = self._working or self._looking.mode
        for other, button in self._buttons.items():
            button.checked = other == mode
        for other, names in _CONTROLS.items():
            if other not in KINDS or mode not in KINDS:
                for name in names:
                    getattr(self.ui, name).visible = other == mode
        for name in _CONTROLS[DIFFERENCE]:
            getattr(self.ui, name).visible = mode in KINDS
        hasResult = self._current is not None and self._current.alive
        for name in ("warpLabel", "patternLabel", "gridCheckBox", "arrowsCheckBox"):
            getattr(self.ui, name).enabled = hasResult
        for name in ("warpSlider", "playButton"):
            getattr(self.ui, name).enabled = hasResult and mode not in KINDS
        self.ui.beforeButton.enabled = hasResult and mode not in OF_THE_TRANSFORM
        for kind in OF_THE_TRANSFORM:
            self._buttons[kind].enabled = hasResult
        self._buttons[EXPECTED_ERROR].enabled = hasResult and self._current.expectedError is not None
        drawn = self.ui.gridCheckBox.checked or self.ui.arrowsCheckBox.checked
        self.ui.wholeCheckBox.visible = hasResult and (mode == DISPLACEMENT or drawn)
        self.ui.restoreViewsButton.enabled = mode is not None
        self.ui.explanationLabel.text = explanation(mode, self.ui.wholeCheckBox.checked)
