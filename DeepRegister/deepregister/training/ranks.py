"""One process or several: what `torchrun` started, each process with a device of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from ..devices import choose_device

# The first process prepares the data while the others wait.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        number: of this process, from 0.
        count: how many there are.
        device: this process's own.
    """

    number: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.number == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """Whether any process says so: what one decides by its own clock, all must do alike."""
        if self.count == 1:
            return flag
        said = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said.item())

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network, its gradients averaged over all processes."""
        if self.count == 1:
            return network
        own = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=own)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process's place, by the environment that `torchrun` sets; alone without it.

    Raises:
        DeviceError: the device that was asked for is not there.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(0, 1, choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = choose_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), count, chosen)
    finally:
        dist.destroy_process_group()
