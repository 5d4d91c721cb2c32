"""The table of a cohort: what it may hold, and all that is wrong with it at once, each with its line."""

import cohorts
import numpy as np
import pytest
import SimpleITK as sitk
from deepregister.cli import main
from deepregister.cohort.rows import COLUMNS, default_name, read_rows
from deepregister.errors import FileError, InputError
from deepregister.pointfiles import PointList, write_points
from deepregister.settings import Settings

SETTINGS = Settings(quality="fast", seed=3)


@pytest.fixture
def folder(tmp_path):
    """A folder with volumes, label maps and landmarks to name in a table."""
    for name in ("a", "b", "mask", "labels"):
        cohorts.blobs().write(tmp_path / f"{name}.nii.gz")
    series = sitk.JoinSeries([cohorts.blobs().to_sitk()] * 3)
    sitk.WriteImage(series, str(tmp_path / "cine.nii.gz"))
    points = np.arange(9.0).reshape(3, 3)
    write_points(PointList(points), tmp_path / "three.mrk.json")
    write_points(PointList(points[:2], coordinates="RAS"), tmp_path / "two.csv")
    (tmp_path / "unsaid.csv").write_text("x,y,z\n1,2,3\n4,5,6\n7,8,9\n")
    return tmp_path


def read(folder, *lines, **options):
    table = folder / "pairs.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_rows(table, folder / "out", SETTINGS, **options)


def test_a_full_table_is_read(folder):
    rows = read(
        folder,
        "Name;fixed;moving;model;quality;moving_frame;fixed_mask;regions;"
        "fixed_landmarks;moving_landmarks;fixed_labels;moving_labels",
        "one;a.nii.gz;b.nii.gz;rigid;accurate;;mask.nii.gz;labels.nii.gz;three.mrk.json;three.mrk.json;labels.nii.gz;labels.nii.gz",
        "",
        f'"two, too";a.nii.gz;{folder / "cine.nii.gz"};;;2;;;;;;',
    )
    one, two = rows
    assert (one.name, one.folder, one.line) == ("one", folder / "out" / "one", 2)
    assert one.settings == Settings(model="rigid", quality="accurate", seed=3)
    assert (one.fixed, one.moving) == (folder / "a.nii.gz", folder / "b.nii.gz")
    assert one.fixed_mask == folder / "mask.nii.gz" and one.moving_mask is None
    assert one.regions == folder / "labels.nii.gz" and two.regions is None
    assert one.fixed_labels == one.moving_labels == folder / "labels.nii.gz"
    assert one.voxels == 2 * 20**3
    assert (two.name, two.line, two.moving_frame, two.settings) == ("two, too", 4, 2, SETTINGS)
    assert two.moving == folder / "cine.nii.gz" and two.voxels == 2 * 20**3


def test_a_row_without_a_name_is_called_by_its_files(folder):
    rows = read(folder, "fixed,moving,moving_frame", "a.nii.gz,b.nii.gz,", "a.nii.gz,cine.nii.gz,0")
    assert [row.name for row in rows] == ["b-to-a", "cine-to-a-frame0"]
    assert default_name(folder / "dicom", folder / ".hidden") == ".hidden-to-dicom"


BAD_ROWS = {
    "none.nii.gz,b.nii.gz,1,,,,,,": ["none.nii.gz does not exist"],
    ",b.nii.gz,2,,,,,,": ["fixed is empty"],
    "a.nii.gz,cut.nii.gz,3,,,,,,": ["cut.nii.gz", "cut off"],
    "a.nii.gz,photo.png,4,,,,,,": ["photo.png", "two-dimensional"],
    "a.nii.gz,cine.nii.gz,5,,,,,,": ["cine.nii.gz", "series of 3"],
    "a.nii.gz,b.nii.gz,6,magic,,,,,": ["no model 'magic'"],
    "a.nii.gz,b.nii.gz,7,,perfect,,,,": ["quality 'perfect'"],
    "a.nii.gz,b.nii.gz,8,,,three.mrk.json,two.csv,,": ["3 fixed and 2 moving landmarks"],
    "a.nii.gz,b.nii.gz,9,,,three.mrk.json,unsaid.csv,,": ["unsaid.csv", "--csv-coordinates"],
    "a.nii.gz,b.nii.gz,10,,,three.mrk.json,,,": ["Only one of fixed_landmarks and moving_landmarks"],
    "a.nii.gz,b.nii.gz,11,,,,,labels.nii.gz,": ["Only one of fixed_labels and moving_labels"],
    "a.nii.gz,b.nii.gz,1,,,,,,": ["output name '1' is that of line 2"],
    "a.nii.gz,b.nii.gz,../up,,,,,,": ["'../up' cannot be that of a folder"],
    "a.nii.gz,b.nii.gz,index.html,,,,,,": ["summary of the cohort"],
    "a.nii.gz,b.nii.gz,inside,,,,,,": ["overwrite the input"],
    "a.nii.gz,b.nii.gz,taken,,,,,,": ["taken is a file"],
}


