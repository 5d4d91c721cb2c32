"""Fixed and moving volume over each other in the slice views."""

from DeepRegisterLib.scene.comparison import Comparison
from scenery import PAIRS, addVolume, texture


def layers(logic):
    node = logic.GetSliceCompositeNode()
    return node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity()


def test_shows_both_in_every_view_and_gives_the_views_back(host):
    scene = host.scene
    views = [host.addSliceView(name) for name in ("Red", "Yellow", "Green")]
    fixed, moving, earlier = (
        addVolume(scene, texture(PAIRS["oblique"][0], seed), name)
        for seed, name in enumerate(("fixed", "moving", "earlier"))
    )
    views[0].GetSliceCompositeNode().SetBackgroundVolumeID(earlier.GetID())
    views[1].GetSliceCompositeNode().SetForegroundOpacity(0.3)
    before = [layers(view) for view in views]
    comparison = Comparison(scene)
    comparison.show(fixed, moving)
    assert [layers(view) for view in views] == [(fixed.GetID(), moving.GetID(), 0.5)] * 3
    comparison.show(fixed, earlier, opacity=0.25)
    assert [layers(view) for view in views] == [(fixed.GetID(), earlier.GetID(), 0.25)] * 3
    comparison.reset()
    assert [layers(view) for view in views] == before
    comparison.reset()
    assert [layers(view) for view in views] == before


def test_volumes_and_views_may_be_gone_by_the_reset(host):
    scene = host.scene
    red, yellow = host.addSliceView("Red"), host.addSliceView("Yellow")
    fixed, moving = (addVolume(scene, texture(PAIRS["oblique"][0]), name) for name in ("fixed", "moving"))
    red.GetSliceCompositeNode().SetBackgroundVolumeID(moving.GetID())
    comparison = Comparison(scene)
    comparison.show(fixed, moving)
    scene.RemoveNode(moving)
    scene.RemoveNode(yellow.GetSliceCompositeNode())
    comparison.reset()
    assert red.GetSliceCompositeNode().GetForegroundVolumeID() is None
