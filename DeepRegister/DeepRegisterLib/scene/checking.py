"""The current result looked at in the worker process: where it folds, how structures overlap and change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from deepregister import Progress
from deepregister.client import EngineClient
from deepregister.job import Job
from deepregister.labelmaps import Structures

from .current import CurrentResult
from .enginetransform import engineTransform
from .overlap import structuresFromNodes


@dataclass(frozen=True, eq=False)
class Findings:
    """What a closer look at a result found; see `deepregister.inspection.inspect`.

    Attributes:
        deformation: folding, volume change and displacement over the fixed volume.
        foldedAt: (n, 3), where it folds, LPS mm.
        inverse: how far there and back misses the start.
        structures: one mapping for each structure of the fixed volume.
        maps: the label maps of the structures, to tell in which of them a point lies.
        notes: sentences for the user.
    """

    deformation: Mapping[str, float]
    foldedAt: np.ndarray
    inverse: Mapping[str, float | None]
    structures: tuple[Mapping[str, Any], ...]
    maps: Sequence[Structures]
    notes: tuple[str, ...]


class RunningCheck:
    """A check that computes in the worker process, to be polled and finished as a `RunningRegistration` is."""

    def __init__(self, job: Job, maps: Sequence[Structures], notes: tuple[str, ...]):
        self._job, self._maps, self._notes = job, maps, notes

    def poll(self) -> list[Progress]:
        """The reports that have come since the last call; does not wait."""
        return self._job.poll()

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._job.done

    def cancel(self) -> None:
        """Ask the worker to stop; returns at once. `finish` then raises `Cancelled`."""
        self._job.cancel()

    def finish(self, progress: Callable[[Progress], None] | None = None) -> Findings:
        """What was found, waited for if need be. The scene is never changed.

        Raises:
            DeepRegisterError: what the engine raised, `Cancelled`, or `WorkerError`.
        """
        found = self._job.wait(progress)
        return Findings(
            found["deformation"],
            np.array(found["folded_at"]).reshape(-1, 3),
            found["inverse"],
            tuple(found["structures"]),
            self._maps,
            (*self._notes, *found["warnings"]),
        )


def startCheck(
    client: EngineClient, current: CurrentResult, fixedSegmentation=None, movingSegmentation=None
) -> RunningCheck:
    """Start a closer look at the current result and return at once.

    Args:
        client: of the worker process.
        current: the result.
        fixedSegmentation: segmentation or label map of the fixed volume, or None.
        movingSegmentation: of the moving volume, or None; structures of equal names are compared.

    Raises:
        InputError: the result has left the scene, or the segmentations cannot be compared.
        WorkerError: the worker is busy or cannot be started.
    """
    transform, inverse, fixed = engineTransform(current)
    maps, notes = [], ()
    if fixedSegmentation is not None or movingSegmentation is not None:
        maps, notes = structuresFromNodes(fixedSegmentation, movingSegmentation, current.transformNode)
    return RunningCheck(client.inspect(transform, fixed, inverse, maps), maps, notes)
