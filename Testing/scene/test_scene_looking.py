"""Every way of comparing two volumes in the slice views, by the pixels that Slicer's own slice logic makes."""

import numpy as np
import pytest
import slicer
import vtk
from deepregister import Volume
from deepregister.errors import InputError
from DeepRegisterLib.scene.frame import flippedPoints, matrixArray, transformedPoints, vtkMatrix
from DeepRegisterLib.scene.grids import displacementGrid
from DeepRegisterLib.scene.looking.looking import MODES, Looking
from scenery import addLinear, addVolume, bending, centred, deformable, dump, rigid, rotated, setTransform, texture
from scipy.ndimage import map_coordinates
from slicepictures import Window, canDraw, pixels

GRID = centred((40, 44, 36), (2.0, 2.0, 2.0), 7)
RESULT = deformable(GRID, degrees=4, shift=(1, 2, -1), amplitude=3)
COARSE = GRID.with_spacing((8.0, 8.0, 8.0)).padded(2)
ERROR = Volume((2 + COARSE.points() @ (0.01, 0.02, 0)).astype(np.float32), COARSE)

drawing = pytest.mark.skipif(not canDraw(), reason="no library EGL on this machine, which draws without a display")


@pytest.fixture
def layout(host):
    """The layout node; the slice views of the usual layout are made with it."""
    return host.addLayout()


@pytest.fixture
def views(host, layout):
    """The slice logics of three views, looking at something else."""
    other = addVolume(host.scene, texture(centred((20, 20, 20), (3, 3, 3)), 9), "other")
    logics = [host.addSliceView(name) for name in ("Red", "Yellow", "Green")]
    for logic, orientation in zip(logics, ("Axial", "Sagittal", "Coronal"), strict=True):
        logic.GetSliceNode().SetOrientation(orientation)
        logic.GetSliceNode().SetDimensions(160, 120, 1)
        logic.GetSliceCompositeNode().SetBackgroundVolumeID(other.GetID())
        logic.FitSliceToBackground()
    return logics


@pytest.fixture
def pair(host):
    """A fixed and a moving volume."""
    return addVolume(host.scene, texture(GRID, 1), "fixed"), addVolume(host.scene, texture(GRID, 2), "moving")


@pytest.fixture
def looking(host, views):
    return Looking(host.scene, host.applicationLogic)


@pytest.fixture
def result(host, pair):
    """A deformable result that the moving volume is under."""
    node = host.scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "result")
    node.SetAndObserveTransformFromParent(displacementGrid(RESULT, GRID.padded(4)))
    pair[1].SetAndObserveTransformNodeID(node.GetID())
    return node


def alone(looking, views, fade):
    """What the views show of one volume alone."""
    looking.show("fade")
    looking.fade = fade
    looking.update()
    return [pixels(view) for view in views]


def pixelPoints(sliceNode):
    """RAS mm of the pixels of a view, (rows, columns, 3)."""
    columns, rows, _ = sliceNode.GetDimensions()
    j, i = np.mgrid[:rows, :columns]
    index = np.stack([i, j, np.zeros_like(i), np.ones_like(i)], axis=-1)
    return (index @ matrixArray(sliceNode.GetXYToRAS()).T)[..., :3]


def seenValues(node, sliceNode):
    """What a volume on the grid of the fixed one holds at the pixels of a view inside it, and which those are."""
    index = GRID.point_to_index(flippedPoints(pixelPoints(sliceNode)))
    inside = np.all((index >= 0) & (index <= np.asarray(GRID.size) - 1), axis=-1)
    values = map_coordinates(slicer.util.arrayFromVolume(node), index[inside][:, ::-1].T, order=1)
    return values, inside


def test_fade_blends_from_fixed_to_moving(looking, views, pair):
    looking.begin(*pair)
    fixed, moving = alone(looking, views, 0.0), alone(looking, views, 1.0)
    looking.fade = 0.25
    looking.update()
    for view, still, other in zip(views, fixed, moving, strict=True):
        blended = 0.75 * still[..., :3] + 0.25 * other[..., :3]
        assert np.abs(pixels(view)[..., :3] - blended).max() <= 1
        assert np.abs(still[..., :3].astype(int) - other[..., :3]).max() > 50


