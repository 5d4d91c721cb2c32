"""`Trusting`: how the console checks a result and improves it. A part of `RegistrationLogic`."""

from __future__ import annotations

from collections.abc import Callable

from deepregister import Progress, Settings

from .checking import Findings, RunningCheck, startCheck
from .heldback import pulled
from .history import History
from .improving import RunningRefinement, startRefinement
from .judgement import TOLERANCE_MM, Judgement, judge
from .landmarkpairs import PairErrors, pairErrors
from .results import RegistrationNodes
from .using import currentOf
from .volumes import volumeFromNode


class Trusting:
    """Measures results with landmarks and segmentations, judges them in words, refines them and takes that back.

    Where a `result` is asked for, what `register` returned will do, or the transform node of a result.
    """

    def __init__(self):
        super().__init__()
        self._history = History()

    def pairErrors(self, result, fixedPointsNode, movingPointsNode) -> PairErrors:
        """How far the partners of landmark pairs lie apart, before and under a result, mm.

        Args:
            result: a registration, or None to measure before one.
            fixedPointsNode, movingPointsNode: point lists; points pair in their order.
        """
        return pairErrors(
            fixedPointsNode, movingPointsNode, None if result is None else currentOf(result).transformNode
        )

    def startCheck(self, result, fixedSegmentationNode=None, movingSegmentationNode=None) -> RunningCheck:
        """Start what `check` does and return at once; the caller polls and then finishes it."""
        return startCheck(self.client, currentOf(result), fixedSegmentationNode, movingSegmentationNode)

    def check(
        self,
        result,
        fixedSegmentationNode=None,
        movingSegmentationNode=None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Findings:
        """Where a result folds, how well there and back agree, and what becomes of each structure.

        Args:
            result: a registration.
            fixedSegmentationNode: segmentation or label map of the fixed volume: volume change of each structure.
            movingSegmentationNode: the same of the moving volume: overlap of structures of one name.
            progress: called with each report; what it raises cancels the check.

        Raises:
            DeepRegisterError: the text says what was wrong and what to do.
        """
        return self.startCheck(result, fixedSegmentationNode, movingSegmentationNode).finish(progress)

    def judge(
        self,
        result,
        fixedPointsNode=None,
        movingPointsNode=None,
        findings: Findings | None = None,
        toleranceMm: float = TOLERANCE_MM,
    ) -> Judgement:
        """The verdict on a result in plain words with its reasons.

        Args:
            result: a registration.
            fixedPointsNode, movingPointsNode: landmark pairs, if there are any.
            findings: what `check` returned, if it was asked.
            toleranceMm: landmarks that are farther off are named.
        """
        current = currentOf(result)
        current.checkAlive()
        fixed = volumeFromNode(current.fixedNode)[0].geometry
        errors = pairErrors(fixedPointsNode, movingPointsNode, current.transformNode)
        return judge(current, fixed, errors, findings, pulled(errors, current.transformNode), toleranceMm)

    def startRefinement(
        self,
        result,
        fixedPointsNode=None,
        movingPointsNode=None,
        regionNode=None,
        *,
        fixedMaskNode=None,
        movingMaskNode=None,
        regionsNode=None,
        settings: Settings | None = None,
    ) -> RunningRefinement:
        """Start what `refine` does and return at once; the caller polls and then finishes it."""
        return startRefinement(
            self.client,
            self._history,
            currentOf(result),
            fixedPointsNode,
            movingPointsNode,
            regionNode,
            fixedMaskNode=fixedMaskNode,
            movingMaskNode=movingMaskNode,
            regionsNode=regionsNode,
            settings=settings,
        )

    def refine(
        self,
        result,
        fixedPointsNode=None,
        movingPointsNode=None,
        regionNode=None,
        *,
        fixedMaskNode=None,
        movingMaskNode=None,
        regionsNode=None,
        settings: Settings | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> RegistrationNodes:
        """Draw a result towards landmark pairs, or look harder where it went wrong, and wait for it.

        The refined result takes the place of the earlier one in the same nodes; `undoRefinement` returns to it. Every
        third pair is held back, unless `heldback.setHeldBack` says otherwise: its error is an honest one.

        Args:
            result: a registration.
            fixedPointsNode, movingPointsNode: landmark pairs.
            regionNode: label map or segmentation on the fixed volume, where the images are to weigh more.
            fixedMaskNode, movingMaskNode, regionsNode, settings: as in `register`; None takes the result's settings.
            progress: called with each report; what it raises cancels the run.

        Returns:
            The nodes; `notes` begins with what became of the landmark errors.

        Raises:
            DeepRegisterError: the text says what was wrong and what to do; the scene is as it was before.
        """
        running = self.startRefinement(
            result,
            fixedPointsNode,
            movingPointsNode,
            regionNode,
            fixedMaskNode=fixedMaskNode,
            movingMaskNode=movingMaskNode,
            regionsNode=regionsNode,
            settings=settings,
        )
        return running.finish(progress)

    def canUndoRefinement(self, result) -> bool:
        """Whether there is an earlier result to return to."""
        return result is not None and self._history.canUndo(currentOf(result))

    def canRedoRefinement(self, result) -> bool:
        """Whether there is a refinement to bring back."""
        return result is not None and self._history.canRedo(currentOf(result))

    def undoRefinement(self, result) -> RegistrationNodes:
        """Return to the result before the last refinement.

        Raises:
            InputError: there is none.
        """
        return self._history.undo(currentOf(result))

    def redoRefinement(self, result) -> RegistrationNodes:
        """Bring back the refinement that was taken back last.

        Raises:
            InputError: there is none.
        """
        return self._history.redo(currentOf(result))
