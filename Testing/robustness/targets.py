"""What the fuzzers feed: each target takes bytes, hands them to one reader, and lets through only clear errors.

A target returns where the reader took the bytes or refused them with a `DeepRegisterError`. Whatever else it raises is
a fault, as is a crash, a hang, or a value that its own type would not allow. `examples.py` has files to begin with.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from deepregister.errors import DeepRegisterError
from deepregister.labelmaps import LabelMap
from deepregister.models.registry import Card
from deepregister.pointfiles import read_points, write_points
from deepregister.protocol import unpack
from deepregister.result import Registration
from deepregister.transforms import read_transform
from deepregister.volume import Volume
from deepregister.worker import Worker

# The first byte of an input chooses among these, so that one corpus serves all formats of a reader.
IMAGE_ENDINGS = (".nrrd", ".nii", ".nii.gz", ".mha", ".dcm", ".png", ".seg.nrrd")
TRANSFORM_ENDINGS = (".tfm", ".h5", ".mat", ".nrrd", ".nii", ".xfm")
POINT_ENDINGS = (".mrk.json", ".fcsv", ".csv")

_FOLDER = tempfile.TemporaryDirectory(prefix="fuzzed-")
FOLDER = Path(_FOLDER.name)
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def image(data: bytes) -> None:
    """`Volume.read`, and for a segmentation `LabelMap.read`."""
    path = _file(data, IMAGE_ENDINGS)
    try:
        volume = LabelMap.read(path).volume if path.name.endswith(".seg.nrrd") else Volume.read(path)
    except DeepRegisterError as error:
        _require_words(error)
        return
    if volume.data.shape != volume.geometry.shape or not np.all(np.isfinite(volume.geometry.matrix)):
        raise AssertionError(f"read as {volume!r} with {volume.geometry}")


def transform(data: bytes) -> None:
    """`read_transform`; what is read must map points to points."""
    path = _file(data, TRANSFORM_ENDINGS)
    try:
        moved = read_transform(path).apply_to_points(np.array([[1.0, -2.0, 3.0]]))
    except DeepRegisterError as error:
        _require_words(error)
        return
    if moved.shape != (1, 3) or not np.all(np.isfinite(moved)):
        raise AssertionError(f"read, and moves a point to {moved}")


def points(data: bytes) -> None:
    """`read_points`; what is read must survive being written and read again."""
    path = _file(data, POINT_ENDINGS)
    try:
        found = read_points(path)
    except DeepRegisterError as error:
        _require_words(error)
        return
    write_points(found, path)
    again = read_points(path)
    if not np.allclose(again.points, found.points, rtol=1e-6, atol=1e-5):
        raise AssertionError(f"written as {again.points}, read as {found.points}")


def card(data: bytes) -> None:
    """`Card.read` of a model's card."""
    path = FOLDER / "card.toml"
    path.write_bytes(data)
    _refused_or(Card.read, path)


def weights(data: bytes) -> None:
    """`load_weights` of a file whose card has the right sum, as a malicious one would."""
    from deepregister.models.weights import load_weights

    (FOLDER / "weights.safetensors").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    named = {"weights": "weights.safetensors", "sha256": sha256, "folder": FOLDER}
    _refused_or(load_weights, Card(*["fuzzed"] * 4, "voxelmorph", "deformable", ("any",), "", "", **named))


def result(data: bytes) -> None:
    """`Registration.load` of a folder whose result.json is this."""
    (FOLDER / "result.json").write_bytes(data)
    _refused_or(Registration.load, FOLDER)


def requests(data: bytes) -> None:
    """Lines as the worker's reading thread takes them; each is put in the queue, obeyed, or refused by an event."""
    events = io.BytesIO()
    worker = _Listening(io.BytesIO(data), events)
    worker._read()
    for line in events.getvalue().splitlines():
        event = json.loads(line.decode("ascii"))
        if event["event"] not in ("hello", "error"):
            raise AssertionError(f"answered {event}")
    if not worker.ended:
        raise AssertionError("the end of the pipe did not end the worker")


def packed(data: bytes) -> None:
    """`unpack` of what the other side may have sent; its errors are those that both sides catch."""
    try:
        unpack(json.loads(data), FOLDER)
    except (DeepRegisterError, OSError, ValueError, KeyError, TypeError, MemoryError, RecursionError):
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "images": image,
    "transforms": transform,
    "points": points,
    "cards": card,
    "weights": weights,
    "results": result,
    "requests": requests,
    "packed": packed,
}


class _Listening(Worker):
    """The worker, in a process that must not end with it."""

    ended = False

    def _end(self) -> None:
        self.ended = True


def _file(data: bytes, endings: tuple[str, ...]) -> Path:
    path = FOLDER / f"fuzzed{endings[data[0] % len(endings) if data else 0]}"
    path.write_bytes(data[1:])
    return path


def _refused_or(read: Callable, argument: object) -> None:
    try:
        read(argument)
    except DeepRegisterError as error:
        _require_words(error)


def _require_words(error: DeepRegisterError) -> None:
    text = str(error)
    if len(text.split()) < 4 or "Traceback" in text:
        raise AssertionError(f"an error that says nothing: {text!r}") from error
