"""The report page: one HTML file that shows a registration, holds all it needs and loads nothing from anywhere.

It is for whoever must decide whether a result can be used: the verdict and its reasons first, then slices, maps and
numbers, then what is needed to repeat the run. matplotlib and Jinja2 are imported when a page is written, not before.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..console import duration
from ..doctor.installing import recipe
from ..doctor.requirements import REQUIRED
from ..errors import MissingPackageError, ModelError
from ..landmarks import LandmarkPairs
from ..models.registry import find_model
from ..quality import landmark_errors
from ..result import Registration
from ..volume import Volume
from ..writing import replacing
from .figures import MOST_DIFFERENCE, pair_views, slices
from .maps import draw_expected_error, draw_maps
from .motion import bending, bends, linear_motion
from .numbers import measure_rows, motion_rows, overlap_rows, setting_rows, volume_rows
from .verdict import folding, judge

NAME = "report.html"
PACKAGES = ("matplotlib", "jinja2")
# The measures that stand beside the verdict.
KEY_MEASURES = ("Landmark error, mean", "Similarity (0 to 1)", "Folded voxels")
FILES = {
    "fixed": "Fixed volume",
    "moving": "Moving volume",
    "fixed_mask": "Mask of the fixed volume",
    "moving_mask": "Mask of the moving volume",
    "regions": "Sliding regions of the fixed volume",
    "initial": "Initial transform",
    "fixed_landmarks": "Landmarks of the fixed volume",
    "moving_landmarks": "Landmarks of the moving volume",
    "model": "Model",
}


def check_packages() -> None:
    """Raise `MissingPackageError` now rather than after a computation if a page cannot be written here."""
    missing = [each for each in REQUIRED if each.module in PACKAGES and importlib.util.find_spec(each.module) is None]
    if missing:
        names = " and ".join(each.name for each in missing)
        command = "\n".join(recipe(missing).online)
        raise MissingPackageError(
            f"The report page needs {names}, which this Python does not have. Install it with\n{command}"
        )


def write_page(
    path: str | os.PathLike,
    registration: Registration,
    fixed: Volume,
    moving: Volume,
    *,
    landmarks: LandmarkPairs | None = None,
) -> None:
    """Write the report page of a registration.

    Args:
        path: the .html file.
        registration: what is reported.
        fixed, moving: the volumes as they were registered; their names are the page's title.
        landmarks: the pairs that steered it, where there were any, for a table of each one's error.

    Raises:
        MissingPackageError: matplotlib or Jinja2 is not installed; the text has the command that mends it.
        FileError: the place cannot be written.
    """
    check_packages()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # Our own files; whatever comes from a result or a file name is escaped.
    own = {name: Markup((folder / f"report.{ending}").read_text(encoding="utf-8")) for name, ending in _OWN.items()}
    content = environment.get_template("report.html").render(
        **own, **_numbers(registration, fixed, moving, landmarks), **_pictures(registration, fixed, moving)
    )
    with replacing(path) as aside:
        aside.write_text(content, encoding="utf-8")


_OWN = {"style": "css", "script": "js"}


def _pictures(registration: Registration, fixed: Volume, moving: Volume) -> dict[str, Any]:
    transform = registration.transform
    registered = registration.registered
    if registered is None:
        registered = transform.resample(moving, fixed.geometry)
    seen = pair_views(fixed, moving, registered, transform)
    found = {"slices": slices(seen), "most_difference": MOST_DIFFERENCE, "maps": None, "expected_error": None}
    if registration.expected_error is not None:
        found["expected_error"] = draw_expected_error(registration.expected_error, fixed, seen)
    if not bends(transform):
        return found
    folded = registration.measures.get("folded_fraction")
    bent = bending(transform, fixed.geometry, folded is None or folded > 0)
    drawn = draw_maps(transform, bent, seen)
    return {**found, "maps": drawn, "bending": bent}


def _numbers(
    registration: Registration, fixed: Volume, moving: Volume, landmarks: LandmarkPairs | None
) -> dict[str, Any]:
    measures = registration.measures
    verdict = judge(registration)
    rows = measure_rows(measures, verdict.level == "failed")
    stages, overlaps = overlap_rows(measures)
    seconds = {stage: value for stage, value in registration.seconds.items() if value >= 0.05}
    longest = max(seconds.values(), default=1)
    errors = []
    if landmarks is not None:
        before, after = landmark_errors(landmarks), landmark_errors(landmarks, registration.transform)
        errors = list(zip(landmarks.labels or [""] * len(landmarks), before, after, strict=True))
    folded = measures.get("folded_fraction")
    title, paper = _model(registration.settings.model, registration.inputs.get("model_folder"))
    return {
        "version": registration.versions.get("deepregister", __version__),
        "fixed_name": fixed.name,
        "moving_name": moving.name,
        "date": _date(registration.date),
        "model": f"{title}, {registration.settings.quality}",
        "paper_title": title,
        "paper": paper,
        "device": registration.device,
        "verdict": verdict,
        "confidence": registration.confidence,
        "least_sure": measures.get("expected_error_worst_lps_mm"),
        "bound_factor": measures.get("expected_error_bound_factor", 1.0),
        "rows": rows,
        "key_rows": [row for row in rows if row.title in KEY_MEASURES],
        "folding": "" if folded is None else folding(registration),
        "stages": stages,
        "overlaps": overlaps,
        "landmarks": errors,
        "motion": motion_rows(linear_motion(registration.transform, fixed.geometry)),
        "stages_of_time": [(stage, value, value / longest) for stage, value in seconds.items()],
        "total": duration(sum(registration.seconds.values())),
        "volumes": volume_rows((fixed.geometry, moving.geometry)),
        "files": _files(registration.inputs),
        "settings": setting_rows(registration.settings) + _asked(registration.inputs),
        "versions": list(registration.versions.items()),
        "measures_json": json.dumps(measures, indent=2),
    }


def _date(text: str) -> str:
    """Day and time of ISO 8601; empty for a result that does not say when it was made."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d, %H:%M}" if text else ""


def _model(name: str, folder: str | None) -> tuple[str, str]:
    """Title and paper of a model, with the folder of a user's own; its name alone where it is not on this machine."""
    try:
        card = find_model(name, folder and Path(folder).parent)
    except ModelError:
        return name, ""
    return card.title, card.paper


def _asked(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What steered the run without being a setting."""
    rows = []
    if inputs.get("asked_model"):
        rows.append(("Model asked for", str(inputs["asked_model"])))
    if inputs.get("choice"):
        rows.append(("Chosen because", str(inputs["choice"])))
    if inputs.get("weights_sha256"):
        rows.append(("SHA-256 of the weights", str(inputs["weights_sha256"])))
    if inputs.get("initial"):
        rows.append(("Initial transform", str(inputs["initial"])))
    masks = [side for side in ("fixed", "moving") if inputs.get(f"{side}_mask")]
    if masks:
        rows.append(("Masks", " and ".join(masks)))
    if inputs.get("regions"):
        rows.append(("Sliding regions", inputs["regions"]["name"]))
    if inputs.get("landmark_pairs"):
        rows.append(("Landmark pairs", str(inputs["landmark_pairs"])))
    return rows


def _files(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, title in FILES.items():
        file = (inputs.get("files") or {}).get(name)
        if file:
            frame = "" if file.get("frame") is None else f", frame {file['frame']}"
            rows.append((title, f"{file['path']}{frame}"))
    return rows
