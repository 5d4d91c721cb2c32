"""Refining the current result with landmarks and regions by the real worker; taking it back, also after several."""

import numpy as np
import pytest
import slicer
from deepregister import Affine, Composite, Settings, Volume
from deepregister.errors import Cancelled, InputError
from deepregister.landmarks import LandmarkPairs
from DeepRegisterLib.scene.current import CurrentResult
from DeepRegisterLib.scene.heldback import heldBack, pulled, setHeldBack
from DeepRegisterLib.scene.history import History
from DeepRegisterLib.scene.improving import startRefinement
from DeepRegisterLib.scene.landmarkpairs import keepWithVolume, makeLists, pairErrors, removePairs
from DeepRegisterLib.scene.pairfiles import addPairs
from DeepRegisterLib.scene.provenance import recordedNotes
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from scenery import addVolume, bending, centred, dump, registration, rigid, texture

GRID = centred((36, 34, 32), (2.0, 2.0, 2.0), 8)
WIDE = centred((60, 60, 60), (2.0, 2.0, 2.0), 8)
POINTS = GRID.centre + np.random.default_rng(6).uniform(-10, 10, (9, 3))
# A result that is right but for a shift of some millimetres around the middle.
EARLIER = bending(WIDE, 2.0, 60.0)
MISSED = np.array([0.0, 4.0, 0.0])


def truth(points):
    away = np.exp(-((points - GRID.centre) ** 2).sum(-1, keepdims=True) / (2 * 14.0**2))
    return EARLIER.apply_to_points(points) + MISSED * away


class Case:
    """A flat pair, so that only landmarks pull, with an earlier result, its outputs, and nine landmark pairs."""

    def __init__(self, scene, transform=None, model="deformable"):
        flat = Volume(100 + texture(WIDE, 2, 6.0).data / 50, WIDE, "flat")
        self.fixed = addVolume(
            scene, Volume(flat.data[14:46, 13:47, 12:48], WIDE.cropped((12, 13, 14), (48, 47, 46))), "CT"
        )
        self.moving = addVolume(scene, flat, "MR")
        settings = Settings(model=model, quality="fast", device="cpu", threads=1)
        request = requestFromNodes(self.fixed, self.moving, settings, createInverse=True)
        transform = transform or Composite((EARLIER, Affine.identity()))
        result = registration(transform, request.fixed, request.moving, model, settings=settings)
        self.current = CurrentResult.of(insertResult(request, result))
        self.lists = makeLists(self.fixed, self.moving)
        keepWithVolume(self.lists[1])
        addPairs(*self.lists, LandmarkPairs(POINTS, truth(POINTS)), self.current.transformNode)
        self.history = History()

    def start(self, client, emphasis=None, **options):
        return startRefinement(client, self.history, self.current, *self.lists, emphasis, **options)

    def refine(self, client, *arguments, **options):
        nodes = self.start(client, *arguments, **options).finish()
        self.current = CurrentResult.of(nodes)
        return nodes

    def errors(self):
        return pairErrors(*self.lists, self.current.transformNode)

    def content(self):
        """What the result's nodes hold."""
        node = self.current
        return (
            self.errors().after.tolist(),
            slicer.util.arrayFromVolume(node.registeredVolumeNode).copy().tolist(),
            [node.inverseTransformNode.GetTransformFromParent().TransformPoint(point) for point in POINTS],
            node.transformNode.GetAttribute("DeepRegister.Summary"),
            recordedNotes(node.transformNode),
        )


@pytest.fixture
def case(scene):
    return Case(scene)


def test_pairs_pull_and_the_held_back_ones_tell_the_truth(scene, case, client):
    earlier, nodes = case.errors(), case.current
    held = heldBack(earlier, case.lists[0], case.current.transformNode)
    assert held.tolist() == [False, False, True] * 3
    count = scene.GetNumberOfNodes()
    made = case.refine(client)
    after = case.errors().after
    assert earlier.after.min() > 2 > after[held].mean() > after[~held].mean()
    # The same nodes hold the refined result, and what shows it follows.
    assert scene.GetNumberOfNodes() == count
    assert case.current.transformNode is nodes.transformNode
    assert case.current.registeredVolumeNode is nodes.registeredVolumeNode
    assert case.moving.GetParentTransformNode() is nodes.transformNode
    inverse = case.current.inverseTransformNode.GetTransformFromParent()
    forward = case.current.transformNode.GetTransformFromParent()
    back = [inverse.TransformPoint(forward.TransformPoint(point)) for point in POINTS * (-1, -1, 1)]
    np.testing.assert_allclose(back, POINTS * (-1, -1, 1), atol=0.3)
    assert pulled(case.errors(), case.current.transformNode).tolist() == (~held).tolist()
    assert made.notes[0].startswith("6 landmark pairs drew the result towards them: mean error ")
    text = f"3 landmark pairs held back, honestly: mean error {earlier.after[held].mean():.1f} mm before, "
    assert made.notes[1] == f"{text}{after[held].mean():.1f} mm now."
    assert made.message.startswith(made.notes[0])
    assert case.current.notes == made.notes
    assert case.current.settings.model == "deformable"


