"""Whole inputs for each fuzz target, made by the engine's own writers: what the fuzzers begin with and damage."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid, Settings, Volume
from deepregister.connection import FOLDER_PREFIX
from deepregister.models.registry import BUILT_IN
from deepregister.pointfiles import PointList, write_points
from deepregister.protocol import PROTOCOL, pack
from deepregister.result import Registration
from targets import FOLDER, IMAGE_ENDINGS, POINT_ENDINGS, TRANSFORM_ENDINGS


def examples(target: str) -> list[bytes]:
    """Inputs of a target that its reader takes, most of them, each of a different kind."""
    with tempfile.TemporaryDirectory(prefix="examples-") as folder:
        return _MAKERS[target](Path(folder))


def registration() -> Registration:
    """A small result, made without a computation."""
    return Registration(
        Rigid.identity(),
        Rigid.identity(),
        None,
        Settings(model="rigid"),
        {"similarity_after": 0.5},
        {"align": 1.0},
        "CPU",
    )


def _volume(dtype: type = np.int16) -> Volume:
    data = np.random.default_rng(1).integers(0, 200, (3, 4, 5)).astype(dtype)
    turned = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    return Volume.from_array(data, (0.5, 1.0, 2.0), (-3.0, 4.0, 5.0), turned)


def _field() -> DisplacementField:
    return DisplacementField(np.ones((3, 3, 3, 3), np.float32), Geometry((3, 3, 3), (2.0, 2.0, 2.0)))


def _images(folder: Path) -> list[bytes]:
    found = []
    for number, ending in enumerate(IMAGE_ENDINGS):
        for dtype in (np.int16, np.float32):
            image = _volume(dtype).to_sitk()
            if ending in (".dcm", ".png"):
                image = sitk.Cast(image[:, :, 0], sitk.sitkUInt16)
            if ending == ".seg.nrrd":
                image = sitk.Cast(image, sitk.sitkUInt8)
                image.SetMetaData("Segment0_LabelValue", "1")
                image.SetMetaData("Segment0_Name", "liver")
            for compressed in (False, True) if ending != ".dcm" else (False,):
                path = folder / f"image{ending}"
                sitk.WriteImage(image, str(path), compressed)
                found.append(bytes([number]) + path.read_bytes())
    return found


def _transforms(folder: Path) -> list[bytes]:
    affine = Affine(np.array([[1.1, 0.1, 0, 4], [0, 0.9, 0, -3], [0, 0, 1.0, 2], [0, 0, 0, 1]]))
    found = []
    for number, ending in enumerate(TRANSFORM_ENDINGS):
        kinds = {".mat": (affine,), ".xfm": (affine,), ".nii": (_field(),), ".nrrd": (_field(),)}
        for value in kinds.get(ending, (affine, Rigid.identity(), _field(), Composite((affine, _field())))):
            path = folder / f"transform{ending}"
            if ending == ".xfm":
                sitk.WriteTransform(value.to_sitk(), str(path))
            else:
                value.write(path)
            found.append(bytes([number]) + path.read_bytes())
    return found


def _points(folder: Path) -> list[bytes]:
    placed = np.array([[1.5, -2.0, 3.0], [10.0, 20.0, -30.0]])
    lists = [
        PointList(placed, ("one", "two"), "RAS"),
        PointList(placed),
        PointList(placed, ("a", ""), "LPS", ("x", "y", "z")),
    ]
    found = []
    for number, ending in enumerate(POINT_ENDINGS):
        for points in lists:
            write_points(points, folder / f"points{ending}")
            found.append(bytes([number]) + (folder / f"points{ending}").read_bytes())
    return [*found, b"\x02label;l;p;s\nfirst;1;2;3\n", b"\x01# Markups fiducial file version = 4.1\n1,2,3,4\n"]


def _cards(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(BUILT_IN.glob("*/card.toml"))]


def _weights(folder: Path) -> list[bytes]:
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]},
        "__metadata__": {"made": "here"},
    }
    text = json.dumps(header).encode()
    return [len(text).to_bytes(8, "little") + text + bytes(range(16))]


def _results(folder: Path) -> list[bytes]:
    # The transforms stay where the target reads them.
    registration().save(FOLDER)
    return [(FOLDER / "result.json").read_bytes()]


def _requests(folder: Path) -> list[bytes]:
    private = str(folder / f"{FOLDER_PREFIX}examples")
    hello = {"request": "hello", "protocol": PROTOCOL, "folder": private}
    job = {"job": 1, "folder": private, "inputs": {"settings": {"__kind__": "Settings", **Settings().to_dict()}}}
    lines = [hello, *({"request": name, **job} for name in ("register", "inspect", "write"))]
    lines += [{"request": "cancel", "job": 1}, {"request": "shutdown"}]
    every = [json.dumps(line).encode() + b"\n" for line in lines]
    return [*every, b"".join(every)]


def _packed(folder: Path) -> list[bytes]:
    values = {
        "volume": _volume(),
        "transform": Composite((Rigid.identity(), _field())),
        "settings": Settings(),
        "registration": registration(),
    }
    return [json.dumps(pack(value, FOLDER, name)).encode() for name, value in values.items()]


_MAKERS = {
    "images": _images,
    "transforms": _transforms,
    "points": _points,
    "cards": _cards,
    "weights": _weights,
    "results": _results,
    "requests": _requests,
    "packed": _packed,
}
