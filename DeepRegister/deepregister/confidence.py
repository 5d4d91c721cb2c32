"""How far a result may be trusted: one figure and the reasons in words. Needs no torch.

Each piece of evidence has a physical meaning and a level at which it alone makes a result doubtful; the score is the
product of what each leaves. The levels were set on the development half of `Testing/benchmarks/failures.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Below this a person must look before the result is used.
LOW = 0.5
ADVICE = "a person must look at this result before it is used."
# What leaves more of the confidence than this is not worth a sentence.
WORTH_SAYING = 0.75


@dataclass(frozen=True)
class Confidence:
    """What speaks for and against a result.

    Attributes:
        score: 0 (surely failed) to 1 (nothing speaks against it); below `LOW` the result is marked 'low confidence'.
        reasons: what speaks against it, one sentence each, the gravest first; empty where nothing does.
    """

    score: float = 1.0
    reasons: tuple[str, ...] = ()

    @property
    def low(self) -> bool:
        return self.score < LOW

    @property
    def level(self) -> str:
        """ "low" or "good"."""
        return "low" if self.low else "good"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a user is told, one by one: first that the confidence is low, where it is, then the reasons."""
        return (f"Low confidence ({self.score:.2f}): {ADVICE}", *self.reasons) if self.low else self.reasons

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {"level": self.level, "score": round(self.score, 4), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Confidence:
        """From what `to_dict` made."""
        return cls(float(values["score"]), tuple(values["reasons"]))


@dataclass(frozen=True)
class Doubt:
    """One piece of evidence against a result.

    Attributes:
        value: how strong it is.
        level: where it alone leaves a confidence of one half.
        steepness: how sharply it divides good from bad there.
        sentence: what a user is told of it.
    """

    value: float
    level: float
    steepness: float
    sentence: str

    @property
    def leaves(self) -> float:
        """What is left of the confidence, 1 to 0."""
        return 1 / (1 + min(max(self.value, 0.0) / self.level, 1e3) ** self.steepness)


def judge(measures: Mapping[str, Any]) -> Confidence:
    """The confidence that the measures of a registration leave.

    Args:
        measures: those of `Registration.measures`; what is not among them says nothing. Beside `quality.measure` these
            are "similarity_before" and "similarity_after"; "in_view", "agreement" and "agreement_away" of
            `evidence.Evidence`; "rival", the score of the best other place that a start of the search led to over that
            of the chosen one; "stretch", the largest factor by which the linear part stretches or shrinks.
    """
    doubts = sorted(_doubts(measures), key=lambda doubt: doubt.leaves)
    score = 1.0
    for doubt in doubts:
        score *= doubt.leaves
    said = [doubt.sentence for doubt in doubts if doubt.leaves < WORTH_SAYING]
    if score < LOW and not said:
        said = [doubts[0].sentence]
    return Confidence(score, tuple(said))


def _doubts(measures: Mapping[str, Any]) -> list[Doubt]:
    doubts = []

    def doubt(level: float, steepness: float, value: float, sentence: str) -> None:
        doubts.append(Doubt(value, level, steepness, sentence))

    if "agreement" in measures:
        here, away = measures["agreement"], measures["agreement_away"]
        # 1 and more where no place is special.
        share = away / here if here > 0 else 1.0
        text = (
            "The insides agree hardly better here than elsewhere: moved by a quarter of their size, "
            f"{min(share, 1):.0%} of the agreement is left. The volumes may show different anatomy, or lie the "
            "wrong way round to each other."
        )
        doubt(0.22, 6, share, text)
    if "rival" in measures:
        rival = measures["rival"]
        text = (
            f"Starts of the search that led to other places fit nearly as well ({rival:.0%} of the score): an initial "
            "transform or landmarks would say which place is the right one."
        )
        # Rivals are compared before the last refinement, which may still part them: they do not decide alone.
        doubt(1.05, 12, rival, text)
    if "in_view" in measures:
        view = measures["in_view"]
        text = f"The moving volume covers only {view:.0%} of what the fixed volume shows."
        doubt(5, 3, 1 / max(view, 1e-3), text)
    if "stretch" in measures:
        stretch = measures["stretch"]
        text = f"The moving volume had to be stretched or shrunk by a factor of {stretch:.2f}: more than people differ."
        doubt(1.7, 12, stretch, text)
    spread = measures.get("jacobian_log_std")
    if spread is not None:
        text = f"The field swells and shrinks neighbouring places unevenly: the volume change spreads by {spread:.2f}."
        doubt(0.8, 6, spread, text)
    before, after = measures.get("similarity_before"), measures.get("similarity_after")
    if before is not None and after is not None and after < before:
        text = (
            f"The similarity fell from {before:.3f} to {after:.3f}: look at the result before you use it, or give an "
            "initial transform or landmarks."
        )
        doubt(1.1, 20, before / max(after, 1e-6), text)
    if "tre_after_mean_mm" in measures:
        before, after = measures["tre_before_mean_mm"], measures["tre_after_mean_mm"]
        if after > before:
            text = f"The mean landmark error rose from {before:.2f} to {after:.2f} mm."
            # Tenths of a millimetre are within the care with which anyone places a landmark.
            doubt(1.3, 8, (after + 1) / (before + 1), text)
        text = f"The landmarks still lie {after:.1f} mm apart on average: some are misplaced, or the result is wrong."
        doubt(10, 3, after, text)
    return doubts
