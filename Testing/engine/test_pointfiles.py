"""Points keep their place through every kind of file, whatever its coordinates, and Slicer reads what is written."""

import json

import numpy as np
import pytest
from deepregister.errors import FileError, InputError
from deepregister.pointfiles import PointList, read_landmark_pairs, read_points, write_points

LPS = np.array([[-1.0, -2.0, 3.0], [4.5, -2.25, 3.0], [10.0, 20.0, -30.125]])
RAS = LPS * (-1, -1, 1)
LABELS = ("F-1", "liver, left", 'a "b"')

SLICER_TABLE = """"label","{}","{}","{}","defined","selected","visible","locked","description"
"F-1",{},1,1,1,0,""
"F-2",{},1,1,1,0,""
"""


def markups(points, system, **extra):
    control_points = [
        {"id": str(n), "label": LABELS[n], "position": list(p), "positionStatus": "defined", "description": "kept"}
        for n, p in enumerate(points)
    ]
    control_points.append({"label": "not placed yet", "position": [0, 0, 0], "positionStatus": "undefined"})
    return {"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": control_points, **extra}]}


@pytest.mark.parametrize("ending", [".mrk.json", ".fcsv", ".csv"])
@pytest.mark.parametrize("coordinates", ["LPS", "RAS"])
def test_round_trip(tmp_path, ending, coordinates):
    path = tmp_path / f"points{ending}"
    write_points(PointList(LPS, LABELS, coordinates), path)
    back = read_points(path)
    assert back.coordinates == coordinates
    assert back.labels == LABELS
    np.testing.assert_allclose(back.points, LPS, atol=1e-6)


@pytest.mark.parametrize(("system", "points"), [("LPS", LPS), ("RAS", RAS), ("0", RAS), ("1", LPS)])
def test_markups_say_their_coordinates(tmp_path, system, points):
    path = tmp_path / "points.mrk.json"
    path.write_text(json.dumps(markups(points, system)))
    np.testing.assert_allclose(read_points(path).points, LPS)


def test_markups_keep_what_is_not_a_position(tmp_path):
    path = tmp_path / "curve.mrk.json"
    path.write_text(json.dumps(markups(RAS, "RAS", type="Curve", display={"color": [1, 0, 0]}, measurements=[{}])))
    read = read_points(path)
    write_points(read.moved_to(np.add(read.points, (1, 0, 0))), tmp_path / "moved.mrk.json")
    markup = json.loads((tmp_path / "moved.mrk.json").read_text())["markups"][0]
    assert (markup["type"], markup["display"], markup["coordinateSystem"]) == ("Curve", {"color": [1, 0, 0]}, "RAS")
    assert "measurements" not in markup
    np.testing.assert_allclose([p["position"] for p in markup["controlPoints"][:-1]], np.subtract(RAS, (1, 0, 0)))
    assert markup["controlPoints"][-1]["position"] == [0, 0, 0]
    assert markup["controlPoints"][0]["description"] == "kept"


@pytest.mark.parametrize(
    ("header", "points"), [("# CoordinateSystem = LPS\n", LPS), ("# CoordinateSystem = 0\n", RAS), ("", RAS)]
)
def test_fcsv_says_its_coordinates_and_is_ras_where_an_old_one_does_not(tmp_path, header, points):
    path = tmp_path / "points.fcsv"
    rows = "".join(f"id{n},{p[0]},{p[1]},{p[2]},0,0,0,1,1,1,0,name{n},,\n" for n, p in enumerate(points))
    path.write_text(
        f"# Markups fiducial file version = 4.6\n{header}# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,"
        f"label,desc,associatedNodeID\n{rows}"
    )
    read = read_points(path)
    np.testing.assert_allclose(read.points, LPS)
    assert read.labels == ("name0", "name1", "name2")


def test_table_columns_say_their_coordinates(tmp_path):
    for letters, points in (("lps", LPS), ("ras", RAS)):
        path = tmp_path / "slicer.csv"
        path.write_text(SLICER_TABLE.format(*letters, *(",".join(map(str, p)) for p in points[:2])))
        read = read_points(path)
        np.testing.assert_allclose(read.points, LPS[:2])
        assert read.labels == ("F-1", "F-2")
        write_points(read, tmp_path / "again.csv")
        assert (tmp_path / "again.csv").read_text().startswith("label," + ",".join(letters))


@pytest.mark.parametrize("text", ["x,y,z\n1,2,3\n", "1,2,3\n", "1;2;3\n", "z;x;y\n3;1;2\n", "# note\n1\t2\t3\n"])
def test_table_without_coordinates_takes_the_callers(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text)
    np.testing.assert_allclose(read_points(path).points, [[1, 2, 3]])
    np.testing.assert_allclose(read_points(path, "RAS").points, [[-1, -2, 3]])