def test_flicker_shows_one_and_then_the_other(looking, views, pair):
    looking.begin(*pair)
    fixed, moving = alone(looking, views, 0.0), alone(looking, views, 1.0)
    looking.show("flicker")
    for shown in (fixed, moving, fixed):
        assert all(np.array_equal(pixels(view), picture) for view, picture in zip(views, shown, strict=True))
        looking.flip()


@pytest.mark.parametrize("tile", [12.0, 31.0])
def test_a_checkerboard_tile_shows_fixed_or_moving(looking, views, pair, tile):
    looking.begin(*pair)
    fixed, moving = alone(looking, views, 0.0), alone(looking, views, 1.0)
    looking.show("checkerboard")
    looking.tileMm = tile
    looking.update()
    centre = flippedPoints(GRID.centre)
    for view, still, other in zip(views, fixed, moving, strict=True):
        # Tiles by the plane's own axes, in mm from the middle of the fixed volume.
        axes = matrixArray(view.GetSliceNode().GetSliceToRAS())[:3, :2]
        along = np.floor((pixelPoints(view.GetSliceNode()) - centre) @ axes / tile + 0.5).astype(int)
        white = (along.sum(axis=-1) % 2 == 0)[..., None]
        assert np.array_equal(pixels(view), np.where(white, other, still))
        assert 0.3 < white.mean() < 0.7


def test_the_tiles_stay_with_the_anatomy(looking, views, pair):
    looking.begin(*pair)
    looking.show("checkerboard")
    red = views[0]
    before = pixels(red)
    red.GetSliceNode().SetXYZOrigin(20 * red.GetSliceNode().GetFieldOfView()[0] / 160, 0, 0)
    # The view was moved by 20 pixels: so are the tiles.
    assert np.array_equal(pixels(red)[:, :-20], before[:, 20:])
    red.GetSliceNode().SetDimensions(80, 60, 1)
    assert pixels(red).shape == (60, 80, 4)


def test_the_circle_under_the_mouse_shows_the_moving_volume(host, looking, views, pair):
    crosshair = host.scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    looking.begin(*pair)
    fixed, moving = alone(looking, views, 0.0), alone(looking, views, 1.0)
    looking.show("reveal")
    looking.radiusMm = 15.0
    looking.update()
    assert all(np.array_equal(pixels(view), still) for view, still in zip(views, fixed, strict=True))
    for number, mouse in ((0, (70, 50)), (0, (90, 61)), (2, (80, 40))):
        node = views[number].GetSliceNode()
        crosshair.SetCursorPositionXYZ((*mouse, 0), node)
        points = pixelPoints(node)
        inside = np.linalg.norm(points - points[mouse[1], mouse[0]], axis=-1) <= 15.0
        for view, still, other in zip(views, fixed, moving, strict=True):
            here = inside[..., None] if view is views[number] else np.zeros((1, 1, 1), dtype=bool)
            assert np.array_equal(pixels(view), np.where(here, other, still))
    crosshair.SetCursorPositionInvalid()
    assert all(np.array_equal(pixels(view), still) for view, still in zip(views, fixed, strict=True))


def test_side_by_side_cuts_both_volumes_alike(looking, layout, views, pair):
    looking.begin(*pair)
    looking.show("sideBySide")
    looking.orientation = "Coronal"
    looking.update()
    assert layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    red, yellow, _ = views
    nodes = [view.GetSliceNode() for view in (red, yellow)]
    assert [node.GetOrientation() for node in nodes] == ["Coronal", "Coronal"]
    assert np.allclose(*(matrixArray(node.GetXYToRAS()) for node in nodes))
    shown = [view.GetSliceCompositeNode() for view in (red, yellow)]
    assert [node.GetBackgroundVolumeID() for node in shown] == [node.GetID() for node in pair]
    assert all(node.GetLinkedControl() and node.GetForegroundVolumeID() is None for node in shown)
    # Slicer gives the two views their new size a moment later.
    for view in (red, yellow):
        view.ResizeSliceNode(200, 220)
    assert np.allclose(*(matrixArray(node.GetXYToRAS()) for node in nodes))
    looking.show("fade")
    assert layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert nodes[1].GetOrientation() == "Sagittal"


