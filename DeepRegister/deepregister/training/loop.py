"""The training itself: draw pairs, compare, step; validate, checkpoint, publish; stop by steps, clock or Ctrl-C.

Each step draws its random numbers from a seed made of the recipe's seed, the step and the process, so that a training
that goes on from a checkpoint does the same as one that was never interrupted: on a CPU to the bit (with the same
number of threads and the same versions).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..console import duration
from ..devices import describe_device
from ..errors import ModelError
from ..networks import build
from ..pictures import write_pictures
from ..progress import Progress
from . import checkpoint as checkpoints
from .checkpoint import Checkpoint
from .curves import VALIDATION, Curves
from .objective import TERMS, objective
from .publish import publish
from .ranks import Ranks
from .recipe import Recipe
from .sources import Source
from .stopwatch import Stopwatch
from .typical import Typical
from .validation import Look, validate

FOLDER, CHECKPOINT = "training", "checkpoint.safetensors"
# Steps between two points of the curves, and after how many the speed can be told.
LOG_EVERY, SPEED_AFTER = 10, 30
# Step at which the first picture is made: early enough to see that something is wrong.
FIRST_LOOK = 50
NETWORK_STREAM = 2**31


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        folder: the model.
        step, steps: how far it came, and the whole schedule.
        reason: "finished", "clock" or "stopped".
        figures: of the last validation.
        waiting: share of the time that the device waited for data.
        seconds_per_step: mean over this run, validation left out.
    """

    folder: Path
    step: int
    steps: int
    reason: str
    figures: dict[str, float]
    waiting: float
    seconds_per_step: float


@dataclass(frozen=True)
class Watchers:
    """Who looks on.

    Attributes:
        progress: called with each `Progress`.
        say: called with each line that is to stay.
        cancelled: asked between steps; True ends the training, which can be gone on with.
    """

    progress: Callable[[Progress], None] = lambda report: None
    say: Callable[[str], None] = lambda text: None
    cancelled: Callable[[], bool] = lambda: False


