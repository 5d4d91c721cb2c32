"""`deepregister models`: the model types that can be chosen, and all that the card of one says."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..console import table
from ..models.registry import Card, find_model, list_models

SUMMARY_WIDTH, CARD_WIDTH = 78, 96


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "models",
        help="list the model types that --model can name",
        description="List the model types that --model can name, or show all that is known of one. `auto` chooses "
        "among them, but never an experimental one.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of this model")
    parser.add_argument("--all", action="store_true", help="list experimental models too")
    parser.add_argument("--markdown", action="store_true", help="as a table for a README")
    parser.add_argument("--models-dir", type=Path, metavar="FOLDER", help="also list the models of this folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.name is not None:
        print(card_text(find_model(options.name, options.models_dir)))
        return
    cards = list_models(options.models_dir)
    if options.markdown:
        print(markdown(cards))
        return
    print(table(rows([card for card in cards if options.all or not card.experimental])))
    hidden = [card.name for card in cards if card.experimental]
    if hidden and not options.all:
        print(f"\nExperimental, shown by --all: {', '.join(hidden)}")


def rows(cards: Sequence[Card]) -> list[tuple[str, str, str]]:
    """Name, transform and summary of each model, folded to the width of a terminal, below a head."""
    found = [("NAME", "TRANSFORM", "SUMMARY")]
    for card in cards:
        name = f"{card.name} (experimental)" if card.experimental else card.name
        lines = textwrap.wrap(card.summary, SUMMARY_WIDTH) or [""]
        found += [(name, card.transform, lines[0]), *(("", "", line) for line in lines[1:])]
    return found


def card_text(card: Card) -> str:
    """All that a card says, as people read it."""
    said = [(title, text) for title, text in entries(card) if text]
    width = max(len(title) for title, _ in said) + 2
    blocks = [f"{card.title} ({card.name}){', experimental' if card.experimental else ''}", ""]
    for title, text in said:
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, CARD_WIDTH - width)]
        blocks += [f"{title if n == 0 else '':{width}}{line}" for n, line in enumerate(lines)]
    return "\n".join(blocks)


def entries(card: Card) -> Iterator[tuple[str, str]]:
    """All entries of a card by a title in plain words; a text is empty where the card says nothing."""
    yield "For", f"{card.summary} {card.intended}".strip()
    yield "Family", card.family
    yield "Architecture", card.architecture
    yield "Parameters", ", ".join(f"{name} = {value}" for name, value in card.parameters.items())
    yield "Transform", card.transform
    yield "Modalities", ", ".join(card.modalities) + ("" if card.across_contrasts else "; both volumes in one contrast")
    yield "Anatomy", ", ".join(card.anatomies)
    if card.extent_mm:
        yield "Size", f"{card.extent_mm[0]:g} to {card.extent_mm[1]:g} mm across what a volume shows"
    if card.spacing_mm:
        thickest = f"; slices of up to {card.thickest_mm:g} mm" if card.thickest_mm else ""
        yield "Grid", f"{card.spacing_mm:g} mm{thickest}"
    if card.refine:
        yield "Refined", "by instance optimisation, unless --no-refine or --quality fast"
    yield "Measured", "\n".join(f"{figure.value:g}: {figure.sentence}" for figure in card.figures.values())
    yield "Known failures", "\n".join(card.known_failures)
    yield "Trained on", card.training_data
    yield "Training", card.training
    yield "Paper", card.paper
    yield "Licence", card.licence
    yield "Weights", f"{card.weights}, SHA-256 {card.sha256}" if card.weights else ""
    yield "Folder", str(card.folder)


def markdown(cards: Sequence[Card]) -> str:
    """The models as a Markdown table: what each is for, what was measured, on what it was trained."""
    lines = ["| model | what it does | measured | training data and licence |", "| --- " * 4 + "|"]
    for card in cards:
        name = f"`{card.name}` (experimental)" if card.experimental else f"`{card.name}`"
        # The first is the one that counts most; `deepregister models NAME` shows all.
        figures = "".join(f"{figure.value:g}: {figure.sentence}" for figure in [*card.figures.values()][:1])
        trained = f"{card.training_data} {card.licence}." if card.learned else "none"
        cells = (name, card.summary, figures or "[below](#how-accurate-how-fast)", trained.strip())
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
