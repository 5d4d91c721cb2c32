"""The sections Check and Improve: pairs placed in turn, the table, files, structures, refinement, undo and redo."""

import numpy as np
import pytest
import qt
import slicer
from deepregister import Composite, DisplacementField, Geometry, Rigid, Settings
from deepregister.preparation import describe_inputs
from deepregister.result import Registration
from DeepRegisterLib.panel import checkwords
from DeepRegisterLib.scene.frame import flippedPoints
from DeepRegisterLib.scene.parameters import Parameters
from DeepRegisterLib.scene.request import requestFromNodes
from DeepRegisterLib.scene.results import insertResult
from DeepRegisterLib.selftest import SHIFT_RAS_MM
from driving import composites, load, saved

SHIFT = SHIFT_RAS_MM * [-1.0, -1.0, 1.0]
# RAS, well inside of the phantom; 8 mm beside where the result takes them the last three.
POINTS = np.array([[-18, 10, 4], [15, -14, -10], [8, 20, 14], [-4, -8, 22], [20, 18, 6], [-20, -16, -8.0]])


def insert(pair, dense=False):
    """The true result of the pair put into the scene, as a registration leaves it."""
    asked = requestFromNodes(*pair, Settings(model="deformable" if dense else "rigid", quality="fast", device="cpu"))
    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT
    transform = Rigid(matrix)
    if dense:
        box = asked.fixed.geometry
        transform = Composite(
            (DisplacementField.zero(Geometry(box.size, box.spacing, box.origin, box.direction)), transform)
        )
    found = Registration(
        transform,
        transform.inverse(),
        transform.resample(asked.moving, asked.fixed.geometry),
        asked.settings,
        {"similarity_before": 0.3, "similarity_after": 0.9},
        {"deform": 1.0},
        "CPU",
        versions={"deepregister": "0.1.0"},
        inputs=describe_inputs(fixed=asked.fixed, moving=asked.moving),
    )
    return insertResult(asked, found)


@pytest.fixture
def result(panel, pair):
    """The panel with the pair chosen and its true rigid result."""
    panel.choose.ui.fixedSelector.setCurrentNode(pair[0])
    panel.choose.ui.movingSelector.setCurrentNode(pair[1])
    nodes = insert(pair)
    panel.run.onResult(nodes)
    return nodes


def click(qt_host, point):
    """A click in place mode, as Slicer handles it; then what was put off."""
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID()).AddControlPointWorld(*point)
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    qt_host.pump()


def addPairs(panel, missed=(0, 0, 0, 8, 8, 8)):
    """Six pairs on the lists of the scene, whose partners miss the result by so many mm along S."""
    p = Parameters.ofScene(slicer.mrmlScene)
    nodes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name) for name in ("F", "M")]
    for point, apart in zip(POINTS, missed, strict=True):
        nodes[0].AddControlPoint(*point)
        nodes[1].AddControlPoint(*(point + SHIFT_RAS_MM + (0, 0, apart)))
    p.fixedPoints, p.movingPoints = nodes
    return nodes


def cells(table):
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def test_without_volumes_there_is_nothing_to_check(panel):
    ui = panel.check.ui
    assert not ui.placeButton.enabled and not ui.inspectButton.enabled and not ui.exportButton.enabled
    assert not ui.verdictLabel.visible and not ui.guideLabel.visible
    assert not panel.improve.ui.refineButton.enabled and not panel.improve.ui.undoButton.enabled
    assert "place some" in panel.improve.ui.pairsLabel.text


def test_every_control_says_what_it_is_for(panel):
    for part in (panel.check, panel.improve):
        for name, widget in vars(part.ui).items():
            if name.endswith(("Button", "Selector", "SpinBox", "Table")) and name not in (
                "checkButton",
                "improveButton",
            ):
                assert len(widget.toolTip) > 20, name