@dataclass(eq=False)
class Training:
    """One run of the loop, from the checkpoint `state` on, or with the weights `first`, or with fresh ones."""

    recipe: Recipe
    out: Path
    ranks: Ranks
    source: Source
    watchers: Watchers
    state: Checkpoint | None
    first: dict[str, torch.Tensor] | None = None
    typical: Typical | None = None
    before: str = ""
    step: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    seconds_before: float = 0.0

    def __post_init__(self) -> None:
        recipe, device = self.recipe, self.ranks.device
        torch.manual_seed(seed_of(recipe.optimiser.seed, 0, NETWORK_STREAM))
        network = build(recipe.model["architecture"], recipe.model.get("parameters", {}))
        if self.first is not None:
            network.load_state_dict(self.first)
        self.network = network.to(device=device, memory_format=torch.channels_last_3d).train()
        self.mean = deepcopy(self.network).requires_grad_(False)
        chosen = recipe.optimiser
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay
        )
        if self.state is not None:
            path = self.out / FOLDER / CHECKPOINT
            checkpoints.restore(self.state, path, self.network, self.mean, self.optimiser)
            self.step, self.figures = self.state.step, dict(self.state.about["figures"])
            self.seconds_before = self.state.about["seconds"]
            self.before = self.state.about.get("before", "")
        self.wrapped = self.ranks.wrapped(self.network)
        self.autocast = _autocast(recipe.optimiser.precision, device)
        self.watch = Stopwatch(device)
        self.curves = Curves(self.out / FOLDER, self.step) if self.ranks.leads else None

    def run(self, deadline: float | None) -> Outcome:
        """Steps until the schedule ends, the clock reaches `deadline` (of `time.monotonic`), or someone stops it."""
        chosen, began = self.recipe.optimiser, self.step
        reason = "finished"
        self.started = time.monotonic()
        every = self.recipe.validation.every
        since: list[dict[str, torch.Tensor]] = []
        try:
            while self.step < chosen.steps:
                stop = self.watchers.cancelled()
                late = deadline is not None and time.monotonic() >= deadline
                if self.ranks.any(stop or late):
                    reason = "stopped" if self.ranks.any(stop) else "clock"
                    break
                since.append(self._step())
                due = self.step % every == 0 or self.step in (FIRST_LOOK, chosen.steps)
                if due or self.step % LOG_EVERY == 0:
                    self._log(_means(since, self.recipe))
                    since = []
                if self.step - began == SPEED_AFTER:
                    self._tell_speed()
                if due:
                    self._save(validated=True)
            if reason != "finished" and self.step > began:
                self._save(validated=reason == "clock")
        finally:
            if self.curves is not None:
                self.curves.close()
        self.ranks.wait()
        watch = self.watch
        return Outcome(
            self.out, self.step, chosen.steps, reason, self.figures, watch.waiting_share, watch.seconds_per_step
        )

    def _step(self) -> dict[str, torch.Tensor]:
        chosen = self.recipe.optimiser
        rate = learning_rate(self.step, chosen)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        seed = seed_of(chosen.seed, self.step + 1, self.ranks.number)
        # The network draws from torch's own generator where it draws at all.
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        self.watch.begin()
        batch = self.source.draw(chosen.batch, generator)
        self.watch.have_data()
        images = (image.contiguous(memory_format=torch.channels_last_3d) for image in (batch.fixed, batch.moving))
        with self.autocast:
            motion = self.wrapped(*images)
        loss, terms = objective(batch, motion, self.recipe)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), chosen.clip)
        self.optimiser.step()
        self.step += 1
        # In the beginning the mean follows closely: what it starts from is noise.
        follow = 1 - min(chosen.ema, self.step / (self.step + 9))
        with torch.no_grad():
            for mean, value in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, follow)
            for mean, value in zip(self.mean.buffers(), self.network.buffers(), strict=True):
                mean.copy_(value)
        self.watch.end()
        return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}, "gradient": norm}

    def _log(self, values: dict[str, float]) -> None:
        # A term that no batch had is not known; all others must be numbers.
        if not math.isfinite(values["loss"] + values["gradient"]):
            raise ModelError(
                f"The loss is no longer a finite number at step {self.step}. Lower optimiser.learning_rate or "
                "optimiser.clip; the last checkpoint is from before."
            )
        if self.curves is None:
            return
        rate = learning_rate(self.step - 1, self.recipe.optimiser)
        more = {"rate": rate, "waiting": self.watch.waiting_share, "steps_per_second": self.watch.steps_per_second}
        self.curves.add(self.step, {"seconds": self._seconds(), **values, **more})
        steps = self.recipe.optimiser.steps
        left = (steps - self.step) / max(self.watch.steps_per_second, 1e-9)
        message = f"step {self.step} of {steps}, " + ", ".join(
            f"{name} {value:.4f}" for name, value in values.items() if name != "gradient" and value == value
        )
        self.watchers.progress(Progress("train", self.step / steps, message, left))

    def _tell_speed(self) -> None:
        left = (self.recipe.optimiser.steps - self.step) / max(self.watch.steps_per_second, 1e-9)
        if self.ranks.leads:
            self.watchers.say(
                f"{self.watch.steps_per_second:.2f} steps a second on {describe_device(self.ranks.device)}: "
                f"{duration(left)} to go; --steps shortens the schedule."
            )

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _save(self, validated: bool) -> None:
        """Measure, and renew checkpoint and model on the disk; the first process alone."""
        if self.ranks.leads:
            if validated:
                self._validate()
            about: dict[str, Any] = {
                "step": self.step,
                "seconds": self._seconds(),
                "figures": self.figures,
                "recipe": self.recipe.to_dict(),
                "before": self.before,
            }
            state = checkpoints.gather(self.network, self.mean, self.optimiser, about)
            state.write(self.out / FOLDER / CHECKPOINT)
            finished = self.step >= self.recipe.optimiser.steps
            publish(self.mean, self.recipe, self.out, self._sentence(), self.figures, finished, typical=self.typical)
        self.ranks.wait()

    def _validate(self) -> None:
        figures, look = validate(self.mean, self.source.validation, self.recipe)
        self.figures = figures
        self.curves.add(self.step, {"seconds": self._seconds(), **figures}, VALIDATION)
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.watchers.say(f"step {self.step}, {duration(self._seconds())}: {told}")
        self._picture(look)

    def _picture(self, look: Look) -> None:
        caption = f"step {self.step}: validation pair, moving before (behind the affine) and after"
        path = self.out / FOLDER / f"look-{self.step:06d}.png"
        write_pictures(path, look.fixed, look.moving, look.warped, caption)

    def _sentence(self) -> str:
        chosen = self.recipe.optimiser
        several = f" in each of {self.ranks.count} processes" if self.ranks.count > 1 else ""
        return (
            f"{self.step} of {chosen.steps} steps of {chosen.batch} pairs{several}, {duration(self._seconds())} on "
            f"{describe_device(self.ranks.device)}, torch {torch.__version__}.{self.before}"
        )


def _means(rows: list[dict[str, torch.Tensor]], recipe: Recipe) -> dict[str, float]:
    """Of each term over some steps, by name, always in one order; NaN for one that none of them had."""
    means = {}
    for name in ("loss", *(term for term in TERMS if getattr(recipe.loss, term)), "gradient"):
        found = [row[name] for row in rows if name in row]
        means[name] = float(torch.stack(found).mean()) if found else math.nan
    return means


def learning_rate(step: int, chosen: Any) -> float:
    """Of a step, from 0: a linear rise, then half a cosine down to the final rate (Loshchilov & Hutter, 2017)."""
    if step < chosen.warmup:
        return chosen.learning_rate * (step + 1) / chosen.warmup
    along = (step - chosen.warmup) / max(1, chosen.steps - chosen.warmup)
    return chosen.final_rate + 0.5 * (chosen.learning_rate - chosen.final_rate) * (1 + math.cos(math.pi * along))


def seed_of(seed: int, step: int, stream: int) -> int:
    """A seed of 63 bits for one step of one process."""
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _autocast(precision: str, device: torch.device) -> Any:
    if precision == "auto":
        able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if able else "float32"
    return nullcontext() if precision == "float32" else torch.autocast(device.type, torch.bfloat16)
