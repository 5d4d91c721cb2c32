"""The one place where the panel looks for PyTorch and installs it, through Slicer's PyTorch extension.

PyTorch runs in a process of its own. It is looked for by its package's metadata: importing it to find out would load
it into Slicer, and a half-made installation would raise on that.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys

from deepregister.doctor.requirements import TORCH, torch_for_slicer
from deepregister.errors import DeepRegisterError


class InstallationError(DeepRegisterError):
    """PyTorch is missing and was not installed. The text has the command for an administrator."""


def torchVersion() -> str | None:
    """The installed version of PyTorch, or None. Does not import it."""
    try:
        return importlib.metadata.version("torch") or None
    except importlib.metadata.PackageNotFoundError:
        return None


def isUsable(version: str | None) -> bool:
    """Whether this version of PyTorch is one that the engine knows."""
    return TORCH.allows(version or "")


def requirement() -> str:
    """Which versions to install, as pip understands it."""
    return torch_for_slicer().specifier


def command() -> str:
    """What an administrator types to install PyTorch for this Slicer."""
    python = shutil.which("PythonSlicer") or sys.executable
    return f'"{python}" -m pip install "torch{requirement()}"'


def offlineCommand() -> str:
    """The same from a folder of wheels, where there is no network."""
    return f"{command()} --no-index --find-links FOLDER_OF_WHEELS"


def byHand() -> str:
    """How to install without this panel."""
    return (
        f"To install it by hand, close Slicer and type in a terminal:\n{command()}\n"
        f"or, without a network:\n{offlineCommand()}"
    )


def question(version: str | None) -> str:
    """What the panel asks before it installs anything."""
    found = "is not installed in this Slicer" if version is None else f"{version} is too old"
    return (
        f"DeepRegister computes with PyTorch (version {requirement()}), which {found}.\n\n"
        "Install it now? It is downloaded once (0.2 GB without, about 3 GB with support for an NVIDIA graphics card) "
        f"and Slicer should be restarted afterwards.\n\n{byHand()}"
    )


def install() -> None:
    """Install PyTorch through the PyTorch extension, which picks the build for the graphics card.

    Raises:
        InstallationError: the extension is missing, or the installation failed; the text says what to do instead.
    """
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError as error:
        raise InstallationError(
            "The extension PyTorch, which installs PyTorch, is not there. Install it with Slicer's Extensions Manager "
            f"and restart Slicer. {byHand()}"
        ) from error
    try:
        PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=requirement())
    except Exception as error:
        # pip's own words say what went wrong; they come as whatever the extension raises.
        raise InstallationError(f"PyTorch could not be installed: {error}\n{byHand()}") from error
    importlib.invalidate_caches()
    if not isUsable(torchVersion()):
        raise InstallationError(f"The installation ended, but torch{requirement()} is not there. {byHand()}")