def test_a_table_of_markups_names_its_coordinates(tmp_path):
    path = tmp_path / "points.fcsv"
    write_points(PointList(LPS, LABELS, "RAS"), path)
    write_points(read_points(path), tmp_path / "points.csv")
    assert (tmp_path / "points.csv").read_text().startswith("label,r,a,s\nF-1,1.000000,2.000000,3.000000\n")


def test_landmarks_pair_by_label_or_else_by_order(tmp_path):
    first, second = tmp_path / "fixed.csv", tmp_path / "moving.csv"
    first.write_text("label,x,y,z\na,1,0,0\nb,2,0,0\n")
    second.write_text("label,x,y,z\nb,20,0,0\na,10,0,0\n")
    assert read_landmark_pairs(first, second).moving[:, 0].tolist() == [10, 20]
    second.write_text("label,x,y,z\nM-1,20,0,0\nM-2,10,0,0\n")
    assert read_landmark_pairs(first, second).moving[:, 0].tolist() == [20, 10]
    second.write_text("label,x,y,z\na,20,0,0\n")
    with pytest.raises(InputError, match="2 fixed and 1 moving"):
        read_landmark_pairs(first, second)


@pytest.mark.parametrize(
    ("name", "text", "error", "says"),
    [
        ("a.csv", "x,y\n1,2\n", InputError, "x, y"),
        ("a.csv", "x,y,z\n1,2,3\n4,five,6\n", InputError, "point 2"),
        ("a.csv", "", InputError, "no placed point"),
        ("a.csv", "x,y,z\n1,2,nan\n", InputError, "finite"),
        ("a.mrk.json", "{", FileError, "damaged"),
        ("a.mrk.json", '{"other": 1}', FileError, "damaged"),
        ("a.mrk.json", json.dumps(markups(LPS, "IJK")), InputError, "IJK"),
        ("a.mrk.json", json.dumps(markups(LPS, "LPS", type="ROI")), InputError, "ROI"),
        ("a.mrk.json", json.dumps(markups(LPS, "LPS", coordinateUnits="um")), InputError, "um"),
        ("a.mrk.json", json.dumps(markups([[5.0]], "LPS")), FileError, "three coordinates"),
        ("a.fcsv", "# CoordinateSystem = IJK\n1,1,2,3\n", InputError, "IJK"),
        ("a.fcsv", "1,1.5\n2,2.5\n3,3.5\n", FileError, "three coordinates"),
        ("a.txt", "1 2 3", FileError, "a.txt"),
    ],
)
def test_unusable_files(tmp_path, name, text, error, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=says):
        read_points(tmp_path / name)


def test_missing_file_and_unknown_ending(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        read_points(tmp_path / "none.csv")
    with pytest.raises(FileError, match=r"points\.txt"):
        write_points(PointList(LPS), tmp_path / "points.txt")
    with pytest.raises(FileError, match="does not exist"):
        write_points(PointList(LPS), tmp_path / "no folder" / "points.csv")


@pytest.mark.parametrize("coordinates", ["LPS", "RAS"])
@pytest.mark.parametrize(
    ("ending", "storage"),
    [(".mrk.json", "vtkMRMLMarkupsJsonStorageNode"), (".fcsv", "vtkMRMLMarkupsFiducialStorageNode")],
)
def test_slicer_reads_what_is_written_and_the_other_way_round(tmp_path, ending, storage, coordinates):
    slicer = pytest.importorskip("slicer", reason="the real markups storage comes with slicer-core")
    scene = slicer.vtkMRMLScene()
    markups_logic = slicer.vtkSlicerMarkupsLogic()
    markups_logic.SetMRMLScene(scene)
    write_points(PointList(LPS, LABELS, coordinates), tmp_path / f"written{ending}")
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    storage_node = scene.AddNewNodeByClass(storage)
    storage_node.SetFileName(str(tmp_path / f"written{ending}"))
    assert storage_node.ReadData(node)
    inside = [node.GetNthControlPointPosition(n) for n in range(node.GetNumberOfControlPoints())]
    np.testing.assert_allclose(inside, RAS, atol=1e-6)
    assert [node.GetNthControlPointLabel(n) for n in range(3)] == list(LABELS)
    storage_node.SetFileName(str(tmp_path / f"by slicer{ending}"))
    assert storage_node.WriteData(node)
    back = read_points(tmp_path / f"by slicer{ending}")
    np.testing.assert_allclose(back.points, LPS, atol=1e-6)
    assert back.labels == LABELS
