"""What runs in processes of its own: imports one package, asks torch, measures a device, registers a known pair.

    python -m deepregister.doctor.probe package numpy numpy
    python -m deepregister.doctor.probe torch
    python -m deepregister.doctor.probe speed cuda:0
    python -m deepregister.doctor.probe registration

Each writes marked lines of JSON; "error" among them says what went wrong.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .process import MARK

# A cube as large as a coarse brain, warped and filtered as in every iteration of a deformable model.
SPEED_VOXELS = 128
SPEED_ROUNDS = 5
SPEED_SECONDS = 10.0
BOX_RADIUS = 4
# Rounding differs between devices; a driver that computes nonsense is off by far more (the values are 0 to 729).
AGREEMENT = 0.5
TRUE_SHIFT_MM = 3.0


def tell(**values: Any) -> None:
    """Hand values to the doctor, at once: a crash may follow."""
    print("\n" + MARK + json.dumps(values), flush=True)


def package(name: str, module: str) -> None:
    """Where a package lies, which version it is, and whether it can be imported."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution(name)
        tell(installed=distribution.version, place=str(distribution.locate_file("")))
    spec = importlib.util.find_spec(module)
    if spec is None:
        tell(missing=True)
        return
    tell(origin=spec.origin or str(list(spec.submodule_search_locations or ())))
    found = importlib.import_module(module)
    tell(version=getattr(found, "__version__", None))


def torch_itself() -> None:
    """The same of torch, and what it can compute with."""
    package("torch", "torch")
    import torch

    tell(
        cuda=torch.version.cuda,
        hip=torch.version.hip,
        cuda_available=torch.cuda.is_available(),
        mps_built=torch.backends.mps.is_built(),
        mps_available=torch.backends.mps.is_available(),
        arrays=torch.ones(1).numpy().tolist() == [1.0],
    )
    if torch.version.cuda and not torch.cuda.is_available():
        try:
            torch.cuda.init()
        except Exception as error:
            tell(cuda_error=_one_line(error))
    if torch.cuda.is_available():
        devices = {}
        for n in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(n)
            devices[f"cuda:{n}"] = [properties.name, properties.major, properties.minor]
        tell(gpus=devices, built_for=torch.cuda.get_arch_list())


def speed(name: str) -> None:
    """How long a device takes to warp and box-filter a cube, and whether it computes what the CPU does."""
    import torch

    from ..devices import describe_device, free_memory
    from ..spatial import box_sum, warp

    device = torch.device(name)
    tell(title=describe_device(device), memory_free_bytes=free_memory(device))
    generator = torch.Generator().manual_seed(0)
    size = (SPEED_VOXELS,) * 3
    image = torch.rand((1, 1, *size), generator=generator)
    field = torch.rand((1, 3, *size), generator=generator)
    expected = box_sum(warp(image, field), BOX_RADIUS)
    there = (image.to(device), field.to(device))
    # The first round loads kernels.
    result = box_sum(warp(*there), BOX_RADIUS)
    tell(agrees=bool((result.cpu() - expected).abs().max() < AGREEMENT))
    rounds = []
    started = time.perf_counter()
    while len(rounds) < SPEED_ROUNDS and time.perf_counter() - started < SPEED_SECONDS:
        began = time.perf_counter()
        # Reading one value waits for all of it.
        box_sum(warp(*there), BOX_RADIUS)[0, 0, 0, 0, 0].item()
        rounds.append(time.perf_counter() - began)
    tell(milliseconds=min(rounds) * 1000)


def registration() -> None:
    """Start the worker and register a small pair with a known answer."""
    import numpy as np

    from ..client import EngineClient
    from ..settings import Settings
    from ..volume import Volume

    spacing = 2.0
    grid = np.stack(np.meshgrid(*[np.arange(32) * spacing] * 3, indexing="ij"), -1)[..., ::-1]
    blobs = (((20, 24, 26), 8, 100), ((40, 38, 22), 10, 140), ((34, 18, 42), 7, 80), ((26, 42, 40), 9, 120))

    def image(shift: float) -> Volume:
        squares = [(((grid - np.add(centre, shift)) ** 2).sum(-1) / width**2, value) for centre, width, value in blobs]
        values = sum(value * np.exp(-0.5 * square) for square, value in squares)
        return Volume.from_array(values.astype(np.float32), (spacing,) * 3)

    started = time.perf_counter()
    with EngineClient() as client:
        tell(hello=asdict(client.hello), start_seconds=time.perf_counter() - started)
        tell(problem=client.wait_for_devices().problem, load_seconds=time.perf_counter() - started)
        started = time.perf_counter()
        found = client.register(image(0.0), image(TRUE_SHIFT_MM), Settings(model="rigid", quality="fast"))
    tell(seconds=time.perf_counter() - started, device=found.device)
    centres = np.array([centre for centre, _, _ in blobs], dtype=float)
    missed = found.transform.apply_to_points(centres) - centres - TRUE_SHIFT_MM
    tell(error_mm=float(np.linalg.norm(missed, axis=1).max()))


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


PROBES: dict[str, Callable[..., None]] = {
    "package": package,
    "torch": torch_itself,
    "speed": speed,
    "registration": registration,
}


if __name__ == "__main__":
    tell(pid=os.getpid())
    try:
        PROBES[sys.argv[1]](*sys.argv[2:])
    # A broken package raises anything at all.
    except BaseException as failure:
        tell(error=_one_line(failure), missing_module=getattr(failure, "name", None))
    sys.stdout.flush()
    # Libraries that crash while they are unloaded have done their work.
    os._exit(0)
