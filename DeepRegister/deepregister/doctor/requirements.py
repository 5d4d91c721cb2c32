"""The packages that the engine needs, as pyproject.toml has them.

They stand here once more because Slicer has the engine as files, without a package's metadata; a test compares them.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Requirement:
    """A package, the versions of it that will do, and those to install.

    Attributes:
        name: as pip knows it.
        module: as Python imports it.
        lowest: first version that will do.
        below: first version that is not installed any more, though it does where it is there; None: no such.
        purpose: what cannot be done without it.
        essential: whether no registration can run without it.
        extra: of this project, that installs it; None for what is always needed.
    """

    name: str
    module: str
    lowest: tuple[int, ...]
    purpose: str
    below: tuple[int, ...] | None = None
    essential: bool = True
    extra: str | None = None

    @property
    def specifier(self) -> str:
        """The versions to install, as pip understands them."""
        lowest = ">=" + ".".join(map(str, self.lowest))
        return lowest if self.below is None else f"{lowest},<{'.'.join(map(str, self.below))}"

    def __str__(self) -> str:
        return self.name + self.specifier

    def allows(self, version: str) -> bool:
        """Whether this version will do; of "2.13.0+cpu" the first numbers count."""
        numbers = tuple(int(part) for part in re.findall(r"\d+", re.match(r"[\d.]*", version).group()))
        return self.lowest <= numbers


PYTHON = (3, 11)
TORCH = Requirement("torch", "torch", (2, 4), "It computes the registrations")
REQUIRED = (
    Requirement("numpy", "numpy", (2, 0), "All arrays are its"),
    Requirement("scipy", "scipy", (1, 13), "It interpolates transforms"),
    Requirement("SimpleITK", "SimpleITK", (2, 4), "It reads and writes images"),
    Requirement("Pillow", "PIL", (10, 1), "It draws the pictures of a result"),
    Requirement("matplotlib", "matplotlib", (3, 9), "It draws the plots of a result's report"),
    Requirement("Jinja2", "jinja2", (3, 1), "It lays out a result's report"),
    Requirement(
        "safetensors", "safetensors", (0, 4, 3), "It writes the weights of models that are trained", essential=False
    ),
    TORCH,
)
DICOM = Requirement("pydicom", "pydicom", (2, 4), "It writes DICOM series", essential=False, extra="dicom")
OPTIONAL = (
    DICOM,
    Requirement(
        "distributed", "distributed", (2024, 8), "It spreads a cohort over processes", essential=False, extra="batch"
    ),
    Requirement(
        "tensorboard", "tensorboard", (2, 17), "It shows the curves of a training", essential=False, extra="train"
    ),
)
# What writes the files of the command line; in 3D Slicer the scene takes a result without them.
WRITING = ("Pillow", "matplotlib", "Jinja2")
# What 3D Slicer is built with: pip must not put other versions over it.
PART_OF_SLICER = ("numpy", "scipy", "SimpleITK")


def required(in_slicer: bool) -> tuple[Requirement, ...]:
    """What a registration needs in this Python."""
    if not in_slicer:
        return REQUIRED
    return tuple(
        torch_for_slicer() if each is TORCH else replace(each, essential=each.essential and each.name not in WRITING)
        for each in REQUIRED
    )


def torch_for_slicer() -> Requirement:
    """The versions of torch that will do inside 3D Slicer."""
    # From 2.13 on its files have longer paths than Windows allows in Slicer's folder.
    return replace(TORCH, below=(2, 13)) if platform.system() == "Windows" else TORCH
