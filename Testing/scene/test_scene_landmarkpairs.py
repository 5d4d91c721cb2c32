"""Landmark pairs: errors before and after against the engine's own, partners, jumping, files."""

import numpy as np
import pytest
import slicer
from deepregister import Settings
from deepregister.errors import FileError, InputError
from deepregister.landmarks import LandmarkPairs
from deepregister.quality import landmark_errors
from DeepRegisterLib.scene.frame import flippedPoints
from DeepRegisterLib.scene.landmarkpairs import (
    addPartner,
    jumpTo,
    keepWithVolume,
    makeLists,
    pairErrors,
    removePairs,
)
from DeepRegisterLib.scene.pairfiles import COLUMNS, addPairs, readPairs, writePairs
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.scene.volumes import volumeFromNode
from scenery import PAIRS, addLinear, addVolume, deformable, registration, rotated, texture

FIXED, MOVING = PAIRS["oblique"]
INSIDE = FIXED.index_to_point(np.random.default_rng(2).uniform(3, np.asarray(FIXED.size) - 4, (9, 3)))


@pytest.fixture
def volumes(scene):
    return addVolume(scene, texture(FIXED, 1), "CT"), addVolume(scene, texture(MOVING, 2), "MR")


def insert(volumes, transform=None):
    """The scene after a registration whose transform is known; returns its transform node."""
    request = requestFromNodes(*volumes, Settings(model="deformable"), createRegisteredVolume=False)
    fixed, moving = (volumeFromNode(node)[0] for node in volumes)
    return insertResult(request, registration(transform or deformable(FIXED), fixed, moving)).transformNode


def place(node, points):
    """Add points at world positions, LPS, as a click does."""
    for point in flippedPoints(points):
        node.AddControlPointWorld(*point)


def test_lists_lie_with_their_volumes_and_go_where_these_go(scene, volumes):
    own = addLinear(scene, rotated(20, shift=(5, 0, 0)), "Scanner")
    volumes[1].SetAndObserveTransformNodeID(own.GetID())
    fixed, moving = makeLists(*volumes)
    assert (fixed.GetName(), moving.GetName()) == ("CT landmarks", "MR landmarks")
    assert moving.GetParentTransformNode() is own
    place(moving, INSIDE)
    before = slicer.util.arrayFromMarkupsControlPoints(moving)
    node = insert(volumes)
    for each in (fixed, moving):
        keepWithVolume(each)
    assert moving.GetTransformNodeID() == volumes[1].GetTransformNodeID()
    assert own.GetParentTransformNode() is node
    np.testing.assert_array_equal(slicer.util.arrayFromMarkupsControlPoints(moving), before)
    # A list that somebody else made stays where it is.
    other = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    keepWithVolume(other)
    keepWithVolume(None)
    assert other.GetParentTransformNode() is None


@pytest.mark.parametrize("follows", [True, False])
def test_errors_are_those_of_the_engine_wherever_the_moving_list_lies(volumes, follows):
    transform = deformable(FIXED)
    fixed, moving = makeLists(*volumes)
    partners = transform.apply_to_points(INSIDE) + np.random.default_rng(3).normal(0, 3, INSIDE.shape)
    place(fixed, INSIDE)
    place(moving, partners)
    pairs = LandmarkPairs(INSIDE, partners)
    early = pairErrors(fixed, moving)
    np.testing.assert_allclose(early.before, landmark_errors(pairs), atol=1e-6)
    assert early.after is None and early.statistics("after") is None
    node = insert(volumes, transform)
    if follows:
        keepWithVolume(moving)
    found = pairErrors(fixed, moving, node)
    np.testing.assert_allclose(found.before, landmark_errors(pairs), atol=1e-6)
    # What the scene's coarser grid may lose.
    np.testing.assert_allclose(found.after, landmark_errors(pairs, transform), atol=0.3)
    assert found.statistics("after")["max_mm"] == pytest.approx(found.after.max())
    chosen = np.arange(len(found)) < 3
    assert found.statistics("before", chosen)["median_mm"] == pytest.approx(np.median(found.before[:3]))
    assert found.statistics("before", ~chosen & chosen) is None
    assert found.names == tuple(str(n) for n in range(1, 10))


def test_a_point_without_a_partner_or_a_place_does_not_count(volumes):
    fixed, moving = makeLists(*volumes)
    assert len(pairErrors(None, None)) == len(pairErrors(fixed, moving)) == 0
    place(fixed, INSIDE)
    place(moving, INSIDE[:4] + 1)
    moving.UnsetNthControlPointPosition(3)
    found = pairErrors(fixed, moving)
    assert len(found) == 3
    np.testing.assert_allclose(found.before, np.sqrt(3), atol=1e-6)
    with pytest.raises(InputError, match="CT landmarks was given as both"):
        pairErrors(fixed, fixed)


