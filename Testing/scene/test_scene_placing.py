"""Pairs placed in turn: which list is being placed, what the views show, where the partner lies, how it ends."""

import numpy as np
import pytest
import slicer
from deepregister import Settings
from deepregister.errors import InputError
from DeepRegisterLib.scene.frame import flippedPoints
from DeepRegisterLib.scene.landmarkpairs import keepWithVolume, makeLists, pairErrors
from DeepRegisterLib.scene.placing import FIXED as ON_FIXED
from DeepRegisterLib.scene.placing import PARTNER, PairPlacing
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import PAIRS, addVolume, registration, rigid, texture

FIXED, MOVING = PAIRS["oblique"]
POINTS = flippedPoints(FIXED.index_to_point(np.array([[10.0, 20, 10], [20, 10, 5], [25, 30, 12]])))


class Setting:
    """A registered pair with its lists, two slice views and a placing, as the panel would have them."""

    def __init__(self, host):
        self.views = [host.addSliceView(name).GetSliceCompositeNode() for name in ("Red", "Green")]
        self.scene = host.scene
        self.fixed = addVolume(host.scene, texture(FIXED, 1), "CT")
        self.moving = addVolume(host.scene, texture(MOVING, 2), "MR")
        self.views[0].SetBackgroundVolumeID(self.moving.GetID())
        self.views[0].SetForegroundOpacity(0.3)
        request = requestFromNodes(self.fixed, self.moving, Settings(model="rigid"))
        volumes = [volumeFromNode(node)[0] for node in (self.fixed, self.moving)]
        self.node = insertResult(request, registration(rigid(FIXED), *volumes, "rigid")).transformNode
        self.lists = makeLists(self.fixed, self.moving)
        for node in self.lists:
            keepWithVolume(node)
        self.interaction = host.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        self.selection = host.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        self.waiting, self.stages = [], []
        self.placing = PairPlacing(
            *self.lists,
            self.fixed,
            self.moving,
            self.node,
            later=self.waiting.append,
            onChange=lambda: self.stages.append(self.placing.stage),
        )

    def click(self, point):
        """What Slicer does at a click in place mode, in its order; then what was put off."""
        assert self.interaction.GetCurrentInteractionMode() == self.interaction.Place
        self.scene.GetNodeByID(self.selection.GetActivePlaceNodeID()).AddControlPointWorld(*point)
        self.interaction.SetCurrentInteractionMode(self.interaction.ViewTransform)
        self.settle()

    def settle(self):
        while self.waiting:
            self.waiting.pop(0)()

    def shown(self):
        return {
            (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID(), view.GetForegroundOpacity())
            for view in self.views
        }

    @property
    def placingInto(self):
        """The list that the next click adds to, or None."""
        placing = self.interaction.GetCurrentInteractionMode() == self.interaction.Place
        return self.scene.GetNodeByID(self.selection.GetActivePlaceNodeID()) if placing else None

    def errors(self):
        return pairErrors(*self.lists, self.node)


@pytest.fixture
def setting(host):
    return Setting(host)


def test_pair_after_pair(setting):
    volumes = setting.fixed.GetID(), setting.moving.GetID()
    setting.placing.start()
    for number, point in enumerate(POINTS, start=1):
        assert (setting.placing.stage, setting.placing.number) == (ON_FIXED, number)
        assert setting.placingInto is setting.lists[0]
        assert setting.shown() == {(*volumes, 0.0)}
        setting.click(point)
        # The partner is where the result takes the point, it can be dragged, and the moving volume is shown.
        assert (setting.placing.stage, setting.placing.number) == (PARTNER, number)
        assert setting.placingInto is None
        assert setting.shown() == {(*volumes, 1.0)}
        np.testing.assert_allclose(setting.errors().after[-1], 0, atol=1e-6)
        partner = setting.lists[1].GetNthControlPointPositionWorld(number - 1)
        setting.lists[1].SetNthControlPointPositionWorld(number - 1, *(np.array(partner) + (0, 0, 2)))
        setting.placing.next()
        setting.settle()
    setting.placing.stop()
    assert setting.placing.stage is None
    assert setting.placingInto is None
    np.testing.assert_allclose(setting.errors().after, 2, atol=1e-6)
    assert setting.errors().names == ("1", "2", "3")
    first, second = setting.views
    assert (first.GetBackgroundVolumeID(), first.GetForegroundOpacity()) == (setting.moving.GetID(), 0.3)
    assert (second.GetBackgroundVolumeID(), second.GetForegroundVolumeID()) == (None, None)
    assert setting.stages == [ON_FIXED, PARTNER] * 3 + [ON_FIXED, None]


