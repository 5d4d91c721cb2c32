"""Many registrations in the scene, one after the other in one worker: pairs of volumes, or the frames of a sequence.

A failure does not stop the others, and leaves the scene as it was for what failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import slicer
from deepregister import Geometry, Progress, Rigid, Settings, Volume
from deepregister.client import EngineClient
from deepregister.errors import Cancelled, DeepRegisterError, InputError
from deepregister.models.registry import find_model
from deepregister.result import Registration

from .edit import SceneEdit
from .frame import nodesOfClass
from .grids import nodeTransform
from .request import requestFromNodes
from .results import RegistrationNodes
from .transforms import setNodeTransform
from .volumes import volumeFromNode

Reporter = Callable[[Progress], None]


@dataclass(frozen=True)
class PairResult:
    """What became of a pair: `nodes` as `RegistrationLogic.register` returns them, or the `error` that it raised;
    neither where the cohort was stopped before its turn."""

    fixedNode: object
    movingNode: object
    nodes: RegistrationNodes | None = None
    error: DeepRegisterError | None = None


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


def checkPairs(pairs: Iterable[tuple[object, object]], settings: Settings) -> None:
    """Refuse a cohort at once, with all that is wrong with it.

    Raises:
        InputError: pairs that cannot be registered, a volume that would be brought to two places, or no pair at all.
    """
    pairs = list(pairs)
    if not pairs:
        raise InputError("The cohort holds no pair. Give (fixed, moving) volume nodes.")
    problems, moved = [], {}
    for number, (fixedNode, movingNode) in enumerate(pairs, 1):
        try:
            requestFromNodes(fixedNode, movingNode, settings)
        except DeepRegisterError as error:
            problems.append(f"pair {number}: {error}")
            continue
        earlier = moved.setdefault(movingNode.GetID(), number)
        if earlier != number:
            problems.append(
                f"pair {number}: {movingNode.GetName()} is moved by pair {earlier} already, and can be in one place "
                "only. Clone the volume."
            )
    if problems:
        raise InputError("Nothing was started:\n" + "\n".join(problems))


def runPairs(
    pairs: Iterable[tuple[object, object]],
    start: Callable,
    progress: Reporter | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[PairResult]:
    """Register pair after pair.

    Args:
        pairs: (fixed, moving) nodes.
        start: starts one, as `RegistrationLogic.start` does.
        progress: called with the state of the whole.
        cancelled: True stops; what is finished stays.
    """
    results = [PairResult(*pair) for pair in pairs]
    for number, pair in enumerate(results):
        name = f"{pair.movingNode.GetName()} to {pair.fixedNode.GetName()}"
        report = _partOf(number, len(results), name, progress, cancelled)
        try:
            results[number] = replace(pair, nodes=start(pair.fixedNode, pair.movingNode).finish(report))
        except Cancelled:
            break
        except DeepRegisterError as error:
            logging.warning("%s failed: %s", name, error)
            results[number] = replace(pair, error=error)
    return results


def registerFrames(
    client: EngineClient,
    sequenceNode,
    settings: Settings,
    reference: int = 0,
    fixedNode=None,
    progress: Reporter | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SequenceResult:
    """Register the frames of a volume sequence to one of them, or to a volume of the scene; see
    `RegistrationLogic.registerSequence`."""
    frames, fixed = _frames(sequenceNode, reference, fixedNode)
    registrations: list[Registration | None] = [None] * len(frames)
    errors: dict[int, DeepRegisterError] = {}
    for number, frame in enumerate(frames):
        if fixedNode is None and number == reference:
            continue
        report = _partOf(number, len(frames), f"frame {number}", progress, cancelled)
        try:
            registrations[number] = client.submit(fixed, frame, settings).wait(report)
        except Cancelled:
            raise
        except DeepRegisterError as error:
            logging.warning("Frame %d of %s failed: %s", number, sequenceNode.GetName(), error)
            errors[number] = error
    if errors and not any(registrations):
        raise next(iter(errors.values()))
    known = None if fixedNode is not None else reference
    node = _insertTransforms(sequenceNode, fixed.geometry, settings, registrations, known)
    return SequenceResult(node, tuple(registrations), errors)


def _partOf(number: int, count: int, name: str, progress: Reporter | None, cancelled) -> Reporter:
    """Turns the reports of one run into those of the whole."""

    def report(own: Progress) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled()
        if progress is not None:
            message = f"{number + 1} of {count}, {name}: {own.message}"
            progress(Progress(own.stage, (number + own.fraction) / count, message))

    return report


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
