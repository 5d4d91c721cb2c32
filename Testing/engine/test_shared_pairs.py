"""Real pairs from the folder of shared data, raw files: bending them improves on the affine and folds nothing."""

import numpy as np
import pytest
from deepregister import Volume, quality, register

HIPPOCAMPI = [("003", "001"), ("011", "004"), ("020", "017")]


def overlap(transform, moving, fixed):
    moved = transform.resample(moving, fixed.geometry, "nearest")
    return float(np.mean(list(quality.dice(moved.data, fixed.data).values())))


def check(fixed, moving, fixed_labels, moving_labels, least_gain):
    fixed_labels, moving_labels = (Volume.read(path).astype(np.int32) for path in (fixed_labels, moving_labels))
    result = register(fixed, moving, "deformable", quality="fast", device="cpu")
    field, affine = result.transform.parts
    gain = overlap(result.transform, moving_labels, fixed_labels) - overlap(affine, moving_labels, fixed_labels)
    assert gain > least_gain
    assert field.jacobian_determinant().min() > 0
    assert field.corner_jacobian_determinants().min() > 0
    assert result.measures["similarity_after"] > result.measures["similarity_before"]


def test_a_brain(shared_data):
    folder = shared_data / "brains_t1"
    images, labels = ([folder / f"{n}_{kind}.nii.gz" for n in (1007, 1008)] for kind in ("t1", "labels"))
    # 138 regions: 0.47 by the affine alone.
    check(*images, *labels, least_gain=0.15)


@pytest.mark.parametrize("numbers", HIPPOCAMPI)
def test_a_hippocampus(shared_data, numbers):
    folder = shared_data / "hippocampus"
    names = [f"hippocampus_{number}.nii.gz" for number in numbers]
    check(*(folder / "images" / n for n in names), *(folder / "labels" / n for n in names), least_gain=0.0)