def test_undo_returns_to_each_earlier_result_and_redo_comes_back(scene, case, client):
    states = [case.content()]
    assert not case.history.canUndo(case.current)
    for settings in (Settings(quality="fast", device="cpu", landmark_sigma_mm=s, threads=1) for s in (3.0, 0.5)):
        case.refine(client, settings=settings)
        states.append(case.content())
    assert np.mean(states[0][0]) > np.mean(states[1][0]) > np.mean(states[2][0])
    nodes = scene.GetNumberOfNodes()
    for state in (states[1], states[0]):
        assert case.history.canUndo(case.current)
        made = case.history.undo(case.current)
        case.current = CurrentResult.of(made)
        assert case.content() == state
        assert "earlier result" in made.message
    assert case.current.registration is not None
    assert not case.history.canUndo(case.current)
    with pytest.raises(InputError, match="no refinement of this result to take back"):
        case.history.undo(case.current)
    for state in states[1:]:
        assert case.history.canRedo(case.current)
        case.current = CurrentResult.of(case.history.redo(case.current))
        assert case.content() == state
    assert not case.history.canRedo(case.current)
    assert scene.GetNumberOfNodes() == nodes
    # What somebody else has written there since is not to be overwritten.
    case.current.transformNode.SetAttribute("DeepRegister.Summary", "{}")
    assert not case.history.canUndo(case.current)


def test_a_refinement_that_ends_early_changes_nothing(scene, case, client):
    running = case.start(client)
    before = dump(scene)
    running.cancel()
    with pytest.raises(Cancelled):
        running.finish()
    assert dump(scene) == before
    assert not case.history.canUndo(case.current)
    running = case.start(client)
    scene.RemoveNode(case.fixed)
    with pytest.raises(InputError, match="CT was removed from the scene"):
        while not running.done:
            running.poll()
        running.finish()
    assert not case.history.canUndo(case.current)


def test_a_pair_that_drew_a_result_cannot_be_held_back_later(case, client):
    case.refine(client)
    errors, node = case.errors(), case.current.transformNode
    setHeldBack(errors, case.lists[0], 0, True)
    setHeldBack(errors, case.lists[0], 2, False)
    assert heldBack(errors, case.lists[0], node).tolist() == [
        False,
        False,
        False,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    # The roles are the points', not the rows'.
    removePairs(*case.lists, {1})
    assert heldBack(case.errors(), case.lists[0], node).tolist() == [
        False,
        False,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    case.current = CurrentResult.of(case.history.undo(case.current))
    assert heldBack(case.errors(), case.lists[0], case.current.transformNode)[0]


def test_a_painted_region_alone_refines(scene, case, client):
    inside = (((GRID.points() - GRID.centre) ** 2).sum(-1) < 12**2).astype(np.uint8)
    region = addVolume(scene, Volume(inside, GRID), "went wrong", "vtkMRMLLabelMapVolumeNode")
    for node in case.lists:
        node.RemoveAllControlPoints()
    nodes = case.refine(client, region)
    assert nodes.registration.inputs["emphasis"]["name"] == "went wrong"
    assert nodes.registration.inputs["landmark_pairs"] == 0
    assert case.history.canUndo(case.current)


def test_a_rigid_result_stays_rigid(scene, client):
    case = Case(scene, rigid(GRID, 3, (2, 0, 0)), "rigid")
    region = addVolume(scene, Volume(np.ones(GRID.shape, np.uint8), GRID), "region", "vtkMRMLLabelMapVolumeNode")
    nodes = case.refine(client)
    assert nodes.transformNode.IsA("vtkMRMLLinearTransformNode")
    assert case.current.settings.model == "rigid"
    for node in case.lists:
        node.RemoveAllControlPoints()
    with pytest.raises(InputError, match="result is rigid, which cannot bend"):
        case.start(client, region)


def test_a_loaded_result_is_refined_too(case, client):
    before = case.errors().after
    case.current = CurrentResult.ofTransform(case.current.transformNode)
    case.refine(client)
    assert case.errors().after.mean() < 0.4 * before.mean()
    case.current = CurrentResult.of(case.history.undo(case.current))
    assert case.current.registration is None
    np.testing.assert_allclose(case.errors().after, before, atol=1e-9)


def test_nothing_to_refine_with_is_said(case, client):
    errors = case.errors()
    for row in range(len(errors)):
        setHeldBack(errors, case.lists[0], row, True)
    with pytest.raises(InputError, match="All 9 landmark pairs are held back"):
        case.start(client)
    for node in case.lists:
        node.RemoveAllControlPoints()
    with pytest.raises(InputError, match="nothing to refine the result with"):
        case.start(client)


def test_the_registration_itself_remembers_what_pulled_it(case):
    request = requestFromNodes(
        case.fixed,
        case.moving,
        Settings(model="deformable"),
        fixedLandmarksNode=case.lists[0],
        movingLandmarksNode=case.lists[1],
        outputTransformNode=case.current.transformNode,
    )
    transform = case.current.registration.transform
    insertResult(request, registration(transform, request.fixed, request.moving))
    assert pulled(case.errors(), case.current.transformNode).all()
