"""`Using`: what the console does with a result, and with a sequence. A part of `RegistrationLogic`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from deepregister import Progress, Settings
from deepregister.errors import Cancelled, InputError
from deepregister.page import write_page

from .applying import SHOWN, Applied, applyResult
from .current import CurrentResult
from .dicom import dicomRequest, exportDicom
from .paperwork import RunningPaperwork
from .reports import pageContent
from .results import RegistrationNodes
from .saving import saveTransform, savingRequest
from .sequences import RunningSequence, SequenceResult


class Using:
    """Applies results to other nodes, writes them to files, and registers sequences; uses the logic's `client`.

    Where a `result` is asked for, any of these will do: what `register` returned, the transform node of a result (also
    of one that was loaded with a scene), or a `CurrentResult`.
    """

    def applyResult(self, result, node, inverse: bool = False, way: str = SHOWN) -> Applied:
        """Bring a node that lies on the moving volume onto the fixed one, or with `inverse` the other way round.

        The direction is right for every kind of node: images, segmentations, models and markups all take the same one.

        Args:
            result: a registration, see above.
            node: a volume, segmentation, model or markups node.
            inverse: from the fixed volume onto the moving one.
            way: "shown" puts it under the transform, which can be taken back; "hardened" changes it for good;
                "copied" leaves it as it is and makes a new one, for a volume on the grid of the other.

        Raises:
            InputError: the node cannot be brought there; nothing is changed.
        """
        return applyResult(currentOf(result), node, inverse, way)

    def saveTransform(self, result, path: str | os.PathLike, inverse: bool = False) -> None:
        """Write a result to a file that maps fixed to moving points; with `inverse` moving to fixed ones.

        Args:
            result: a registration, see above.
            path: .h5 or .tfm for an ITK transform, .nrrd or .nii.gz for a displacement field in mm.
            inverse: write the inverse. In a scene that was loaded it has to be solved for, which takes some seconds.

        Raises:
            DeepRegisterError: the place cannot be written, or the ending names no format.
        """
        saveTransform(currentOf(result), path, inverse)

    def startSaving(self, result, path: str | os.PathLike, inverse: bool = False) -> RunningPaperwork:
        """Start what `saveTransform` does in the worker process and return at once."""
        return RunningPaperwork(self.client.write("transform", path, **savingRequest(currentOf(result), path, inverse)))

    def exportDicom(self, volumeNode, folder: str | os.PathLike) -> list[Path]:
        """Write a volume as a DICOM series that belongs to its patient and study in the subject hierarchy.

        Args:
            volumeNode: as a rule the registered volume, which belongs to the fixed volume's study.
            folder: made if missing; must hold nothing.

        Returns:
            The files.

        Raises:
            DeepRegisterError: the volume cannot be written; the text says why.
        """
        return exportDicom(volumeNode, folder)

    def startDicomExport(self, volumeNode, folder: str | os.PathLike) -> RunningPaperwork:
        """Start what `exportDicom` does in the worker process and return at once."""
        volume, tags, window = dicomRequest(volumeNode)
        return RunningPaperwork(self.client.write("dicom", folder, volume=volume, tags=tags, window=window))

    def writeReport(self, result, path: str | os.PathLike) -> None:
        """Write the report page of a registration: one .html file with slices, maps, numbers and the verdict.

        Args:
            result: what `register` returned; its volumes must lie where they were.
            path: the .html file.

        Raises:
            DeepRegisterError: the page cannot be written; the text says why and what to do.
        """
        write_page(path, **pageContent(_withRegistration(result)))

    def startReport(self, result, path: str | os.PathLike) -> RunningPaperwork:
        """Start what `writeReport` does in the worker process and return at once."""
        return RunningPaperwork(self.client.write("page", path, **pageContent(_withRegistration(result))))

    def registerSequence(
        self,
        sequenceNode,
        referenceFrame: int = 0,
        fixedNode=None,
        model: str = "auto",
        quality: str = "balanced",
        device: str = "auto",
        *,
        settings: Settings | None = None,
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> SequenceResult:
        """Register every frame of a sequence to one of them; a frame that fails does not stop the others.

        Where a sequence browser shows the frames, they are shown under their transforms from then on.

        Args:
            sequenceNode: of volumes.
            referenceFrame: number, from 0, of the frame that stays.
            fixedNode: a volume to register all frames to instead.
            model, quality, device, settings: as in `register`, for all frames.
            progress: called with the state of the whole; what it raises ends the run and nothing is changed.
            cancelled: True ends the run with `Cancelled`, and nothing is changed.

        Returns:
            A new sequence of transforms with the frames' index values, and what became of each frame.

        Raises:
            DeepRegisterError: the frames cannot be registered, or all failed; the scene is as it was before.
        """

        def report(state: Progress) -> None:
            if cancelled is not None and cancelled():
                raise Cancelled()
            if progress is not None:
                progress(state)

        settings = settings or Settings(model=model, quality=quality, device=device)
        return self.startSequence(sequenceNode, referenceFrame, fixedNode, settings).finish(report)

    def startSequence(
        self, sequenceNode, referenceFrame: int = 0, fixedNode=None, settings: Settings | None = None
    ) -> RunningSequence:
        """Start what `registerSequence` does and return at once; the caller polls and then finishes it."""
        return RunningSequence(self.client, sequenceNode, settings or Settings(), referenceFrame, fixedNode)


def _withRegistration(result) -> CurrentResult | RegistrationNodes:
    # As it is: the page says itself what is missing of nodes that have left the scene.
    return result if isinstance(result, RegistrationNodes) else currentOf(result)


def currentOf(result) -> CurrentResult:
    """A registration in whatever form the console has it.

    Raises:
        InputError: it is none.
    """
    if isinstance(result, CurrentResult):
        return result
    if isinstance(result, RegistrationNodes):
        return CurrentResult.of(result)
    current = None
    if result is not None and result.IsA("vtkMRMLTransformNode"):
        current = CurrentResult.ofTransform(result)
    if current is None:
        name = "Nothing" if result is None else result.GetName()
        raise InputError(f"{name} was not made by a registration. Give what register returned, or its transform node.")
    return current
