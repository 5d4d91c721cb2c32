"""Changes of the scene that are undone when something fails half way."""

import pytest
from deepregister.errors import InputError
from DeepRegisterLib.scene.edit import SceneEdit
from DeepRegisterLib.scene.frame import vtkMatrix
from DeepRegisterLib.scene.hierarchy import placeBeside
from scenery import PAIRS, addLinear, addVolume, dump, hierarchyOf, rotated, texture


def test_all_is_undone_when_the_block_fails(scene):
    volume = addVolume(scene, texture(PAIRS["oblique"][0]), "volume")
    own, other = addLinear(scene, rotated(10), "own"), addLinear(scene, rotated(20), "other")
    other.SetAttribute("Note", "kept")
    other.SetNodeReferenceID("spatialRegistrationFixed", volume.GetID())
    volume.SetAndObserveTransformNodeID(own.GetID())
    hierarchy = hierarchyOf(scene)
    hierarchy.CreateItem(hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "study"), volume)
    before, items = dump(scene), hierarchy.GetNumberOfItems()
    with pytest.raises(InputError), SceneEdit(scene) as edit:
        node = edit.add("vtkMRMLScalarVolumeNode", "new")
        edit.addDisplayNode(node)
        placeBeside(node, volume, edit)
        edit.keep(other)
        other.SetAttribute("Note", "overwritten")
        other.SetAttribute("Another", "note")
        other.SetName("renamed")
        other.SetNodeReferenceID("spatialRegistrationFixed", node.GetID())
        other.SetMatrixTransformToParent(vtkMatrix(rotated(77)))
        edit.setParentTransform(volume, other)
        assert dump(scene) != before
        raise InputError("half way")
    assert dump(scene) == before
    assert hierarchy.GetNumberOfItems() == items
    assert volume.GetParentTransformNode() is own
    assert other.GetAttribute("Note") == "kept" and other.GetAttribute("Another") is None


def test_all_stays_when_the_block_ends(scene):
    volume = addVolume(scene, texture(PAIRS["oblique"][0]), "volume")
    with SceneEdit(scene) as edit:
        node = edit.add("vtkMRMLLinearTransformNode", "new")
        edit.setParentTransform(volume, node)
    assert volume.GetParentTransformNode() is node


def test_a_name_that_is_taken_gets_a_number(scene):
    with SceneEdit(scene) as edit:
        names = [edit.add("vtkMRMLLinearTransformNode", "MR to CT (rigid)").GetName() for _ in range(2)]
    assert names == ["MR to CT (rigid)", "MR to CT (rigid)_1"]


def test_results_stand_beside_their_source(scene):
    volume = addVolume(scene, texture(PAIRS["oblique"][0]), "volume")
    hierarchy = hierarchyOf(scene)
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient"), "study")
    hierarchy.CreateItem(study, volume)
    fresh = addLinear(scene, rotated(10), "without an item")
    # Slicer's application has made an item for every node by then, at the top of the scene.
    listed = addLinear(scene, rotated(10), "with an item")
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), listed)
    with SceneEdit(scene) as edit:
        placeBeside(fresh, volume, edit)
        placeBeside(listed, volume, edit)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(fresh)) == study
    assert hierarchy.GetItemByDataNode(listed) == item
    assert hierarchy.GetItemParent(item) == study


def test_a_scene_without_a_hierarchy_gets_none(scene):
    volume = addVolume(scene, texture(PAIRS["oblique"][0]), "volume")
    node = addLinear(scene, rotated(10), "node")
    before = dump(scene)
    with SceneEdit(scene) as edit:
        placeBeside(node, volume, edit)
    assert dump(scene) == before
    assert scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") is None
    # A source that the hierarchy does not know has no place to stand beside.
    hierarchy = hierarchyOf(scene)
    with SceneEdit(scene) as edit:
        placeBeside(node, volume, edit)
    assert hierarchy.GetNumberOfItems() == 0
