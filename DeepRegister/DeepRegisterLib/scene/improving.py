"""A result refined in the worker process: drawn towards landmark pairs, or looked at harder where it went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from deepregister import Progress, Settings
from deepregister.client import EngineClient
from deepregister.errors import InputError
from deepregister.landmarks import LandmarkPairs
from deepregister.models.registry import find_model

from .current import CurrentResult
from .enginetransform import engineTransform
from .heldback import heldBack, keepChoices
from .history import History
from .landmarkpairs import PairErrors, pairErrors
from .masks import maskFromNode
from .parents import parentChain
from .provenance import recordedPulledBy, recordNotes
from .request import requestFromNodes
from .results import RegistrationNodes
from .running import RunningRegistration


class RunningRefinement:
    """A refinement that computes in the worker process, to be polled and finished as a `RunningRegistration` is."""

    def __init__(self, running: RunningRegistration, current: CurrentResult, history: History, pairs: _Pairs | None):
        self._running, self._current, self._history, self._pairs = running, current, history, pairs
        self._nodes: RegistrationNodes | None = None
        self._outcome: tuple[str, ...] = ()

    @property
    def outcome(self) -> tuple[str, ...]:
        """After `finish`: what became of the landmark errors, in sentences; empty without landmarks."""
        return self._outcome

    def poll(self) -> list[Progress]:
        """The reports that have come since the last call; does not wait."""
        return self._running.poll()

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not: time to call `finish`."""
        return self._running.done

    def cancel(self) -> None:
        """Ask the worker to stop; returns at once. `finish` then raises `Cancelled`."""
        self._running.cancel()

    def finish(self, progress: Callable[[Progress], None] | None = None) -> RegistrationNodes:
        """Put the refined result into the nodes of the earlier one, which can be returned to.

        Raises:
            DeepRegisterError: what the engine raised, `Cancelled`, `WorkerError`, or why the result could not be
                inserted. The scene is then as it was before.
        """
        if self._nodes is None:
            # Of a result that has left the scene nothing can be kept, and `finish` says so.
            before = self._history.keep(self._current) if self._current.alive else None
            nodes = self._running.finish(progress)
            self._history.add(before, nodes.transformNode)
            said = self._outcome = () if self._pairs is None else self._pairs.sentences(nodes.transformNode)
            recordNotes(nodes.transformNode, (*said, *nodes.notes))
            self._nodes = replace(nodes, message=" ".join((*said, nodes.message)), notes=(*said, *nodes.notes))
        return self._nodes


