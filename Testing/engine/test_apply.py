"""`deepregister apply`: moving things land on the fixed volume, fixed ones on the moving, whatever they are."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister.cli import main
from deepregister.commands.apply import looks_like_labels
from deepregister.pointfiles import PointList, read_points, write_points
from deepregister.transforms import Affine, Composite, DisplacementField
from deepregister.volume import Geometry, Volume
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

GRID = Geometry(
    (40, 36, 30),
    (1.5, 1.5, 2.0),
    (-30.0, 12.0, -70.0),
    tuple(map(tuple, Rotation.from_euler("xyz", [12, -8, 20], degrees=True).as_matrix() @ np.diag([1.0, -1, 1]))),
)
FIXED_POINTS = GRID.index_to_point([[12, 18, 14], [25, 15, 12], [20, 22, 17.5]])
LABELS = ("apex", "base", "tip")


def deformation():
    """Fixed to moving: a smooth field of up to 4 mm that ends inside the grid, then an affine."""
    random = np.random.default_rng(4).normal(size=(*GRID.shape, 3))
    field = np.stack([gaussian_filter(random[..., c], 4) for c in range(3)], axis=-1)
    inside = np.zeros(GRID.shape)
    inside[6:-6, 6:-6, 6:-6] = 1
    field *= gaussian_filter(inside, 2)[..., None]
    field *= 4 / np.abs(field).max()
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [5, 10, -8], degrees=True).as_matrix() * (1.04, 1.0, 0.97)
    matrix[:3, 3] = (100.0, -40.0, 25.0)
    return Composite((DisplacementField(field.astype(np.float32), GRID), Affine(matrix)))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A folder with a result folder, a transform file, and volumes and points that belong together."""
    folder = tmp_path_factory.mktemp("apply")
    transform = deformation()
    inverse = Composite(tuple(part.inverse() for part in reversed(transform.parts)))
    moving_points = transform.apply_to_points(FIXED_POINTS)
    centre = moving_points.mean(axis=0)
    moving_grid = Geometry((56, 56, 56), (1.4, 1.4, 1.4), tuple(centre - 0.7 * 55))
    moving = Volume(blobs(moving_grid, moving_points), moving_grid, "moving")
    result = folder / "result"
    result.mkdir()
    transform.write(result / "transform.h5")
    inverse.write(result / "inverse.h5")
    transform.resample(moving, GRID).write(result / "registered.nii.gz")
    transform.write(folder / "transform.tfm")
    transform.write(folder / "field.nrrd")
    moving.write(folder / "moving.nrrd")
    Volume(blobs(GRID, FIXED_POINTS), GRID).write(folder / "fixed.nii.gz")
    labels = Volume((1 + np.argmax(spots(moving_grid, moving_points), 0)) * (moving.data > 30), moving_grid)
    labels.astype(np.uint8).write(folder / "labels.nii.gz")
    write_points(PointList(moving_points, LABELS, "RAS"), folder / "moving.mrk.json")
    write_points(PointList(FIXED_POINTS, LABELS), folder / "fixed.fcsv")
    return folder


def spots(grid, points):
    return np.stack([np.exp(-(np.linalg.norm(grid.points() - point, axis=-1) ** 2) / 30) for point in points])


def blobs(grid, points):
    return (100 * spots(grid, points).sum(axis=0)).astype(np.float32)


def peaks(volume, points):
    """Distance in mm from each point to the brightest place near it."""
    distances = []
    for point in points:
        near = np.linalg.norm(volume.geometry.points() - point, axis=-1) < 8
        weight = np.where(near, volume.data, 0.0) ** 2
        found = (volume.geometry.points() * weight[..., None]).sum((0, 1, 2)) / weight.sum()
        distances.append(np.linalg.norm(found - point))
    return distances


def apply(capsys, *arguments):
    status = main(["apply", *map(str, arguments)])
    told = capsys.readouterr()
    return status, told.out, told.err


SOURCES = ("result", "transform.tfm", "field.nrrd")


