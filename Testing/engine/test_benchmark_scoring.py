"""The scoring of the comparison: every figure against SimpleITK, MONAI or what is known of the transform."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Volume
from deepregister.landmarks import LandmarkPairs
from phantoms import FLIPPED, bumps
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from datasets import BenchmarkPair
from scoring import score

GRID = Geometry((26, 24, 22), (1.5, 1.2, 2.0), (10, -20, 30), FLIPPED)


def shift(x, y=0.0, z=0.0):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return Affine(matrix)


def regions(seed, offset=0):
    """Winding regions 1 to 3, 0 between them."""
    rng = np.random.default_rng(seed)
    return np.argmax([gaussian_filter(rng.normal(size=GRID.shape), 2.5) for _ in range(4)], axis=0) + offset


def write(path, data):
    Volume(data.astype(np.int16), GRID).write(path)
    return path


@pytest.fixture
def labelled(tmp_path):
    """A pair with labels 1 to 3 on both sides, 4 on the fixed and 5 on the moving side alone."""
    fixed, moving = regions(0), regions(0)
    fixed[:2], moving[-2:] = 4, 5
    files = {"fixed": fixed, "moving": moving, "fixed_labels": fixed, "moving_labels": moving}
    paths = {name: write(tmp_path / f"{name}.nii.gz", data) for name, data in files.items()}
    return BenchmarkPair("shapes a<-b", **paths, label_names={2: "snake"})


def test_overlap_agrees_with_simpleitk_and_surfaces_with_monai(labelled):
    metrics = pytest.importorskip("monai.metrics", reason="MONAI needs a newer torch than the lowest that is claimed")
    torch = pytest.importorskip("torch")
    transform = shift(3.0, -2.0, 1.0)
    found = score(transform, labelled)
    fixed, moving = (sitk.ReadImage(str(path)) for path in (labelled.fixed_labels, labelled.moving_labels))
    moved = sitk.Resample(moving, fixed, transform.to_sitk(), sitk.sitkNearestNeighbor)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(moved, fixed)
    a, b = (torch.from_numpy(sitk.GetArrayFromImage(image)) for image in (moved, fixed))
    for label, title in ((1, "1"), (2, "2 snake"), (3, "3")):
        assert found["dice_by_label"][title] == pytest.approx(overlap.GetDiceCoefficient(label), abs=6e-5)
        spacing = GRID.spacing[::-1]
        sides = ((side == label)[None, None].float() for side in (a, b))
        distance = metrics.compute_hausdorff_distance(*sides, True, percentile=95, spacing=spacing)
        assert found["hd95_by_label"][title] == pytest.approx(float(distance), abs=6e-4)
    # Structures that one side does not have count for nothing.
    assert set(found["dice_by_label"]) == {"1", "2 snake", "3"}
    assert found["dice"] == pytest.approx(np.mean(list(found["dice_by_label"].values())), abs=1e-4)
    assert found["hd95_mm"] == pytest.approx(np.mean(list(found["hd95_by_label"].values())), abs=1e-3)
    assert 0.2 < found["dice"] < 0.9


def test_headers_alone_are_scored_without_a_transform(labelled):
    found = score(None, labelled)
    assert found["dice"] > 0.8 and not {"folded_percent", "sdlogj", "inverse_mm"} & set(found)


def test_a_structure_that_was_moved_out_is_as_far_as_can_be(labelled):
    found = score(shift(500.0), labelled)
    diagonal = np.linalg.norm(np.multiply(GRID.size, GRID.spacing))
    assert found["dice"] == 0
    assert found["hd95_mm"] == pytest.approx(diagonal)


def test_landmark_errors(tmp_path):
    rng = np.random.default_rng(3)
    fixed, noise = rng.uniform(0, 20, (40, 3)), rng.gamma(1.0, 2.0, (40, 3))
    landmarks = {"all": LandmarkPairs(fixed, fixed + 5 + noise), "few": LandmarkPairs(fixed[:4], fixed[:4] + 5)}
    image = write(tmp_path / "image.nii.gz", regions(0))
    found = score(shift(5, 5, 5), BenchmarkPair("points", image, image, landmarks=lambda: landmarks))
    errors = np.sqrt((noise**2).sum(1))
    assert found["tre_mean_mm"] == pytest.approx(errors.mean())
    assert found["tre_median_mm"] == pytest.approx(np.median(errors))
    # Three tenths of the landmarks, 12 of 40, lie farther away.
    assert np.count_nonzero(errors > found["tre_robust_mm"]) == 12
    assert found["tre_in_plane_mean_mm"] == pytest.approx(np.sqrt((noise[:, :2] ** 2).sum(1)).mean())
    assert found["tre_by_landmark"] == pytest.approx(errors, abs=1e-3)
    assert found["few_tre_mean_mm"] == pytest.approx(0, abs=1e-9)


class TestDeformation:
    """A field that folds at one voxel, measured everywhere, within labels and within a mask."""

    FOLD = (11, 12, 13)  # k, j, i

    @pytest.fixture
    def field(self):
        smooth = bumps(2.0, GRID).displacement.copy()
        smooth[self.FOLD] += 9
        return DisplacementField(smooth, GRID)

    def pair(self, tmp_path, kind=None, *boxes):
        image = write(tmp_path / "image.nii.gz", regions(0))
        if kind is None:
            return BenchmarkPair("fields", image, image)
        inside = np.zeros(GRID.shape)
        for box in boxes:
            inside[box] = 1
        path = write(tmp_path / f"{kind}.nii.gz", inside)
        sides = {"mask": path} if kind == "mask" else {"fixed_labels": path, "moving_labels": path}
        return BenchmarkPair("fields", image, image, **sides)

    def test_folds_count_where_it_matters(self, field, tmp_path):
        around = tuple(slice(n - 4, n + 5) for n in self.FOLD)
        away = (slice(0, 5), slice(None), slice(None))
        transform = Composite((field, shift(1.0)))
        everywhere = score(transform, self.pair(tmp_path))
        there = score(transform, self.pair(tmp_path, "mask", around))
        elsewhere = score(transform, self.pair(tmp_path, "labels", away))
        assert 0 < everywhere["folded_percent"] < there["folded_percent"]
        assert 0 < everywhere["ndv_percent"] < there["ndv_percent"]
        assert elsewhere["folded_percent"] == elsewhere["ndv_percent"] == 0
        # All of the inverted space is around the fold, so both find the same volume.
        voxels = np.prod(GRID.size)
        assert there["ndv_percent"] * 9**3 == pytest.approx(everywhere["ndv_percent"] * voxels, rel=1e-4)
        logarithm = np.log(field.jacobian_determinant()[away])
        assert elsewhere["sdlogj"] == pytest.approx(logarithm.std(), rel=1e-4)

    def test_a_lone_voxel_that_central_differences_do_not_see_folds(self, tmp_path):
        lone = np.zeros((*GRID.shape, 3), np.float32)
        lone[self.FOLD] = 1.5 * np.asarray(GRID.direction)[:, 0] * GRID.spacing[0]
        field = DisplacementField(lone, GRID)
        assert field.jacobian_determinant().min() > 0
        assert score(field, self.pair(tmp_path))["folded_percent"] > 0

    def test_where_there_are_a_mask_and_labels_the_mask_says_where_to_look(self, field, tmp_path):
        around = tuple(slice(n - 4, n + 5) for n in self.FOLD)
        sides = vars(self.pair(tmp_path, "labels", (slice(0, 5), slice(None), slice(None))))
        masked = self.pair(tmp_path, "mask", around)
        both = BenchmarkPair(**{**sides, "mask": masked.mask})
        assert score(field, both)["folded_percent"] == score(field, masked)["folded_percent"] > 0

    def test_space_that_is_turned_inside_out_counts_by_its_volume_and_not_by_its_voxels(self, tmp_path):
        # Along x every place goes to twice as far on the other side.
        along_x = GRID.points() * (-3, 0, 0)
        found = score(DisplacementField(along_x.astype(np.float32), GRID), self.pair(tmp_path))
        assert found["folded_percent"] == pytest.approx(100)
        # Between the outermost voxels alone there is space.
        cells = np.prod(np.subtract(GRID.size, 1)) / np.prod(GRID.size)
        assert found["ndv_percent"] == pytest.approx(200 * cells, rel=1e-4)

    def test_of_two_fields_the_worse_counts(self, field, tmp_path):
        pair, smooth = self.pair(tmp_path), bumps(2.0, GRID)
        alone = score(field, pair)
        assert score(smooth, pair)["folded_percent"] == 0
        assert score(Composite((smooth, field)), pair) == pytest.approx(alone)

    def test_the_error_of_an_inverse(self, tmp_path):
        pair = self.pair(tmp_path)
        assert score(shift(2, 0, 1), pair, shift(-2, 0.3, -1.4))["inverse_mm"] == pytest.approx(0.5)
        assert "inverse_mm" not in score(shift(2, 0, 1), pair)

    def test_the_error_of_an_inverse_is_that_of_fixed_points(self, tmp_path):
        # What is twice as large in the moving image: back and there would miss by 1 mm.
        back = np.diag([0.5, 0.5, 0.5, 1])
        back[0, 3] = 0.5
        found = score(Affine(np.diag([2.0, 2.0, 2.0, 1.0])), self.pair(tmp_path), Affine(back))
        assert found["inverse_mm"] == pytest.approx(0.5)
