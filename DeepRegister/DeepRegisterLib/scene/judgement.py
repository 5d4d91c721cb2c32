"""The verdict on a result in plain words, from all that is known of it: images, landmarks, structures, the field.

It begins with what the engine's own verdict says and adds what a person has placed and drawn. Each reason names place
and number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from deepregister import Geometry
from deepregister.page.verdict import WORDS

from .checking import Findings
from .current import CurrentResult
from .landmarkpairs import PairErrors
from .overlap import structureAt
from .places import placeInWords

# A landmark that is farther off is named, unless the user says otherwise, mm.
TOLERANCE_MM = 5.0
# A landmark that was nearer before the registration by more than this, mm, is worse: less is how well one can click.
CLICKING_MM = 1.0
# Structures that overlap less (Dice), or lose more overlap, or change their volume more than this factor, are named.
LEAST_DICE, LOST_DICE, LARGEST_CHANGE = 0.5, 0.02, 2.0
# There and back may miss the start by so much, mm, at 95 of 100 places.
INVERSE_MM = 1.0
# More than this share of landmarks beyond the tolerance makes a result doubtful as a whole.
MANY = 1 / 2
_NAMED = 5


@dataclass(frozen=True)
class Judgement:
    """What a reader should know first.

    Attributes:
        level: "failed", "folded", "low" or "good", as `deepregister.page.verdict`.
        headline: the verdict in a few words.
        advice: what follows from it, one sentence.
        against: what speaks against the result, sentences.
        inFavour: what speaks for it.
    """

    level: str
    headline: str
    advice: str
    against: tuple[str, ...]
    inFavour: tuple[str, ...]


def judge(
    current: CurrentResult,
    fixed: Geometry,
    errors: PairErrors | None = None,
    findings: Findings | None = None,
    pulled: Sequence[bool] | None = None,
    toleranceMm: float = TOLERANCE_MM,
) -> Judgement:
    """The verdict on the current result.

    Args:
        current: the result.
        fixed: the fixed volume's grid in the world.
        errors: of landmark pairs under it.
        findings: of a closer look.
        pulled: for each pair whether the result was drawn towards it, so that its error says little; None: none was.
        toleranceMm: landmarks that are farther off are named.
    """
    verdict = current.verdict
    level = verdict.level
    against, inFavour = list(verdict.against), list(verdict.in_favour)
    maps = findings.maps if findings is not None else ()

    def where(points: np.ndarray) -> str:
        return placeInWords(points, fixed, lambda point: structureAt(maps, point))

    if errors is not None and len(errors) and errors.after is not None:
        held = ~np.array(pulled, dtype=bool) if pulled is not None else np.ones(len(errors), dtype=bool)
        if not held.all():
            (inFavour if held.any() else against).append(_heldBack(errors, held))
        # Pairs that pulled are near by force: the others decide, where there are any.
        counted = held if held.any() else ~held
        off, worse = _landmarks(errors, counted, where, toleranceMm, against, inFavour)
        if worse > MANY * counted.sum():
            level = "failed"
        elif off > MANY * counted.sum() and level == "good":
            level = "low"
    if findings is not None:
        folded = _deformation(findings, where, against, inFavour)
        if folded and level == "good":
            level = "folded"
        _structures(findings, against, inFavour)
    words = "reserved" if level == "good" and against else level
    return Judgement(level, *WORDS[words], tuple(dict.fromkeys(against)), tuple(dict.fromkeys(inFavour)))


def _landmarks(
    errors: PairErrors, counted: np.ndarray, where, toleranceMm: float, against, inFavour
) -> tuple[int, int]:
    """How many landmarks are beyond the tolerance, and how many lie farther off than before; says both."""
    numbers = np.flatnonzero(counted)
    off = [n for n in numbers if errors.after[n] > toleranceMm]
    worse = [n for n in numbers if errors.after[n] > errors.before[n] + CLICKING_MM]
    total = len(numbers)
    if off:
        against.append(
            f"{_count(len(off), total)} off by more than {toleranceMm:g} mm{_place(errors, off, where)}: "
            f"{_named(errors, off)}."
        )
    else:
        statistics = errors.statistics("after", counted)
        which = "The landmark lies" if total == 1 else f"All {total} landmarks lie"
        inFavour.append(
            f"{which} within {toleranceMm:g} mm of the partner (mean {statistics['mean_mm']:.1f} mm, largest "
            f"{statistics['max_mm']:.1f} mm)."
        )
    if worse:
        against.append(f"{_count(len(worse), total)} farther off than before{_place(errors, worse, where)}.")
    return len(off), len(worse)


def _heldBack(errors: PairErrors, held: np.ndarray) -> str:
    pulled = int((~held).sum())
    said = f"{pulled} of {len(held)} landmark pairs drew this result towards them, so that their errors say little."
    if not held.any():
        return f"{said} Hold pairs back, or place further ones, for an honest error."
    after = errors.statistics("after", held)
    return (
        f"{said} The {int(held.sum())} held back have a mean error of {after['mean_mm']:.1f} mm, the largest of "
        f"{after['max_mm']:.1f} mm."
    )


def _count(some: int, total: int) -> str:
    if total == 1:
        return "The landmark is"
    return f"{some} of {total} landmarks {'is' if some == 1 else 'are'}"


def _place(errors: PairErrors, chosen: list[int], where) -> str:
    place = where(errors.pairs.fixed[chosen])
    if not place:
        return ""
    return f", {place}" if len(chosen) == 1 else f", {'both' if len(chosen) == 2 else 'all'} {place}"


def _named(errors: PairErrors, chosen: list[int]) -> str:
    worst = sorted(chosen, key=lambda n: -errors.after[n])
    named = ", ".join(f"{errors.names[n]} ({errors.after[n]:.1f} mm)" for n in worst[:_NAMED])
    return named + (f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else "")


def _deformation(findings: Findings, where, against, inFavour) -> bool:
    """Says what the field does; returns whether it folds."""
    folded = int(findings.deformation["folded_voxels"])
    inFolds = [(entry["name"], entry["folded_voxels"]) for entry in findings.structures if entry["folded_voxels"]]
    if folded:
        place = where(findings.foldedAt) if len(findings.foldedAt) else ""
        structures = f" {_listed([f'{name} ({count})' for name, count in inFolds])}." if inFolds else ""
        touched = f" Voxels in structures:{structures}" if structures else ""
        # The engine's own sentence counts the whole field, this one what lies in the fixed volume.
        against.append(
            f"The field folds in {folded} of the {findings.deformation['voxels']} places looked at"
            f"{', all ' + place if place else ''}.{touched}"
        )
    missed = findings.inverse["error_p95_mm"]
    if missed is not None and missed > INVERSE_MM:
        against.append(
            f"There and back misses the start by more than {missed:.1f} mm at one place in twenty: do not use the "
            "inverse for measurements."
        )
    elif missed is not None:
        inFavour.append(f"There and back misses the start by at most {max(missed, 0.01):.2f} mm at 95 of 100 places.")
    return bool(folded)


def _structures(findings: Findings, against, inFavour) -> None:
    compared = [entry for entry in findings.structures if "after" in entry]
    for entry in compared:
        before, after = entry["before"]["dice"], entry["after"]["dice"]
        if after < before - LOST_DICE:
            against.append(f"The overlap of {entry['name']} fell from {before:.2f} to {after:.2f} (Dice).")
        elif after < LEAST_DICE:
            apart = entry["after"]["surface_mean_mm"]
            surfaces = "" if apart is None else f"; its surfaces lie {apart:.1f} mm apart on average"
            against.append(f"{entry['name']} overlaps by {after:.2f} only (Dice){surfaces}.")
    for entry in findings.structures:
        change = entry["volume_change"]
        if not 1 / LARGEST_CHANGE < change < LARGEST_CHANGE:
            against.append(
                f"{entry['name']} takes {change:.2f} times its volume in the moving volume: more than the same "
                "anatomy differs as a rule."
            )
    if compared:
        before, after = (float(np.mean([entry[stage]["dice"] for entry in compared])) for stage in ("before", "after"))
        if after > before:
            which = compared[0]["name"] if len(compared) == 1 else f"{len(compared)} structures"
            mean = "The overlap" if len(compared) == 1 else "The mean overlap"
            inFavour.append(f"{mean} of {which} rose from {before:.2f} to {after:.2f} (Dice).")


def _listed(items: list[str]) -> str:
    return ", ".join(items[:_NAMED]) + (f" and {len(items) - _NAMED} more" if len(items) > _NAMED else "")