def test_side_by_side_stays_at_the_place_that_is_looked_at(looking, views, pair):
    looking.begin(*pair)
    looking.show("fade")
    nodes = [view.GetSliceNode() for view in views]
    place = flippedPoints(GRID.centre) + (11, -9, 14)
    for node in nodes:
        node.JumpSliceByOffsetting(*place)
    looking.show("sideBySide")
    assert nodes[0].GetSliceOffset() == pytest.approx(place[2])
    assert nodes[1].GetSliceOffset() == pytest.approx(place[2])
    # Axial in both: where they are moved to holds for the view that cuts this way.
    nodes[0].SetSliceOffset(place[2] + 5)
    nodes[1].SetSliceOffset(place[2] + 5)
    looking.show("checkerboard")
    assert nodes[0].GetSliceOffset() == pytest.approx(place[2] + 5)


def test_side_by_side_slicer_moves_both(host, looking, views, pair):
    link = slicer.vtkMRMLSliceLinkLogic()
    link.SetMRMLApplicationLogic(host.applicationLogic)
    link.SetMRMLScene(host.scene)
    looking.begin(*pair)
    looking.show("sideBySide")
    red, yellow = (view.GetSliceNode() for view in views[:2])
    # As Slicer's views do while the mouse moves.
    views[0].StartSliceOffsetInteraction()
    views[0].SetSliceOffset(red.GetSliceOffset() + 8)
    views[0].EndSliceOffsetInteraction()
    assert np.allclose(*(matrixArray(node.GetXYToRAS()) for node in (red, yellow)))
    assert yellow.GetSliceOffset() == red.GetSliceOffset()
    looking.reset()


def test_a_scene_saved_meanwhile_can_be_read(host, looking, views, pair, result, capfd):
    looking.begin(*pair, result)
    looking.grid = True
    looking.show("volumeChange")
    looking.setAmount(0.5)
    host.scene.SetSaveToXMLString(1)
    host.scene.Commit()
    text = host.scene.GetSceneXMLString()
    assert "Volume change" not in text
    assert "DeepRegister" not in text
    assert "in part" not in text
    other = slicer.vtkMRMLScene()
    other.SetLoadFromXMLString(1)
    other.SetSceneXMLString(text)
    other.Import()
    names = {other.GetNthNode(number).GetName() for number in range(other.GetNumberOfNodes())}
    assert {"fixed", "moving", "result"} <= names
    assert other.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetForegroundVolumeID() is None
    assert "ERR" not in capfd.readouterr().err


def test_volumes_are_looked_at_where_they_are_in_the_middle(looking, views, pair):
    looking.begin(*pair)
    looking.show("fade")
    for view in views:
        points = pixelPoints(view.GetSliceNode())
        middle = points[60, 80]
        normal = matrixArray(view.GetSliceNode().GetSliceToRAS())[:3, 2]
        offset = middle - flippedPoints(GRID.centre)
        assert np.linalg.norm(offset - (offset @ normal) * normal) < 2.0


