"""What a terminal shows of a run: a progress bar with the time left, and a table.

Ctrl-C, and the signal by which a scheduler or a shutdown ends a program, become a request to stop.
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from .progress import Progress

BAR_WIDTH = 24
SECONDS_BETWEEN_DRAWINGS = 0.1


class ProgressBar:
    """Shows each `Progress` it is called with, one line for each stage; in a terminal the line is redrawn as it goes.

    Use it as a context manager, so that the last line is closed however the run ends.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._redraws = self._stream.isatty()
        self._last: Progress | None = None
        self._drawn_at = 0.0
        self._drawn_length = 0

    def __call__(self, progress: Progress) -> None:
        if self._last is not None and progress.stage != self._last.stage:
            self._close_line()
        self._last = progress
        if self._redraws and time.monotonic() - self._drawn_at >= SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the line, so that something else can be written; the next report begins a new one."""
        if self._last is not None:
            self._close_line()
            self._last = None

    def _close_line(self) -> None:
        """The last word of a stage stays on the screen: it says what the run will need, or how far it came."""
        self._draw()
        self._stream.write("\n")
        self._stream.flush()
        self._drawn_at, self._drawn_length = 0.0, 0

    def _draw(self) -> None:
        progress = self._last
        if self._redraws:
            full, empty = ("█", "░") if _can_show("█░", self._stream) else ("#", ".")
            filled = round(BAR_WIDTH * progress.fraction)
            left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
            line = f"{full * filled}{empty * (BAR_WIDTH - filled)} {progress.fraction:4.0%}{left}  {progress.message}"
            line = line[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r" + line.ljust(self._drawn_length))
            self._drawn_length = len(line)
        else:
            self._stream.write(f"{progress.fraction:4.0%}  {progress.stage}: {progress.message}")
        self._stream.flush()
        self._drawn_at = time.monotonic()


class Interruption:
    """Whether the user has pressed Ctrl-C, or the system ends this program; ask it like a function."""

    def __init__(self) -> None:
        self.pressed = False

    def __call__(self) -> bool:
        return self.pressed


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Inside the block a first Ctrl-C or SIGTERM only sets the flag, so that the run stops between two steps; a second
    one raises `KeyboardInterrupt` at once, for a library that does not come back."""
    state = Interruption()

    def note(number, frame) -> None:
        if state.pressed:
            raise KeyboardInterrupt
        state.pressed = True
        sys.stderr.write("\nStopping...\n")

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield state
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """Inside the block SIGTERM raises `KeyboardInterrupt`, as Ctrl-C does, so that nothing is left half-written."""
    if threading.current_thread() is not threading.main_thread():
        # Python hands signals to the main thread alone.
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def duration(seconds: float) -> str:
    """Seconds in words for people: `8 s`, `2 min 05 s`, `1 h 20 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def table(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Columns of equal width, two spaces apart; a row may be shorter than the others, its last cell runs on."""
    columns = max(len(row) for row in rows)
    widths = [max((len(row[c]) for row in rows if c < len(row) - 1), default=0) for c in range(columns)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows]
    return "\n".join(indent + line.rstrip() for line in lines)


def _can_show(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
