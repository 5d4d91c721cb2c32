"""What became of one pair of a cohort, and which pairs a person should look at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..confidence import Confidence

DONE, FAILED, OPEN = "done", "failed", "open"
# Measures of one figure each that a summary shows, in this order.
MEASURES = (
    "similarity_before",
    "similarity_after",
    "dice_before",
    "dice_after",
    "tre_before_mean_mm",
    "tre_after_mean_mm",
    "tre_after_median_mm",
    "tre_after_max_mm",
    "folded_fraction",
    "jacobian_min",
    "jacobian_max",
    "displacement_mean_mm",
    "displacement_max_mm",
    "inverse_error_mean_mm",
    "inverse_error_max_mm",
)


@dataclass(frozen=True)
class Outcome:
    """One line of the summary.

    Attributes:
        name: of the pair and of its folder.
        fixed, moving: the files.
        status: "done", "failed", or "open" while it has not been computed.
        error: why it failed, for the user.
        confidence: of the result.
        measures: those of `MEASURES` that there are.
        warnings: what the engine noted.
        seconds: of the registration.
        model, quality, device: what made it.
        worker: host and process that had it in this run.
        reused: whether it was done before and only read in this run.
    """

    name: str
    fixed: str
    moving: str
    status: str = OPEN
    error: str = ""
    confidence: Confidence | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    model: str = ""
    quality: str = ""
    device: str = ""
    worker: str = ""
    reused: bool = False

    @classmethod
    def of_result(cls, name: str, fixed: str, moving: str, summary: Mapping[str, Any]) -> Outcome:
        """From the content of a `result.json`."""
        measures = summary["measures"]
        return cls(
            name,
            fixed,
            moving,
            DONE,
            confidence=Confidence.from_dict(summary["confidence"]),
            measures={key: float(measures[key]) for key in MEASURES if measures.get(key) is not None},
            warnings=tuple(summary["warnings"]),
            seconds=round(sum(summary["seconds"].values()), 2),
            model=summary["settings"]["model"],
            quality=summary["settings"]["quality"],
            device=summary["device"],
        )

    @property
    def folds(self) -> bool:
        """Whether the field turns space inside out anywhere."""
        return self.measures.get("folded_fraction", 0.0) > 0

    @property
    def verdict(self) -> str:
        """In two words: "failed", "low confidence", "folds", "good", or "not done"."""
        if self.status == FAILED:
            return "failed"
        if self.status == OPEN:
            return "not done"
        if self.confidence is not None and self.confidence.low:
            return "low confidence"
        return "folds" if self.folds else "good"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against it, the gravest first: the error, or what lowered the confidence."""
        if self.error:
            return (self.error,)
        reasons = self.confidence.reasons if self.confidence else ()
        if self.folds and not any("fold" in reason for reason in reasons):
            reasons += (f"The field folds in {self.measures['folded_fraction']:.4%} of its voxels.",)
        return reasons

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; without `worker` and `reused`, so that a summary does not depend on what was computed when."""
        return {
            "name": self.name,
            "status": self.status,
            "verdict": self.verdict,
            "confidence": self.confidence and self.confidence.to_dict(),
            "measures": dict(self.measures),
            "seconds": self.seconds,
            "model": self.model,
            "quality": self.quality,
            "device": self.device,
            "warnings": list(self.warnings),
            "error": self.error,
            "fixed": self.fixed,
            "moving": self.moving,
        }


VERDICTS = ("failed", "low confidence", "folds", "good", "not done")


def doubtful_first(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Failed ones, low confidence, folds, then the rest; among equals the lower confidence and the more folds first."""

    def doubt(outcome: Outcome) -> tuple:
        score = outcome.confidence.score if outcome.confidence else 0.0
        return VERDICTS.index(outcome.verdict), score, -outcome.measures.get("folded_fraction", 0.0), outcome.name

    return sorted(outcomes, key=doubt)


def count(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many there are of each verdict."""
    counts = dict.fromkeys(VERDICTS, 0)
    for outcome in outcomes:
        counts[outcome.verdict] += 1
    return counts
