"""What a run will need and what the machine has: memory and time, estimated before the start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .volume import Geometry

# Measured peaks of the engine beside the images themselves (Testing/benchmarks/sizes.py): bytes for each voxel of the
# finest grid, bytes for each voxel of an input, and what torch itself takes.
BYTES_PER_GRID_VOXEL = {"lncc": 220, "mind": 420, "auto": 220}
BYTES_PER_INPUT_VOXEL = 14
BYTES_PER_LAYER_VOXEL = 40
BYTES_AT_REST = 500_000_000
# Of a network, for each voxel of the grid it sees: bytes at its peak, and seconds of one CPU core.
BYTES_PER_NETWORK_VOXEL = {"voxelmorph": 600, "pyramid": 400}
SECONDS_PER_NETWORK_VOXEL = {"voxelmorph": 3e-6, "pyramid": 2e-6}
# One voxel and iteration of the optimiser on one CPU core; only good enough to say seconds, minutes or hours.
SECONDS_PER_VOXEL_ITERATION = 4e-7
GPU_SPEEDUP = 30.0


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take."""

    memory_bytes: int
    seconds: float

    def describe(self) -> str:
        """One line for the user."""
        return f"about {self.memory_bytes / 1e9:.1f} GB of memory and {_duration(self.seconds)}"


def estimate(
    fixed: Geometry,
    moving: Geometry,
    grid_voxels: int,
    voxel_iterations: float,
    similarity: str,
    on_cpu: bool,
    layers: int = 1,
    network: tuple[str, int] | None = None,
) -> Estimate:
    """Memory and time of a run.

    Args:
        fixed, moving: grids of the inputs.
        grid_voxels: voxels of the finest grid of the field, 0 for a linear model.
        voxel_iterations: voxels times iterations over all levels.
        similarity: of the settings.
        on_cpu: whether the CPU computes.
        layers: fields that move on their own, one for each sliding region.
        network: of a learned model, its architecture and the voxels of each image that it sees.
    """
    inputs = int(np.prod(fixed.size) + np.prod(moving.size))
    # Each further layer keeps its field, its update and its mask.
    optimiser = (BYTES_PER_GRID_VOXEL[similarity] + (layers - 1) * BYTES_PER_LAYER_VOXEL) * grid_voxels
    architecture, network_voxels = network or ("voxelmorph", 0)
    # The network is done before the optimiser begins.
    working = max(optimiser, BYTES_PER_NETWORK_VOXEL[architecture] * network_voxels)
    memory = BYTES_AT_REST + BYTES_PER_INPUT_VOXEL * inputs + working
    cores = os.cpu_count() or 1
    speed = min(cores, 8) if on_cpu else GPU_SPEEDUP
    # Reading, aligning and resampling once, then the network and the optimiser.
    seconds = 3.0 + 6e-8 * inputs + SECONDS_PER_VOXEL_ITERATION * voxel_iterations * (1 + layers) / 2 / speed
    seconds += SECONDS_PER_NETWORK_VOXEL[architecture] * network_voxels / speed
    return Estimate(memory, seconds)


def available_memory() -> int | None:
    """Bytes of main memory that can still be taken, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    return min([free, *_container_memory()])


def _container_memory() -> list[int]:
    """What a container's limit leaves: /proc/meminfo shows the whole machine there."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        return [int(limit) - int(used)]
    except (OSError, ValueError):
        return []


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