@pytest.mark.parametrize("amount", [0.0, 0.4, 1.0])
def test_a_marker_lands_where_the_part_of_the_warp_puts_it(host, looking, views, pair, result, amount):
    fixed, moving = pair
    looking.begin(fixed, moving, result)
    looking.show("fade")
    looking.fade = 1.0
    looking.update()
    looking.setAmount(amount)
    slicer.util.updateVolumeFromArray(fixed, np.zeros(GRID.shape, np.float32))
    # A bright voxel in the moving volume; a pixel at x shows the moving volume at x + amount * u(x).
    red = views[0]
    points = pixelPoints(red.GetSliceNode())
    full = flippedPoints(transformedPoints(result.GetTransformFromParent(), flippedPoints(points)))
    sampled = points + amount * (full - points)
    wanted = sampled[70, 75]
    data = slicer.util.arrayFromVolume(moving)
    index = np.round(GRID.point_to_index(flippedPoints(wanted))).astype(int)
    data[:] = 0
    data[tuple(index[::-1])] = 1000
    slicer.util.arrayFromVolumeModified(moving)
    marker = flippedPoints(GRID.index_to_point(index.astype(float)))
    expected = np.unravel_index(np.linalg.norm(sampled - marker, axis=-1).argmin(), sampled.shape[:2])
    grey = pixels(red)[..., 0].astype(float)
    rows, columns = np.nonzero(grey > 0.5 * grey.max())
    assert grey.max() > 20
    assert np.hypot(rows.mean() - expected[0], columns.mean() - expected[1]) < 1.0
    if amount == 0.4:
        without = np.unravel_index(np.linalg.norm(full - marker, axis=-1).argmin(), sampled.shape[:2])
        assert np.hypot(without[0] - expected[0], without[1] - expected[1]) > 1.0


def test_the_warp_stands_on_the_moving_volumes_own_transforms(host, looking, views, pair, result):
    fixed, moving = pair
    place = np.eye(4)
    place[:3, 3] = (6, -4, 2)
    own = addLinear(host.scene, place, "own", parent=result)
    moving.SetAndObserveTransformNodeID(own.GetID())
    looking.begin(fixed, moving, result)
    looking.show("fade")
    looking.fade = 1.0
    looking.update()
    looking.setAmount(0.0)
    before = pixels(views[0])
    looking.reset()
    own.SetAndObserveTransformNodeID(None)
    looking.begin(fixed, moving)
    looking.show("fade")
    assert np.abs(pixels(views[0]).astype(int) - before).max() <= 1


def test_the_registered_volume_is_shown_where_there_is_one(host, looking, views, pair, result):
    registered = addVolume(host.scene, texture(GRID, 5), "registered")
    looking.begin(*pair, result, registered)
    looking.show("fade")
    composite = views[0].GetSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == registered.GetID()
    looking.setAmount(0.5)
    stage = host.scene.GetNodeByID(composite.GetForegroundVolumeID())
    assert stage.GetImageData() is pair[1].GetImageData()
    host.scene.RemoveNode(registered)
    looking.setAmount(1.0)
    assert composite.GetForegroundVolumeID() == pair[1].GetID()


def test_the_difference_is_what_numpy_says(host, looking, views, pair, result):
    fixed, moving = pair
    for node, window in ((fixed, (40, 160)), (moving, (20, 260))):
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(*window)
    looking.begin(fixed, moving, result)
    looking.show("difference")
    node = slicer.util.getNode("Difference")
    resampled = slicer.vtkSlicerVolumesLogic.ResampleVolumeToReferenceVolume(moving, fixed)
    moved, still = slicer.util.arrayFromVolume(resampled), slicer.util.arrayFromVolume(fixed)
    inside = slice(9, -9), slice(9, -9), slice(9, -9)
    wanted = (40 + (moved - 20.0) * 120 / 240 - still)[inside]
    assert np.abs(slicer.util.arrayFromVolume(node)[inside] - wanted).max() < 0.05
    # Where the difference is large and moving brighter the views are red, where it is darker blue.
    value, inside = seenValues(node, views[0].GetSliceNode())
    colours = pixels(views[0])[inside].astype(int)
    reddish = colours[:, 0] - colours[:, 2]
    assert reddish[value > 10].min() > 20
    assert reddish[value < -10].max() < -20
    assert not reddish[np.abs(value) < 4].any()


