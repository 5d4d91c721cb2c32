"""Checking and improving a result from the console: what the panel does, without it."""

from dataclasses import replace

import numpy as np
import pytest
from deepregister import Volume
from deepregister.errors import InputError
from DeepRegisterLib.scene.frame import flippedPoints
from DeepRegisterLib.scene.landmarkpairs import keepWithVolume, makeLists
from scenery import addVolume, centred, texture

SHIFT = np.array([5.0, -4.0, 3.0])
POINTS = np.array([[-18, 10, 4], [15, -14, -10], [8, 20, 14], [-4, -8, 22], [10, 8, 6], [-10, -6, -8.0]])


def test_a_registration_is_checked_judged_refined_and_taken_back(scene, logic):
    image = texture(centred((32, 32, 32), (3.0, 3.0, 3.0), centre=(0, 0, 0)), 3, 3.0)
    shifted = replace(image.geometry, origin=tuple(image.geometry.origin + flippedPoints(SHIFT)))
    fixed = addVolume(scene, image, "fixed")
    moving = addVolume(scene, Volume(image.data, shifted), "moving")
    lists = makeLists(fixed, moving)
    for point in POINTS:
        lists[0].AddControlPointWorld(*point)
        lists[1].AddControlPointWorld(*(point + SHIFT))
    before = logic.pairErrors(None, *lists)
    assert before.after is None
    np.testing.assert_allclose(before.before, np.linalg.norm(SHIFT), atol=1e-6)
    nodes = logic.register(fixed, moving, "rigid", "fast")
    keepWithVolume(lists[1])
    errors = logic.pairErrors(nodes, *lists)
    assert errors.after.max() < 0.5
    np.testing.assert_allclose(errors.pairs.fixed, flippedPoints(POINTS), atol=1e-6)

    found = logic.check(nodes)
    assert found.deformation["folded_voxels"] == 0
    judgement = logic.judge(nodes, *lists, findings=found)
    assert any(text.startswith("All 6 landmarks lie within 5 mm of the partner") for text in judgement.inFavour)
    assert judgement == logic.judge(nodes.transformNode, *lists, findings=found)

    assert not logic.canUndoRefinement(None) and not logic.canUndoRefinement(nodes)
    refined = logic.refine(nodes, *lists)
    assert refined.transformNode is nodes.transformNode
    assert logic.canUndoRefinement(refined) and not logic.canRedoRefinement(refined)
    text = next(text for text in logic.judge(refined, *lists).inFavour if "drew this result" in text)
    assert text.startswith("4 of 6 landmark pairs")
    logic.undoRefinement(refined)
    np.testing.assert_allclose(logic.pairErrors(nodes, *lists).after, errors.after, atol=1e-9)
    assert logic.canRedoRefinement(nodes.transformNode)
    logic.redoRefinement(nodes.transformNode)
    with pytest.raises(InputError, match="bring back"):
        logic.redoRefinement(nodes.transformNode)
