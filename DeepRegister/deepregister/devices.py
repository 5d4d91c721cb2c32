"""Which device computes, what it is called, and how much memory it has left."""

from __future__ import annotations

import os
import platform

import torch

from .errors import DeviceError
from .resources import available_memory


def choose_device(name: str) -> torch.device:
    """The torch device for a setting: "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        DeviceError: the device that was asked for is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise DeviceError(
                f"The device {name!r} was asked for, but torch {torch.__version__} sees {count} CUDA devices. "
                "Choose auto or cpu, or install a torch built for your graphics driver."
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device 'mps' was asked for, but this is no Apple GPU. Choose auto or cpu.")
    return torch.device(name)


def cuda_names(setting: str) -> tuple[str, ...]:
    """The CUDA devices that a setting leads to, each as CUDA_VISIBLE_DEVICES names it for a process of its own.

    Raises:
        DeviceError: the device that was asked for is not there.
    """
    chosen = choose_device(setting)
    if chosen.type != "cuda":
        return ()
    seen = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    names = seen or [str(number) for number in range(torch.cuda.device_count())]
    return tuple(names) if chosen.index is None else (names[chosen.index],)


def describe_device(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    if device.type == "mps":
        return f"Apple GPU ({platform.processor() or 'mps'})"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on `device`, or None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()