def test_outside_the_moving_volume_is_no_difference(host, looking, views, pair):
    fixed, moving = pair
    shift = np.eye(4)
    shift[:3, 3] = (30, 0, 0)
    result = addLinear(host.scene, shift, "result")
    moving.SetAndObserveTransformNodeID(result.GetID())
    registered = addVolume(host.scene, texture(GRID, 2), "registered")
    looking.begin(fixed, moving, result, registered)
    looking.show("difference")
    difference = slicer.util.arrayFromVolume(slicer.util.getNode("Difference"))
    index = GRID.point_to_index(GRID.points() - (30, 0, 0))
    outside = np.any((index < -0.51) | (index > np.asarray(GRID.size) - 0.49), axis=-1)
    assert (difference[outside] == 0).all()
    assert (difference[~outside] != 0).mean() > 0.99
    assert 0.3 < outside.mean() < 0.7


def test_the_difference_follows_the_stage_of_the_warp(looking, pair, result):
    fixed, moving = pair
    looking.begin(fixed, moving, result)
    looking.setAmount(0.0)
    looking.show("difference")
    node = slicer.util.getNode("Difference")
    still, moved = slicer.util.arrayFromVolume(fixed), slicer.util.arrayFromVolume(moving)
    window = fixed.GetDisplayNode().GetWindow() / moving.GetDisplayNode().GetWindow()
    low = [volume.GetDisplayNode().GetWindowLevelMin() for volume in pair]
    assert np.allclose(slicer.util.arrayFromVolume(node), low[0] + (moved - low[1]) * window - still, atol=1e-3)


def test_displacement_and_volume_change_are_those_of_the_engine(looking, views, pair, result):
    looking.begin(*pair, result)
    looking.whole = True
    looking.show("displacement")
    shown = slicer.util.arrayFromVolume(slicer.util.getNode("Displacement"))
    points = GRID.points()
    wanted = np.linalg.norm(RESULT.apply_to_points(points) - points, axis=-1)
    assert np.abs(shown - wanted).max() < 0.3
    looking.show("volumeChange")
    inner = slice(1, -1), slice(1, -1), slice(1, -1)
    shown = slicer.util.arrayFromVolume(slicer.util.getNode("Volume change"))
    assert np.abs(shown - RESULT.jacobian_determinant(GRID))[inner].max() < 0.1
    assert views[0].GetSliceCompositeNode().GetForegroundVolumeID() == slicer.util.getNode("Volume change").GetID()


def test_the_expected_error_is_the_engines_map(looking, pair, result):
    looking.begin(*pair, result, expectedError=ERROR)
    looking.show("expectedError")
    shown = slicer.util.arrayFromVolume(slicer.util.getNode("Expected error"))
    known = shown > 0
    assert known.mean() > 0.9
    assert np.allclose(shown[known], (2 + GRID.points() @ (0.01, 0.02, 0))[known], atol=1e-3)


def test_the_expected_error_is_not_shown_around_the_body(host, looking, pair, result):
    away = np.linalg.norm(GRID.points() - GRID.centre, axis=-1)
    # Noise in the air, as scanners leave it: there no value fills the surroundings.
    noise = np.random.default_rng(3).uniform(0, 20, GRID.shape)
    body = addVolume(host.scene, Volume((1000.0 * (away < 25) + noise).astype(np.float32), GRID), "body")
    looking.begin(body, pair[1], result, expectedError=ERROR)
    looking.show("expectedError")
    seen = slicer.util.arrayFromVolume(slicer.util.getNode("Expected error"))
    assert np.allclose(seen[away < 22], (2 + GRID.points() @ (0.01, 0.02, 0))[away < 22], atol=1e-3)
    assert not seen[away > 30].any()


def test_an_error_that_is_not_known_is_not_shown(looking, pair, result):
    looking.begin(*pair, result)
    with pytest.raises(InputError, match="Register again to see it"):
        looking.show("expectedError")


