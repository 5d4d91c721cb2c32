"""Seconds and bytes of a run by function of the engine and by tensor operation, measured from outside."""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PACKAGE = "deepregister"
# Rooms in which a run's time goes.
ROOMS = ("spatial", "similarity", "models", "networks", "preparation", "transforms", "quality", "volume")
ROOMS += ("imagefiles", "registration")
# Operations that read from a tensor only what they are told to: as much as they write.
GATHERS = ("index", "index_select", "gather", "take")


@dataclass
class Tally:
    """What one thing took: its own seconds, those of them in tensor operations, bytes these moved, calls."""

    seconds: float = 0.0
    tensor_seconds: float = 0.0
    moved: float = 0.0
    calls: int = 0


class Operations(TorchDispatchMode):
    """Tallies while it is entered.

    Attributes:
        functions: by (stage, function): time in it less that in functions of the engine that it called.
        tensor: by name of the tensor operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[tuple[str, str], Tally] = defaultdict(Tally)
        self.tensor: dict[str, Tally] = defaultdict(Tally)
        self._stage = ""
        self._stack: list[str] = []
        self._since = 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        started = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        taken = time.perf_counter() - started
        moved = _moved(func, args, kwargs, result)
        for tally in (self.tensor[func.overloadpacket.__name__], self._current()):
            tally.tensor_seconds += taken
            tally.moved += moved
        one = self.tensor[func.overloadpacket.__name__]
        one.seconds += taken
        one.calls += 1
        return result

    def _current(self) -> Tally:
        return self.functions[self._stage, self._stack[-1] if self._stack else "the rest"]

    def _credit(self) -> None:
        now = time.perf_counter()
        self._current().seconds += now - self._since
        self._since = now

    def enter_stage(self, stage: str) -> None:
        """What follows belongs to this stage of the run."""
        if stage != self._stage:
            self._credit()
            self._stage = stage

    def timed(self, name: str, function: Callable) -> Callable:
        """The function, telling when it is entered and left."""

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            self._credit()
            self._stack.append(name)
            self._current().calls += 1
            try:
                return function(*args, **kwargs)
            finally:
                self._credit()
                self._stack.pop()

        return wrapper

    @contextmanager
    def watching(self) -> Iterator[Operations]:
        """Watch all functions and methods of the engine's rooms inside the block."""
        undo = []
        modules = {name: m for name, m in sys.modules.items() if name == PACKAGE or name.startswith(PACKAGE + ".")}
        replaced = {}
        for name, module in modules.items():
            if name.removeprefix(PACKAGE + ".").split(".")[0] not in ROOMS:
                continue
            room = name.removeprefix(PACKAGE + ".")
            for key, thing in list(vars(module).items()):
                if getattr(thing, "__module__", None) != name:
                    continue
                if _is_plain(thing):
                    replaced[id(thing)] = self.timed(f"{room}.{key}", thing)
                elif inspect.isclass(thing):
                    for method, function in list(vars(thing).items()):
                        if _is_plain(function) and (method == "__init__" or not method.startswith("__")):
                            undo.append((thing, method, function))
                            setattr(thing, method, self.timed(f"{room}.{key}.{method}", function))
        # A function is known by name in every module that imported it.
        for module in modules.values():
            for key, thing in list(vars(module).items()):
                if id(thing) in replaced:
                    undo.append((module, key, thing))
                    setattr(module, key, replaced[id(thing)])
        self._since = time.perf_counter()
        try:
            with self:
                yield self
        finally:
            self._credit()
            for owner, key, thing in undo:
                setattr(owner, key, thing)


def _is_plain(thing: object) -> bool:
    # A generator's or a context manager's time passes between its calls.
    if not inspect.isfunction(thing) or inspect.isgeneratorfunction(inspect.unwrap(thing)):
        return False
    # What `dataclass` writes itself does nothing worth timing.
    return thing.__code__.co_filename != "<string>"


def _moved(func, args, kwargs, result) -> float:
    """Bytes that an operation has to read and write at the least; none for a view."""
    if any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
        return 0.0
    written = sum(_bytes(tensor) for tensor in _tensors(result))
    if func.overloadpacket.__name__ in GATHERS:
        return 2 * written + sum(_bytes(tensor) for tensor in list(_tensors((args, kwargs)))[1:])
    seen: dict[int, float] = {}
    for tensor in _tensors((args, kwargs)):
        seen[tensor.data_ptr()] = max(seen.get(tensor.data_ptr(), 0.0), _bytes(tensor))
    return sum(seen.values()) + written


def _bytes(tensor: torch.Tensor) -> float:
    # An expanded tensor repeats the same few bytes.
    return float(min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()))


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def copy_speed(megabytes: float, rounds: int = 20) -> float:
    """Bytes per second, read and written, of copying arrays of this size; the best of `rounds`."""
    source = torch.ones(int(megabytes * 2**20 / 4))
    # Memory that was never written has to be fetched from the system first.
    target = torch.zeros_like(source).add_(1)
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - started)
    return 2 * source.numel() * 4 / best
