"""How fast a training steps, and for what share of the time its device waits for data."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Times the steps of a training and, within them, the making of their data.

    On a CUDA device the work runs behind the program: there events in its stream are timed, and read once they are
    past, so that nothing waits for the watch.

    Args:
        device: what computes.
    """

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._marks: list[object] = []
        self._open: list[list[object]] = []
        self._data = self._whole = 0.0
        self._steps = 0

    def begin(self) -> None:
        """A step begins."""
        self._marks = [self._now()]

    def have_data(self) -> None:
        """Its data is there."""
        self._marks.append(self._now())

    def end(self) -> None:
        """It is done."""
        self._open.append([*self._marks, self._now()])
        self._settle()

    @property
    def waiting_share(self) -> float:
        """Of the time of all steps, 0..1."""
        return self._data / self._whole if self._whole else 0.0

    @property
    def seconds_per_step(self) -> float:
        return self._whole / self._steps if self._steps else 0.0

    @property
    def steps_per_second(self) -> float:
        return self._steps / self._whole if self._whole else 0.0

    def _now(self) -> object:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _settle(self) -> None:
        while self._open and (not self._cuda or self._open[0][-1].query()):
            began, data, ended = self._open.pop(0)
            self._data += self._between(began, data)
            self._whole += self._between(began, ended)
            self._steps += 1

    def _between(self, first: object, second: object) -> float:
        return first.elapsed_time(second) / 1000 if self._cuda else second - first