def test_where_the_patient_lay_is_no_change_of_shape(host, looking, pair):
    bent = displacementGrid(bending(GRID.padded(4), amplitude=2), GRID.padded(4))
    shapes = []
    for name, pose in (("still", np.eye(4)), ("lain elsewhere", rotated(20, shift=(40, -60, 25)))):
        both = vtk.vtkGeneralTransform()
        both.PostMultiply()
        both.Concatenate(bent)
        both.Concatenate(vtkMatrix(pose))
        node = host.scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
        node.SetAndObserveTransformFromParent(both)
        looking.begin(*pair, node)
        looking.show("displacement")
        shapes.append(slicer.util.arrayFromVolume(slicer.util.getNode("Displacement")).copy())
    assert np.abs(shapes[0] - shapes[1]).max() < 0.01
    assert 1 < shapes[0].max() < 4
    looking.whole = True
    looking.show("displacement")
    shown = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if node.GetHideFromEditors()]
    assert slicer.util.arrayFromVolume(shown[-1]).max() > 60


def test_empty_surroundings_have_no_colours(looking, pair, result):
    fixed = slicer.util.arrayFromVolume(pair[0]).copy()
    brain = np.linalg.norm(GRID.points() - GRID.centre, axis=-1) < 28
    slicer.util.updateVolumeFromArray(pair[0], np.where(brain, fixed, 0))
    looking.begin(*pair, result)
    looking.show("volumeChange")
    shown = slicer.util.arrayFromVolume(slicer.util.getNode("Volume change"))
    assert (shown[~brain] == 1).all()
    assert np.abs(shown[brain] - 1).mean() > 0.02


@drawing
@pytest.mark.parametrize("kind", ["grid", "arrows"])
def test_the_transform_is_drawn_and_grows(host, looking, views, pair, result, kind):
    window = Window(host, views[0])
    try:
        looking.begin(*pair, result)
        looking.show("fade")
        plain = window.pixels().astype(int)
        setattr(looking, kind, True)
        looking.show("fade")
        drawn = window.pixels()
        coloured = np.ptp(drawn.astype(int), axis=-1) > 60
        assert not (np.ptp(plain, axis=-1) > 0).any()
        assert 0.005 < coloured.mean() < 0.3
        looking.setAmount(0.0)
        # Nothing is moved: a straight grid without colours, arrows of no length.
        still = window.pixels().astype(int)
        assert not (np.ptp(still, axis=-1) > 60).any()
        setattr(looking, kind, False)
        looking.update()
        assert np.array_equal(window.pixels(), still) == (kind == "arrows")
        looking.reset()
        assert not (np.ptp(window.pixels().astype(int), axis=-1) > 0).any()
    finally:
        window.close()


@drawing
@pytest.mark.parametrize("mode", ["difference", "displacement", "volumeChange"])
def test_an_overlay_has_a_legend_that_goes_with_it(host, looking, views, pair, result, mode):
    window = Window(host, views[0])
    try:
        looking.begin(*pair, result)
        looking.overlayOpacity = 0.0
        looking.show("fade")
        plain = window.pixels().astype(int)
        looking.show(mode)
        with_legend = window.pixels().astype(int)
        right, left = with_legend[:, 110:], with_legend[:, :80]
        assert (np.ptp(right, axis=-1) > 60).sum() > 40
        assert not (np.ptp(left, axis=-1) > 0).any()
        looking.show("fade")
        assert np.array_equal(window.pixels(), plain)
    finally:
        window.close()


def test_a_fold_has_a_colour_of_its_own(host, looking, views, pair, result):
    folding = deformable(GRID, amplitude=14, wavelength=24)
    result.SetAndObserveTransformFromParent(displacementGrid(folding, GRID.padded(4)))
    looking.begin(*pair, result)
    looking.show("volumeChange")
    looking.overlayOpacity = 1.0
    looking.update()
    node = slicer.util.getNode("Volume change")
    folded = slicer.util.arrayFromVolume(node) < -0.2
    assert folded.any()
    k = int(np.argmax(folded.sum(axis=(1, 2))))
    red = views[0].GetSliceNode()
    centre = flippedPoints(GRID.index_to_point(np.argwhere(folded[k])[0][::-1].tolist() + [k]))
    red.JumpSliceByOffsetting(*centre)
    value, inside = seenValues(node, red)
    magenta = np.all(pixels(views[0])[inside][:, :3] == (224, 0, 184), axis=-1)
    assert magenta[value < 0].all()
    assert not magenta[value > 0.02].any()
    assert 0 < np.mean(value < 0) < 0.5


