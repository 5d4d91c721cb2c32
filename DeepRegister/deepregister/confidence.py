"""How far a result may be trusted: one figure and the reasons in words. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Below this a person must look before the result is used.
LOW = 0.5


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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {"level": self.level, "score": round(self.score, 4), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Confidence:
        """From what `to_dict` made."""
        return cls(float(values["score"]), tuple(values["reasons"]))
