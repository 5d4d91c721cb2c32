"""The exact commands that install packages into this Python: with a network, behind a proxy, without a network."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
import urllib.request
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .requirements import OPTIONAL, PART_OF_SLICER, Requirement, required

WHEELS = "deepregister-wheels"
ENVIRONMENT = "deepregister-env"


@dataclass(frozen=True)
class Recipe:
    """How to install some packages, each way as lines to type.

    Attributes:
        packages: what pip is asked for.
        online: with a network.
        proxy: behind a proxy.
        proxy_for_good: what makes pip remember the proxy and its certificate, instead.
        download: on a connected machine of the same kind, for a machine without a network.
        offline: then on that machine, beside the folder that was downloaded.
        machine: the kind of machine, for instance "Linux x86_64".
        notes: what else to know, sentences.
    """

    packages: tuple[str, ...]
    online: tuple[str, ...]
    proxy: tuple[str, ...]
    proxy_for_good: tuple[str, ...]
    download: tuple[str, ...]
    offline: tuple[str, ...]
    machine: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def slicer_home() -> Path | None:
    """The folder of the 3D Slicer whose Python this is; None for any other Python."""
    home = Path(sys.prefix).parent.parent
    return home if any((home / "bin" / name).is_file() for name in ("PythonSlicer", "PythonSlicer.exe")) else None


def python() -> str:
    """What to type for this Python: in 3D Slicer the launcher that gives it its environment."""
    home = slicer_home()
    if home is None:
        return sys.executable
    return shutil.which("PythonSlicer", path=str(home / "bin")) or str(home / "bin" / "PythonSlicer")


def command_line(*words: str) -> str:
    """A command as a person types it in a terminal of this system."""
    if os.name == "nt":
        # cmd.exe takes < and > for redirections unless they are quoted.
        return " ".join(f'"{word}"' if re.search(r"[\s<>&|^,;=()]", word) else word for word in words)
    return shlex.join(words)


def recipe(requirements: Iterable[Requirement], broken: Iterable[Requirement] = ()) -> Recipe:
    """How to install `requirements`.

    Args:
        requirements: what is missing; what Slicer is built with is left out in Slicer.
        broken: those among them that pip takes for installed, so that it must be told to install them anew.
    """
    in_slicer = slicer_home() is not None
    packages = tuple(str(each) for each in requirements if not (in_slicer and each.name in PART_OF_SLICER))
    interpreter, before, notes = python(), [], []
    if _belongs_to_the_system():
        before.append(command_line(interpreter, "-m", "venv", ENVIRONMENT))
        interpreter = str(Path(ENVIRONMENT) / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        notes.append(
            "The operating system keeps this Python for itself and refuses pip, so the commands make an environment: "
            "install and run DeepRegister there."
        )
    elif importlib.util.find_spec("pip") is None:
        before.append(command_line(interpreter, "-m", "ensurepip", "--upgrade"))
    folder = sysconfig.get_path("purelib")
    if not before and not os.access(folder, os.W_OK):
        notes.append(f"You may not write to {folder}: let the one who installed this Python type the commands.")
    if in_slicer:
        notes.append(
            "Close 3D Slicer first, or use its own ways: the Extensions Manager has the extension PyTorch; its Python "
            f"console takes slicer.util.pip_install({' '.join(packages)!r})."
        )
    pip = (interpreter, "-m", "pip")
    anew = [str(each) for each in broken if str(each) in packages]

    def install(*options: str) -> tuple[str, ...]:
        # Without what they need, which pip would install anew too, over Slicer's numpy; the second line completes it.
        first = [command_line(*pip, "install", *options, "--force-reinstall", "--no-deps", *anew)] if anew else []
        return (*before, *first, command_line(*pip, "install", *options, *packages))

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    proxy = {"proxy": known_proxy() or "http://HOST:PORT", "cert": "CERTIFICATE.pem"}
    elsewhere = "py" if os.name == "nt" else "python3"
    return Recipe(
        packages,
        install(),
        install(*(word for name, value in proxy.items() for word in (f"--{name}", value))),
        tuple(command_line(*pip, "config", "set", f"global.{name}", value) for name, value in proxy.items()),
        (
            command_line(
                *(elsewhere, "-m", "pip", "download", "--dest", WHEELS, "--only-binary=:all:"),
                *("--python-version", version, *packages),
            ),
        ),
        install("--no-index", "--find-links", WHEELS),
        f"{platform.system()} {platform.machine()}",
        tuple(notes),
    )


def known_proxy() -> str | None:
    """The proxy that this machine's settings name, without the password that they may hold."""
    address = urllib.request.getproxies().get("https")
    return address and re.sub(r"//[^@/]*@", "//USER:PASSWORD@", address)


def remedy(module: str | None) -> str:
    """One or two lines for a command that could not import `module`."""
    top = (module or "").partition(".")[0]
    known = [each for each in (*required(slicer_home() is not None), *OPTIONAL) if each.module == top]
    advice = (
        "`deepregister doctor` says all that is missing, and how to install it behind a proxy or without a network."
    )
    if not known:
        return advice
    return "\n".join((*recipe(known).online, advice))


def _belongs_to_the_system() -> bool:
    """Whether pip refuses to install into this Python (PEP 668)."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and marker.is_file()
