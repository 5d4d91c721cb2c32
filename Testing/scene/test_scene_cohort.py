"""Many pairs of the scene registered one after the other, failures among them, stops; through the real worker."""

import pytest
from cines import error, flat, image, truth
from deepregister.errors import InputError
from scenery import addVolume, dump


def test_a_pair_that_fails_does_not_stop_the_others(scene, logic):
    fixed, first, second = (addVolume(scene, image(number), f"volume {number}") for number in range(3))
    empty = addVolume(scene, flat(), "empty scan")
    reports = []
    pairs = [(fixed, first), (fixed, empty), (fixed, second)]
    results = logic.registerCohort(pairs, "rigid", "fast", createRegisteredVolume=False, progress=reports.append)
    assert [(result.fixedNode, result.movingNode) for result in results] == pairs
    assert [result.error is None for result in results] == [True, False, True]
    assert "empty scan" in str(results[1].error) and results[1].nodes is None
    assert error(results[0].nodes.transformNode, truth(1)) < 1
    assert error(results[2].nodes.transformNode, truth(2)) < 1
    assert first.GetParentTransformNode() is results[0].nodes.transformNode
    assert empty.GetParentTransformNode() is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 2
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert "3 of 3, volume 2 to volume 0: " in reports[-1].message


def test_a_stopped_cohort_keeps_the_finished_pairs(scene, logic):
    fixed, first, second = (addVolume(scene, image(number), f"volume {number}") for number in range(3))
    made = []

    def cancelled():
        made[:] = [scene.GetNumberOfNodesByClass("vtkMRMLTransformNode")]
        return made[0] == 1

    results = logic.registerCohort([(fixed, first), (fixed, second)], "rigid", "fast", cancelled=cancelled)
    assert results[0].nodes is not None
    assert results[1].nodes is None and results[1].error is None
    assert second.GetParentTransformNode() is None


def test_a_cohort_that_cannot_be_is_refused_as_a_whole(scene, logic):
    fixed, first = (addVolume(scene, image(number), f"volume {number}") for number in range(2))
    before = dump(scene)
    with pytest.raises(InputError, match="no pair"):
        logic.registerCohort([])
    with pytest.raises(InputError) as told:
        logic.registerCohort([(fixed, first), (fixed, first), (fixed, None), (fixed, fixed)], "rigid")
    for words in ("pair 2: volume 1 is moved by pair 1", "pair 3: There is no moving", "pair 4: volume 0 was given"):
        assert words in str(told.value)
    assert dump(scene) == before
