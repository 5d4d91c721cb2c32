"""`ChoosePart`: which volumes, which model, how well, on what, and what shall come out."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from deepregister.commands.models import entries
from deepregister.settings import DEVICES, QUALITIES, SIMILARITIES

from ..scene.parameters import OUTPUTS, REFINEMENTS, Parameters
from ..scene.suggestions import suggestVolumes
from . import words
from .binding import Binding
from .i18n import _
from .modellist import ModelList
from .part import Part

_DEVICES = {
    "auto": _("Automatic"),
    "cpu": _("Processor (CPU)"),
    "cuda": _("NVIDIA graphics card (CUDA)"),
    "mps": _("Apple graphics (MPS)"),
}
_QUALITIES = {"fast": _("Fast"), "balanced": _("Balanced"), "accurate": _("Accurate")}
_OUTPUTS = {
    "both": _("Transform and registered volume"),
    "transform": _("Transform"),
    "volume": _("Registered volume; the moving one stays in its place"),
}
_SIMILARITIES = {
    "auto": _("Automatic"),
    "lncc": _("Equal contrast, as in two scans of one kind"),
    "mind": _("Structure, across contrasts and modalities"),
}
_REFINEMENTS = {"auto": _("Automatic"), "yes": _("Always"), "no": _("Never")}
# What of a card only those who train models ask for; `deepregister models NAME` shows it.
_TECHNICAL = ("Architecture", "Parameters", "Grid", "Folder")


class ChoosePart(Part):
    """What the user chooses is kept in the scene's parameters, and what they hold is shown.

    Attributes:
        onChange: `onChange(missing)` says that choices have changed; `missing` is what they lack to be registered, in a
            sentence, or empty.
    """

    uiFile = "Choose.ui"

    def __init__(self, logic, uiFolder: str, parent=None):
        super().__init__(logic, uiFolder, parent)
        self.onChange: Callable[[str], None] = lambda missing: None
        self.models = ModelList(self.ui.modelSelector, logic.models())
        self.ui.experimentalCheckBox.visible = self.models.hasExperimental
        self.ui.modelDetails.visible = False
        for selector, choices, titles in (
            (self.ui.qualitySelector, QUALITIES, _QUALITIES),
            (self.ui.deviceSelector, DEVICES, _DEVICES),
            (self.ui.outputSelector, OUTPUTS, _OUTPUTS),
            (self.ui.similaritySelector, SIMILARITIES, _SIMILARITIES),
            (self.ui.refinementSelector, REFINEMENTS, _REFINEMENTS),
        ):
            for choice in choices:
                selector.addItem(titles[choice], choice)
        self.binding = Binding(self.ui, self._update)
        self.ui.experimentalCheckBox.connect("toggled(bool)", self._list)
        self.ui.detailsButton.connect("toggled(bool)", self._showDetails)
        self.ui.swapButton.connect("clicked()", self._swap)

    @property
    def missing(self) -> str:
        """What the choices lack to be registered, in a sentence; empty if nothing."""
        if self.parameters is None:
            return ""
        fixed, moving = self.parameters.fixedVolume, self.parameters.movingVolume
        if fixed is None or moving is None:
            return _("Choose a fixed and a moving volume.")
        if fixed is moving:
            return _("The fixed and the moving volume are the same one. Choose two.")
        return ""

    def attach(self, parameters: Parameters) -> None:
        """Show and follow the choices; fill in the volumes that are most likely meant where none are chosen."""
        super().attach(parameters)
        suggestVolumes(parameters)
        self.binding.attach(parameters)

    def detach(self) -> None:
        """Stop following the choices."""
        self.binding.detach()
        super().detach()

    def leaveScene(self) -> None:
        """Forget what the volumes show."""
        self.models.forget()

    def setRunning(self, running: bool) -> None:
        """What a run was started with is not changed while it goes on."""
        self.ui.chooseButton.enabled = self.ui.advancedButton.enabled = not running

    def _update(self) -> None:
        self._list()
        card = self.models.card(self.parameters.model)
        self.ui.modelSummary.text = self.models.summary(self.parameters.model)
        self.ui.detailsButton.enabled = card is not None
        self._showDetails()
        # What a card says of refinement concerns learned models alone.
        learned = card is None or card.learned
        self.ui.refinementSelector.enabled = self.ui.refinementSelectorLabel.enabled = learned
        self.onChange(self.missing)

    def _list(self) -> None:
        """List the models, those that were made for the chosen volumes first."""
        if self.parameters is not None:
            chosen = self.parameters.fixedVolume, self.parameters.movingVolume
            self.models.show(*chosen, self.parameters.model, self.ui.experimentalCheckBox.checked)

    def _showDetails(self) -> None:
        card = None if self.parameters is None else self.models.card(self.parameters.model)
        self.ui.modelDetails.visible = card is not None and self.ui.detailsButton.checked
        if card is not None and self.ui.detailsButton.checked:
            said = [(title, text) for title, text in entries(card) if title not in _TECHNICAL]
            self.ui.modelDetails.setHtml(words.cardText(said))

    def _swap(self) -> None:
        chosen = self.parameters.fixedVolume, self.parameters.movingVolume
        with slicer.util.NodeModify(self.parameters.node):
            self.parameters.movingVolume, self.parameters.fixedVolume = chosen
