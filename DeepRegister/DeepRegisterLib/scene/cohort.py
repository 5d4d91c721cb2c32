"""Many pairs of volumes of the scene registered one after the other in one worker.

A failure does not stop the others, and leaves the scene as it was for what failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from deepregister import Progress, Settings
from deepregister.errors import Cancelled, DeepRegisterError, InputError

from .request import requestFromNodes
from .results import RegistrationNodes

Reporter = Callable[[Progress], None]


@dataclass(frozen=True)
class PairResult:
    """What became of a pair: `nodes` as `RegistrationLogic.register` returns them, or the `error` that it raised;
    neither where the cohort was stopped before its turn."""

    fixedNode: object
    movingNode: object
    nodes: RegistrationNodes | None = None
    error: DeepRegisterError | None = None


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


def _partOf(number: int, count: int, name: str, progress: Reporter | None, cancelled) -> Reporter:
    """Turns the reports of one run into those of the whole."""

    def report(own: Progress) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled()
        if progress is not None:
            message = f"{number + 1} of {count}, {name}: {own.message}"
            progress(Progress(own.stage, (number + own.fraction) / count, message))

    return report
