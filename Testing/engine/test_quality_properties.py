"""Quality measures over random inputs: against SimpleITK, and independent of how the axes run."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Composite, DisplacementField, Geometry
from deepregister.landmarks import LandmarkPairs
from deepregister.quality import dice, displacement, folding, inverse_error, landmark_errors, measure
from geometries import affines, axis_changes, fields, geometries, relabelled, rigids
from hypothesis import given
from hypothesis import strategies as st

LABELS = np.array([0, 1, 2, 7, 51, 1000, 40000])


@given(st.integers(0, 2**16), st.integers(1, len(LABELS)), st.integers(1, len(LABELS)))
def test_dice_is_simpleitks(seed, kinds_a, kinds_b):
    random = np.random.default_rng(seed)
    a, b = (LABELS[random.integers(0, kinds, size=(3, 4, 5))].astype(np.uint16) for kinds in (kinds_a, kinds_b))
    reference = sitk.LabelOverlapMeasuresImageFilter()
    reference.Execute(sitk.GetImageFromArray(a), sitk.GetImageFromArray(b))
    found = dice(a, b)
    assert set(found) == (set(np.unique(a)) | set(np.unique(b))) - {0}
    for label, value in found.items():
        assert value == pytest.approx(reference.GetDiceCoefficient(label))
    assert dice(b, a) == found


@given(st.integers(0, 2**16), st.lists(st.sampled_from(LABELS.tolist()), unique=True))
def test_dice_of_chosen_labels_is_counted_by_hand(seed, chosen):
    random = np.random.default_rng(seed)
    a, b = (LABELS[random.integers(0, len(LABELS), size=(3, 4, 5))] for _ in range(2))
    expected = {
        label: 2 * np.sum((a == label) & (b == label)) / (np.sum(a == label) + np.sum(b == label))
        for label in chosen
        if (a == label).any() or (b == label).any()
    }
    assert dice(a, b, chosen) == pytest.approx(expected)


@given(rigids(), st.integers(0, 2**16))
def test_landmark_errors_are_what_was_added(transform, seed):
    random = np.random.default_rng(seed)
    fixed = random.uniform(-200, 200, size=(7, 3))
    error = random.normal(size=(7, 3))
    pairs = LandmarkPairs(fixed, transform.apply_to_points(fixed) + error)
    assert landmark_errors(pairs, transform) == pytest.approx(np.linalg.norm(error, axis=1), abs=1e-6)
    assert landmark_errors(pairs) == pytest.approx(np.linalg.norm(pairs.moving - fixed, axis=1))


@given(fields(least=2), axis_changes())
def test_folding_does_not_depend_on_the_order_of_the_axes(field, change):
    grid, displacements = relabelled(field.geometry, field.displacement, *change)
    assert folding(DisplacementField(displacements, grid)) == pytest.approx(folding(field), rel=1e-3, abs=1e-3)


@given(geometries(least=5), st.integers(0, 2))
def test_a_fold_of_one_voxel_counts_on_any_grid(geometry, axis):
    values = np.zeros((*geometry.shape, 3))
    values[2, 2, 2] = 1.5 * np.asarray(geometry.direction)[:, axis] * geometry.spacing[axis]
    found = folding(DisplacementField(values, geometry))
    assert found["folded_fraction"] > 0
    assert found["jacobian_min"] < 0
    assert folding(DisplacementField(values / 3, geometry))["folded_fraction"] == 0


@given(affines(), geometries())
def test_an_exact_inverse_has_no_error(affine, geometry):
    error = inverse_error(affine, affine.inverse(), geometry)
    assert error == pytest.approx({"inverse_error_mean_mm": 0, "inverse_error_max_mm": 0}, abs=1e-6)


@given(rigids(), geometries(), axis_changes())
def test_displacement_does_not_depend_on_the_order_of_the_axes(transform, geometry, change):
    grid, points = relabelled(geometry, geometry.points(), *change)
    expected = np.linalg.norm(transform.apply_to_points(points) - points, axis=-1)
    assert displacement(transform, grid) == pytest.approx(
        {"displacement_mean_mm": expected.mean(), "displacement_max_mm": expected.max()}, abs=1e-6
    )


def test_of_two_fields_the_worse_one_counts_wherever_it_stands():
    geometry = Geometry((6, 6, 6))
    torn = np.zeros((6, 6, 6, 3))
    torn[3, 3, 3, 0] = 2
    torn, calm = DisplacementField(torn, geometry), DisplacementField.zero(geometry)
    for parts in ((torn, calm), (calm, torn)):
        found = measure(Composite(parts), Composite(parts), geometry)
        assert found["folded_fraction"] == folding(torn)["folded_fraction"] > 0
        assert found["jacobian_min"] < 0


@given(fields(least=2), affines())
def test_measures_are_ready_for_json(field, affine):
    pairs = LandmarkPairs(np.zeros((2, 3)), np.ones((2, 3)))
    found = measure(Composite((field, affine)), affine.inverse(), field.geometry, pairs)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["tre_before_mean_mm"] == pytest.approx(3**0.5)
