"""Real pairs from the folder of shared data, raw files: bending them improves on the affine and folds nothing."""

import numpy as np
from deepregister import Volume, quality, register

HIPPOCAMPI = [("003", "001"), ("011", "004"), ("020", "017")]


def overlap(transform, moving, fixed):
    moved = transform.resample(moving, fixed.geometry, "nearest")
    return float(np.mean(list(quality.dice(moved.data, fixed.data).values())))


def gain(fixed, moving, fixed_labels, moving_labels):
    """Overlap gained over the affine alone by a registration that must not fold."""
    fixed_labels, moving_labels = (Volume.read(path).astype(np.int32) for path in (fixed_labels, moving_labels))
    result = register(fixed, moving, "deformable", quality="fast", device="cpu")
    field, affine = result.transform.parts
    assert field.jacobian_determinant().min() > 0
    assert field.corner_jacobian_determinants().min() > 0
    assert result.measures["similarity_after"] > result.measures["similarity_before"]
    return overlap(result.transform, moving_labels, fixed_labels) - overlap(affine, moving_labels, fixed_labels)


def test_a_brain(shared_data):
    folder = shared_data / "brains_t1"
    images, labels = ([folder / f"{n}_{kind}.nii.gz" for n in (1007, 1008)] for kind in ("t1", "labels"))
    # 138 regions: 0.47 by the affine alone.
    assert gain(*images, *labels) > 0.15


def test_hippocampi(shared_data):
    """On the mean; a crop that fits well by the affine alone may lose a little."""
    folder = shared_data / "hippocampus"
    gains = []
    for numbers in HIPPOCAMPI:
        names = [f"hippocampus_{number}.nii.gz" for number in numbers]
        gains.append(gain(*(folder / "images" / n for n in names), *(folder / "labels" / n for n in names)))
    assert np.mean(gains) > 0.02 and min(gains) > -0.02
