"""Peak memory of a process by stage of a registration."""

from __future__ import annotations

import sys
from pathlib import Path

from deepregister.progress import Progress

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# What a process writes into the latter to set its own peak back.
RESET_PEAK = "5"
ALL_STAGES = "all"


class Peaks:
    """The peak memory of each stage, in MB (10^6 bytes), inputs and libraries included.

    Of main memory on Linux, where a process may set its own peak back; where it may not there is one peak, under "all".
    Of a CUDA device what torch has taken there.

    Attributes:
        by_stage: megabytes by stage, after `finish`.
    """

    def __init__(self, device: str = "cpu"):
        self.by_stage: dict[str, float] = {}
        self._stage: str | None = None
        self._device = device if device.startswith("cuda") else ""
        self._apart = self._reset()

    def enter(self, step: Progress) -> None:
        """As `progress` of a registration."""
        stage = step.stage if self._apart else ALL_STAGES
        if stage != self._stage:
            self.finish()
            self._stage = stage
            self._reset()

    def finish(self) -> None:
        """Note the peak of the last stage."""
        if self._stage is not None:
            self.by_stage[self._stage] = max(self._peak(), self.by_stage.get(self._stage, 0.0))
        self._stage = None

    def _peak(self) -> float:
        if self._device:
            import torch

            return torch.cuda.max_memory_allocated(self._device) / 1e6
        if STATUS.exists():
            line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024 / 1e6
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)

    def _reset(self) -> bool:
        """Begin a new peak; whether that can be done here."""
        if self._device:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
            return True
        try:
            CLEAR.write_text(RESET_PEAK, encoding="ascii")
        except OSError:
            return False
        return True
