"""The frames of a volume sequence registered one after the other in one worker, into a sequence of transforms."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import slicer
from deepregister import Geometry, Progress, Rigid, Settings, Volume
from deepregister.client import EngineClient
from deepregister.errors import Cancelled, DeepRegisterError, InputError
from deepregister.job import Job
from deepregister.models.registry import find_model
from deepregister.result import Registration

from .edit import SceneEdit
from .frame import nodesOfClass
from .grids import nodeTransform
from .transforms import setNodeTransform
from .volumes import volumeFromNode

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class SequenceResult:
    """What became of a sequence.

    Attributes:
        transformSequenceNode: for each frame that was registered a transform, under the frame's own index value.
        registrations: the engine's result for each frame; None for the reference frame and for those that failed.
        errors: why a frame failed, by its number.
    """

    transformSequenceNode: object
    registrations: tuple[Registration | None, ...]
    errors: dict[int, DeepRegisterError]


class RunningSequence:
    """A sequence that is registered frame by frame in the worker process; polled like a `RunningRegistration`.

    The scene is not touched before `finish`. A frame that fails does not stop the others.

    Args:
        client: of the worker.
        sequenceNode, settings, reference, fixedNode: as `RegistrationLogic.registerSequence` has them.

    Raises:
        InputError: the frames cannot be registered.
    """

    def __init__(self, client: EngineClient, sequenceNode, settings: Settings, reference: int = 0, fixedNode=None):
        self._client = client
        self._node = sequenceNode
        self._settings = settings
        self._frames, self._fixed = _frames(sequenceNode, reference, fixedNode)
        self._known = None if fixedNode is not None else reference
        self._registrations: list[Registration | None] = [None] * len(self._frames)
        self._errors: dict[int, DeepRegisterError] = {}
        self._next = iter([number for number in range(len(self._frames)) if number != self._known])
        self._number = 0
        self._job: Job | None = None
        self._failure: DeepRegisterError | None = None
        self._result: SequenceResult | None = None
        self._started = time.monotonic()
        self._hand_over()

    def poll(self) -> list[Progress]:
        """The reports that have come since the last call, of the whole; hands over the next frame if one is due."""
        job = self._job
        if job is None:
            return []
        # Asked before the reports are fetched, so that none of them is left behind.
        ended = job.done
        reports = [self._ofTheWhole(own) for own in job.poll()]
        if ended:
            self._take(job)
        elif self._failure is None and not slicer.mrmlScene.IsNodePresent(self._node):
            self._failure = InputError(
                f"The sequence {self._node.GetName()} was removed from the scene, so its transforms have no place. "
                "Nothing was changed. Load it and run again."
            )
            job.cancel()
        return reports

    @property
    def done(self) -> bool:
        """Whether the last frame has ended, or the run was stopped: time to call `finish`."""
        return self._job is None

    def cancel(self) -> None:
        """Ask the worker to stop; returns at once. `finish` then raises `Cancelled`."""
        self._failure = self._failure or Cancelled()
        if self._job is not None:
            self._job.cancel()

    def finish(self, progress: Callable[[Progress], None] | None = None) -> SequenceResult:
        """Put the transforms into the scene, waiting for them if need be.

        Args:
            progress: called with each report while waiting; what it raises stops the run and is raised here.

        Raises:
            DeepRegisterError: `Cancelled`, or the first frame's error where no frame could be registered. The scene is
                as it was before.
        """
        try:
            while not self.done:
                time.sleep(_POLL_SECONDS)
                for report in self.poll():
                    if progress is not None:
                        progress(report)
        except BaseException:
            self.cancel()
            while not self.done:
                time.sleep(_POLL_SECONDS)
                self.poll()
            raise
        if self._failure is not None:
            raise self._failure
        if self._errors and not any(self._registrations):
            raise next(iter(self._errors.values()))
        if self._result is None:
            node = _insertTransforms(self._node, self._fixed.geometry, self._settings, self._registrations, self._known)
            self._result = SequenceResult(node, tuple(self._registrations), self._errors)
        return self._result

    def _hand_over(self) -> None:
        """Start the next frame; without one the run has ended."""
        self._job = None
        number = next(self._next, None)
        if number is not None:
            self._number = number
            self._job = self._client.submit(self._fixed, self._frames[number], self._settings)

    def _take(self, job: Job) -> None:
        try:
            self._registrations[self._number] = job.result()
        except Cancelled as error:
            self._failure = self._failure or error
        except DeepRegisterError as error:
            logging.warning("Frame %d of %s failed: %s", self._number, self._node.GetName(), error)
            self._errors[self._number] = error
        if self._failure is not None:
            self._job = None
            return
        try:
            self._hand_over()
        except DeepRegisterError as error:
            self._failure = error

    def _ofTheWhole(self, own: Progress) -> Progress:
        count = len(self._frames)
        fraction = (self._number + own.fraction) / count
        elapsed = time.monotonic() - self._started
        # A frame says little of the others before its own stages are through.
        left = elapsed * (1 - fraction) / fraction if fraction * count >= 1 else None
        return Progress(
            own.stage, fraction, f"{self._number + 1} of {count}, frame {self._number}: {own.message}", left
        )


def _frames(sequenceNode, reference: int, fixedNode) -> tuple[list[Volume], Volume]:
    """The frames and the fixed volume, as they lie in the world; where a frame is the fixed one, as in the sequence."""
    if sequenceNode is None or not sequenceNode.IsA("vtkMRMLSequenceNode"):
        given = (
            "nothing" if sequenceNode is None else f"{sequenceNode.GetName()}, a {sequenceNode.GetTypeDisplayName()}"
        )
        raise InputError(f"The frames must be in a sequence of volumes, not in {given}. Choose one.")
    count = sequenceNode.GetNumberOfDataNodes()
    if fixedNode is None and not 0 <= reference < count:
        raise InputError(f"{sequenceNode.GetName()} has frames 0 to {count - 1}; there is no frame {reference}.")
    if count < (2 if fixedNode is None else 1):
        raise InputError(f"{sequenceNode.GetName()} has {count} frames; there is nothing to register. Choose another.")
    frames = []
    for number in range(count):
        frame, _ = volumeFromNode(sequenceNode.GetNthDataNode(number))
        frames.append(replace(frame, name=f"{sequenceNode.GetName()}, frame {number}"))
    if fixedNode is None:
        return frames, frames[reference]
    for _, proxy in _shown(sequenceNode):
        above = proxy.GetParentTransformNode()
        if above is not None:
            raise InputError(
                f"{proxy.GetName()}, which shows the frames, sits under {above.GetName()}. Take it out before "
                "the frames are registered to another volume."
            )
    return frames, volumeFromNode(fixedNode)[0]


def _insertTransforms(
    sequenceNode,
    fixed: Geometry,
    settings: Settings,
    registrations: Sequence[Registration | None],
    reference: int | None,
):
    """A sequence of transforms, one for each frame that has one; frames on display are put under them."""
    # One class for all, as sequences want it: "auto" may bend some frames and not others.
    linear = settings.model != "auto" and find_model(settings.model).transform != "deformable"
    prepared = {}
    for number, registration in enumerate(registrations):
        if registration is not None or number == reference:
            transform = Rigid.identity() if registration is None else registration.transform
            prepared[number] = nodeTransform(transform, fixed, oneGrid=not linear)
    scene = sequenceNode.GetScene()
    with SceneEdit(scene) as edit:
        node = edit.add("vtkMRMLSequenceNode", f"{sequenceNode.GetName()} transforms ({settings.model})")
        node.SetIndexName(sequenceNode.GetIndexName())
        node.SetIndexUnit(sequenceNode.GetIndexUnit())
        node.SetIndexType(sequenceNode.GetIndexType())
        for number, transform in prepared.items():
            frame = getattr(slicer, transform.nodeClass)()
            frame.SetName(f"{sequenceNode.GetName()} frame {number} transform")
            setNodeTransform(frame, transform)
            node.SetDataNodeAtValue(frame, sequenceNode.GetNthIndexValue(number))
        for browser, proxy in _shown(sequenceNode):
            browser.AddSynchronizedSequenceNode(node)
            edit.afterwards(lambda browser=browser: browser.RemoveSynchronizedSequenceNode(node.GetID()))
            shown = edit.add(next(iter(prepared.values())).nodeClass, node.GetName())
            browser.AddProxyNode(shown, node, False)
            above = proxy.GetParentTransformNode()
            edit.setParentTransform(shown, above)
            edit.setParentTransform(proxy, shown)
    return node


def _shown(sequenceNode) -> list[tuple[object, object]]:
    """(browser, volume node) for each browser that shows the sequence."""
    browsers = nodesOfClass(sequenceNode.GetScene(), "vtkMRMLSequenceBrowserNode")
    pairs = [
        (browser, browser.GetProxyNode(sequenceNode))
        for browser in browsers
        if browser.IsSynchronizedSequenceNode(sequenceNode, True)
    ]
    return [(browser, proxy) for browser, proxy in pairs if proxy is not None]
