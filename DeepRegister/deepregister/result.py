"""`Registration`: everything one run leaves behind, in memory and as a folder. Needs no torch to read or use."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from .confidence import Confidence
from .errors import FileError
from .folders import filling, settle
from .settings import Settings
from .transforms import Transform, read_transform
from .volume import Volume

FORMAT = 1
REGISTERED, EXPECTED_ERROR = "registered.nii.gz", "expected_error.nii.gz"
FILES = ("transform.h5", "inverse.h5", REGISTERED, EXPECTED_ERROR, "result.json")


def now() -> str:
    """Date and time with the offset from UTC, ISO 8601, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


@dataclass(frozen=True, eq=False)
class Registration:
    """The outcome of `deepregister.register`.

    Attributes:
        transform: fixed to moving, LPS mm: what resamples the moving volume onto the fixed one.
        inverse: moving to fixed, LPS mm: what carries points of the moving volume onto the fixed one.
        registered: the moving volume on the fixed volume's grid.
        settings: what reproduces the run; `settings.model` is the model that ran, also where "auto" was asked.
        measures: quality measures by name, JSON-ready; see `quality.measure`.
        seconds: wall time by stage.
        device: what computed it, in words.
        warnings: what the user should know, one sentence each.
        confidence: how far the result may be trusted, and why not further.
        expected_error: how far each place of the fixed volume may be from where it belongs, mm, on a coarse grid of its
            axes: see `expectederror.estimate`; None for results of versions that did not say.
        versions: of the engine and of what it stands on.
        inputs: what was registered: names, geometries, options that are not settings.
        date: when it was made, ISO 8601; empty for results of versions that did not say.
    """

    transform: Transform
    inverse: Transform
    registered: Volume | None
    settings: Settings
    measures: Mapping[str, Any]
    seconds: Mapping[str, float]
    device: str
    warnings: tuple[str, ...] = ()
    confidence: Confidence = field(default_factory=Confidence)
    expected_error: Volume | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    date: str = field(default_factory=now)

    def summary(self) -> dict[str, Any]:
        """All but the transforms and voxels, JSON-ready: the content of `result.json`."""
        return {
            "format": FORMAT,
            "date": self.date,
            "direction": "fixed to moving, LPS, mm",
            "settings": self.settings.to_dict(),
            "inputs": dict(self.inputs),
            "measures": dict(self.measures),
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "device": self.device,
            "warnings": list(self.warnings),
            "confidence": self.confidence.to_dict(),
            "versions": dict(self.versions),
        }

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `FILES` into `folder`, made if missing; volumes that are not there have no file.

        All files are written aside first and moved in at the end: the folder never holds half a result.

        Raises:
            FileError: the folder cannot be made or written.
        """
        with filling(folder, own=FILES) as aside:
            self.transform.write(aside / "transform.h5")
            self.inverse.write(aside / "inverse.h5")
            for volume, name in ((self.registered, REGISTERED), (self.expected_error, EXPECTED_ERROR)):
                if volume is not None:
                    volume.write(aside / name)
            (aside / "result.json").write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Registration:
        """Read back what `save` wrote.

        Raises:
            FileError: the folder or one of its files is missing or damaged.
        """
        folder = Path(folder)
        settle(folder)
        try:
            summary = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            if summary["format"] > FORMAT:
                raise FileError(
                    f"{folder} holds a result of format {summary['format']}; this version reads up to {FORMAT}. "
                    "Use a newer DeepRegister."
                )
            settings = Settings.from_dict(summary["settings"])
            known = {name: summary[name] for name in ("measures", "seconds", "device", "versions", "inputs")}
            warnings = tuple(summary["warnings"])
            # Earlier results say nothing of it.
            confidence = Confidence.from_dict(summary.get("confidence", Confidence().to_dict()))
        except FileError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(f"{folder} does not hold a whole result: result.json: {error}. Run it again.") from error
        registered, expected_error = (
            Volume.read(folder / name) if (folder / name).exists() else None for name in (REGISTERED, EXPECTED_ERROR)
        )
        return cls(
            transform=read_transform(folder / "transform.h5"),
            inverse=read_transform(folder / "inverse.h5"),
            registered=registered,
            expected_error=expected_error,
            settings=settings,
            warnings=warnings,
            confidence=confidence,
            date=summary.get("date", ""),
            **known,
        )