def test_the_slices_go_to_the_point(host, setting):
    setting.placing.start()
    setting.click(POINTS[1])
    offsets = []
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = node.GetSliceToRAS()
        normal = np.array([matrix.GetElement(row, 2) for row in range(3)])
        middle = np.array([matrix.GetElement(row, 3) for row in range(3)])
        offsets.append(float(normal @ (POINTS[1] - middle)))
    np.testing.assert_allclose(offsets, 0, atol=1e-6)


def test_a_click_sets_the_partner_and_goes_on(setting):
    setting.placing.start()
    setting.placing.clickPartner()
    assert not setting.placing.clicking
    setting.click(POINTS[0])
    setting.placing.clickPartner()
    assert setting.placing.clicking
    assert setting.placingInto is setting.lists[1]
    setting.click(POINTS[0] + (0, 3, 0))
    assert setting.lists[1].GetNumberOfControlPoints() == 1
    np.testing.assert_allclose(setting.lists[1].GetNthControlPointPositionWorld(0), POINTS[0] + (0, 3, 0), atol=1e-6)
    assert setting.lists[1].GetNthControlPointLabel(0) == "1"
    assert (setting.placing.stage, setting.placing.number) == (ON_FIXED, 2)
    assert setting.placingInto is setting.lists[0]
    # Escape takes the click back, not the placing.
    setting.click(POINTS[1])
    setting.placing.clickPartner()
    setting.interaction.SetCurrentInteractionMode(setting.interaction.ViewTransform)
    setting.settle()
    assert (setting.placing.stage, setting.placing.clicking) == (PARTNER, False)


def test_a_point_that_follows_the_mouse_is_not_placed(setting):
    setting.lists[0].AddNControlPoints(1, "", [0.0, 0.0, 0.0])
    setting.lists[0].SetNthControlPointPosition(0, 1.0, 2.0, 3.0, setting.lists[0].PositionPreview)
    setting.placing.start()
    assert (setting.placing.stage, setting.placing.number) == (ON_FIXED, 1)
    setting.lists[0].SetNthControlPointPosition(0, *POINTS[0], setting.lists[0].PositionDefined)
    setting.settle()
    assert (setting.placing.stage, setting.placing.number) == (PARTNER, 1)
    np.testing.assert_allclose(setting.errors().after, 0, atol=1e-6)


def test_escape_ends_it(setting):
    setting.placing.start()
    setting.interaction.SetCurrentInteractionMode(setting.interaction.ViewTransform)
    setting.settle()
    assert setting.placing.stage is None
    assert setting.views[0].GetForegroundOpacity() == 0.3
    # Nothing listens any more.
    setting.lists[0].AddControlPointWorld(*POINTS[0])
    setting.interaction.SetCurrentInteractionMode(setting.interaction.Place)
    assert not setting.waiting


def test_points_without_partners_come_first(setting):
    for point in POINTS:
        setting.lists[0].AddControlPointWorld(*point)
    setting.lists[1].AddControlPointWorld(*POINTS[0])
    setting.placing.start()
    assert (setting.placing.stage, setting.placing.number) == (PARTNER, 2)
    setting.placing.next()
    assert (setting.placing.stage, setting.placing.number) == (PARTNER, 3)
    setting.placing.next()
    assert (setting.placing.stage, setting.placing.number) == (ON_FIXED, 4)
    np.testing.assert_allclose(setting.errors().after[1:], 0, atol=1e-6)


def test_more_moving_than_fixed_points_are_refused(setting):
    setting.lists[1].AddControlPointWorld(*POINTS[0])
    with pytest.raises(InputError, match="MR landmarks has 1 points, CT landmarks only 0"):
        setting.placing.start()
    assert setting.placing.stage is None
    assert not setting.stages


def test_before_a_registration_the_partner_is_at_the_same_place(host):
    fixed, moving = addVolume(host.scene, texture(FIXED, 1), "CT"), addVolume(host.scene, texture(MOVING, 2), "MR")
    lists = makeLists(fixed, moving)
    placing = PairPlacing(*lists, fixed, moving)
    placing.start()
    lists[0].AddControlPointWorld(*POINTS[0])
    assert placing.stage == PARTNER
    np.testing.assert_allclose(lists[1].GetNthControlPointPositionWorld(0), POINTS[0], atol=1e-9)
    placing.stop()