def test_every_problem_is_told_at_once_with_its_line(folder, capsys):
    whole = (folder / "a.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    sitk.WriteImage(sitk.Image(9, 9, sitk.sitkUInt8), str(folder / "photo.png"))
    inside = folder / "out" / "inside"
    inside.mkdir(parents=True)
    (folder / "out" / "taken").write_text("a file")
    cohorts.blobs().write(inside / "registered.nii.gz")
    lines = [line.replace("b.nii.gz,inside", "out/inside/registered.nii.gz,inside") for line in BAD_ROWS]
    header = "fixed,moving,name,model,quality,fixed_landmarks,moving_landmarks,fixed_labels,moving_labels"
    with pytest.raises(InputError) as error:
        read(folder, header, *lines)
    told = str(error.value).splitlines()
    assert told[0] == f"pairs.csv has {len(BAD_ROWS)} problems, so nothing was started:"
    for number, words in enumerate(BAD_ROWS.values(), 2):
        (line,) = [line for line in told if line.startswith(f"  line {number}: ")]
        assert [word for word in words if word not in line] == []
    assert main(["batch", str(folder / "pairs.csv"), "--output", str(folder / "out")]) == 2
    assert "16 problems" in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["inside", "taken"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["fixed,moved", "a,b"], ["unknown: 'moved'", "missing: moving", ", ".join(COLUMNS[2:])]),
        (["fixed,moving,moving", "a,b,c"], ["twice: moving"]),
        (["fixed,moving"], ["no rows"]),
        ([""], ["missing: fixed, moving"]),
        (["fixed,moving", "a.nii.gz,b.nii.gz,c"], ["line 2", "3 cells for 2 columns"]),
    ],
)
def test_a_table_that_is_none_is_refused(folder, lines, words):
    with pytest.raises(InputError) as error:
        read(folder, *lines)
    assert [word for word in words if word not in str(error.value)] == []


def test_a_table_or_output_that_cannot_be_used_is_told(folder):
    with pytest.raises(FileError, match=r"none\.csv"):
        read_rows(folder / "none.csv", folder / "out", SETTINGS)
    with pytest.raises(FileError, match=r"a\.nii\.gz is a file"):
        read_rows(folder / "none.csv", folder / "a.nii.gz", SETTINGS)
    (folder / "latin.csv").write_bytes("fixed,moving\nkärnspin,b\n".encode("latin-1"))
    with pytest.raises(FileError, match="save it as UTF-8"):
        read_rows(folder / "latin.csv", folder / "out", SETTINGS)


def test_coordinates_that_a_table_of_points_does_not_say_can_be_asked_for(folder):
    lines = ("fixed,moving,fixed_landmarks,moving_landmarks", "a.nii.gz,b.nii.gz,three.mrk.json,unsaid.csv")
    (row,) = read(folder, *lines, csv_coordinates="RAS")
    assert row.csv_coordinates == "RAS"


def test_a_folder_of_slices_is_not_read_before_its_turn(folder):
    (folder / "dicom").mkdir()
    with pytest.raises(InputError, match="is empty"):
        read(folder, "fixed,moving", "a.nii.gz,dicom")
    (folder / "dicom" / "slice.dcm").write_bytes(b"")
    (row,) = read(folder, "fixed,moving", "a.nii.gz,dicom")
    assert row.voxels == 20**3
