"""Sequences registered frame by frame by the real worker: at once, or polled as the panel does; stops, failures."""

import time

import pytest
import slicer
from cines import addSequence, error, flat, image, truth
from deepregister import Settings
from deepregister.errors import Cancelled, InputError
from scenery import addVolume, dump

FAST = Settings(model="rigid", quality="fast")


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


def polled(running, seconds=300):
    """What a panel's timer does until the end; returns all reports."""
    reports, end = [], time.monotonic() + seconds
    while not running.done:
        assert time.monotonic() < end
        reports += running.poll()
        time.sleep(0.01)
    return reports


def test_a_polled_sequence_reports_the_whole_and_touches_the_scene_at_its_end_only(scene, logic):
    sequence = addSequence(scene, [image(0), image(1), image(2)])
    before = dump(scene)
    running = logic.startSequence(sequence, settings=FAST)
    assert not running.done
    reports = polled(running)
    assert dump(scene) == before
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[0] >= 1 / 3
    assert "2 of 3, frame 1: " in reports[0].message and "3 of 3, frame 2: " in reports[-1].message
    assert reports[-1].seconds_left is not None
    result = running.finish()
    assert result is running.finish() and not result.errors
    assert error(result.transformSequenceNode.GetNthDataNode(2), truth(2)) < 1


@pytest.mark.parametrize("how", ["cancelled", "sequence removed"])
def test_a_polled_sequence_that_ends_early_changes_nothing(scene, logic, how):
    sequence = addSequence(scene, [image(0), image(1), image(2)])
    running = logic.startSequence(sequence, settings=Settings(model="deformable", quality="accurate"))
    while not running.poll():
        time.sleep(0.01)
    if how == "cancelled":
        running.cancel()
    else:
        scene.RemoveNode(sequence)
    before = dump(scene)
    polled(running)
    with pytest.raises(Cancelled if how == "cancelled" else InputError):
        running.finish()
    assert dump(scene) == before
    # The worker is free for the next.
    other = addSequence(scene, [image(0), image(1)], "other")
    assert not logic.registerSequence(other, settings=FAST).errors
