"""The one place where the panel looks for PyTorch and installs it, through what Slicer has for that.

PyTorch runs in a process of its own. It is looked for by its package's metadata: importing it to find out would load
it into Slicer, and a half-made installation would raise on that.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import slicer
from deepregister.doctor.installing import known_proxy, recipe
from deepregister.doctor.requirements import TORCH, torch_for_slicer
from deepregister.errors import DeepRegisterError

from .i18n import _


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
    """What an administrator types to install PyTorch for this Slicer, through the proxy where one is set."""
    how = recipe([torch_for_slicer()])
    return "\n".join(how.online if known_proxy() is None else how.proxy)


def offlineCommands() -> tuple[str, str]:
    """The same without a network: on a connected machine of the same kind, then on this one."""
    how = recipe([torch_for_slicer()])
    return "\n".join(how.download), "\n".join(how.offline)


def byHand() -> str:
    """How to install without this panel."""
    download, offline = offlineCommands()
    return _(
        "To install it by hand, or to let an administrator do it, close Slicer and type in a terminal:\n{command}\n\n"
        "Without a network, on a connected computer of the same kind:\n{download}\n"
        "then bring the folder here, and type beside it:\n{offline}\n"
        "or choose the folder in the section Installation of this panel."
    ).format(command=command(), download=download, offline=offline)


def state() -> str:
    """Whether PyTorch is there, in a sentence."""
    version = torchVersion()
    if version is None:
        return _("PyTorch is not installed in this Slicer.")
    if not isUsable(version):
        return _("PyTorch {version} is too old: {wanted} is needed.").format(version=version, wanted=requirement())
    return _("PyTorch {version} is installed.").format(version=version)


def question(version: str | None) -> str:
    """What the panel asks before it installs anything."""
    proxy = known_proxy()
    found = (
        _("is not installed in this Slicer") if version is None else _("{version} is too old").format(version=version)
    )
    if isUsable(version):
        found = _("{version} is installed").format(version=version)
    return _(
        "DeepRegister computes with PyTorch (version {wanted}), which {found}.\n\n"
        "Install it now? It is downloaded once{proxy} (0.2 GB without, about 3 GB with support for an NVIDIA graphics "
        "card) and Slicer should be restarted afterwards."
    ).format(
        wanted=requirement(),
        found=found,
        proxy=_(" through the proxy {address}").format(address=proxy) if proxy else "",
    )


def agreed() -> bool:
    """Ask the user whether to install PyTorch. While Slicer is tested, nobody is asked and nothing is installed."""
    # In testing mode Slicer answers its questions itself, with yes.
    return not slicer.app.testingEnabled() and bool(slicer.util.confirmOkCancelDisplay(question(torchVersion())))


def install() -> None:
    """Install PyTorch through the PyTorch extension, which picks the build for the graphics card, or else with pip.

    Raises:
        InstallationError: the installation failed; the text says what to do instead.
    """
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError:
        _tried(lambda: slicer.util.pip_install([f"torch{requirement()}"]))
    else:
        logic = PyTorchUtilsLogic()
        _tried(lambda: logic.installTorch(askConfirmation=False, torchVersionRequirement=requirement()))


def installFromFolder(folder: str) -> None:
    """Install PyTorch from a folder of wheels, without a network.

    Raises:
        InstallationError: the folder has no wheel of PyTorch, or the installation failed.
    """
    if not any(Path(folder).glob("torch-*.whl")):
        download, _offline = offlineCommands()
        raise InstallationError(
            _(
                "The folder {folder} holds no wheel of PyTorch (torch-….whl). Make it on a connected computer of the "
                "same kind as this one:\n{download}"
            ).format(folder=folder, download=download)
        )
    _tried(lambda: slicer.util.pip_install([f"torch{requirement()}", "--no-index", "--find-links", str(Path(folder))]))


def _tried(install) -> None:
    try:
        install()
    except Exception as error:
        # pip's own words say what went wrong; they come as whatever Slicer or the extension raises.
        text = _("PyTorch could not be installed: {error}\n\n{advice}").format(error=error, advice=byHand())
        raise InstallationError(text) from error
    importlib.invalidate_caches()
    if not isUsable(torchVersion()):
        text = _("The installation ended, but torch{wanted} is not there. {advice}")
        raise InstallationError(text.format(wanted=requirement(), advice=byHand()))
