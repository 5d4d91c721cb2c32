"""Label maps and segmentations as masks and as regions that may slide."""

import numpy as np
import pytest
import slicer
from deepregister import Volume
from deepregister.errors import InputError
from deepregister.regions import Regions
from DeepRegisterLib.scene.masks import maskFromNode, regionsFromNode
from scenery import PAIRS, addLinear, addVolume, dump, rotated

GRID = PAIRS["flipped"][0]
LABELS = np.zeros(GRID.shape, dtype=np.uint8)
LABELS[5:12, 8:20, 10:22] = 1
LABELS[16, 9:15, 12:20] = 3


def addSegmentation(scene):
    labelNode = addVolume(scene, Volume(LABELS, GRID), "labels", "vtkMRMLLabelMapVolumeNode")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "tissue")
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelNode, node)
    return node


def same(mask, wanted, matrix=None):
    """Whether the mask is 1 at the voxels of `wanted` and 0 at all others of the grid, moved by `matrix`."""
    matrix = np.eye(4) if matrix is None else matrix
    points = GRID.points() @ matrix[:3, :3].T + matrix[:3, 3]
    index = np.round(mask.geometry.point_to_index(points)).astype(int)
    within = np.all((index >= 0) & (index < np.asarray(mask.geometry.size)), axis=-1)
    seen = np.zeros(GRID.shape, dtype=bool)
    seen[within] = mask.data[tuple(index[within].T[::-1])] == 1
    return np.array_equal(seen, wanted)


@pytest.mark.parametrize("className", ["vtkMRMLLabelMapVolumeNode", "vtkMRMLScalarVolumeNode"])
def test_every_label_of_a_label_map_counts(scene, className):
    mask, warnings = maskFromNode(addVolume(scene, Volume(LABELS, GRID), "labels", className))
    assert mask.data.dtype == np.uint8 and mask.geometry.same_grid(GRID, 1e-9) and not warnings
    assert same(mask, LABELS > 0) and mask.name == "labels"


def test_a_segmentation_is_the_union_of_the_shown_segments(scene):
    node = addSegmentation(scene)
    before = dump(scene)
    mask, _ = maskFromNode(node)
    assert same(mask, LABELS > 0) and mask.data.dtype == np.uint8 and mask.name == "tissue"
    assert dump(scene) == before
    node.GetDisplayNode().SetSegmentVisibility(node.GetSegmentation().GetNthSegmentID(0), False)
    # What is left is one slice thick.
    mask, _ = maskFromNode(node)
    assert same(mask, LABELS == 3)


def test_a_segmentation_lies_where_its_transform_puts_it(scene):
    node = addSegmentation(scene)
    turn = rotated(40, shift=(6, 5, -4))
    node.SetAndObserveTransformNodeID(addLinear(scene, turn, "parent").GetID())
    mask, warnings = maskFromNode(node)
    assert not warnings
    assert same(mask, LABELS > 0, turn)


def test_a_mask_under_a_shearing_transform_stays_a_mask(scene):
    node = addVolume(scene, Volume(LABELS, GRID), "labels", "vtkMRMLLabelMapVolumeNode")
    shear = np.eye(4)
    shear[0, 1] = 0.3
    node.SetAndObserveTransformNodeID(addLinear(scene, shear, "shear").GetID())
    mask, warnings = maskFromNode(node)
    assert len(warnings) == 1 and set(np.unique(mask.data)) == {0, 1}
    volume = mask.data.sum() * np.prod(mask.geometry.spacing)
    assert volume == pytest.approx((LABELS > 0).sum() * np.prod(GRID.spacing), rel=0.1)


def test_empty_masks_are_refused(scene):
    empty = Volume(np.zeros_like(LABELS), GRID)
    with pytest.raises(InputError, match="The mask labels is empty"):
        maskFromNode(addVolume(scene, empty, "labels", "vtkMRMLLabelMapVolumeNode"))
    node = addSegmentation(scene)
    for index in range(2):
        node.GetDisplayNode().SetSegmentVisibility(node.GetSegmentation().GetNthSegmentID(index), False)
    with pytest.raises(InputError, match="No segment of tissue is shown"):
        maskFromNode(node)
    none = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    with pytest.raises(InputError, match="nothing has no binary label map"):
        maskFromNode(none)
    drawn = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "not drawn")
    drawn.GetSegmentation().AddEmptySegment("a")
    with pytest.raises(InputError, match="not drawn"):
        maskFromNode(drawn)


def test_another_node_is_refused(scene):
    with pytest.raises(InputError, match=r"own is a .* cannot be a mask"):
        maskFromNode(addLinear(scene, rotated(1), "own"))


def labelsSeen(regions, matrix):
    """The region at each voxel of the grid, moved by `matrix`; beyond the map that of its nearest voxel."""
    return Regions(regions).at(GRID.points() @ matrix[:3, :3].T + matrix[:3, 3])


@pytest.mark.parametrize("segmented", [False, True])
def test_regions_keep_their_labels_and_lie_where_their_transform_puts_them(scene, segmented):
    if segmented:
        node, wanted = addSegmentation(scene), np.where(LABELS == 3, 2, LABELS)
    else:
        node, wanted = addVolume(scene, Volume(LABELS, GRID), "tissue", "vtkMRMLLabelMapVolumeNode"), LABELS
    turn = rotated(40, shift=(6, 5, -4))
    node.SetAndObserveTransformNodeID(addLinear(scene, turn, "parent").GetID())
    before = dump(scene)
    regions, warnings = regionsFromNode(node)
    assert regions.name == "tissue" and not warnings
    assert np.array_equal(labelsSeen(regions, turn), wanted)
    assert dump(scene) == before


def test_hidden_segments_are_no_regions(scene):
    node = addSegmentation(scene)
    node.GetDisplayNode().SetSegmentVisibility(node.GetSegmentation().GetNthSegmentID(0), False)
    regions, _ = regionsFromNode(node)
    assert np.array_equal(labelsSeen(regions, np.eye(4)), LABELS == 3)


def test_what_holds_no_regions_is_refused(scene):
    with pytest.raises(InputError, match=r"own is a .* cannot be a region map"):
        regionsFromNode(addLinear(scene, rotated(1), "own"))
    with pytest.raises(InputError, match="region map whole has the value 1"):
        regionsFromNode(addVolume(scene, Volume(np.ones_like(LABELS), GRID), "whole", "vtkMRMLLabelMapVolumeNode"))
    node = addSegmentation(scene)
    for index in range(2):
        node.GetDisplayNode().SetSegmentVisibility(node.GetSegmentation().GetNthSegmentID(index), False)
    with pytest.raises(InputError, match="make up the region map"):
        regionsFromNode(node)
