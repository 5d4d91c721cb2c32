"""Anyone's own data: a folder with a small `manifest.toml`.

    name = "knees"                          # in names of pairs and in tables
    held_out = ["test"]                     # splits that nothing may be tuned on: each look goes into the ledger
    points = "LPS"                          # what landmark files hold: "LPS" or "RAS" mm, or "voxels", from 0

    [files]                                 # {name} is the image's; the other side of the pair may be named too
    image = "images/{name}.nii.gz"
    labels = "labels/{name}.nii.gz"         # the rest may be left out
    mask = "masks/{name}.nii.gz"
    landmarks = "points/{fixed}-{moving}/{name}.csv"

    [label_names]
    1 = "femur"

    [splits]                                # pairs, fixed first
    development = [["a", "b"], ["b", "a"]]
    test = [["c", "d"]]

Geometry and units are those of the images' own headers. Landmarks in mm are read as the engine reads points (.mrk.json,
.fcsv, .csv; what says itself that it is LPS or RAS is believed); voxels are three numbers a line.
"""

from __future__ import annotations

import string
import tomllib
from functools import partial
from pathlib import Path

from deepregister.errors import FileError, InputError
from deepregister.landmarks import LandmarkPairs
from deepregister.pointfiles import read_landmark_pairs

from .pair import BenchmarkPair, voxel_landmarks

FILE = "manifest.toml"
ENTRIES = {"name": str, "held_out": list, "points": str, "files": dict, "label_names": dict, "splits": dict}
POINTS = ("LPS", "RAS", "voxels")
KINDS = ("image", "labels", "mask", "landmarks")
DEFAULT_SPLIT = "test"


def from_manifest(folder: Path, count: int | None = None, split: str = "") -> list[BenchmarkPair]:
    """The pairs of one split of a folder with a manifest.

    Args:
        folder: holds `manifest.toml`.
        count: at most so many, the first ones.
        split: which; empty takes "test", or the only one.

    Raises:
        FileError: no manifest, or it is no TOML, or an image that it names is missing.
        InputError: an entry that is unknown, missing or of the wrong kind, or no such split.
    """
    path = folder / FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}. See Testing/benchmarks/README.md.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not valid TOML: {error}.") from None
    _check(path, content)
    splits = content["splits"]
    if not split:
        split = DEFAULT_SPLIT if DEFAULT_SPLIT in splits or len(splits) != 1 else next(iter(splits))
    if split not in splits:
        raise InputError(f"{path} has no split {split!r}. It has {', '.join(splits) or 'none'}.")
    return [_pair(folder, content, *names, split in content.get("held_out", [])) for names in splits[split][:count]]


def _check(path: Path, content: dict) -> None:
    for key, value in content.items():
        if key not in ENTRIES:
            raise InputError(f"{path}: the entry {key!r} is unknown. Known are {', '.join(ENTRIES)}.")
        if not isinstance(value, ENTRIES[key]):
            raise InputError(f"{path}: {key} must be a {ENTRIES[key].__name__}, not {value!r}.")
    for key in ("name", "files", "splits"):
        if key not in content:
            raise InputError(f"{path}: the entry {key!r} is missing.")
    if content.get("points", "LPS") not in POINTS:
        raise InputError(f"{path}: points is {content['points']!r}; it must be one of {', '.join(POINTS)}.")
    files = content["files"]
    unknown = set(files) - set(KINDS)
    if unknown or "image" not in files:
        raise InputError(
            f"{path}: [files] holds {', '.join(files)}; it needs image and may hold {', '.join(KINDS[1:])}."
        )
    for kind, pattern in files.items():
        fields = {field for _, field, _, _ in string.Formatter().parse(str(pattern)) if field is not None}
        if not fields <= {"name", "fixed", "moving"}:
            raise InputError(
                f"{path}: {kind} = {pattern!r}: only {{name}}, {{fixed}} and {{moving}} can stand in braces."
            )
    if not all(key.isdigit() and isinstance(value, str) for key, value in content.get("label_names", {}).items()):
        raise InputError(f'{path}: [label_names] must give names to whole numbers, as in 1 = "femur".')
    for split, pairs in content["splits"].items():
        for names in pairs if isinstance(pairs, list) else [pairs]:
            # Blanks and arrows would break the names of pairs, by which images are told apart.
            good = isinstance(names, list) and len(names) == 2 and all(isinstance(n, str) and n for n in names)
            if not good or any(" " in name or "<-" in name for name in names):
                raise InputError(f"{path}: split {split}: {names!r} must be two names without blanks, fixed first.")
    wrong = set(content.get("held_out", [])) - set(content["splits"])
    if wrong:
        raise InputError(f"{path}: held_out names {', '.join(sorted(map(str, wrong)))}, which is no split.")


def _pair(folder: Path, content: dict, fixed: str, moving: str, held_out: bool) -> BenchmarkPair:
    def files(kind: str) -> list[Path]:
        pattern = content["files"].get(kind)
        if pattern is None:
            return []
        found = [folder / pattern.format(name=name, fixed=fixed, moving=moving) for name in (fixed, moving)]
        for path in found:
            if not path.exists():
                raise FileError(f"{path} is missing: {FILE} has {kind} = {pattern!r}.")
        return found

    images, labels, masks, points = (files(kind) for kind in KINDS)
    landmarks = None
    if points:
        voxels = content.get("points") == "voxels"
        parts = {"all": tuple(points)}
        system = content.get("points", "LPS")
        landmarks = voxel_landmarks(parts, *images) if voxels else partial(_landmarks, *points, system)
    return BenchmarkPair(
        f"{content['name']} {fixed}<-{moving}",
        *images,
        *(labels or (None, None)),
        landmarks=landmarks,
        held_out=held_out,
        mask=masks[0] if masks else None,
        label_names={int(key): value for key, value in content.get("label_names", {}).items()} if labels else {},
    )


def _landmarks(fixed: Path, moving: Path, system: str) -> dict[str, LandmarkPairs]:
    return {"all": read_landmark_pairs(fixed, moving, system)}
