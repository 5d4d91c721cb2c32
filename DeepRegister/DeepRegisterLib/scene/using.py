"""`Using`: what the console does with a result. A part of `RegistrationLogic`."""

from __future__ import annotations

import os
from pathlib import Path

from deepregister.errors import InputError

from .applying import SHOWN, Applied, applyResult
from .current import CurrentResult
from .dicom import exportDicom
from .results import RegistrationNodes
from .saving import saveTransform


class Using:
    """Applies results to other nodes and writes them to files.

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
            inverse: write the inverse. Where none was made with the registration it is computed, which takes a while.

        Raises:
            DeepRegisterError: the place cannot be written, or the ending names no format.
        """
        saveTransform(currentOf(result), path, inverse)

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
