"""One package after the other: is it there, the right version, the one that is meant, can it be imported?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .findings import NOTE, OK, PROBLEM, WARNING, Finding
from .installing import recipe, slicer_home
from .process import Outcome, run_probe
from .requirements import PART_OF_SLICER, TORCH, Requirement


@dataclass(frozen=True)
class Package:
    """What was found of one package.

    Attributes:
        requirement: what is needed.
        finding: in words.
        usable: whether it is there, of the right version, and can be imported.
        values: what its probe told.
        install: whether pip can mend it.
        broken: whether pip takes it for installed.
    """

    requirement: Requirement
    finding: Finding
    usable: bool
    values: Mapping[str, Any]
    install: bool = False
    broken: bool = False


def look_at(needed: Requirement) -> Package:
    """Import a package in a process of its own, and judge what comes of it."""
    probe = ("torch",) if needed.name == TORCH.name else ("package", needed.name, needed.module)
    return judge(needed, run_probe(*probe))


def judge(needed: Requirement, outcome: Outcome) -> Package:
    """What an import's outcome means."""
    values = outcome.values
    version = values.get("version") or values.get("installed")
    stranger = _stranger(values)
    mend: tuple[str, ...] = ()
    broken = False
    if values.get("missing"):
        text = f"{needed.name} is not installed ({needed.specifier} needed). {needed.purpose}."
    elif stranger and (outcome.failure or version is None or not needed.allows(version)):
        text = f"{stranger} stands in for {needed.name}. {outcome.failure or 'It is something else.'}"
        mend = (f"Remove {_entry(stranger)} from the variable PYTHONPATH, or rename {stranger}.",)
    elif outcome.failure:
        text = f"{needed.name} {version or ''} cannot be imported. {outcome.failure}".replace("  ", " ")
        broken = True
    elif not needed.allows(version):
        text = f"{needed.name} {version} will not do ({needed.specifier} needed). {needed.purpose}."
    else:
        text = f"{needed.name} {version} ({needed.specifier} needed)"
        return Package(needed, _finding(needed, OK, text, values), True, values)
    if not mend and needed.name in PART_OF_SLICER and slicer_home() is not None:
        mend = ("It is a part of 3D Slicer: install Slicer 5.10 or later, anew if need be.",)
    install = not mend
    if needed.extra is not None:
        status = NOTE
        mend = mend or recipe([needed]).online
    else:
        status = PROBLEM if needed.essential else WARNING
    return Package(needed, _finding(needed, status, text, values, mend), False, values, install, broken)


def _finding(
    needed: Requirement, status: str, text: str, values: Mapping[str, Any], mend: tuple[str, ...] = ()
) -> Finding:
    facts = {
        "needed": needed.specifier,
        "found": values.get("version") or values.get("installed"),
        "origin": values.get("origin"),
        "extra": needed.extra,
    }
    section = "packages" if needed.extra is None else "optional"
    return Finding(section, f"package {needed.name}", status, text, mend, facts)


def _stranger(values: Mapping[str, Any]) -> str | None:
    """The file that is imported, where it is not the one that pip installed."""
    origin, place = values.get("origin"), values.get("place")
    if origin is None or (place is not None and Path(origin).resolve().is_relative_to(Path(place).resolve())):
        return None
    return origin


def _entry(origin: str) -> Path:
    """The folder through which Python found a file."""
    path = Path(origin)
    return path.parent.parent if path.name == "__init__.py" else path.parent
