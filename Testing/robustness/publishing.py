"""What the scripts that publish counts share: how a run was made, tables in Markdown, a line for who watches."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

import deepregister
import SimpleITK as sitk


def made(script: str) -> dict[str, str]:
    """The command line of this run of `script` (its path in the checkout), versions, machine and date."""
    return {
        "command": shlex.join(["python", script, *sys.argv[1:]]),
        "versions": f"DeepRegister {deepregister.__version__}, SimpleITK {sitk.Version_VersionString()}, "
        f"Python {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
    }


def made_in_words(made: dict[str, str]) -> str:
    """The same as a sentence of a page."""
    return f"`{made['command']}` with {made['versions']} on {made['machine']}, {made['date']}."


def table(names: Sequence[str], rows: Iterable[Sequence]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [names, ["---"] * len(names), *rows]
    return ["| " + " | ".join(map(str, row)) + " |" for row in lines]


def tell(found: object) -> None:
    """Print what was found with the time of day, at once."""
    print(f"{time.strftime('%H:%M:%S')} {found}", flush=True)