@pytest.mark.parametrize("source", SOURCES)
def test_points_of_the_moving_volume_land_on_the_fixed_one(scene, tmp_path, capsys, source):
    for ending in (".mrk.json", ".fcsv", ".csv"):
        output = tmp_path / f"carried{ending}"
        status, out, err = apply(capsys, scene / source, scene / "moving.mrk.json", "--output", output)
        assert (status, err) == (0, "")
        assert str(output) in out
        carried = read_points(output)
        np.testing.assert_allclose(carried.points, FIXED_POINTS, atol=0.02)
        assert carried.labels == LABELS
        assert carried.coordinates == "RAS"


@pytest.mark.parametrize("source", SOURCES)
def test_points_of_the_fixed_volume_land_on_the_moving_one(scene, tmp_path, capsys, source):
    output = tmp_path / "carried.csv"
    status, *_ = apply(capsys, scene / source, scene / "fixed.fcsv", "--inverse", "--output", output)
    assert status == 0
    np.testing.assert_allclose(read_points(output).points, read_points(scene / "moving.mrk.json").points, atol=1e-3)


@pytest.mark.parametrize("source", SOURCES)
def test_the_moving_volume_lands_on_the_fixed_one(scene, tmp_path, capsys, source):
    reference = () if source == "result" else ("--reference", scene / "fixed.nii.gz")
    status, *_ = apply(capsys, scene / source, scene / "moving.nrrd", *reference, "--output", tmp_path / "out.nii.gz")
    assert status == 0
    carried = Volume.read(tmp_path / "out.nii.gz")
    assert carried.geometry.same_grid(GRID)
    assert max(peaks(carried, FIXED_POINTS)) < 1.0


@pytest.mark.parametrize("source", SOURCES)
def test_the_fixed_volume_lands_on_the_moving_one(scene, tmp_path, capsys, source):
    status, *_ = apply(
        capsys,
        *(scene / source, scene / "fixed.nii.gz", "--inverse", "--reference", scene / "moving.nrrd"),
        *("--interpolation", "cubic", "--output", tmp_path / "out.mha"),
    )
    assert status == 0
    carried, moving = Volume.read(tmp_path / "out.mha"), Volume.read(scene / "moving.nrrd")
    assert carried.geometry.same_grid(moving.geometry)
    assert max(peaks(carried, read_points(scene / "moving.mrk.json").points)) < 1.0


def test_a_csv_is_in_the_coordinates_that_it_or_the_user_says(scene, tmp_path, capsys):
    moving = read_points(scene / "moving.mrk.json").points
    for name, columns, points, options in (
        ("a.csv", ("l", "p", "s"), moving, ()),
        ("b.csv", ("r", "a", "s"), moving * (-1, -1, 1), ()),
        ("c.csv", ("x", "y", "z"), moving, ()),
        ("d.csv", ("x", "y", "z"), moving * (-1, -1, 1), ("--csv-coordinates", "RAS")),
    ):
        rows = "".join(",".join(map(str, point)) + "\n" for point in points)
        (tmp_path / name).write_text(",".join(columns) + "\n" + rows)
        status, *_ = apply(capsys, scene / "result", tmp_path / name, *options, "--output", tmp_path / f"out-{name}")
        assert status == 0
        carried = read_points(tmp_path / f"out-{name}", "RAS" if options else "LPS")
        np.testing.assert_allclose(carried.points, FIXED_POINTS, atol=0.02)
        assert (tmp_path / f"out-{name}").read_text().startswith(",".join(columns))


def test_labels_stay_labels(scene, tmp_path, capsys):
    output = tmp_path / "labels.nii.gz"
    status, _, err = apply(capsys, scene / "result", scene / "labels.nii.gz", "--labels", "--output", output)
    assert (status, err) == (0, "")
    labels = Volume.read(output)
    assert labels.data.dtype == np.uint8
    assert np.unique(labels.data).tolist() == [0, 1, 2, 3]
    i, j, k = np.round(GRID.point_to_index(FIXED_POINTS)).astype(int).T
    assert labels.data[k, j, i].tolist() == [1, 2, 3]


def test_a_label_map_without_the_flag_is_noted(scene, tmp_path, capsys):
    arguments = (scene / "result", scene / "labels.nii.gz", "--output", tmp_path / "out.nii.gz")
    assert "--labels" in apply(capsys, *arguments)[2]
    assert apply(capsys, *arguments, "--interpolation", "nearest")[2] == ""


