"""`deepregister models`: the model types that can be chosen."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from ..console import table
from ..models.registry import list_models

SUMMARY_WIDTH = 78


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "models",
        help="list the model types that --model can name",
        description="List the model types that --model can name. `auto` chooses among them.",
    )
    parser.add_argument("--models-dir", type=Path, metavar="FOLDER", help="also list the models of this folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    rows = [("NAME", "TRANSFORM", "SUMMARY")]
    for card in list_models(options.models_dir):
        name = f"{card.name} (experimental)" if card.experimental else card.name
        lines = textwrap.wrap(card.summary, SUMMARY_WIDTH) or [""]
        rows += [(name, card.transform, lines[0]), *(("", "", line) for line in lines[1:])]
    print(table(rows))