def test_pairs_are_placed_in_turn(qt_host, panel, pair, result):
    ui = panel.check.ui
    before = {(view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) for view in composites()}
    ui.placeButton.click()
    p = Parameters.ofScene(slicer.mrmlScene)
    assert (p.fixedPoints.GetName(), p.movingPoints.GetName()) == (
        "Before surgery landmarks",
        "After surgery landmarks",
    )
    assert ui.guideLabel.text.startswith("Pair 1: click a point in the fixed volume")
    assert not ui.nextButton.enabled
    for number, point in enumerate(POINTS[:3], start=1):
        click(qt_host, point)
        assert ui.guideLabel.text.startswith(f"Pair {number}: the views show the moving volume")
        assert {view.GetForegroundOpacity() for view in composites()} == {1.0}
        # The guess is right; then it is dragged.
        assert cells(ui.pairsTable)[-1][2] == "0.00"
        p.movingPoints.SetNthControlPointPosition(number - 1, *(point + SHIFT_RAS_MM + (0, number, 0)))
        ui.nextButton.click()
    ui.clickButton.click()
    assert ui.guideLabel.text.startswith("Pair 4: click a point in the fixed")
    click(qt_host, POINTS[3])
    ui.clickButton.click()
    assert ui.guideLabel.text.startswith("Pair 4: click the same anatomy in the moving")
    click(qt_host, POINTS[3] + (0, 4, 0))
    ui.placeButton.click()
    assert not ui.guideLabel.visible and not ui.placeButton.checked
    qt_host.wait(lambda: len(cells(ui.pairsTable)) == 4 and cells(ui.pairsTable)[3][2] == "4.00")
    assert [row[2] for row in cells(ui.pairsTable)] == ["1.00", "2.00", "3.00", "4.00"]
    assert {row[1] for row in cells(ui.pairsTable)} != {"0.00"}
    assert "2.5</b>&nbsp;mm" in ui.errorsLabel.text
    assert {(view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) for view in composites()} <= {
        *before,
        (None, None),
    }


def test_the_table_follows_points_transform_and_marks(qt_host, panel, result):
    fixed, moving = addPairs(panel)
    ui = panel.check.ui
    assert [row[2] for row in cells(ui.pairsTable)] == ["0.00"] * 3 + ["8.00"] * 3
    assert [row[0] for row in cells(ui.pairsTable)] == [fixed.GetNthControlPointLabel(n) for n in range(6)]
    assert "3 of 6 landmarks are off by more than 5 mm" in ui.verdictLabel.text
    ui.toleranceSpinBox.value = 9.0
    assert "All 6 landmarks lie within 9 mm" in ui.verdictLabel.text
    assert Parameters.ofScene(slicer.mrmlScene).toleranceMm == 9.0
    # Held back: every third, unless the user says otherwise.
    states = [ui.pairsTable.item(row, 3).checkState() for row in range(6)]
    assert [state == qt.Qt.Checked for state in states] == [False, False, True] * 2
    assert "4 of 6 landmark pairs pull the result, 2 are held back" in panel.improve.ui.pairsLabel.text
    ui.pairsTable.item(0, 3).setCheckState(qt.Qt.Checked)
    assert "3 of 6 landmark pairs pull the result, 3 are held back" in panel.improve.ui.pairsLabel.text
    # Another program moves a point; the transform is edited.
    moving.SetNthControlPointPosition(0, *(POINTS[0] + SHIFT_RAS_MM + (0, 0, 2)))
    qt_host.wait(lambda: cells(ui.pairsTable)[0][2] == "2.00")
    result.transformNode.Inverse()
    qt_host.wait(lambda: float(cells(ui.pairsTable)[1][2]) > 20)
    # Two of them are removed.
    ui.pairsTable.selectRow(1)
    ui.removeButton.click()
    assert fixed.GetNumberOfControlPoints() == moving.GetNumberOfControlPoints() == 5
    assert ui.pairsTable.rowCount == 5


def test_a_click_on_a_row_shows_the_place(panel, result):
    addPairs(panel)
    panel.check.ui.pairsTable.cellClicked.emit(4, 1)
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = node.GetSliceToRAS()
        np.testing.assert_allclose([matrix.GetElement(row, 3) for row in range(3)], POINTS[4], atol=1e-6)


def test_pairs_go_into_a_file_and_come_back(monkeypatch, panel, result, tmp_path):
    fixed, moving = addPairs(panel)
    path = tmp_path / "pairs.csv"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *unused: str(path))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *unused: str(path))
    panel.check.ui.exportButton.click()
    assert path.read_text().count("\n") == 7
    for node in (fixed, moving):
        node.RemoveAllControlPoints()
    panel.check.ui.importButton.click()
    assert [row[2] for row in cells(panel.check.ui.pairsTable)] == ["0.00"] * 3 + ["8.00"] * 3
    path.write_text("nothing")
    panel.check.ui.importButton.click()
    assert "holds no landmark pair" in panel.run.ui.errorLabel.text
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *unused: "")
    panel.check.ui.importButton.click()
    assert panel.check.ui.pairsTable.rowCount == 6


def test_looking_closer_fills_field_and_structures(qt_host, panel, pair, result):
    p = Parameters.ofScene(slicer.mrmlScene)
    for role, volume in (("fixedSegmentation", pair[0]), ("movingSegmentation", pair[1])):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", role)
        slicer.util.updateVolumeFromArray(node, (slicer.util.arrayFromVolume(volume) > 40).astype(np.uint8))
        node.CopyOrientation(volume)
        setattr(p, role, node)
    panel.check.ui.inspectButton.click()
    assert not panel.check.ui.placeButton.enabled
    qt_host.wait(lambda: not panel.running)
    assert not panel.run.ui.errorFrame.visible, panel.run.ui.errorLabel.text
    (row,) = cells(panel.check.ui.structuresTable)
    assert float(row[2]) > 0.8 > float(row[1])
    assert row[5] == "× 1.00"
    assert "No place folds." in panel.check.ui.fieldLabel.text
    assert "The overlap of" in panel.check.ui.verdictLabel.text
    # It belongs to this result.
    panel.run.onResult(insert(pair))
    assert not panel.check.ui.structuresTable.visible and not panel.check.ui.fieldLabel.visible


