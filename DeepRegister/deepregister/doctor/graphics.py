"""Whether torch fits the graphics card and its driver."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .findings import PROBLEM, WARNING, Finding
from .installing import command_line, python
from .requirements import Requirement

# The first driver for each CUDA (CUDA's release notes); inside one major version all drivers will do.
DRIVER_FOR_CUDA = {11: 450, 12: 525, 13: 580}
PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"


@dataclass(frozen=True)
class Driver:
    """What NVIDIA's own program says.

    Attributes:
        gpus: names of the cards it sees.
        version: of the driver; None if unknown.
        cuda: highest CUDA that the driver knows, (12, 2); None if unknown.
        error: why it sees none; None if it does.
    """

    gpus: tuple[str, ...] = ()
    version: str | None = None
    cuda: tuple[int, int] | None = None
    error: str | None = None


def nvidia_driver() -> Driver | None:
    """Ask `nvidia-smi`; None where there is no such program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        listed, told = (
            subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30, check=False)
            for command in (query, [program])
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Driver(error=str(error))
    if listed.returncode:
        return Driver(error=" ".join((listed.stdout + listed.stderr).split()))
    rows = [line.rpartition(",") for line in listed.stdout.splitlines() if "," in line]
    cuda = re.search(r"CUDA Version: *(\d+)\.(\d+)", told.stdout)
    return Driver(
        tuple(name.strip() for name, _, _ in rows),
        rows[0][2].strip() if rows else None,
        cuda and (int(cuda[1]), int(cuda[2])),
        None if rows else "It lists no card.",
    )


def cards_without_driver(devices: Path = PCI) -> int:
    """How many NVIDIA graphics cards sit on the bus, whether they have a driver or not (Linux)."""
    cards = 0
    for device in devices.glob("*") if devices.is_dir() else ():
        try:
            vendor, kind = ((device / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
        except OSError:
            continue
        cards += vendor == NVIDIA and kind.startswith(DISPLAY)
    return cards


def supports(built_for: Sequence[str], major: int, minor: int) -> bool:
    """Whether a torch that was built for these (`torch.cuda.get_arch_list`) runs on a card of this capability.

    Machine code (sm_) runs on cards of its major version from its minor one on, PTX (compute_) on all later cards.
    """
    for entry in built_for:
        kind, number = re.fullmatch(r"(\D+)_(\d+)\w?", entry).groups() if re.match(r"(sm|compute)_", entry) else ("", 0)
        built = divmod(int(number), 10)
        if (kind == "sm" and built[0] == major and built[1] <= minor) or (
            kind == "compute" and built <= (major, minor)
        ):
            return True
    return False


def judge(
    torch: Mapping[str, Any],
    requirement: Requirement,
    driver: Driver | None,
    cards: int = 0,
    system: str | None = None,
) -> list[Finding]:
    """What is wrong between torch, the driver and the cards; empty if nothing is.

    Args:
        torch: what `probe.torch_itself` told.
        requirement: which versions of torch will do here.
        driver: NVIDIA's, if any.
        cards: on the bus.
        system: "Linux", "Windows" or "Darwin"; None is this one.
    """
    system = system or platform.system()
    version = torch["version"]
    found = []

    def warn(name: str, text: str, mend: tuple[str, ...] = (), status: str = WARNING) -> None:
        found.append(Finding("devices", name, status, text, mend))

    renew = _other_build(requirement)
    if not torch.get("arrays", True):
        warn("torch and numpy", f"torch {version} does not work with this numpy.", renew, PROBLEM)
    if driver is None and cards:
        text = f"{cards} NVIDIA graphics card(s) but no driver: the program nvidia-smi is missing."
        warn("driver", text, ("Install NVIDIA's driver; until then the processor computes.",))
    elif driver is not None and driver.error:
        text = f"NVIDIA's driver does not work: {driver.error}"
        warn("driver", text, ("Restart the computer or install the driver anew; until then the processor computes.",))
    elif driver is not None and not torch["cuda"] and not torch["hip"]:
        text = f"torch {version} is built for the processor alone: {', '.join(driver.gpus)} is not used."
        warn("torch build", text, renew)
    elif driver is not None and torch["cuda"] and not torch["cuda_available"]:
        warn("torch build", *_why_no_cuda(torch, driver, renew))
    if torch["cuda"]:
        for name, (title, major, minor) in torch.get("gpus", {}).items():
            if not supports(torch["built_for"], major, minor):
                text = (
                    f"torch {version} was not built for {title} ({name}): the card has compute capability "
                    f"{major}.{minor}, torch knows {', '.join(torch['built_for'])}."
                )
                warn(f"capability {name}", text, ("Until it is mended choose the device cpu, or:", *renew), PROBLEM)
    if system == "Darwin" and not torch["mps_available"]:
        why = (
            "this macOS gives it no GPU (12.3 is the first that does)" if torch["mps_built"] else "it is built without"
        )
        text = f"torch {version} cannot use an Apple GPU: {why}. The processor computes."
        warn("mps", text, () if torch["mps_built"] else renew)
    return found


def _why_no_cuda(torch: Mapping[str, Any], driver: Driver, renew: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    version = torch["version"]
    unused = f"{', '.join(driver.gpus)} is not used"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not re.match(r"\d|GPU|MIG", hidden):
        return f"{unused}: CUDA_VISIBLE_DEVICES={hidden!r} hides it.", ("Unset the variable CUDA_VISIBLE_DEVICES.",)
    built = int(torch["cuda"].partition(".")[0])
    if driver.cuda is not None and driver.cuda[0] < built:
        least = DRIVER_FOR_CUDA.get(built)
        text = (
            f"{unused}: torch {version} is built for CUDA {torch['cuda']}, the driver {driver.version} knows CUDA "
            f"{driver.cuda[0]}.{driver.cuda[1]} at most."
        )
        update = f"Update NVIDIA's driver{f' to {least} or later' if least else ''}, or install another torch:"
        return text, (update, *renew)
    return f"{unused}: torch {version} finds no CUDA. {torch.get('cuda_error', '')}".strip(), renew


def _other_build(requirement: Requirement) -> tuple[str, ...]:
    """Commands for the build of torch that fits the driver."""
    return (
        command_line(python(), "-m", "pip", "install", "light-the-torch"),
        command_line(python(), "-m", "light_the_torch", "install", "--force-reinstall", str(requirement)),
        "or the command for your system on pytorch.org/get-started/locally",
    )
