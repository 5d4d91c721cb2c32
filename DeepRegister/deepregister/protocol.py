"""What the worker process and its client say to each other, and how values travel between them.

Each side writes one JSON object per line, ASCII only: requests to the worker's stdin, events from its stdout; its
stderr is a log for people. A line on stdout that is no event (something printed before the worker could take the
pipe for itself) belongs to the log too.

Requests
    {"request": "hello", "protocol": 1, "folder": PATH}    first; PATH is the client's private folder
    {"request": "register", "job": N, "folder": PATH, "inputs": {...}}    inputs: the arguments of `register`, packed
    {"request": "inspect", "job": N, "folder": PATH, "inputs": {...}}     inputs: the arguments of `inspect`, packed
    {"request": "write", "job": N, "folder": PATH, "inputs": {...}}       inputs: the arguments of `write`, packed
    {"request": "cancel", "job": N}    any job but one that waits or runs: no effect
    {"request": "shutdown"}            the same as end of file: the worker ends at once, even while it computes,
                                       and removes the private folder

Events
    {"event": "hello", "protocol": 1, "pid": N, "version": V, "engine": FILE, "python": V}    before torch is loaded
    {"event": "devices", "torch": V, "devices": [{"name", "title", "memory_bytes"}, ...], "problem": null}
                                       once torch is loaded; without it torch is null and problem says why
    {"event": "progress", "job": N, "stage", "fraction", "message", "seconds_left"}
    {"event": "result", "job": N, "value": {...}}            packed: what `register`, `inspect` or `write` gave
    {"event": "error", "job": N, "kind": CLASS, "message"}  ends the job; CLASS is a name in `deepregister.errors`
    {"event": "error", "job": null, ...}                    a line that could not be understood; the worker goes on

Jobs run one after the other in the order of their requests; each ends with one result or one error. `pack` puts
arrays into .npy files in the job's folder and everything else, geometry included, into JSON; the client makes the
folder and removes it when the job has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from . import errors
from .confidence import Confidence
from .errors import DeepRegisterError, InputError, WorkerError
from .labelmaps import Structures
from .landmarks import LandmarkPairs
from .result import Registration
from .settings import Settings
from .transforms import Affine, Composite, DisplacementField, LinearTransform, Rigid
from .volume import Geometry, Volume

PROTOCOL = 1

# The key that tells a packed value of ours from a plain dictionary.
KIND = "__kind__"
LINEAR = {kind.__name__: kind for kind in (LinearTransform, Affine, Rigid)}


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself before it loads torch.

    Attributes:
        pid: its own process id; under Slicer that of the launcher's child.
        version: of its engine.
        engine: file of its engine.
        python: version of its Python.
    """

    pid: int
    version: str
    engine: str
    python: str


@dataclass(frozen=True)
class Device:
    """A compute device: its name as `Settings.device` takes it, a title for people, and its memory if known."""

    name: str
    title: str
    memory_bytes: int | None


@dataclass(frozen=True)
class Devices:
    """What a worker can compute with.

    Attributes:
        torch: its version; None if it cannot be loaded.
        devices: the CPU first.
        problem: why torch cannot be loaded and what to do, for the user; None if all is well.
    """

    torch: str | None
    devices: tuple[Device, ...]
    problem: str | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Devices:
        """From the content of a devices event."""
        return cls(values["torch"], tuple(Device(**device) for device in values["devices"]), values["problem"])


def pack(value: Any, folder: Path, name: str) -> Any:
    """`value` as JSON, its arrays as files in `folder` whose names begin with `name`.

    Args:
        value: a registration, volume, geometry, transform, landmarks, structures or settings, a mapping or sequence of
            these, or plain JSON.
        folder: an existing folder.
        name: of the value, unique in the folder.

    Raises:
        InputError: a value that cannot travel.
        OSError: the folder cannot be written.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Volume):
        content = {"array": _save(value.data, folder, name), "geometry": asdict(value.geometry), "name": value.name}
    elif isinstance(value, Geometry):
        content = asdict(value)
    elif isinstance(value, Structures):
        sides = {side: pack(getattr(value, side), folder, f"{name}-{side}") for side in ("fixed", "moving")}
        content = {"names": [[label, title] for label, title in value.names.items()], **sides}
    elif isinstance(value, LinearTransform):
        content = {"matrix": value.matrix.tolist()}
    elif isinstance(value, DisplacementField):
        content = {"array": _save(value.displacement, folder, name), "geometry": asdict(value.geometry)}
    elif isinstance(value, Composite):
        content = {"parts": pack(value.parts, folder, name)}
    elif isinstance(value, LandmarkPairs):
        content = {"fixed": value.fixed.tolist(), "moving": value.moving.tolist(), "labels": list(value.labels)}
    elif isinstance(value, (Confidence, Settings)):
        content = value.to_dict()
    elif isinstance(value, Registration):
        content = {field.name: getattr(value, field.name) for field in fields(value)}
        content = pack(content, folder, name)
    elif isinstance(value, Mapping):
        return {key: pack(item, folder, f"{name}-{key}") for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        return [pack(item, folder, f"{name}-{n}") for n, item in enumerate(value)]
    else:
        raise InputError(f"{name}: a {type(value).__name__} cannot be handed to the worker process or back.")
    return {KIND: type(value).__name__, **content}


def unpack(value: Any, folder: Path) -> Any:
    """What `pack` was given; sequences come back as lists.

    Raises:
        OSError, ValueError, KeyError: a file is missing or damaged, or the JSON is not what `pack` made.
    """
    if isinstance(value, list):
        return [unpack(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    content = {key: unpack(item, folder) for key, item in value.items() if key != KIND}
    kind = value.get(KIND)
    if kind is None:
        return content
    if kind == "Volume":
        return Volume(_load(content["array"], folder), Geometry(**content["geometry"]), content["name"])
    if kind == "Geometry":
        return Geometry(**content)
    if kind == "Structures":
        return Structures(dict(content["names"]), content["fixed"], content["moving"])
    if kind in LINEAR:
        return LINEAR[kind](np.asarray(content["matrix"]))
    if kind == "DisplacementField":
        return DisplacementField(_load(content["array"], folder), Geometry(**content["geometry"]))
    if kind == "Composite":
        return Composite(tuple(content["parts"]))
    if kind == "LandmarkPairs":
        return LandmarkPairs(np.asarray(content["fixed"]), np.asarray(content["moving"]), tuple(content["labels"]))
    if kind == "Settings":
        return Settings.from_dict(content)
    if kind == "Confidence":
        return Confidence.from_dict(content)
    if kind == "Registration":
        return Registration(**{**content, "warnings": tuple(content["warnings"])})
    raise ValueError(f"Nothing is known of a packed {kind!r}.")


def describe_error(error: DeepRegisterError) -> dict[str, str]:
    """The `kind` and `message` of an error event; `rebuild_error` makes the same error of them."""
    known = (kind.__name__ for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
    return {"kind": next(known), "message": str(error)}


def rebuild_error(kind: str, message: str) -> DeepRegisterError:
    """The error that `describe_error` described; a kind that `deepregister.errors` lacks gives a `WorkerError`."""
    found = getattr(errors, kind, None)
    if not (isinstance(found, type) and issubclass(found, DeepRegisterError)):
        found = WorkerError
    return found(message)


def _save(array: np.ndarray, folder: Path, name: str) -> str:
    file = f"{name}.npy"
    np.save(folder / file, array, allow_pickle=False)
    return file


def _load(file: str, folder: Path) -> np.ndarray:
    return np.load(folder / file, allow_pickle=False)
