"""The examination: one look after the other, with progress."""

from __future__ import annotations

from collections.abc import Callable

from .. import __version__
from ..progress import Progress
from . import surroundings, trials
from .findings import NOTE, PROBLEM, Diagnosis, Finding
from .graphics import cards_without_driver, judge, nvidia_driver
from .installing import slicer_home
from .packages import Package, look_at
from .requirements import OPTIONAL, TORCH, required


def examine(progress: Callable[[Progress], None] | None = None) -> Diagnosis:
    """Look at everything; takes some seconds, most of them for loading torch.

    Args:
        progress: called before each look.
    """

    def tell(stage: str, fraction: float, message: str) -> None:
        if progress is not None:
            progress(Progress(stage, fraction, message))

    wanted = (*required(slicer_home() is not None), *OPTIONAL)
    packages: dict[str, Package] = {}
    for number, each in enumerate(wanted):
        tell("packages", 0.5 * number / len(wanted), f"trying {each.name}")
        packages[each.name] = look_at(each)
    findings = [*surroundings.system(), *surroundings.copies(), *surroundings.models()]
    findings += [package.finding for package in packages.values()]
    ready = all(package.finding.status != PROBLEM for package in packages.values())
    if packages[TORCH.name].usable:
        tell("devices", 0.5, "looking for graphics cards")
        values = packages[TORCH.name].values
        findings += judge(values, packages[TORCH.name].requirement, nvidia_driver(), cards_without_driver())
        # The measurement uses the engine, which needs all packages.
        names = ["cpu", *values.get("gpus", {}), *["mps"] * values["mps_available"]] if ready else []
        cpu = None
        for number, name in enumerate(names):
            tell("devices", 0.6 + 0.2 * number / len(names), f"measuring {name}")
            findings.append(trials.measure(name, cpu))
            cpu = cpu or findings[-1].facts.get("milliseconds")
    if ready:
        tell("registration", 0.8, "registering a small known pair")
        findings.append(trials.register())
    else:
        findings.append(Finding("worker", "registration", NOTE, "Not tried, for the packages come first."))
    tell("registration", 1.0, "done")
    install = [each for each in packages.values() if each.install and each.requirement.extra is None]
    return Diagnosis(
        __version__,
        tuple(findings),
        tuple(each.requirement for each in install),
        tuple(each.requirement for each in install if each.broken),
    )