class _Pairs:
    """The landmark pairs of a refinement, and which of them were held back."""

    def __init__(self, fixedNode, movingNode, errors: PairErrors, held: np.ndarray):
        self._fixedNode, self._movingNode = fixedNode, movingNode
        self.errors, self.held = errors, held

    @property
    def training(self) -> LandmarkPairs:
        """Those that draw the result."""
        pairs = self.errors.pairs
        return LandmarkPairs(pairs.fixed[~self.held], pairs.moving[~self.held])

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Of those that draw the result."""
        return tuple(name for name, held in zip(self.errors.identifiers, self.held, strict=True) if not held)

    def sentences(self, transformNode) -> tuple[str, ...]:
        """What became of the errors: of the pairs that drew the result, and, honestly, of those held back."""
        now = pairErrors(self._fixedNode, self._movingNode, transformNode)
        if now.identifiers != self.errors.identifiers:
            # Pairs were placed or removed meanwhile: before and after would not be of the same ones.
            return ()
        drawn = self._change(now, ~self.held)
        said = (f"{drawn[0]} drew the result towards {drawn[1]}: {drawn[2]}.",)
        if self.held.any():
            kept = self._change(now, self.held)
            rose = now.statistics("after", self.held)["mean_mm"] > self.errors.statistics("after", self.held)["mean_mm"]
            advice = " That is worse: take the refinement back." if rose else ""
            said += (f"{kept[0]} held back, honestly: {kept[2]}.{advice}",)
        return said

    def _change(self, now: PairErrors, chosen: np.ndarray) -> tuple[str, str, str]:
        before, after = (errors.statistics("after", chosen)["mean_mm"] for errors in (self.errors, now))
        count = int(chosen.sum())
        pairs, them = ("1 landmark pair", "it") if count == 1 else (f"{count} landmark pairs", "them")
        return pairs, them, f"mean error {before:.1f} mm before, {after:.1f} mm now"


def startRefinement(
    client: EngineClient,
    history: History,
    current: CurrentResult,
    fixedPoints=None,
    movingPoints=None,
    emphasisNode=None,
    *,
    fixedMaskNode=None,
    movingMaskNode=None,
    regionsNode=None,
    settings: Settings | None = None,
) -> RunningRefinement:
    """Start to refine the current result from where it is, and return at once.

    A deformable result is bent further, whichever model made it; a rigid or affine one stays what it is.

    Args:
        client: of the worker process.
        history: learns of the earlier result.
        current: the result.
        fixedPoints, movingPoints: landmark pairs; those that are not held back (see `heldBack`) draw the result.
        emphasisNode: mask painted on the fixed volume where the result went wrong: the images weigh more there.
        fixedMaskNode, movingMaskNode, regionsNode: as for a registration.
        settings: quality, device and how exactly the landmarks were placed; None takes those of the result.

    Raises:
        InputError: nothing to refine with, or nodes that cannot be used; the text says what to do.
        WorkerError: the worker is busy or cannot be started.
    """
    transform = engineTransform(current)[0]
    pairs = _pairsOf(current, fixedPoints, movingPoints)
    if pairs is None and emphasisNode is None:
        raise InputError("There is nothing to refine the result with. Place landmark pairs, or paint a region.")
    linear = current.transformNode.IsLinear() or find_model(current.settings.model).transform != "deformable"
    if linear and pairs is None:
        raise InputError(
            f"The result is {current.settings.model}, which cannot bend, so a painted region changes nothing. Register "
            "with a deformable model, or place landmark pairs."
        )
    model = current.settings.model if linear else "deformable"
    request = requestFromNodes(
        current.fixedNode,
        current.movingNode,
        replace(settings or current.settings, model=model),
        fixedMaskNode=fixedMaskNode,
        movingMaskNode=movingMaskNode,
        regionsNode=regionsNode,
        outputTransformNode=current.transformNode,
        createRegisteredVolume=current.registeredVolumeNode is not None,
        applyTransform=current.transformNode in parentChain(current.movingNode),
        createInverse=current.inverseTransformNode is not None,
    )
    emphasis, notes = (None, ()) if emphasisNode is None else maskFromNode(emphasisNode, current.transformNode)
    request = replace(
        request,
        initial=transform,
        landmarks=None if pairs is None else pairs.training,
        notes=request.notes + notes,
        pulledBy=tuple(recordedPulledBy(current.transformNode)) + (() if pairs is None else pairs.identifiers),
        registeredVolumeNode=current.registeredVolumeNode,
        inverseTransformNode=current.inverseTransformNode,
    )
    job = client.submit(
        request.fixed,
        request.moving,
        request.settings,
        fixed_mask=request.fixedMask,
        moving_mask=request.movingMask,
        regions=request.regions,
        emphasis=emphasis,
        initial=request.initial,
        landmarks=request.landmarks,
    )
    if pairs is not None:
        keepChoices(pairs.errors, fixedPoints, pairs.held)
    return RunningRefinement(RunningRegistration(request, job), current, history, pairs)


def _pairsOf(current: CurrentResult, fixedPoints, movingPoints) -> _Pairs | None:
    """The pairs of two lists, if there is a whole one.

    Raises:
        InputError: all of them are held back.
    """
    errors = pairErrors(fixedPoints, movingPoints, current.transformNode)
    if not len(errors):
        return None
    held = heldBack(errors, fixedPoints, current.transformNode)
    if held.all():
        raise InputError(
            f"All {len(errors)} landmark pairs are held back, so that none draws the result. Use at least one."
        )
    return _Pairs(fixedPoints, movingPoints, errors, held)
