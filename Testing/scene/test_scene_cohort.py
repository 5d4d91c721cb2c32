"""Many registrations in the scene: pairs and sequences, failures among them, stops; through the real worker."""

import numpy as np
import pytest
import slicer
from deepregister import Volume
from deepregister.errors import Cancelled, InputError
from DeepRegisterLib.scene.frame import transformedPoints
from DeepRegisterLib.scene.volumes import setVolume
from scenery import addVolume, centred, dump, rigid

GRID = centred((30, 28, 26), (1.6, 1.6, 1.8), 9)
SHIFTS = [(0, 0, 0), (3, -2, 1), (-2, 3, 2)]
POINTS = GRID.points()[4:-4:4, 4:-4:4, 4:-4:4]


def truth(number):
    return rigid(GRID, degrees=3.0 * number, shift=SHIFTS[number])


def image(number):
    """The same blobs, carried by `truth(number)`: that is fixed to moving for the volume of number 0."""
    points = (
        truth(number).inverse().apply_to_points(GRID.points()) if number else truth(0).apply_to_points(GRID.points())
    )
    generator = np.random.default_rng(4)
    values = np.zeros(GRID.shape)
    for centre in GRID.centre + generator.uniform(-13, 13, (20, 3)):
        widths = generator.uniform(3, 6, 3)
        values += generator.uniform(40, 120) * np.exp(-0.5 * (((points - centre) / widths) ** 2).sum(axis=-1))
    return Volume(values.astype(np.float32), GRID, f"frame {number}")


def flat():
    return Volume(np.full(GRID.shape, 7, np.float32), GRID, "flat")


def addSequence(scene, volumes, name="cine"):
    """A sequence of the volumes at 0, 0.5, ... s."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for number, volume in enumerate(volumes):
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName(f"{name} {number}")
        setVolume(frame, volume)
        sequence.SetDataNodeAtValue(frame, str(number / 2))
    return sequence


def error(transformNode, expected):
    seen = transformedPoints(transformNode.GetTransformFromParent(), POINTS)
    return np.linalg.norm(seen - expected.apply_to_points(POINTS), axis=-1).max()


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


def test_frames_are_registered_to_one_of_them(scene, logic):
    sequence = addSequence(scene, [image(1), image(0), flat(), image(2)])
    result = logic.registerSequence(sequence, referenceFrame=1, model="rigid", quality="fast")
    transforms = result.transformSequenceNode
    assert transforms.GetName() == "cine transforms (rigid)"
    assert (transforms.GetIndexName(), transforms.GetIndexUnit()) == ("time", "s")
    assert [transforms.GetNthIndexValue(n) for n in range(transforms.GetNumberOfDataNodes())] == ["0.0", "0.5", "1.5"]
    assert error(transforms.GetDataNodeAtValue("0.0"), truth(1)) < 1
    assert error(transforms.GetDataNodeAtValue("0.5"), truth(0)) < 1e-6
    assert error(transforms.GetDataNodeAtValue("1.5"), truth(2)) < 1
    assert list(result.errors) == [2] and "frame 2" in str(result.errors[2])
    assert [registration is None for registration in result.registrations] == [False, True, True, False]
    assert transforms.GetDataNodeClassName() == "vtkMRMLLinearTransformNode"


def test_deformable_frames_follow_the_browser(scene, logic):
    sequencesLogic = slicer.vtkSlicerSequencesLogic()
    sequencesLogic.SetMRMLScene(scene)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    sequence = addSequence(scene, [image(0), image(1)])
    browser.AddSynchronizedSequenceNode(sequence)
    shown = browser.AddProxyNode(sequence.GetNthDataNode(0), sequence, True)
    above = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "patient")
    shown.SetAndObserveTransformNodeID(above.GetID())
    result = logic.registerSequence(sequence, model="deformable", quality="fast")
    proxy = browser.GetProxyNode(result.transformSequenceNode)
    assert shown.GetParentTransformNode() is proxy and proxy.GetParentTransformNode() is above
    for number in (1, 0):
        browser.SetSelectedItemNumber(number)
        sequencesLogic.UpdateProxyNodesFromSequences(browser)
        expected = result.registrations[number].transform if number else truth(0)
        assert error(proxy, expected) < 0.5
        assert shown.GetParentTransformNode() is proxy and proxy.GetParentTransformNode() is above


def test_frames_are_registered_to_a_volume_of_the_scene(scene, logic):
    fixed = addVolume(scene, image(0), "planning CT")
    sequence = addSequence(scene, [image(1), image(2)])
    result = logic.registerSequence(sequence, fixedNode=fixed, model="rigid", quality="fast")
    assert not result.errors and all(result.registrations)
    assert error(result.transformSequenceNode.GetNthDataNode(1), truth(2)) < 1


def test_a_stopped_or_failed_sequence_changes_nothing(scene, logic):
    sequence = addSequence(scene, [image(0), image(1), image(2)])
    unusable = addSequence(scene, [image(0), flat()], "broken")
    before = dump(scene)
    reports = []
    with pytest.raises(Cancelled):
        logic.registerSequence(
            sequence, model="rigid", quality="fast", progress=reports.append, cancelled=lambda: len(reports) > 2
        )
    with pytest.raises(InputError, match="broken, frame 1"):
        logic.registerSequence(unusable, model="rigid", quality="fast")
    assert dump(scene) == before


def test_what_is_no_sequence_to_register_is_refused(scene, logic):
    volume = addVolume(scene, image(0), "CT")
    with pytest.raises(InputError, match="CT, a "):
        logic.registerSequence(volume)
    with pytest.raises(InputError, match="no frame 4"):
        logic.registerSequence(addSequence(scene, [image(0), image(1)]), referenceFrame=4)
    with pytest.raises(InputError, match="nothing to register"):
        logic.registerSequence(addSequence(scene, [image(0)]))
    with pytest.raises(InputError, match="in nothing"):
        logic.registerSequence(None)