def test_computed_in_small_steps(looking, pair, result):
    looking.begin(*pair, result)
    shares = list(looking.prepare("difference"))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    # Done already: nothing is computed again, and nothing was shown yet.
    assert list(looking.prepare("difference")) == []
    assert looking.mode is None
    # A difference of what is seen: another window makes another one.
    pair[0].GetDisplayNode().SetAutoWindowLevel(False)
    pair[0].GetDisplayNode().SetWindowLevel(50, 100)
    assert list(looking.prepare("difference")) == shares


def test_reset_leaves_the_scene_as_it_was(host, looking, views, pair, result):
    host.scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    views[1].GetSliceCompositeNode().SetForegroundVolumeID(pair[0].GetID())
    views[1].GetSliceCompositeNode().SetForegroundOpacity(0.3)
    views[2].GetSliceNode().SetSliceOffset(3.5)
    pictures, before = [pixels(view) for view in views], dump(host.scene)
    looking.begin(*pair, result, expectedError=ERROR)
    for mode in MODES:
        looking.grid = looking.arrows = True
        looking.show(mode)
        looking.setAmount(0.5)
        looking.grid = False
        looking.update()
        views[0].GetSliceNode().SetSliceOffset(7)
    assert host.scene.GetNumberOfNodes() > len(before) - 1
    looking.reset()
    assert dump(host.scene) == before
    assert all(np.array_equal(pixels(view), picture) for view, picture in zip(views, pictures, strict=True))
    assert not looking.active
    looking.reset()
    assert dump(host.scene) == before


def test_helpers_are_not_saved(host, looking, pair, result):
    before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    looking.begin(*pair, result, expectedError=ERROR)
    looking.grid = looking.arrows = True
    for mode in MODES:
        looking.show(mode)
    looking.setAmount(0.5)
    added = [node for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetID() not in before]
    assert len(added) > 10
    assert all(node.GetHideFromEditors() and not node.GetSaveWithScene() for node in added)


def test_it_ends_when_a_volume_goes(host, looking, views, pair, result):
    ended = []
    looking.onEnd = lambda: ended.append(True)
    looking.begin(*pair, result)
    looking.show("checkerboard")
    looking.setAmount(0.5)
    host.scene.RemoveNode(pair[1])
    assert ended == [True]
    assert not looking.active
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[-1].GetName() == "fixed"
    assert views[0].GetSliceCompositeNode().GetForegroundVolumeID() is None


def test_it_ends_with_the_scene(host, looking, pair, result):
    ended = []
    looking.onEnd = lambda: ended.append(True)
    looking.begin(*pair, result)
    looking.show("difference")
    host.scene.Clear(0)
    assert ended == [True]
    assert not looking.active


def test_what_cannot_be_shown_is_said(looking, pair):
    with pytest.raises(InputError, match="Choose a fixed and a moving volume"):
        looking.show("fade")
    looking.begin(*pair)
    with pytest.raises(InputError, match="Register the volumes first"):
        looking.show("displacement")
    assert looking.mode is None


def test_a_linear_result_is_shown_by_parts(host, looking, views, pair):
    node = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "rigid")
    setTransform(node, rigid(GRID), GRID)
    pair[1].SetAndObserveTransformNodeID(node.GetID())
    looking.begin(*pair, node)
    looking.show("fade")
    looking.fade = 1.0
    looking.update()
    shown = [pixels(views[0])]
    looking.setAmount(0.999999)
    assert np.abs(pixels(views[0]).astype(int) - shown[0]).max() <= 2
    looking.show("volumeChange")
    assert np.allclose(slicer.util.arrayFromVolume(slicer.util.getNode("Volume change")), 1, atol=1e-3)
