"""An evaluation's numbers against independent computations: SciPy, SimpleITK, MONAI, and transforms that are known."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Registration, Rigid, Settings, Volume
from deepregister.cli import main
from deepregister.errors import InputError
from deepregister.evaluation import error_statistics, evaluate, inverse_consistency
from deepregister.landmarks import LandmarkPairs
from deepregister.pointfiles import PointList, write_points
from deepregister.quality import over_volume, sample_points
from deepregister.sources import SourceFile, with_files
from deepregister.transforms.tetrahedra import non_diffeomorphic_volume
from phantoms import FLIPPED, OBLIQUE, bumps, grid
from scipy import stats

SHIFT = np.array([3.0, -2.0, 4.0])
FIXED_GRID = grid((2.0, 2.5, 3.0), OBLIQUE)
MOVING_GRID = grid((2.2, 2.0, 1.8), FLIPPED, centre=SHIFT)


def shifted(by):
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return Affine(matrix)


def structures(geometry, shift=(0, 0, 0)):
    """Three ellipsoids, labels 2, 5 and 9, as they lie in space after a shift."""
    points = geometry.points() - np.asarray(shift)
    data = np.zeros(geometry.shape, np.uint16)
    for label, centre, radii in (
        (2, (0, 0, 0), (30, 22, 25)),
        (5, (12, 5, -6), (9, 8, 10)),
        (9, (-14, 4, 5), (8, 9, 7)),
    ):
        data[np.sum(((points - centre) / radii) ** 2, axis=-1) < 1] = label
    return Volume(data, geometry, "structures")


@pytest.fixture(scope="module")
def truth():
    """A dense transform with an affine part, and the label maps of a pair that it nearly aligns."""
    transform = Composite((bumps(2.0, FIXED_GRID), shifted(SHIFT)))
    return transform, structures(FIXED_GRID), structures(MOVING_GRID, SHIFT)


def carried_by_itk(labels, transform, onto):
    image, reference = labels.to_sitk(), Volume(np.zeros(onto.shape, np.uint8), onto).to_sitk()
    return sitk.Resample(image, reference, transform.to_sitk(), sitk.sitkNearestNeighbor, 0.0)


def test_label_scores_agree_with_simpleitk_and_monai(truth):
    transform, fixed, moving = truth
    found = evaluate(transform, fixed_labels=fixed, moving_labels=moving)
    assert [score.label for score in found.labels] == [2, 5, 9]
    for stage, path in (("before", Rigid.identity()), ("after", transform)):
        carried = carried_by_itk(moving, path, FIXED_GRID)
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(fixed.to_sitk(), carried)
        ours = {score.label: score.measures(stage) for score in found.labels}
        for label, measures in ours.items():
            assert measures["dice"] == pytest.approx(overlap.GetDiceCoefficient(label), abs=1e-6)
        _agree_with_monai(ours, fixed.data, sitk.GetArrayFromImage(carried))
    assert all(score.dice_after > score.dice_before + 0.05 for score in found.labels)
    assert found.label_means("after")["dice"] == pytest.approx(np.mean([s.dice_after for s in found.labels]))


def _agree_with_monai(ours, fixed, carried):
    metrics = pytest.importorskip("monai.metrics", reason="MONAI needs a newer torch than the lowest that is claimed")
    torch = pytest.importorskip("torch")
    one_hot = [torch.from_numpy(np.stack([a == n for n in ours])[None].astype(np.float32)) for a in (carried, fixed)]
    options = {"spacing": FIXED_GRID.spacing[::-1], "include_background": True}
    expected = {
        "dice": metrics.compute_dice(*one_hot, include_background=True),
        "surface_mean_mm": metrics.compute_average_surface_distance(*one_hot, symmetric=True, **options),
        "hausdorff95_mm": metrics.compute_hausdorff_distance(*one_hot, percentile=95, **options),
        "hausdorff_mm": metrics.compute_hausdorff_distance(*one_hot, **options),
    }
    for name, values in expected.items():
        np.testing.assert_allclose([m[name] for m in ours.values()], values[0].numpy(), rtol=1e-7, atol=1e-6)


def test_a_segmentation_cut_to_its_box_scores_as_the_whole_map(truth):
    transform, fixed, moving = truth
    chosen = np.where(fixed.data == 5, fixed.data, 0)
    index = np.argwhere(chosen)[:, ::-1]
    low, high = index.min(0), index.max(0) + 1
    box = Volume(
        chosen[tuple(slice(*ends) for ends in zip(low[::-1], high[::-1], strict=True))], FIXED_GRID.cropped(low, high)
    )
    options = {"moving_labels": moving, "fixed": FIXED_GRID, "labels": [5]}
    (whole,) = evaluate(transform, fixed_labels=fixed, **options).labels
    (cut,) = evaluate(transform, fixed_labels=box, **options).labels
    assert cut.dice_before < 0.9
    for stage in ("before", "after"):
        assert cut.measures(stage) == pytest.approx(whole.measures(stage), abs=1e-9)


def test_a_structure_that_is_carried_away_has_no_surface_distance(truth):
    _, fixed, moving = truth
    (score,) = evaluate(shifted((900, 0, 0)), fixed_labels=fixed, moving_labels=moving, labels=[9]).labels
    assert (score.dice_after, score.surface_after) == (0.0, None)
    assert score.surface_before is not None
    assert score.to_dict()["after"]["hausdorff_mm"] is None


def test_labels_on_one_side_only_are_told_and_left_out(truth):
    transform, fixed, moving = truth
    fewer = Volume(np.where(moving.data == 9, 0, moving.data), MOVING_GRID, "fewer")
    found = evaluate(transform, fixed_labels=fixed, moving_labels=fewer)
    assert [score.label for score in found.labels] == [2, 5]
    assert found.warnings == ("Only structures holds the label 9: not compared.",)
    with pytest.raises(InputError, match=r"fewer does not hold the label 9\. It holds 2, 5"):
        evaluate(transform, fixed_labels=fixed, moving_labels=fewer, labels=[9])
    other = Volume(np.where(moving.data > 0, 1, 0), MOVING_GRID, "other")
    with pytest.raises(InputError, match="no label in common: structures holds 2, 5, 9, other holds 1"):
        evaluate(transform, fixed_labels=fixed, moving_labels=other)
    with pytest.raises(InputError, match="one volume only"):
        evaluate(transform, fixed_labels=fixed)


def test_landmark_errors_and_their_statistics():
    rng = np.random.default_rng(4)
    fixed, noise = rng.uniform(-40, 40, (37, 3)), rng.normal(size=(37, 3)) * rng.gamma(1.0, 2.0, (37, 1))
    pairs = LandmarkPairs(fixed, fixed + SHIFT + noise, tuple(f"P{n}" for n in range(37)))
    found = evaluate(shifted(SHIFT), landmarks=pairs).landmarks
    after, before = np.sqrt((noise**2).sum(1)), np.sqrt(((SHIFT + noise) ** 2).sum(1))
    np.testing.assert_allclose(found.after, after, atol=1e-12)
    np.testing.assert_allclose(found.before, before, atol=1e-12)
    assert found.to_dict()["after"] == pytest.approx(
        {
            "mean_mm": stats.tmean(after),
            "median_mm": stats.scoreatpercentile(after, 50),
            "deviation_mm": stats.tstd(after) * np.sqrt(36 / 37),
            "p25_mm": stats.scoreatpercentile(after, 25),
            "p70_mm": stats.scoreatpercentile(after, 70),
            "p75_mm": stats.scoreatpercentile(after, 75),
            "p95_mm": stats.scoreatpercentile(after, 95),
            "max_mm": max(after),
            "trimmed_mean_mm": stats.trim_mean(after, 0.1),
            "mad_deviation_mm": stats.median_abs_deviation(after, scale="normal"),
        }
    )
    assert found.to_dict()["improved_fraction"] == sum(a < b for a, b in zip(after, before, strict=True)) / 37
    assert found.names[3] == "P3"
    assert found.to_dict()["points"][3]["after_mm"] == pytest.approx(after[3])


def test_robust_statistics_do_not_follow_an_outlier():
    errors = np.linspace(1, 2, 20)
    calm, wild = error_statistics(errors), error_statistics([*errors[:-1], 80.0])
    assert wild["mean_mm"] > 4
    for name in ("median_mm", "trimmed_mean_mm", "mad_deviation_mm"):
        assert wild[name] == pytest.approx(calm[name], rel=0.05)
    assert error_statistics([3.0])["trimmed_mean_mm"] == 3.0


def test_volume_change_is_that_of_the_whole_transform():
    over = Geometry((21, 18, 15), (2, 3, 1.5), (5, 6, 7), OBLIQUE)
    scaled = Affine(np.diag([1.2, 1.0, 0.9, 1.0]))
    swelling = DisplacementField(0.1 * (over.points() - over.centre), over)
    found = over_volume(Composite((swelling, scaled)), over)
    assert found["voxels"] == 21 * 18 * 15
    for name in ("jacobian_min", "jacobian_mean", "jacobian_p1", "jacobian_p99", "jacobian_max"):
        assert found[name] == pytest.approx(1.1**3 * 1.2 * 0.9, abs=2e-4)
    assert (found["folded_voxels"], found["jacobian_log_std"]) == (0, pytest.approx(0, abs=2e-4))
    moved = np.linalg.norm(scaled.apply_to_points(swelling.apply_to_points(over.points())) - over.points(), axis=-1)
    assert found["displacement_mean_mm"] == pytest.approx(moved.mean(), abs=1e-4)
    assert found["displacement_p95_mm"] == pytest.approx(np.quantile(moved, 0.95), abs=1e-4)
    assert found["displacement_max_mm"] == pytest.approx(moved.max(), abs=1e-4)


def test_folds_and_volume_change_agree_with_differences_between_points_within_a_mask():
    field = bumps(7.0, grid((3, 3, 4), OBLIQUE))
    torn = field.displacement.copy()
    torn[10, 12, 14] += 14
    transform, over = DisplacementField(torn, field.geometry), field.geometry
    edges = over.matrix[:3, :3].T
    sides = [[transform.apply_to_points(over.points() + sign * edge) for sign in (1, -1)] for edge in edges]
    spanned = np.stack([(forth - back) / 2 for forth, back in sides], axis=-1)
    expected = np.linalg.det(spanned) / np.linalg.det(over.matrix[:3, :3])
    mask = np.zeros(over.shape, bool)
    mask[2:-2, 3:-3, 2:-4] = True
    found = over_volume(transform, over, mask)
    assert found["voxels"] == mask.sum()
    inside = expected[mask]
    assert found["jacobian_mean"] == pytest.approx(inside.mean(), abs=1e-4)
    assert found["jacobian_max"] == pytest.approx(inside.max(), abs=1e-3)
    assert found["jacobian_p1"] == pytest.approx(np.quantile(inside, 0.01), abs=1e-3)
    assert found["jacobian_p99"] == pytest.approx(np.quantile(inside, 0.99), abs=1e-3)
    assert found["jacobian_log_std"] == pytest.approx(np.log(np.clip(inside, 1e-3, None)).std(), abs=1e-3)
    # The inverted space is that at the voxels of the mask, whatever slab they are looked at in.
    assert found["non_diffeomorphic_fraction"] == pytest.approx(
        non_diffeomorphic_volume(transform)[mask].mean(), rel=1e-4
    )
    assert found["non_diffeomorphic_fraction"] > 0
    # Differences to one side see more folds than those across the voxel.
    assert found["folded_voxels"] >= np.count_nonzero(inside <= 0) > 0
    mask[8:13, 10:15, 12:17] = False
    whole = over_volume(transform, over, mask)
    assert whole["folded_voxels"] == whole["non_diffeomorphic_fraction"] == 0
    with pytest.raises(InputError, match="selects nothing"):
        over_volume(transform, over, np.zeros(over.shape, bool))


def test_slabs_change_nothing(monkeypatch):
    transform, over = Composite((bumps(6.0, grid((3, 3, 4), OBLIQUE)), shifted(SHIFT))), grid((3, 3, 4), OBLIQUE)
    whole = over_volume(transform, over)
    monkeypatch.setattr("deepregister.quality.SLAB_VOXELS", 3 * over.size[0] * over.size[1])
    assert over_volume(transform, over) == pytest.approx(whole, abs=1e-4)


def test_a_saved_inverse_is_taken_by_its_word_and_a_missing_one_is_solved_for():
    field = bumps(5.0, grid((3, 3, 4), OBLIQUE))
    transform = Composite((field, shifted(SHIFT)))
    points = sample_points(field.geometry, 2000)
    wrong = inverse_consistency(shifted(SHIFT), points, shifted(-SHIFT + (0, 0, 0.5)))
    assert [wrong[f"error_{name}_mm"] for name in ("mean", "p95", "max")] == pytest.approx([0.5] * 3)
    solved = inverse_consistency(transform, points)
    assert solved["known_fraction"] == 1 and solved["error_max_mm"] < 0.01
    saved = inverse_consistency(transform, points, transform.inverse())
    assert solved["error_max_mm"] < saved["error_max_mm"] < 0.5
    folded = DisplacementField(field.displacement * 12, field.geometry)
    assert over_volume(folded, field.geometry)["folded_voxels"] > 0
    assert inverse_consistency(folded, points)["error_max_mm"] > 1


def test_a_mask_chooses_where_to_look():
    field = bumps(5.0, grid((3, 3, 4)))
    there = np.zeros(field.geometry.shape, np.uint8)
    there[:3] = 1
    everywhere = evaluate(field)
    within = evaluate(field, mask=Volume(there, field.geometry))
    lengths = np.linalg.norm(field.displacement, axis=-1)
    assert within.deformation["displacement_max_mm"] == pytest.approx(lengths[:3].max(), abs=1e-5)
    assert everywhere.deformation["displacement_max_mm"] == pytest.approx(lengths.max(), abs=1e-5)
    assert within.deformation["voxels"] == there.sum()


def test_landmarks_outside_of_the_fixed_volume_are_told():
    points = FIXED_GRID.centre + np.array([[0, 0, 0], [10, 0, 0], [500, 0, 0]])
    found = evaluate(Rigid.identity(), fixed=FIXED_GRID, landmarks=LandmarkPairs(points, points))
    assert len(found.warnings) == 1
    assert "1 of 3 fixed landmarks lie outside" in found.warnings[0] and "RAS" in found.warnings[0]


def test_nothing_to_measure_with_is_refused():
    with pytest.raises(InputError, match="nothing to measure"):
        evaluate(Rigid.identity())


def run(capsys, *arguments):
    try:
        status = main(["evaluate", *map(str, arguments)])
    except SystemExit as end:
        status = end.code
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.fixture(scope="module")
def folder(truth, tmp_path_factory):
    """Files of a transform, label maps and landmarks of every kind; the moving landmarks in another order."""
    place = tmp_path_factory.mktemp("evaluation")
    transform, fixed, moving = truth
    transform.write(place / "transform.h5")
    transform.inverse().write(place / "inverse.h5")
    fixed.write(place / "fixed-labels.nrrd")
    moving.write(place / "moving-labels.nii.gz")
    points, names = np.array([(8, 5, -6), (-9, -4, 5), (2, -10, -8), (-4, 9, 8.0)]), tuple("abcd")
    write_points(PointList(points, names, "RAS"), place / "fixed.mrk.json")
    write_points(PointList(points, names, "LPS"), place / "fixed.fcsv")
    write_points(PointList(points, names, "RAS"), place / "fixed.csv")
    write_points(PointList((points + SHIFT)[::-1], names[::-1]), place / "moving.mrk.json")
    write_points(PointList((points + SHIFT)[:3], names[:3]), place / "three.mrk.json")
    (place / "nameless.csv").write_text("x,y,z\n" + "".join(f"{x},{y},{z}\n" for x, y, z in points))
    return place


def test_the_command_writes_what_the_engine_finds(folder, truth, tmp_path, capsys):
    labels = ("--fixed-labels", folder / "fixed-labels.nrrd", "--moving-labels", folder / "moving-labels.nii.gz")
    landmarks = ("--fixed-landmarks", folder / "fixed.mrk.json", "--moving-landmarks", folder / "moving.mrk.json")
    output = tmp_path / "new"
    status, out, err = run(
        capsys, folder / "transform.h5", *labels, *landmarks, "--inverse", folder / "inverse.h5", "--output", output
    )
    assert (status, err) == (0, "")
    found = json.loads((output / "evaluation.json").read_text())
    transform, fixed, moving = truth
    direct = evaluate(transform, fixed_labels=fixed, moving_labels=moving)
    assert found["labels"]["mean"]["after"] == pytest.approx(direct.label_means("after"), abs=1e-6)
    assert [point["label"] for point in found["landmarks"]["points"]] == list("abcd")
    assert found["landmarks"]["before"]["mean_mm"] == pytest.approx(np.linalg.norm(SHIFT), abs=1e-5)
    assert found["inverse"]["error_mean_mm"] < 0.1
    assert found["deformation"]["folded_voxels"] == 0
    assert found["files"]["fixed_labels"]["path"] == str(folder / "fixed-labels.nrrd")
    with (output / "evaluation.csv").open(newline="") as file:
        rows = {(row["kind"], row["of"], row["measure"]): row for row in csv.DictReader(file)}
    assert float(rows["landmark", "c", "error_mm"]["before"]) == pytest.approx(np.linalg.norm(SHIFT), abs=1e-5)
    assert float(rows["label", "5", "dice"]["after"]) == found["labels"]["by_label"][1]["after"]["dice"]
    assert rows["inverse", "all", "error_max_mm"]["before"] == ""
    # The same numbers, rounded, for people.
    (line,) = (line for line in out.splitlines() if line.startswith("9 "))
    nine = found["labels"]["by_label"][2]
    assert line.split()[1:3] == [f"{nine[stage]['dice']:.3f}" for stage in ("before", "after")]
    assert "Folded voxels" in out and "Landmark error, mean" in out


@pytest.mark.parametrize("name", ["fixed.mrk.json", "fixed.fcsv", "fixed.csv"])
def test_every_kind_of_landmark_file_gives_the_same(folder, name, capsys):
    status, out, _ = run(
        capsys,
        folder / "transform.h5",
        "--fixed-landmarks",
        folder / name,
        "--moving-landmarks",
        folder / "moving.mrk.json",
    )
    assert status == 0
    row = next(line for line in out.splitlines() if line.startswith("Landmark error, mean")).split()
    assert float(row[-2]) == pytest.approx(np.linalg.norm(SHIFT), abs=0.01)
    assert not (folder / "evaluation.json").exists(), "beside a transform file nothing is written unasked"


def test_a_table_without_a_frame_is_read_as_it_is_said(folder, capsys):
    files = ("--fixed-landmarks", folder / "nameless.csv", "--moving-landmarks", folder / "moving.mrk.json")
    errors = {}
    for frame in ("LPS", "RAS"):
        _, out, _ = run(capsys, folder / "transform.h5", *files, "--csv-coordinates", frame)
        row = next(line for line in out.splitlines() if line.startswith("Landmark error, mean"))
        errors[frame] = float(row.split()[-2])
    # By order, for it has no labels: the moving ones are written backwards.
    points = np.array([(8, 5, -6), (-9, -4, 5), (2, -10, -8), (-4, 9, 8.0)])
    for frame, sign in (("LPS", 1), ("RAS", (-1, -1, 1))):
        expected = np.linalg.norm(points * sign - (points + SHIFT)[::-1], axis=1).mean()
        assert errors[frame] == pytest.approx(expected, abs=0.01)


def test_landmarks_that_steered_the_registration_are_told(folder, tmp_path, capsys):
    matrix = shifted(SHIFT)
    bare = Registration(matrix, matrix.inverse(), None, Settings(model="affine"), {}, {}, "CPU")
    used = {"fixed_landmarks": SourceFile.of(folder / "fixed.fcsv")}
    with_files(bare, used, tmp_path).save(tmp_path)
    moving = ("--moving-landmarks", folder / "moving.mrk.json", "--fixed", folder / "fixed-labels.nrrd")
    status, _, err = run(capsys, tmp_path, "--fixed-landmarks", folder / "fixed.fcsv", *moving)
    assert status == 0
    assert "was given these landmarks" in err
    # Beside its result an evaluation is written unasked.
    assert "was given these landmarks" in json.loads((tmp_path / "evaluation.json").read_text())["warnings"][0]
    assert run(capsys, tmp_path, "--fixed-landmarks", folder / "fixed.csv", *moving)[2] == ""


BAD = {
    "no frame": (
        ["--fixed-landmarks", "nameless.csv", "--moving-landmarks", "moving.mrk.json"],
        ["LPS", "RAS", "--csv"],
    ),
    "lengths": (
        ["--fixed-landmarks", "fixed.mrk.json", "--moving-landmarks", "three.mrk.json"],
        ["4 fixed and 3 moving"],
    ),
    "one landmark file": (["--fixed-landmarks", "fixed.mrk.json"], ["--moving-landmarks", "fixed.mrk.json"]),
    "one label map": (["--moving-labels", "moving-labels.nii.gz"], ["--fixed-labels"]),
    "labels of nothing": (["--labels", "3"], ["--fixed-labels"]),
    "missing": (["--fixed", "none.nii.gz"], ["none.nii.gz", "does not exist"]),
    "no label": (
        ["--fixed-labels", "fixed-labels.nrrd", "--moving-labels", "moving-labels.nii.gz", "--labels", "7"],
        ["7", "2, 5, 9"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_and_nothing_is_written(case, folder, tmp_path, capsys):
    arguments, words = BAD[case]
    paths = [folder / argument if "." in argument else argument for argument in arguments]
    status, out, err = run(capsys, folder / "transform.h5", *paths, "--output", tmp_path / "out")
    assert (status, out) == (2, "")
    assert [word for word in words if word not in err] == []
    assert not (tmp_path / "out").exists()
