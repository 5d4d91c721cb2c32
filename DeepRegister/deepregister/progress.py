"""Progress and cancellation: one small object that every long step reports to and asks whether to go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Cancelled

STAGES = ("prepare", "align", "deform", "refine", "inverse", "measure", "write")


@dataclass(frozen=True)
class Progress:
    """One report.

    Attributes:
        stage: one of `STAGES`.
        fraction: of the whole run, 0 to 1, never falling.
        message: one line in plain words.
        seconds_left: estimate for the whole run, None while it is unknown.
    """

    stage: str
    fraction: float
    message: str
    seconds_left: float | None = None


class Monitor:
    """What a running step sees of its caller.

    Args:
        progress: called with each `Progress`; it may raise to stop the run.
        cancelled: asked at every report and `check`; True stops the run with `Cancelled`.
        shares: share of the whole run that each stage is expected to take, in the order of the run.
    """

    def __init__(
        self,
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        shares: dict[str, float] | None = None,
    ):
        self._progress = progress
        self._cancelled = cancelled
        self._shares = shares or dict.fromkeys(STAGES, 1.0)
        self._started = time.monotonic()
        self._entered: tuple[str, float] | None = None
        self._highest = 0.0
        self.seconds: dict[str, float] = {}
        self.evidence: dict[str, float] = {}

    def expect(self, shares: dict[str, float]) -> None:
        """Other shares from now on: what is left of the run is not what it was thought to be."""
        self._shares = shares

    def check(self) -> None:
        """Raise `Cancelled` if the caller asked to stop. Cheap: call it in every iteration."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled()

    def report(self, stage: str, fraction: float, message: str) -> None:
        """Tell the caller that `fraction` (0 to 1) of `stage` is done, and stop if the caller asks for it."""
        self.check()
        self._clock(stage)
        # A stage without a share takes no part of the whole: it is named, and the bar stays where it is.
        if stage in self._shares:
            names = list(self._shares)
            done = sum(self._shares[name] for name in names[: names.index(stage)])
            done += self._shares[stage] * min(max(fraction, 0.0), 1.0)
            self._highest = max(self._highest, done / sum(self._shares.values()))
        if self._progress is not None:
            elapsed = time.monotonic() - self._started
            # Before a few percent are done the estimate would jump about: silence is more honest.
            left = elapsed * (1 / self._highest - 1) if self._highest > 0.05 else None
            self._progress(Progress(stage, self._highest, message, left))

    def note(self, name: str, value: float) -> None:
        """Keep what a step learned of how sure its result is, for the judgement at the end."""
        self.evidence[name] = value

    def finish(self) -> None:
        """Close the clock of the last stage."""
        self._clock(None)

    def _clock(self, stage: str | None) -> None:
        now = time.monotonic()
        if self._entered is not None:
            name, since = self._entered
            self.seconds[name] = self.seconds.get(name, 0.0) + now - since
        self._entered = None if stage is None else (stage, now)