def test_what_looks_like_labels():
    random = np.random.default_rng(0)
    blocks = np.zeros((20, 20, 20), np.int16)
    blocks[4:10, 4:15, 4:15] = 3
    blocks[10:16, 4:15, 4:15] = 7
    assert looks_like_labels(Volume.from_array(blocks))
    assert looks_like_labels(Volume.from_array(blocks.astype(np.float32)))
    assert not looks_like_labels(Volume.from_array(random.integers(0, 200, blocks.shape).astype(np.uint8)))
    assert not looks_like_labels(Volume.from_array(random.normal(size=blocks.shape)))
    assert not looks_like_labels(Volume.from_array(np.zeros((5, 5, 5), np.uint8)))


def test_one_frame_of_a_series(scene, tmp_path, capsys):
    moving = sitk.ReadImage(str(scene / "moving.nrrd"))
    sitk.WriteImage(sitk.JoinSeries([moving * 0, moving]), str(tmp_path / "series.nii.gz"))
    arguments = (scene / "result", tmp_path / "series.nii.gz", "--output", tmp_path / "out.nrrd")
    status, _, err = apply(capsys, *arguments)
    assert status == 2
    assert "2 volumes" in err
    assert apply(capsys, *arguments, "--frame", 1)[0] == 0
    assert Volume.read(tmp_path / "out.nrrd").data.max() > 50


def test_points_beyond_what_was_registered_are_noted(scene, tmp_path, capsys):
    points = read_points(scene / "moving.mrk.json").points
    write_points(PointList(np.vstack([points[0], points[0] + 300]), ("here", "far")), tmp_path / "points.csv")
    # A dense field says nothing of what lies beyond it; an affine part that stands apart does.
    for source, told in (("field.nrrd", True), ("transform.tfm", False)):
        status, _, err = apply(capsys, scene / source, tmp_path / "points.csv", "--output", tmp_path / "out.csv")
        assert status == 0
        assert ("1 of 2 points" in err and "far" in err) == told
        np.testing.assert_allclose(read_points(tmp_path / "out.csv").points[0], FIXED_POINTS[0], atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.h5", "moving.mrk.json", "--output", "OUT/a.csv"), ["none.h5", "does not exist"]),
        (("empty", "moving.mrk.json", "--output", "OUT/a.csv"), ["transform.h5", "does not exist"]),
        (("moving.nrrd", "moving.mrk.json", "--output", "OUT/a.csv"), ["moving.nrrd", "displacement field"]),
        (("flat.tfm", "moving.mrk.json", "--output", "OUT/a.csv"), ["2-dimensional"]),
        (("result", "none.csv", "--output", "OUT/a.csv"), ["none.csv", "does not exist"]),
        (("result", "none.nii.gz", "--output", "OUT/a.nrrd"), ["none.nii.gz", "does not exist"]),
        (("result", "moving.mrk.json", "--output", "OUT/a.nrrd"), ["a.nrrd", ".csv"]),
        (("result", "moving.nrrd", "--output", "OUT/a.csv"), ["a.csv", ".nrrd"]),
        (("result", "moving.nrrd", "--output", "OUT/a.xyz"), ["a.xyz", ".nrrd"]),
        (("result", "moving.nrrd", "--output", "OUT/none/a.nrrd"), ["none", "does not exist"]),
        (("transform.tfm", "moving.nrrd", "--output", "OUT/a.nrrd"), ["--reference"]),
        (("result", "fixed.nii.gz", "--inverse", "--output", "OUT/a.nrrd"), ["--reference"]),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(scene, tmp_path, capsys, arguments, words):
    (scene / "empty").mkdir(exist_ok=True)
    sitk.WriteTransform(sitk.Euler2DTransform(), str(scene / "flat.tfm"))
    out = tmp_path / "out"
    out.mkdir()
    given = [
        argument.replace("OUT", str(out)) if argument.startswith(("--", "OUT")) else scene / argument
        for argument in arguments
    ]
    status, _, err = apply(capsys, *given)
    assert status == 2
    assert [word for word in words if word not in err] == []
    assert list(out.iterdir()) == []
