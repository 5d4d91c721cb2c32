"""What the doctor found: findings in sections, the verdict, and both as text for people and JSON for machines."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .installing import Recipe, recipe, slicer_home
from .requirements import PYTHON, Requirement, required

# "note" is worth knowing and no fault; with a "problem" no registration can run.
OK, NOTE, WARNING, PROBLEM = STATUSES = ("ok", "note", "warning", "problem")
SECTIONS = {
    "system": "System",
    "packages": "Packages that are needed",
    "devices": "PyTorch and devices",
    "models": "Models",
    "worker": "A registration",
    "optional": "Packages for more",
}
WIDTH = 110


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: a key of `SECTIONS`.
        name: of the thing, the same in every run: "package torch".
        status: one of `STATUSES`.
        text: one or two sentences for people.
        mend: what to type or do about it, one line each; empty where nothing is wrong, or where a package is to be
            installed: all of these get one command together.
        facts: the same for machines.
    """

    section: str
    name: str
    status: str
    text: str
    mend: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Attributes:
        version: of the engine.
        findings: in the order in which they were made.
        missing: packages to install or to renew, by the need for them.
        broken: those among them that pip takes for installed.
    """

    version: str
    findings: tuple[Finding, ...]
    missing: tuple[Requirement, ...] = ()
    broken: tuple[Requirement, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether a registration can run."""
        return all(each.status != PROBLEM for each in self.findings)

    @property
    def verdict(self) -> str:
        """One sentence."""
        counts = {s: sum(each.status == s for each in self.findings) for s in (PROBLEM, WARNING)}
        found = " and ".join(f"{n} {status}{'s' * (n > 1)}" for status, n in counts.items() if n)
        can = "can run here" if self.ready else "cannot run here"
        return f"DeepRegister {self.version}: registrations {can}{found and f'; {found}'}."

    def recipe(self) -> Recipe | None:
        """How to install what is missing; None where nothing is."""
        return recipe(self.missing, self.broken) if self.missing else None

    def to_dict(self, offline: bool = False) -> dict[str, Any]:
        """JSON-ready; `offline` adds how to install everything without a network."""
        install = self.recipe()
        values = {
            "ready": self.ready,
            "verdict": self.verdict,
            "version": self.version,
            "findings": [asdict(each) | {"mend": list(each.mend)} for each in self.findings],
            "install": install and install.to_dict(),
        }
        return values | ({"everything": _everything().to_dict()} if offline else {})

    def text(self, offline: bool = False) -> str:
        """For a terminal; `offline` adds how to install everything without a network."""
        lines = [self.verdict]
        for section, title in SECTIONS.items():
            inside = [each for each in self.findings if each.section == section]
            lines += ["", title] if inside else []
            for each in inside:
                lines += _paragraph(each.text, f"  {each.status:<7}  ")
                lines += [f"{'':<13}{line}" for line in each.mend]
        install = self.recipe()
        if install is not None:
            lines += ["", "To install what is missing, type", *_indented(install.online)]
            lines += ["Behind a proxy (--cert only where it has a certificate of its own)", *_indented(install.proxy)]
            lines += ["or, for all programs of this terminal, the variable HTTPS_PROXY; or, for pip once and for all"]
            lines += [*_indented(install.proxy_for_good), *_without_network(install), *_notes(install)]
        if offline:
            everything = _everything()
            lines += ["", "To install everything from a folder", *_without_network(everything), *_notes(everything)]
        return "\n".join(lines)


def _everything() -> Recipe:
    return recipe(required(slicer_home() is not None))


def _without_network(install: Recipe) -> list[str]:
    python = ".".join(map(str, PYTHON))
    return [
        f"Without a network: on a connected computer of the same kind ({install.machine}, Python {python} or later)",
        *_indented(install.download),
        "then carry the new folder here, and beside it",
        *_indented(install.offline),
    ]


def _notes(install: Recipe) -> list[str]:
    return [line for note in install.notes for line in textwrap.wrap(note, WIDTH)]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _paragraph(text: str, start: str) -> list[str]:
    # Paths and commands stay in one piece, to be copied.
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
