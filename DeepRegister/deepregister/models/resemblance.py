"""Whether a volume looks like the images that a model was trained on: their mean is laid over it, and compared.

Two crops of one size may show anything; size, spacing and the similarity that a network reaches do not tell one organ
from another. How well the mean of the training images fits does.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from ..errors import DeepRegisterError, ModelError
from ..preparation import Pair, Prepared, prepare
from ..progress import Monitor
from ..settings import Settings
from ..similarity.agreement import similarity
from ..transforms import Rigid
from ..volume import Volume
from .linear import LinearModel
from .registry import Card


def resemblance(typical: Prepared, side: Prepared, device: torch.device) -> float:
    """Similarity, 0 to 1, of a prepared volume with a typical image, after an affine from where their middles meet."""
    matrix = np.eye(4)
    matrix[:3, 3] = np.asarray(side.content.centre) - np.asarray(typical.content.centre)
    pair = Pair(typical, side)
    found = LinearModel("affine").run(pair, Rigid(matrix), Settings(quality="fast"), device, Monitor())
    return similarity(pair, found, device)


def unlike(card: Card, fixed: Prepared, device: torch.device) -> list[str]:
    """A clause where a fixed volume does not look like what a model was trained on; else nothing.

    Nothing too where the card has no typical image. The moving volume is not looked at: what is laid onto the fixed one
    is of its kind, or the result's confidence is low.

    Raises:
        ModelError: the typical image cannot be read.
    """
    if not card.typical:
        return []
    path = card.folder / card.typical
    typical = _typical(str(path), path.stat().st_mtime_ns if path.exists() else 0)
    found = resemblance(typical, fixed, device)
    if found >= card.typical_agreement:
        return []
    return [
        f"the fixed volume does not look like the images that it was trained on (agreement {found:.2f} with their "
        f"mean, at least {card.typical_agreement:.2f} in these)"
    ]


@lru_cache(8)
def _typical(path: str, changed: int) -> Prepared:
    """The typical image in a file of this age."""
    try:
        return prepare(Volume.read(path))[0]
    except DeepRegisterError as error:
        raise ModelError(f"The typical image of a model cannot be used; install the model again. {error}") from error
