"""`Settings`: the one frozen value that steers a run, is saved with its result and reproduces it.

Nothing else configures the engine: there is no global state and no settings file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import InputError

QUALITIES = ("fast", "balanced", "accurate")
DEVICES = ("auto", "cpu", "cuda", "mps")
SIMILARITIES = ("auto", "lncc", "mind")


@dataclass(frozen=True)
class Settings:
    """What steers a run. Lengths are in millimetres.

    Attributes:
        model: name of a model type as `deepregister models` lists it, or "auto".
        quality: "fast", "balanced" or "accurate": the same trade of time for accuracy in every model.
        device: "auto" (the fastest present), "cpu", "cuda", "cuda:N" or "mps".
        similarity: measure the deformable models optimise: "lncc" (one modality), "mind" (several), or "auto".
        field_spacing_mm: finest spacing of the displacement field; None leaves it to `quality`.
        refine: whether instance optimisation refines the field of a learned model. None: where its card says that this
            helps; and always with landmarks or sliding regions, which a network cannot see.
        landmark_sigma_mm: how exactly the landmark pairs were placed (standard deviation); smaller pulls harder.
        seed: of the random sampling in `rigid` and `affine`.
        threads: CPU threads; None leaves it to torch.
    """

    model: str = "auto"
    quality: str = "balanced"
    device: str = "auto"
    similarity: str = "auto"
    field_spacing_mm: float | None = None
    refine: bool | None = None
    landmark_sigma_mm: float = 1.0
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        _one_of("quality", self.quality, QUALITIES)
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise InputError(
                f"The device {self.device!r} does not exist. Choose one of: {', '.join(DEVICES)}, or cuda:N for one "
                "of several."
            )
        _one_of("similarity", self.similarity, SIMILARITIES)
        if not isinstance(self.model, str) or not self.model:
            raise InputError(f"The model must be a name, not {self.model!r}. `deepregister models` lists them.")
        if self.field_spacing_mm is not None:
            _positive("field_spacing_mm", self.field_spacing_mm)
        if not (self.refine is None or isinstance(self.refine, bool)):
            raise InputError(f"refine must be true, false or None, which leaves it to the model, not {self.refine!r}.")
        _positive("landmark_sigma_mm", self.landmark_sigma_mm)
        _whole("seed", self.seed, 0)
        if self.threads is not None:
            _whole("threads", self.threads, 1)

    def refines(self, helps: bool, steered: bool) -> bool:
        """Whether the field of a learned model is refined.

        Args:
            helps: as its card says.
            steered: whether there are landmarks or sliding regions.
        """
        return steered or helps if self.refine is None else self.refine

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary that `from_dict` turns back into an equal value."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from a dictionary; an unknown key is an `InputError`, so that a typing error cannot pass."""
        if not isinstance(values, Mapping):
            raise InputError(f"Settings are names with values, not {values!r}.")
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise InputError(f"Unknown setting {', '.join(unknown)}. The settings are: {', '.join(known)}.")
        return cls(**values)


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"The {name} {value!r} does not exist. Choose one of: {', '.join(choices)}.")


def _positive(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise InputError(f"{name} must be a positive number, not {value!r}.")


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}.")
