"""What to begin with: the two volumes that are most likely meant, and the models that were made for them."""

from __future__ import annotations

import numpy as np
from deepregister import Volume
from deepregister.errors import DeepRegisterError
from deepregister.models.registry import Card
from deepregister.models.suitability import Shown
from deepregister.preparation import Pair, prepare

from .frame import nodesOfClass
from .parameters import Parameters
from .provenance import REGISTERED
from .volumes import voxels

# Enough to see how large a body is and whether it is CT; more would take longer than a click may.
_VOXELS = 2**18


def suggestVolumes(parameters: Parameters) -> None:
    """Fill in the volumes that are not chosen yet, where the scene has some to choose.

    What the slice views show over each other is meant: the one behind is the fixed volume. Otherwise the first two
    volumes are taken in the order in which they were loaded. What a registration made is no candidate.
    """
    scene = parameters.node.GetScene()
    candidates = _candidates(scene)
    chosen = [parameters.fixedVolume, parameters.movingVolume]
    if chosen == [None, None]:
        for view in nodesOfClass(scene, "vtkMRMLSliceCompositeNode"):
            shown = [scene.GetNodeByID(view.GetBackgroundVolumeID() or "")]
            shown.append(scene.GetNodeByID(view.GetForegroundVolumeID() or ""))
            if shown[0] is not shown[1] and all(node in candidates for node in shown):
                parameters.fixedVolume, parameters.movingVolume = shown
                return
    left = [node for node in candidates if node not in chosen]
    for name, node in zip(("fixedVolume", "movingVolume"), chosen, strict=True):
        if node is None and left:
            setattr(parameters, name, left.pop(0))


def _candidates(scene) -> list:
    """The scalar volumes of a scene that may be meant, in their order: with several slices, not made by a run."""
    made = {
        node.GetNodeReferenceID(REGISTERED)
        for node in nodesOfClass(scene, "vtkMRMLTransformNode")
        if node.GetNodeReferenceID(REGISTERED)
    }
    return [
        node
        for node in nodesOfClass(scene, "vtkMRMLScalarVolumeNode")
        if node.GetClassName() == "vtkMRMLScalarVolumeNode"
        and not node.GetHideFromEditors()
        and node.GetID() not in made
        and node.GetImageData() is not None
        and min(node.GetImageData().GetDimensions()) > 1
    ]


def shownBy(fixedNode, movingNode) -> Shown | None:
    """What can be seen of a pair at a glance, from a part of its voxels; None where there is nothing to see."""
    try:
        volumes = [_thinned(node) for node in (fixedNode, movingNode)]
        pair = Pair(*(prepare(volume)[0] for volume in volumes))
    except DeepRegisterError:
        return None
    seen = Shown.of(pair, volumes)
    slices = tuple(float(max(node.GetSpacing())) for node in (fixedNode, movingNode))
    return Shown(seen.extents_mm, slices, seen.ct)


def _thinned(node) -> Volume:
    data = voxels(node)
    step = max(1, int(np.ceil((data.size / _VOXELS) ** (1 / 3))))
    # Thin stacks of slices keep all of them.
    steps = [min(step, max(1, count // 16)) for count in data.shape]
    thinned = data[tuple(slice(None, None, each) for each in steps)]
    spacing = np.asarray(node.GetSpacing()) * steps[::-1]
    return Volume.from_array(np.ascontiguousarray(thinned), tuple(spacing), name=node.GetName())


def madeFor(cards: list[Card], shown: Shown | None) -> tuple[list[str], dict[str, list[str]]]:
    """Which models were made for a pair, and which for others.

    Returns:
        Names of the learned models that say that they were made for such volumes, the first choice first; and by the
        name of each model what speaks against it, clauses, empty where nothing does.
    """
    if shown is None:
        return [], {card.name: [] for card in cards}
    return [card.name for card in shown.suitable(cards)], {card.name: shown.objections(card) for card in cards}