def test_refining_undo_and_redo(qt_host, panel, pair):
    panel.choose.ui.qualitySelector.currentIndex = panel.choose.ui.qualitySelector.findData("fast")
    panel.run.onResult(insert(pair, dense=True))
    addPairs(panel, missed=[4] * 6)
    transform = panel.current.transformNode
    ui = panel.improve.ui
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    assert ui.refineButton.enabled and not ui.undoButton.enabled
    ui.refineButton.click()
    assert not ui.refineButton.enabled
    panel.run.ui.runButton.click()
    qt_host.wait(lambda: not panel.running)
    assert panel.run.ui.statusLabel.text == "Cancelled: nothing was changed."
    assert [row[2] for row in cells(panel.check.ui.pairsTable)] == ["4.00"] * 6
    ui.refineButton.click()
    qt_host.wait(lambda: not panel.running)
    assert not panel.run.ui.errorFrame.visible, panel.run.ui.errorLabel.text
    assert panel.current.transformNode is transform
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    refined = cells(panel.check.ui.pairsTable)
    pulling = [0, 1, 3, 4]
    assert max(float(refined[row][2]) for row in pulling) < 3
    assert [refined[row][3] for row in range(6)] == ["drew the result" if row in pulling else "" for row in range(6)]
    assert "4 landmark pairs drew the result towards them: mean error 4.0 mm before" in ui.outcomeLabel.text
    assert "held back" in panel.check.ui.verdictLabel.text
    ui.undoButton.click()
    assert [row[2] for row in cells(panel.check.ui.pairsTable)] == ["4.00"] * 6
    assert "earlier result" in ui.outcomeLabel.text
    assert not ui.undoButton.enabled and ui.redoButton.enabled
    ui.redoButton.click()
    assert cells(panel.check.ui.pairsTable) == refined
    assert ui.undoButton.enabled and not ui.redoButton.enabled


def test_a_region_is_made_to_paint_in(monkeypatch, panel, pair, result):
    opened = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    panel.improve.ui.paintButton.click()
    region = Parameters.ofScene(slicer.mrmlScene).emphasis
    assert opened == ["SegmentEditor"]
    assert region.GetSegmentation().GetNthSegment(0).GetName() == "Where it went wrong"
    assert region.GetNodeReference("referenceImageGeometryRef") is pair[0]
    assert panel.improve.ui.emphasisSelector.currentNode() is region
    # Nothing is painted yet, and a rigid result cannot bend.
    panel.improve.ui.refineButton.click()
    assert "cannot bend" in panel.run.ui.errorLabel.text


def test_closing_the_scene_forgets_all(qt_host, panel, result, scene):
    addPairs(panel)
    panel.check.ui.placeButton.click()
    scene.Clear(0)
    qt_host.pump()
    assert panel.check.ui.pairsTable.rowCount == 0
    assert not panel.check.ui.guideLabel.visible and not panel.check.ui.verdictLabel.visible
    assert not panel.improve.ui.undoButton.enabled


def test_a_loaded_scene_is_measured_again(panel, result, scene):
    addPairs(panel)
    panel.check.ui.toleranceSpinBox.value = 3.0
    before = cells(panel.check.ui.pairsTable)
    text = saved(scene)
    scene.Clear(0)
    load(scene, text)
    panel.attach()
    # Points are kept in files of their own, which a scene as text leaves out.
    assert Parameters.ofScene(scene).fixedPoints.GetName() == "F"
    assert panel.check.ui.toleranceSpinBox.value == 3.0
    assert len(before) == 6


def test_two_hundred_pairs_are_shown(panel, result):
    nodes = addPairs(panel)
    for _ in range(194):
        for node in nodes:
            node.AddControlPoint(*flippedPoints(np.random.default_rng(1).uniform(-20, 20, 3)))
    panel.check.update()
    shown = cells(panel.check.ui.pairsTable)
    assert len(shown) == 200
    assert [row[2] for row in shown[:6]] == ["0.00"] * 3 + ["8.00"] * 3
    assert "All pairs (200)" in panel.check.ui.errorsLabel.text


def test_words_of_a_check():
    assert checkwords.guideText(None, 1, False) == ""
    entry = {"name": "Liver", "volume_ml": 12.34, "volume_change": 1.05}
    assert checkwords.structureCells(entry) == ("Liver", "–", "–", "–", "12.3", "× 1.05")
