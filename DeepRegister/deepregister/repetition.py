"""Doing a saved run again: from the same files, with the same settings, and what came out differently."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .errors import FileError
from .landmarks import LandmarkPairs
from .pointfiles import read_landmark_pairs
from .quality import difference
from .report import Source
from .result import Registration
from .settings import Settings
from .sources import TITLES, SourceFile, engine_sha256
from .transforms import Composite, DisplacementField, LinearTransform, Transform, read_transform
from .volume import Geometry, Volume


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that a saved run was made of, read again.

    Attributes:
        fixed, moving: the volumes.
        settings: of the saved run, with the threads that computed it and, where it was one, the CPU.
        fixed_mask, moving_mask, regions, emphasis, initial, landmarks: as `register` takes them.
        models_dir: where the model lies, if it does not come with DeepRegister.
        files: what all of it was read from.
        csv_coordinates: how tables of landmarks were read.
    """

    fixed: Source
    moving: Source
    settings: Settings
    fixed_mask: Volume | None
    moving_mask: Volume | None
    regions: Volume | None
    emphasis: Volume | None
    initial: Transform | None
    landmarks: LandmarkPairs | None
    models_dir: Path | None
    files: dict[str, SourceFile]
    csv_coordinates: str | None

    @classmethod
    def of(cls, saved: Registration, folder: Path) -> Recipe:
        """Find and read all files of a saved run.

        Args:
            saved: the run.
            folder: where it lies.

        Raises:
            FileError: the result does not say its files, or one is gone or has changed.
        """
        recorded = saved.inputs.get("files") or {}
        if not {"fixed", "moving"} <= set(recorded):
            raise FileError(
                f"{folder} does not say which files it was made from, so it cannot be repeated: results of "
                "`deepregister register`, `demo` and `batch` do. Register the volumes again with the settings in its "
                "result.json."
            )
        sources = {name: SourceFile.from_dict(values) for name, values in recorded.items()}
        # All are looked for before the first one is read, which may take long.
        places = {name: source.find(folder, TITLES[name]) for name, source in sources.items()}

        def volume(name: str) -> Volume | None:
            return Volume.read(places[name], sources[name].frame) if name in places else None

        read_as = saved.inputs.get("csv_coordinates")
        landmarks = None
        if "fixed_landmarks" in places:
            landmarks = read_landmark_pairs(places["fixed_landmarks"], places["moving_landmarks"], read_as)
        fixed, moving = (Source(places[side], volume(side), sources[side].frame) for side in ("fixed", "moving"))
        return cls(
            fixed,
            moving,
            _settings(saved),
            volume("fixed_mask"),
            volume("moving_mask"),
            volume("regions"),
            volume("emphasis"),
            read_transform(places["initial"]) if "initial" in places else None,
            landmarks,
            _models_dir(saved, places.get("model")),
            {name: replace(source, path=places[name]) for name, source in sources.items()},
            read_as,
        )


@dataclass(frozen=True)
class Comparison:
    """What a repetition gave.

    Attributes:
        identical: whether transform and inverse are the same bit for bit.
        mean_mm, max_mm: how far apart the transforms take the voxels of the fixed volume.
        differences: what is not as it was, one sentence each: versions, device, threads, settings.
    """

    identical: bool
    mean_mm: float
    max_mm: float
    differences: tuple[str, ...]


def compare(saved: Registration, again: Registration, over: Geometry) -> Comparison:
    """Compare a repetition with the saved run.

    Args:
        saved: as `Registration.load` reads it.
        again: as `register` returned it, with `inputs` of its own.
        over: the fixed volume's grid.
    """
    # Files may keep fewer digits than memory, so that the new transforms have to take the same way.
    with tempfile.TemporaryDirectory() as folder:
        replace(again, registered=None).save(folder)
        back = Registration.load(folder)
    same = all(identical(getattr(saved, side), getattr(back, side)) for side in ("transform", "inverse"))
    apart = difference(saved.transform, back.transform, over)
    return Comparison(same, apart["mean_mm"], apart["max_mm"], tuple(_differences(saved, back)))


def identical(a: Transform, b: Transform) -> bool:
    """Whether two transforms are the same bit for bit."""
    if isinstance(a, Composite) and isinstance(b, Composite):
        return len(a.parts) == len(b.parts) and all(map(identical, a.parts, b.parts))
    if isinstance(a, DisplacementField) and isinstance(b, DisplacementField):
        return a.geometry == b.geometry and np.array_equal(a.displacement, b.displacement)
    if isinstance(a, LinearTransform) and isinstance(b, LinearTransform):
        return np.array_equal(a.matrix, b.matrix)
    return False


def _models_dir(saved: Registration, found: Path | None) -> Path | None:
    """The folder of the user's own models that the saved run took one from; one that `auto` chose is no input file."""
    folder = found or saved.inputs.get("model_folder")
    return None if folder is None or not Path(folder).is_dir() else Path(folder).parent


def _settings(saved: Registration) -> Settings:
    """Those of the saved run; what it left to the machine is what that machine chose."""
    settings = replace(saved.settings, threads=saved.inputs.get("threads") or saved.settings.threads)
    # A graphics card that was put in since would be chosen now, and it computes other last digits.
    return replace(settings, device="cpu") if saved.device.startswith("CPU") else settings


def _differences(saved: Registration, again: Registration) -> Iterator[str]:
    for name in dict.fromkeys([*saved.versions, *again.versions]):
        old, new = (run.versions.get(name, "not recorded") for run in (saved, again))
        if old != new:
            yield f"{name} was {old} and is {new}."
    old, new = saved.inputs.get("engine_sha256"), engine_sha256()
    if old not in (None, new) and saved.versions.get("deepregister") == again.versions.get("deepregister"):
        yield f"The program has changed within version {again.versions.get('deepregister')}."
    old, new = (run.inputs.get("weights_sha256") for run in (saved, again))
    if old != new:
        yield (
            f"The weights of the model {again.settings.model} are not those of then: their SHA-256 was "
            f"{(old or 'not recorded')[:12]} and is {(new or 'not recorded')[:12]}."
        )
    old, new = (run.device.split(",")[0] for run in (saved, again))
    if old != new:
        yield f"It was computed on {old}, now on {new}."
    old, new = (run.inputs.get("threads", "an unknown number of") for run in (saved, again))
    if old != new:
        yield f"It was computed by {old} threads, now by {new}."
    old, new = asdict(saved.settings), asdict(again.settings)
    for name in old:
        if name not in ("device", "threads") and old[name] != new[name]:
            yield f"The setting {name} was {old[name]} and is {new[name]}."
