"""Quality measures against independent implementations and analytic values."""

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid, quality
from deepregister.errors import InputError
from deepregister.landmarks import LandmarkPairs
from phantoms import OBLIQUE, bumps, grid


def label_map(seed, shape=(14, 15, 16)):
    return np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint16)


def test_dice_agrees_with_simpleitk():
    a, b = label_map(0), label_map(1)
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(*map(sitk.GetImageFromArray, (a, b)))
    for label, value in quality.dice(a, b).items():
        assert value == pytest.approx(measure.GetDiceCoefficient(label), abs=1e-9)


def test_dice_of_chosen_labels_ignores_the_rest():
    a, b = label_map(0), label_map(1)
    everything = quality.dice(a, b)
    assert quality.dice(a, b, [4, 2]) == {label: everything[label] for label in (4, 2)}


def test_dice_leaves_out_what_is_on_neither_side_and_counts_what_is_on_one():
    a, b = np.zeros((3, 3, 3), int), np.zeros((3, 3, 3), int)
    a[0], b[1] = 7, 9
    assert quality.dice(a, b) == {7: 0.0, 9: 0.0}
    assert quality.dice(a, a, [7, 8]) == {7: 1.0}


def test_dice_of_maps_on_different_grids_is_refused():
    with pytest.raises(InputError, match=r"\(2, 2, 2\) and \(3, 2, 2\)"):
        quality.dice(np.zeros((2, 2, 2)), np.zeros((3, 2, 2)))


def test_landmark_errors_are_distances_in_mm():
    pairs = LandmarkPairs([[0, 0, 0], [10, 0, 0]], [[3, 4, 0], [10, 0, 12]])
    assert quality.landmark_errors(pairs) == pytest.approx([5, 12])
    matrix = np.eye(4)
    matrix[:3, 3] = 3, 4, 0
    assert quality.landmark_errors(pairs, Rigid(matrix)) == pytest.approx([0, 13])


def test_a_smooth_field_has_no_folds_and_a_torn_one_has():
    field = bumps(4.0, grid((2, 2, 4), OBLIQUE))
    assert quality.folding(field)["folded_fraction"] == 0
    torn = field.displacement.copy()
    torn[10, 12, 14] += 9
    folded = quality.folding(DisplacementField(torn, field.geometry))
    assert folded["folded_fraction"] > 0 and folded["jacobian_min"] < 0


def test_volume_change_of_a_uniform_swelling():
    geometry = Geometry((12, 12, 12), (2, 3, 1), direction=OBLIQUE)
    field = DisplacementField(0.1 * (geometry.points() - geometry.centre), geometry)
    measures = quality.folding(field)
    assert measures["jacobian_min"] == pytest.approx(1.1**3, abs=1e-4)
    assert measures["jacobian_max"] == pytest.approx(1.1**3, abs=1e-4)
    assert measures["jacobian_log_std"] == pytest.approx(0, abs=1e-4)


def test_displacement_and_inverse_error_of_a_shift():
    matrix = np.eye(4)
    matrix[:3, 3] = 3, 0, 4
    shift, almost_back = Affine(matrix), np.eye(4)
    almost_back[:3, 3] = -3, 0, -4.5
    over = grid((9, 9, 9), OBLIQUE)
    assert quality.displacement(shift, over) == pytest.approx({"displacement_mean_mm": 5, "displacement_max_mm": 5})
    error = quality.inverse_error(shift, Affine(almost_back), over)
    assert error["inverse_error_mean_mm"] == pytest.approx(0.5)


def test_linear_transforms_have_no_folding_to_report():
    over = grid((9, 9, 9))
    linear = quality.measure(Affine.identity(), Affine.identity(), over)
    assert "folded_fraction" not in linear and linear["displacement_max_mm"] == 0
    field = bumps(3.0, grid((4, 4, 4)))
    dense = quality.measure(Composite((field, Affine.identity())), field.inverse(), over)
    assert dense["folded_fraction"] == 0 and dense["inverse_error_max_mm"] < 0.5
