"""The journey itself: two volumes in, one transform out. Prepare, align, deform, invert, measure."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import SimpleITK as sitk

# GNU's OpenMP reads this once, when torch is loaded. Left alone its threads spin while they wait, and a run takes ten
# times as long as soon as another program wants a core; and there is always one, Slicer's own rendering. A short spin
# costs nothing on an idle machine.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "1000"

import torch

from . import __version__, quality
from .confidence import judge
from .devices import choose_device, describe_device
from .errors import InputError, ResourceError, is_out_of_memory
from .evidence import gather
from .expectederror import estimate as estimate_error
from .landmarks import LandmarkPairs
from .models.choice import WITHOUT_TRAINING, Choice, choose, warning, warnings_of_looks
from .models.fitting import within_memory
from .models.instance import split_start
from .models.registry import BUILT_IN, Card, find_model, list_models, load_model
from .models.rematching import signs
from .models.suitability import Shown
from .preparation import Pair, check_overlap, describe_inputs, prepare, prepare_emphasis
from .progress import Monitor, Progress
from .regions import Regions
from .result import Registration
from .settings import Settings
from .similarity.agreement import similarity
from .spatial import field_from_mm, field_to_mm, invert
from .transforms import Composite, DisplacementField, LinearTransform, Transform, read_transform
from .volume import Geometry, Volume, as_volume

Image = Volume | sitk.Image | str | os.PathLike
# What each stage is expected to take of the whole, for the progress bar.
SHARES = {
    "linear": {"prepare": 0.1, "align": 0.75, "inverse": 0.01, "measure": 0.14},
    "deformable": {"prepare": 0.05, "align": 0.2, "deform": 0.55, "inverse": 0.1, "measure": 0.1},
    "learned": {"prepare": 0.1, "align": 0.3, "deform": 0.2, "inverse": 0.2, "measure": 0.2},
    "refined": {"prepare": 0.05, "align": 0.2, "deform": 0.1, "refine": 0.45, "inverse": 0.1, "measure": 0.1},
}
# Patients lie otherwise by up to about this much, degrees; beyond it a header is to blame.
UNLIKELY_TURN = 60.0


def register(
    fixed: Image,
    moving: Image,
    model: str = "auto",
    *,
    quality: str = "balanced",
    device: str = "auto",
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    initial: Transform | str | os.PathLike | None = None,
    landmarks: LandmarkPairs | None = None,
    regions: Image | None = None,
    emphasis: Image | None = None,
    settings: Settings | None = None,
    models_dir: str | os.PathLike | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Registration:
    """Register `moving` to `fixed`.

    Args:
        fixed, moving: a file, a DICOM folder, a SimpleITK image or a `Volume`; any size, spacing and orientation.
        model: a model type as `deepregister models` lists it; "auto" takes a learned model that was made for such a
            pair and helps, else `deformable`, and falls back to affine where bending does not help.
        quality: "fast", "balanced" or "accurate".
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        fixed_mask, moving_mask: cost masks, 0 where voxels must not count (a resection, metal, missing tissue).
        initial: a transform, fixed to moving, to start from, or a file of one: a linear one is improved, a dense one is
            taken as it is and deformed further.
        landmarks: pairs that the result should respect; `Settings.landmark_sigma_mm` says how exactly.
        regions: label map of the fixed image; within each of its values, 0 too, motion is smoothed on its own, so that
            lungs may slide along ribs. Across their borders the field may jump, and fold.
        emphasis: mask of the fixed image: where it is not 0, and an earlier result went wrong perhaps, the images weigh
            `models.instance.EMPHASIS` times as much as elsewhere while a deformable model bends them.
        settings: everything at once; then `model`, `quality` and `device` must be left alone.
        models_dir: a folder of further models.
        progress: called with each `Progress`.
        cancelled: asked in every iteration; True ends the run with `Cancelled`.

    Returns:
        The transform from fixed to moving space (LPS mm), its inverse, the registered volume and quality measures.

    Raises:
        DeepRegisterError: with a message for the user; see `deepregister.errors`.
    """
    if settings is None:
        settings = Settings(model=model, quality=quality, device=device)
    elif (model, quality, device) != ("auto", "balanced", "auto"):
        raise InputError("Give either `settings` or `model`, `quality` and `device`, not both.")
    if landmarks is not None and not isinstance(landmarks, LandmarkPairs):
        raise InputError(f"Landmarks must be LandmarkPairs(fixed, moving) in LPS mm, not {type(landmarks).__name__}.")
    card = find_model(WITHOUT_TRAINING if settings.model == "auto" else settings.model, models_dir)
    compute = choose_device(settings.device)
    steered = not (landmarks is None and regions is None and emphasis is None)
    monitor = Monitor(progress, cancelled, _shares(card, settings, steered))
    if card.learned:
        # Wrong weights are refused before anything is read.
        load_model(card)

    monitor.report("prepare", 0.0, "Reading")
    fixed_volume, moving_volume = as_volume(fixed, "fixed image"), as_volume(moving, "moving image")
    masks = [None if mask is None else as_volume(mask, "mask") for mask in (fixed_mask, moving_mask)]
    start = read_transform(initial) if isinstance(initial, (str, os.PathLike)) else initial
    if start is None:
        check_overlap(fixed_volume.geometry, moving_volume.geometry, (fixed_volume.name, moving_volume.name))
    monitor.report("prepare", 0.4, "Preparing intensities")
    fixed_side, fixed_warnings = prepare(fixed_volume, masks[0])
    moving_side, moving_warnings = prepare(moving_volume, masks[1])
    sliding = None if regions is None else Regions(as_volume(regions, "region map"))
    if sliding is not None:
        sliding.check_overlap(fixed_side.content)
    weighty = None if emphasis is None else prepare_emphasis(as_volume(emphasis, "region of emphasis"), fixed_side)
    pair = Pair(fixed_side, moving_side, landmarks, sliding, weighty)
    warnings = fixed_warnings + moving_warnings
    shown = Shown.of(pair, (fixed_volume, moving_volume))
    suitable = shown.suitable(list_models(models_dir))
    if objections := shown.objections(card):
        warnings.append(warning(card, objections, suitable))
    if sliding is not None and card.transform != "deformable":
        warnings.append(f"The regions have no effect: {card.name} cannot bend.")
    if weighty is not None and card.transform != "deformable":
        warnings.append(f"The region of emphasis has no effect: {card.name} cannot bend.")

    run_settings, compute, expected = within_memory(pair, card, settings, compute, warnings)
    monitor.report("prepare", 1.0, f"This will take {expected.describe()}")
    with _threads(settings.threads):
        try:
            transform, ran, why = _journey(pair, card, suitable, start, run_settings, compute, monitor, warnings)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if compute.type == "cpu":
                raise ResourceError(
                    "Memory ran out during the registration; nothing was changed. Close other programs, choose the "
                    "quality 'fast' or a coarser field spacing, or crop the volumes."
                ) from error
            warnings.append(f"{describe_device(compute)} ran out of memory; the CPU computed instead.")
            compute = torch.device("cpu")
            transform, ran, why = _journey(pair, card, suitable, start, run_settings, compute, monitor, warnings)

        monitor.report("inverse", 0.0, "Inverting")
        inverse = invert_transform(transform, compute)
        monitor.report("measure", 0.0, "Measuring")
        measures = _measures(pair, transform, inverse, start, fixed_volume.geometry, landmarks, compute)
        measures.update(_evidence(pair, transform, start), **monitor.evidence)
        monitor.report("measure", 0.4, "Estimating the error of each place")
        expected_error, stated = _expected_error(pair, transform, compute)
        measures.update(stated)
    turned = rotation_degrees(split_start(transform)[0])
    if start is None and turned > UNLIKELY_TURN:
        warnings.append(
            f"The moving volume was turned by {turned:.0f} degrees to fit: the orientation in one of the headers seems "
            "wrong. Check left and right before you use the result."
        )
    measures.update(estimated_memory_bytes=expected.memory_bytes, estimated_seconds=round(expected.seconds, 1))
    monitor.report("measure", 0.6, "Resampling the moving volume")
    registered = transform.resample(moving_volume, fixed_volume.geometry)
    monitor.report("measure", 1.0, "Done")
    monitor.finish()
    return Registration(
        transform=transform,
        inverse=inverse,
        registered=registered,
        settings=replace(run_settings, model=ran.name),
        measures=measures,
        seconds=dict(monitor.seconds),
        device=describe_device(compute),
        warnings=tuple(dict.fromkeys(warnings)),
        confidence=judge(measures),
        expected_error=expected_error,
        versions=versions(),
        inputs={
            **describe_inputs(
                fixed=fixed_volume,
                moving=moving_volume,
                fixed_mask=masks[0],
                moving_mask=masks[1],
                regions=None if sliding is None else sliding.labels,
                emphasis=weighty,
            ),
            "asked_model": settings.model,
            "choice": why,
            "weights_sha256": ran.sha256 or None,
            # Where a user's own model lay, also one that `auto` chose.
            "model_folder": None if ran.folder.parent == BUILT_IN else str(ran.folder.absolute()),
            "initial": None if start is None else repr(start),
            "landmark_pairs": 0 if landmarks is None else len(landmarks),
            # How many share the work decides the order of sums, and with it the last bits.
            "threads": run_settings.threads or torch.get_num_threads(),
        },
    )


def _journey(
    pair: Pair,
    card: Card,
    suitable: list[Card],
    start: Transform | None,
    settings: Settings,
    device: torch.device,
    monitor: Monitor,
    warnings: list[str],
) -> tuple[Transform, Card, str | None]:
    """Align, then deform where the model does; returns the transform, what made it, and why `auto` took that."""
    dense_start = start is not None and split_start(start)[1] is not None
    if card.transform != "deformable":
        if dense_start:
            warnings.append(f"Only the linear part of the initial transform was used: {card.name} cannot bend.")
        return load_model(card).run(pair, start, settings, device, monitor), card, None
    automatic, affine = settings.model == "auto" and not dense_start, find_model("affine")
    if dense_start:
        aligned = start
    else:
        # What follows bends far beyond the precision of an affine: more effort here would be lost.
        aligned = load_model(affine).run(pair, start, replace(settings, quality="fast"), device, monitor)
    choice = Choice()
    if card.learned or (automatic and suitable):
        monitor.report("align", 1.0, "Looking at what the volumes show")
    if automatic and suitable:
        choice = choose(pair, aligned, suitable, settings, device, monitor)
        warnings.append(choice.why)
    elif card.learned:
        warnings += warnings_of_looks(card, suitable, pair, aligned, settings, device)
    if choice.card is not None:
        card = choice.card
        monitor.expect(_shares(card, settings, pair.steered))
        monitor.report("deform", 0.9, choice.why)
        deformed = choice.model.refined(pair, choice.predicted, settings, device, monitor)
    else:
        monitor.report("deform", 0.0, "Deforming")
        deformed = load_model(card).run(pair, aligned, settings, device, monitor)
    if automatic:
        reason = _why_not(pair, aligned, deformed, device)
        if reason:
            warnings.append(f"Only the affine part was kept: {reason}.")
            # At the full quality, as the settings saved with the result say: they must reproduce it.
            return load_model(affine).run(pair, start, settings, device, monitor), affine, choice.why
    return deformed, card, choice.why


def _shares(card: Card, settings: Settings, steered: bool) -> dict[str, float]:
    """What each stage of a run is expected to take."""
    if card.learned:
        return SHARES["refined" if settings.refines(card.refine, steered) else "learned"]
    return SHARES["deformable" if card.transform == "deformable" else "linear"]


def _why_not(pair: Pair, aligned: Transform, deformed: Transform, device: torch.device) -> str | None:
    """Why bending the volume did not help, or None where it did."""
    before, after = similarity(pair, aligned, device), similarity(pair, deformed, device)
    if after <= before:
        return f"bending the volume did not raise the similarity ({before:.3f} to {after:.3f})"
    fields = [part for part in deformed.parts if isinstance(part, DisplacementField)]
    folds = max(quality.folding(field, pair.regions)["folded_fraction"] for field in fields)
    return f"the field folds in {folds:.4%} of its voxels" if folds else None


def rotation_degrees(linear: LinearTransform) -> float:
    """By how much a linear transform turns, stretching and shearing left out."""
    left, _, right = np.linalg.svd(linear.matrix[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))))


def invert_transform(transform: Transform, device: torch.device) -> Transform:
    """The inverse, dense parts by fixed point on `device` on their own grids."""
    if isinstance(transform, Composite):
        return Composite(tuple(invert_transform(part, device) for part in reversed(transform.parts)))
    if isinstance(transform, DisplacementField):
        with torch.inference_mode():
            field = invert(field_from_mm(transform.displacement, transform.geometry, device))
            return DisplacementField(field_to_mm(field, transform.geometry), transform.geometry)
    return transform.inverse()


def _measures(
    pair: Pair,
    transform: Transform,
    inverse: Transform,
    start: Transform | None,
    fixed: Geometry,
    landmarks: LandmarkPairs | None,
    device: torch.device,
) -> dict[str, float]:
    return {
        "similarity_before": similarity(pair, start or LinearTransform.identity(), device),
        "similarity_after": similarity(pair, transform, device),
        **quality.measure(transform, inverse, fixed, landmarks, pair.regions),
    }


def _evidence(pair: Pair, transform: Transform, start: Transform | None) -> dict[str, float]:
    """What the images say of the alignment, for `confidence.judge`."""
    linear, bends = split_start(transform)
    # A field as dense as this can make any two bodies agree, so what came before it is looked at.
    dense_start = bends is not None and start is not None and split_start(start)[1] is not None
    stretches = np.linalg.svd(linear.matrix[:3, :3], compute_uv=False)
    return {
        **asdict(gather(pair, start if dense_start else linear)),
        "stretch": float(max(stretches.max(), 1 / max(stretches.min(), 1e-6))),
    }


def _expected_error(pair: Pair, transform: Transform, device: torch.device) -> tuple[Volume | None, dict[str, Any]]:
    """The map of what each place may be off by, and what it says of the whole; see `expectederror.estimate`."""
    found = signs(pair, transform, device)
    bends = split_start(transform)[1] is not None
    return estimate_error(found.values, found.inside, found.geometry, "deformable" if bends else "linear")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """`count` CPU threads inside the block; torch's number is one for the whole process, so it is put back."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Versions of the engine and of what its results depend on."""
    return {
        "deepregister": __version__,
        "torch": torch.__version__,
        "SimpleITK": sitk.Version.VersionString(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