def test_a_partner_is_guessed_where_the_result_takes_the_point(scene, volumes):
    transform = deformable(FIXED)
    fixed, moving = makeLists(*volumes)
    place(fixed, INSIDE[:1])
    addPartner(fixed, 0, moving)
    np.testing.assert_allclose(pairErrors(fixed, moving).before, 0, atol=1e-9)
    node = insert(volumes, transform)
    keepWithVolume(moving)
    outside = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "in the world")
    place(fixed, INSIDE[1:])
    moving.RemoveAllControlPoints()
    for number in range(len(INSIDE)):
        assert addPartner(fixed, number, moving, node) == number
        addPartner(fixed, number, outside, node)
    for partners in (moving, outside):
        found = pairErrors(fixed, partners, node)
        assert len(found) == len(INSIDE)
        np.testing.assert_allclose(found.after, 0, atol=1e-3)
        np.testing.assert_allclose(found.pairs.moving, transform.apply_to_points(INSIDE), atol=0.3)
        assert partners.GetNthControlPointLabel(4) == fixed.GetNthControlPointLabel(4)
    # Under the result the guess is seen where the point is.
    np.testing.assert_allclose(
        slicer.util.arrayFromMarkupsControlPoints(moving, world=True),
        slicer.util.arrayFromMarkupsControlPoints(fixed, world=True),
        atol=0.05,
    )


def test_pairs_are_removed_together(volumes):
    fixed, moving = makeLists(*volumes)
    place(fixed, INSIDE)
    place(moving, INSIDE + np.arange(9)[:, None])
    removePairs(fixed, moving, {1, 8})
    found = pairErrors(fixed, moving)
    assert found.names == ("1", "3", "4", "5", "6", "7", "8")
    np.testing.assert_allclose(found.before, np.sqrt(3) * np.array([0, 2, 3, 4, 5, 6, 7]), atol=1e-6)


def test_all_slice_views_jump_to_a_pair(host, volumes):
    views = [host.addSliceView(name) for name in ("Red", "Green")]
    fixed, moving = makeLists(*volumes)
    place(fixed, INSIDE)
    place(moving, INSIDE)
    jumpTo(pairErrors(fixed, moving), 4, host.scene)
    for view in views:
        matrix = view.GetSliceNode().GetSliceToRAS()
        middle = [matrix.GetElement(row, 3) for row in range(3)]
        np.testing.assert_allclose(middle, flippedPoints(INSIDE[4]), atol=1e-6)


def test_two_hundred_pairs_are_measured_through_a_grid(volumes):
    fixed, moving = makeLists(*volumes)
    points = FIXED.index_to_point(np.random.default_rng(5).uniform(2, np.asarray(FIXED.size) - 3, (200, 3)))
    transform = deformable(FIXED)
    place(fixed, points)
    place(moving, transform.apply_to_points(points))
    found = pairErrors(fixed, moving, insert(volumes, transform))
    assert len(found) == 200
    assert found.after.max() < 0.3 < found.before.min()


def test_a_file_brings_the_pairs_back(scene, volumes, tmp_path):
    fixed, moving = makeLists(*volumes)
    place(fixed, INSIDE)
    fixed.SetNthControlPointLabel(2, "carina, left")
    place(moving, deformable(FIXED).apply_to_points(INSIDE))
    path = tmp_path / "pairs.csv"
    writePairs(pairErrors(fixed, moving), path)
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert path.read_text().splitlines()[1].endswith(",")
    node = insert(volumes)
    keepWithVolume(moving)
    found = pairErrors(fixed, moving, node)
    writePairs(found, path)
    pairs = readPairs(path)
    assert pairs.labels[2] == "carina, left"
    np.testing.assert_allclose(pairs.fixed, INSIDE, atol=1e-4)
    again = makeLists(*volumes)
    addPairs(*again, pairs, node)
    same = pairErrors(*again, node)
    np.testing.assert_allclose(same.before, found.before, atol=1e-3)
    np.testing.assert_allclose(same.after, found.after, atol=1e-2)
    assert same.names == found.names


def test_what_is_no_file_of_pairs_is_refused(volumes, tmp_path):
    path = tmp_path / "pairs.csv"
    with pytest.raises(FileError, match="Cannot read"):
        readPairs(path)
    path.write_text("label,x\na,1\n")
    with pytest.raises(InputError, match="no column fixed_r"):
        readPairs(path)
    path.write_text("")
    with pytest.raises(InputError, match="holds no landmark pair"):
        readPairs(path)
    header = "fixed_r,fixed_a,fixed_s,moving_r,moving_a,moving_s\n"
    path.write_text(header + "1,2,3,4,5,6\n1,2,3,4,five,6\n")
    with pytest.raises(InputError, match=r"pair 2 has no six numbers \(1, 2, 3, 4, five, 6\)"):
        readPairs(path)
    path.write_text(header + "1,2,3,4,5,6\n")
    assert readPairs(path).labels == ("1",)
    with pytest.raises(InputError, match="no landmark pair to write"):
        writePairs(pairErrors(None, None), path)
