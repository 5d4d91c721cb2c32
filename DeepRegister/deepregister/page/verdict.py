"""The verdict on a result in plain words: one sentence, what speaks against it, what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass

from ..expectederror import sentence as expected_error
from ..result import Registration

# A score this near to 0 says that the registration went wrong, not that it might have.
FAILED_SCORE = 0.1
# A similarity or landmark error that got worse by no more than this share of it is as good as before.
NO_CHANGE = 0.05


@dataclass(frozen=True)
class Verdict:
    """What a reader should know first.

    Attributes:
        level: "failed", "folded", "low" or "good".
        headline: the verdict in a few words.
        advice: what follows from it, one sentence.
        against: what speaks against the result, the gravest first.
        in_favour: what speaks for it.
        notes: what else the run had to say.
        expected: the note on the expected error; empty where there is none, or where it would mislead.
    """

    level: str
    headline: str
    advice: str
    against: tuple[str, ...]
    in_favour: tuple[str, ...]
    notes: tuple[str, ...]
    expected: str = ""


WORDS = {
    "failed": (
        "Failed",
        "The moving volume does not fit the fixed one. Do not use this result; register again from an initial "
        "transform, with landmarks or with masks.",
    ),
    "folded": (
        "Folded in places",
        "Where the field folds, tissue runs over itself: do not measure or plan anything there.",
    ),
    "low": ("Low confidence", "A person must look at the pictures before this result is used."),
    "good": ("Good", "No measure speaks against this result. Look at the pictures before you rely on it."),
    "reserved": ("Good, with reservations", "Look at the places and reasons named here before you rely on it."),
}


def judge(registration: Registration) -> Verdict:
    """The verdict on a registration, from its confidence, measures and warnings alone."""
    measures, confidence = registration.measures, registration.confidence
    against, in_favour, notes = list(confidence.reasons), [], list(registration.warnings)
    failed = confidence.score < FAILED_SCORE

    def speaks_against(sentence: str) -> None:
        # The engine may have said the same and added what to do about it: its words are the better ones.
        if any(reason.startswith(sentence[:-1]) for reason in confidence.reasons):
            return
        same = next((note for note in notes if note.startswith(sentence[:-1])), None)
        if same is not None:
            notes.remove(same)
        against.append(same or sentence)

    for name, key, digits, unit, rises in (
        ("similarity", "similarity_{}", 3, "", True),
        ("mean landmark error", "tre_{}_mean_mm", 2, " mm", False),
    ):
        before, after = measures.get(key.format("before")), measures.get(key.format("after"))
        if before is None or after is None or before == after:
            continue
        verb = "rose" if after > before else "fell"
        sentence = f"The {name} {verb} from {before:.{digits}f} to {after:.{digits}f}{unit}."
        gain = (after - before if rises else before - after) / max(abs(before), 1e-6)
        if gain > 0:
            in_favour.append(sentence)
        elif gain < -NO_CHANGE:
            failed = True
            speaks_against(sentence)
        else:
            # Two scans that lay in one place already leave little to gain.
            notes.append(sentence)

    folded = measures.get("folded_fraction")
    if folded:
        speaks_against(f"The field folds in {share(folded)} of its voxels.")
    elif folded is not None:
        in_favour.append(folding(registration))

    # It tells how sharply the images fit, which two different organs may do as well.
    expected = "" if failed else expected_error(measures)
    if expected and confidence.low:
        expected = f"Only if the result is right as a whole: {expected[0].lower()}{expected[1:]}"
    if expected:
        notes.append(expected)

    if failed:
        level = "failed"
    elif folded:
        level = "folded"
    elif confidence.low:
        level = "low"
    else:
        level = "good"
    words = "reserved" if level == "good" and against else level
    return Verdict(level, *WORDS[words], tuple(against), tuple(in_favour), tuple(notes), expected)


def folding(registration: Registration) -> str:
    """How many voxels fold, where that was measured, in a sentence."""
    folded = registration.measures["folded_fraction"]
    found = f"{share(folded)} of the voxels fold" if folded else "No voxel folds"
    # Across them the field may jump: folds there were not counted.
    where = ", the borders of the sliding regions left out" if registration.inputs.get("regions") else ""
    return f"{found}{where}."


def share(fraction: float) -> str:
    """A share in percent that never looks like nothing: a single voxel of a large field is 0.00001 %."""
    percent = 100 * fraction
    return "none" if percent == 0 else f"{percent:.2f} %" if percent >= 0.01 else f"{percent:.1g} %"


def millimetres(length: float) -> str:
    """A length; rounding errors are no number to show."""
    return "less than 0.01 mm" if length < 0.005 else f"{length:.2f} mm"
