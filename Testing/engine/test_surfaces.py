"""Surface distances agree with MONAI, and with distances between points in space."""

import numpy as np
import pytest
from deepregister import Geometry
from deepregister.errors import InputError
from deepregister.surfaces import surface_distances
from phantoms import OBLIQUE
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

SPACING = (0.7, 1.3, 2.5)


def regions(seed, shape=(22, 26, 24), count=4):
    """A label map of `count` winding regions, 0 among them, that reach the border."""
    rng = np.random.default_rng(seed)
    return np.argmax([gaussian_filter(rng.normal(size=shape), 2.5) for _ in range(count)], axis=0)


@pytest.fixture(scope="module")
def maps():
    first = regions(0)
    return first, np.where(regions(1) == 1, regions(2), np.roll(first, (1, 2, -1), (0, 1, 2)))


def test_they_agree_with_monai(maps):
    metrics = pytest.importorskip("monai.metrics", reason="MONAI needs a newer torch than the lowest that is claimed")
    torch = pytest.importorskip("torch")
    one_hot = [torch.from_numpy(np.stack([labels == n for n in range(4)])[None].astype(np.float32)) for labels in maps]
    found = surface_distances(*maps, SPACING)
    assert list(found) == [1, 2, 3]
    # MONAI's arrays are ordered as ours are, k first.
    options = {"spacing": SPACING[::-1], "include_background": False}
    expected = {
        "mean_mm": metrics.compute_average_surface_distance(*one_hot, symmetric=True, **options),
        "hausdorff95_mm": metrics.compute_hausdorff_distance(*one_hot, percentile=95, **options),
        "hausdorff_mm": metrics.compute_hausdorff_distance(*one_hot, **options),
    }
    for name, values in expected.items():
        ours = [getattr(found[label], name) for label in (1, 2, 3)]
        # MONAI computes in 32 bits, whose steps here are of 1e-6.
        np.testing.assert_allclose(ours, values[0].numpy(), rtol=1e-7, atol=1e-6)


def test_they_are_distances_in_space_however_the_grid_lies(maps):
    geometry = Geometry(maps[0].shape[::-1], SPACING, (30, -20, 100), OBLIQUE)
    points = geometry.points()

    def surface(labels, label):
        inside = np.pad(labels == label, 1)
        covered = inside.copy()
        for axis in range(3):
            covered &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
        return points[(inside & ~covered)[1:-1, 1:-1, 1:-1]]

    for label, found in surface_distances(*maps, geometry.spacing).items():
        apart = cdist(surface(maps[0], label), surface(maps[1], label))
        there, back = apart.min(1), apart.min(0)
        assert found.mean_mm == pytest.approx((there.sum() + back.sum()) / (len(there) + len(back)), abs=1e-9)
        assert found.hausdorff_mm == pytest.approx(max(there.max(), back.max()), abs=1e-9)
        assert found.hausdorff95_mm == pytest.approx(max(np.quantile(there, 0.95), np.quantile(back, 0.95)), abs=1e-9)


def test_a_shifted_cube_lies_as_far_as_it_was_shifted():
    cube = np.zeros((12, 14, 16), np.uint8)
    cube[3:8, 4:9, 5:10] = 7
    found = surface_distances(cube, np.roll(cube, 2, axis=1), SPACING)[7]
    assert found.hausdorff_mm == pytest.approx(2 * 1.3)
    assert surface_distances(cube, cube, SPACING)[7].hausdorff_mm == 0


def test_labels_are_chosen_and_a_missing_one_has_no_distance(maps):
    everything = surface_distances(*maps, SPACING)
    assert surface_distances(*maps, SPACING, [3, 1]) == {label: everything[label] for label in (1, 3)}
    without = np.where(maps[1] == 2, 0, maps[1])
    assert list(surface_distances(maps[0], without, SPACING)) == [1, 3]


def test_maps_on_different_grids_are_refused():
    with pytest.raises(InputError, match=r"\(2, 2, 2\) and \(3, 2, 2\)"):
        surface_distances(np.zeros((2, 2, 2), int), np.zeros((3, 2, 2), int), SPACING)
