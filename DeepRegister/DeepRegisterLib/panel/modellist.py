"""`ModelList`: the model types as a grouped list, those that were made for the chosen volumes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import qt
from deepregister.models.registry import Card
from deepregister.models.suitability import Shown

from ..scene.suggestions import madeFor, shownBy
from .i18n import _

AUTOMATIC = "auto"
_AUTOMATIC_SUMMARY = _("Bends the moving volume where that helps; only shifts, turns and scales it where it does not.")
# Families of the survey that the cards follow, in plain words.
_GROUPS = {"iterative": _("Shift, turn and scale"), "deep iterative": _("Bend, optimised for the pair")}
# More reasons against a model are not read.
_REASONS = 2
# Wide enough for what a model does; the closed list is as narrow as the panel.
_LIST_WIDTH = 480


@dataclass(frozen=True)
class _Row:
    """A row of the list: a model with its name, or a line that cannot be chosen: a heading, or what a model does."""

    text: str
    name: str | None = None
    tip: str = ""
    heading: bool = False


class ModelList:
    """Fills a combo box: bold headings, below each its models, below each model what it does.

    Args:
        selector: a `QComboBox`; the name of a model is the data of its row.
        cards: of all models.
    """

    def __init__(self, selector, cards: list[Card]):
        self._selector = selector
        self._cards = {card.name: card for card in cards}
        self._rows: list[_Row] = []
        self._suitable: list[str] = []
        self._objections: dict[str, list[str]] = {card.name: [] for card in cards}
        self._seen: tuple = ()
        selector.view().setMinimumWidth(_LIST_WIDTH)
        self.show(None, None, AUTOMATIC, False)

    @property
    def hasExperimental(self) -> bool:
        """Whether there are models that are listed only on request."""
        return any(card.experimental for card in self._cards.values())

    def card(self, name: str) -> Card | None:
        """The card of a model; None for "auto", and for one that is not installed here."""
        return self._cards.get(name)

    def summary(self, name: str) -> str:
        """What a model does, and what speaks against it for the volumes that were last shown."""
        if name == AUTOMATIC:
            return _AUTOMATIC_SUMMARY
        if name not in self._cards:
            return _("The model {name}, which this scene names, is not installed here. Choose another.").format(
                name=name
            )
        summary = self._cards[name].summary
        if self._objections[name]:
            reasons = _(", and ").join(self._objections[name][:_REASONS])
            summary += " " + _("It was made for other volumes: {reasons}.").format(reasons=reasons)
        return summary

    def show(self, fixedNode, movingNode, chosen: str, experimental: bool) -> None:
        """List the models for a pair.

        Args:
            fixedNode, movingNode: volumes; None where none is chosen.
            chosen: name of the model that is selected, and listed in any case.
            experimental: whether to list experimental models too.
        """
        self._look(fixedNode, movingNode)
        rows = [*self._listed(chosen, experimental)]
        self._selector.blockSignals(True)
        try:
            if rows != self._rows:
                self._fill(rows)
            self._selector.currentIndex = self._selector.findData(chosen)
        finally:
            self._selector.blockSignals(False)

    def forget(self) -> None:
        """Let go of what the volumes showed."""
        self._seen = ()

    def _look(self, fixedNode, movingNode) -> None:
        # Looking at voxels takes a moment: only where a model depends on it, and once for each pair.
        if not any(card.learned for card in self._cards.values()):
            return
        seen = (fixedNode, movingNode, *(_changed(node) for node in (fixedNode, movingNode)))
        if seen == self._seen:
            return
        self._seen = seen
        shown: Shown | None = None
        if fixedNode is not None and movingNode is not None:
            shown = shownBy(fixedNode, movingNode)
        self._suitable, self._objections = madeFor([*self._cards.values()], shown)

    def _listed(self, chosen: str, experimental: bool) -> Iterator[_Row]:
        yield _Row(_("Automatic"), AUTOMATIC, _AUTOMATIC_SUMMARY)
        yield _Row(_("    chooses by what is known of the two volumes"))
        if chosen != AUTOMATIC and chosen not in self._cards:
            yield _Row(_("{name} (not installed)").format(name=chosen), chosen, self.summary(chosen))
        listed = [c for c in self._cards.values() if experimental or not c.experimental or c.name == chosen]
        groups: dict[str, list[Card]] = {}
        if self._suitable:
            groups[_("Made for such volumes")] = [self._cards[name] for name in self._suitable]
        for card in listed:
            if card.name not in self._suitable and not self._objections[card.name]:
                title = _GROUPS.get(card.family) or _("Trained network, {family}").format(family=card.family)
                groups.setdefault(title, []).append(card)
        others = [card for card in listed if self._objections[card.name]]
        if others:
            groups[_("Made for other volumes")] = others
        for title, cards in groups.items():
            yield _Row(title, heading=True)
            for card in cards:
                name = _("{title} (experimental)").format(title=card.title) if card.experimental else card.title
                yield _Row(name, card.name, self.summary(card.name))
                yield _Row(f"    {_firstClause(card.summary)}")

    def _fill(self, rows: list[_Row]) -> None:
        self._selector.clear()
        bold = qt.QFont(self._selector.font)
        bold.setBold(True)
        # What cannot be chosen would be drawn too pale to be read.
        dark = self._selector.palette.color(qt.QPalette.Text)
        light = qt.QColor(dark)
        light.setAlpha(170)
        for number, row in enumerate(rows):
            self._selector.addItem(row.text, row.name)
            self._selector.setItemData(number, row.tip, qt.Qt.ToolTipRole)
            if row.heading:
                self._selector.setItemData(number, bold, qt.Qt.FontRole)
            if row.name is None:
                # The item's flags are kept under this role: without any it can be neither chosen nor pointed at.
                self._selector.setItemData(number, 0, qt.Qt.UserRole - 1)
                self._selector.setItemData(number, qt.QBrush(dark if row.heading else light), qt.Qt.ForegroundRole)
        self._rows = rows


def _firstClause(summary: str) -> str:
    clause = summary.partition(";")[0].rstrip(".")
    return clause[:1].lower() + clause[1:]


def _changed(node) -> int:
    return 0 if node is None or node.GetImageData() is None else node.GetImageData().GetMTime()
