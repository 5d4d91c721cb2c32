"""Runs methods over pairs, each pair and method in a process of its own, and gathers a row for each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import BenchmarkPair
from deepregister import Affine, Composite, Transform, read_transform
from deepregister.errors import DeepRegisterError
from measured import Usage, measure
from methods import METHODS, Method
from scoring import score

ENGINE = Path(__file__).resolve().parents[2] / "DeepRegister"
# What a question about an environment may take; a network's weights may come over a slow line.
PROBE_SECONDS = 1800


@dataclass
class Runner:
    """Runs one method on one pair at a time.

    Attributes:
        environments: the folder with the peers' environments.
        work: a folder for what the methods leave; what is in it may be thrown away.
        threads: cores for each method.
        limit: seconds after which a method is ended and reported as failed.
    """

    environments: Path
    work: Path
    threads: int
    limit: float
    _affines: dict[str, list[list[float]] | str] = field(default_factory=dict)

    def probe(self, method: Method) -> dict:
        """{"versions": ...} of the packages behind a method, or {"skipped": why it cannot run here}."""
        if not self._python(method).exists():
            return {"skipped": f"there is no environment {method.environment}; peers/install.py makes it"}
        report, _ = self._run(method, {}, PROBE_SECONDS)
        return {"skipped": report["failed"]} if "failed" in report else report

    def row(self, group: str, name: str, method: Method, pair: BenchmarkPair) -> dict:
        """What one method took and reached on one pair; a method that failed is said to have, with its reason."""
        row = {"dataset": group, "pair": pair.name, "method": name, "start": method.start}
        job = _files(pair)
        if method.start == "ours":
            affine = self._affine(pair)
            if isinstance(affine, str):
                return {**row, "failed": f"our affine, from which it starts, failed: {affine}"}
            job["affine"] = affine
        report, usage = self._run(method, job, self.limit)
        row |= {
            "process_seconds": round(usage.seconds, 3),
            "cpu_seconds": round(usage.cpu_seconds, 3),
            "peak_mb": round(usage.peak_mb, 1),
            "harness_seconds": round(usage.harness_seconds, 3),
            **report,
        }
        if "failed" not in row:
            try:
                transform, inverse = read_result(self.folder)
                if method == METHODS["affine"]:
                    self._affines[pair.name] = transform.matrix.tolist()
                row |= score(transform, pair, inverse)
            except (DeepRegisterError, OSError, ValueError) as error:
                row["failed"] = f"its result cannot be read: {error}"
        return row

    def _affine(self, pair: BenchmarkPair) -> list[list[float]] | str:
        """Our affine of a pair, or why there is none; found once for all that start from it."""
        if pair.name not in self._affines:
            report, _ = self._run(METHODS["affine"], _files(pair), self.limit)
            self._affines[pair.name] = report.get("failed") or read_result(self.folder)[0].matrix.tolist()
        return self._affines[pair.name]

    @property
    def folder(self) -> Path:
        """Where the method at work leaves its files."""
        return self.work.resolve() / "job"

    def command(self, method: Method) -> list[Path]:
        """What runs a method; it reads its job from standard input."""
        return [self._python(method).absolute(), method.script]

    def environment(self, method: Method) -> dict[str, str | None]:
        """A peer must not see our packages, nor we what the caller's path holds."""
        return {"PYTHONPATH": None if method.environment else str(ENGINE), "PYTHONHOME": None}

    def order(self, method: Method, job: dict) -> str:
        """A job as a method reads it; its folder is made, empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return json.dumps({**job, **method.options, "folder": str(self.folder), "threads": self.threads})

    def _python(self, method: Method) -> Path:
        return python_of(self.environments / method.environment) if method.environment else Path(sys.executable)

    def _run(self, method: Method, job: dict, limit: float) -> tuple[dict, Usage]:
        text, log = self.order(method, job), self.folder / "log.txt"
        command, environment = self.command(method), self.environment(method)
        usage = measure(command, text, log, limit=limit, threads=self.threads, environment=environment)
        return report_of(self.folder, usage, limit), usage


def _files(pair: BenchmarkPair) -> dict:
    return {"fixed": str(pair.fixed.resolve()), "moving": str(pair.moving.resolve())}


def report_of(folder: Path, usage: Usage, limit: float) -> dict:
    """What a method said, or what became of it where it said nothing."""
    if usage.ended == "limit":
        return {"failed": f"it took longer than {limit:.0f} s and was ended"}
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if usage.status < 0:
        return {"failed": f"it was ended by {signal.Signals(-usage.status).name}"}
    if usage.status or not (folder / "report.json").exists():
        return {"failed": f"exit status {usage.status}: {lines[-1] if lines else 'it printed nothing'}"}
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def read_result(folder: Path) -> tuple[Transform, Transform | None]:
    """The transform that a method left, fixed to moving, and the inverse where it left one.

    Raises:
        DeepRegisterError: it left none, or it cannot be read.
    """
    if (folder / "transform.h5").exists():
        return read_transform(folder / "transform.h5"), read_transform(folder / "inverse.h5")
    field = read_transform(folder / "field.nii.gz")
    affine = Affine(np.loadtxt(folder / "affine.txt"))
    back = folder / "inverse_field.nii.gz"
    inverse = Composite((affine.inverse(), read_transform(back))) if back.exists() else None
    return Composite((field, affine)), inverse


def python_of(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
