"""Around the packages: Python, the machine, 3D Slicer, which copy of the engine runs, folders, the user's models."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import __version__
from ..connection import ENGINE_FOLDER
from ..errors import ModelError
from .findings import NOTE, OK, PROBLEM, WARNING, Finding
from .installing import command_line, python, slicer_home
from .requirements import PYTHON

PACKAGE = "deepregister"
# Below this the volumes of one registration may not fit beside what else is written there.
ROOM_BYTES = 2_000_000_000


def system() -> list[Finding]:
    """Python, the machine, Slicer if this is its Python, the temporary folder."""
    home = slicer_home()
    version = platform.python_version()
    needed = ".".join(map(str, PYTHON))
    found = [
        Finding(
            "system", "python", OK, f"Python {version} ({needed} or later needed), {python()}", (), {"is": version}
        ),
        Finding("system", "machine", OK, f"{platform.platform()}, {os.cpu_count()} processor cores"),
    ]
    if sys.version_info < PYTHON:
        what = "3D Slicer: 5.10 is the first that will do" if home else f"Python: {needed} is the first that will do"
        found[0] = Finding("system", "python", PROBLEM, f"Python {version} is too old.", (f"Install a newer {what}.",))
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        what = "3D Slicer" if home else "Python"
        text = "This Python is built for Intel Macs, for which no PyTorch newer than 2.2 exists."
        mend = (f"On a Mac with an Apple processor install the {what} for it; others can only compute elsewhere.",)
        found[1] = Finding("system", "machine", PROBLEM, text, mend)
    if home is not None:
        names = sorted(path.name.replace("-", " ") for path in (home / "lib").glob("Slicer-*"))
        text = f"3D {names[-1] if names else 'Slicer'} in {home}"
        found.append(Finding("system", "slicer", OK, text, (), {"home": str(home)}))
    return [*found, _temporary_folder()]


def copies() -> list[Finding]:
    """The engine that runs, and other copies that could stand in for it."""
    found = [Finding("system", "engine", OK, f"The engine {__version__} in {ENGINE_FOLDER / PACKAGE}")]
    seen = {(ENGINE_FOLDER / PACKAGE).resolve()}
    for entry in sys.path:
        folder = Path(entry or ".") / PACKAGE
        if not (folder / "__init__.py").is_file() or folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        version = re.search(r'^__version__ = "(.*)"', (folder / "__init__.py").read_text("utf-8", "replace"), re.M)
        text = f"A second copy of the engine, {version[1] if version else 'of unknown version'}, lies in {folder}."
        mend = f"Remove {folder.parent} from the variable PYTHONPATH (or remove {folder})."
        if any(folder.parent.glob(f"{PACKAGE}-*.dist-info")):
            mend = command_line(python(), "-m", "pip", "uninstall", PACKAGE)
        found.append(Finding("system", "second engine", WARNING, text, (mend,), {"folder": str(folder)}))
    for version, folder in _other_metadata():
        if not any(Path(each.facts.get("folder", "")).parent == folder for each in found):
            text = f"pip knows DeepRegister {version} (noted in {folder}), but {__version__} runs: the note is stale."
            mend = command_line(python(), "-m", "pip", "uninstall", PACKAGE)
            found.append(Finding("system", "stale note", NOTE, text, (mend,)))
    return found


def models() -> list[Finding]:
    """Whether the user's own models can be read, and where new ones go."""
    if sys.version_info < PYTHON:
        return []
    # It reads TOML, which older Pythons cannot.
    from ..models.registry import Card, list_models, user_models_dir

    folder = user_models_dir()
    damaged = []
    cards = sorted(folder.glob("*/card.toml"))
    for path in cards:
        try:
            card = Card.read(path)
            if card.learned:
                card.read_weights()
        except ModelError as error:
            damaged.append(Finding("models", f"card {path.parent.name}", PROBLEM, str(error)))
    found = [_models_folder(folder, len(cards) - len(damaged)), *damaged]
    if not damaged:
        try:
            names = ", ".join(card.name for card in list_models())
            found.append(Finding("models", "models", OK, f"Models to choose from: {names}"))
        except ModelError as error:
            found.append(Finding("models", "models", PROBLEM, str(error)))
    return found


def _models_folder(folder: Path, readable: int) -> Finding:
    facts = {"folder": str(folder), "readable": readable}
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        text = f"Models of your own go into {folder}, but you may not write to {nearest}."
        mend = ("Get the right to write there, or name another folder with --models-dir.",)
        return Finding("models", "models folder", WARNING, text, mend, facts)
    there = f"holds {readable} that can be read" if folder.exists() else "is made when it is needed"
    return Finding("models", "models folder", OK, f"The folder for models of your own, {folder}, {there}", (), facts)


def _temporary_folder() -> Finding:
    instead = ("Set the variable TMPDIR (on Windows TEMP) to a folder that you may write to, on a larger disk.",)
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        text = f"No temporary file can be written: {error.strerror or error}."
        return Finding("system", "temporary folder", PROBLEM, text, instead)
    text = f"The temporary folder {folder} has {free / 1e9:.1f} GB free"
    facts = {"folder": folder, "free_bytes": free}
    if free < ROOM_BYTES:
        return Finding("system", "temporary folder", WARNING, f"{text}: too little for large volumes.", instead, facts)
    return Finding("system", "temporary folder", OK, text, (), facts)


def _other_metadata() -> Iterator[tuple[str, Path]]:
    """Version and folder of each installation that pip knows and that is not of the engine's version."""
    for distribution in importlib.metadata.distributions(name=PACKAGE):
        if distribution.version != __version__:
            yield distribution.version, Path(str(distribution.locate_file("")))
