"""A closer look at known transforms: folds are found where they are, structures change as the mathematics says."""

import numpy as np
import pytest
from deepregister import Affine, Composite, DisplacementField, Volume
from deepregister.client import EngineClient
from deepregister.errors import Cancelled
from deepregister.inspection import MOST_PLACES, inspect
from deepregister.labelmaps import Structures
from deepregister.labelscores import label_scores
from deepregister.quality import over_volume
from phantoms import FLIPPED, OBLIQUE, bumps, grid

FIXED = grid((2.0, 2.5, 3.0), OBLIQUE)
MOVING = grid((2.2, 2.0, 1.8), FLIPPED)


def scaled(factor):
    return Affine(np.diag([factor, factor, factor, 1.0]))


def balls(geometry, factor=1.0, labels=(1, 4)):
    """Two balls, of 12 and 8 mm, in a space `factor` times as large."""
    points = geometry.points() / factor
    data = np.zeros(geometry.shape, np.uint8)
    for label, centre, radius in zip(labels, ((15, 5, 5), (-20, 0, 0)), (12, 8), strict=True):
        data[((points - centre) ** 2).sum(-1) < radius**2] = label
    return Volume(data, geometry, "balls")


def test_structures_grow_by_what_the_transform_says():
    group = Structures({1: "large", 4: "small"}, balls(FIXED), balls(MOVING, 1.2))
    found = inspect(scaled(1.2), FIXED, structures=[group])
    assert [entry["name"] for entry in found["structures"]] == ["large", "small"]
    for entry, radius, centre in zip(found["structures"], (12, 8), ((15, 5, 5), (-20, 0, 0)), strict=True):
        assert entry["volume_change"] == pytest.approx(1.2**3, rel=1e-3)
        assert entry["volume_ml"] == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.05)
        assert entry["folded_voxels"] == 0
        assert entry["after"]["dice"] > 0.93 > entry["before"]["dice"] + 0.1
        np.testing.assert_allclose(entry["centre_mm"], centre, atol=1)
    warnings = []
    (score, _) = label_scores(scaled(1.2), group.fixed, group.moving, FIXED, None, None, warnings)
    assert found["structures"][0]["after"] == score.measures("after")
    assert found["folded_at"] == [] and found["warnings"] == warnings == []


def test_folds_are_found_where_they_are():
    # 20 mm pushed through 8 mm of space: a fold on one side only.
    points = grid((2, 2, 2)).points()
    push = np.zeros(points.shape, np.float32)
    push[..., 0] = 20 * np.exp(-((points - (12, 5, 5)) ** 2).sum(-1) / (2 * 8.0**2))
    folded = Composite((DisplacementField(push, grid((2, 2, 2))), scaled(1.0)))
    found = inspect(folded, FIXED, structures=[Structures({1: "hit", 4: "spared"}, balls(FIXED))])
    assert found["deformation"]["folded_voxels"] > 0
    places = np.array(found["folded_at"])
    assert 0 < len(places) <= MOST_PLACES
    assert np.linalg.norm(places - (12, 5, 5), axis=1).max() < 25
    hit, spared = found["structures"]
    assert hit["folded_voxels"] > 0 == spared["folded_voxels"]
    assert "after" not in hit
    assert found["inverse"]["error_max_mm"] > 1


def test_the_whole_is_measured_as_elsewhere():
    transform = bumps(4.0, grid((4, 4, 4), extent=(140, 130, 140)))
    found = inspect(transform, FIXED, transform.inverse())
    coarse = FIXED.with_spacing((4, 4, 4))
    assert found["deformation"] == over_volume(transform, coarse)
    assert found["inverse"]["error_max_mm"] < 0.2
    assert found["structures"] == []


def test_what_is_missing_is_said():
    flat = Volume(np.zeros((4, 9, 9), np.uint8), FIXED.cropped((0, 0, 0), (9, 9, 4)), "map")
    flat.data[1, 2:5, 2:5] = 1
    flat.data[2, 5, 5] = 3
    found = inspect(scaled(1.0), FIXED, structures=[Structures({1: "disc", 2: "nothing", 3: "dot"}, flat)])
    assert [entry["name"] for entry in found["structures"]] == ["disc", "dot"]
    assert found["warnings"] == ["nothing is empty in the fixed volume: it was left out."]
    one = Volume(np.ones((1, 4, 4), np.uint8), FIXED.cropped((0, 0, 0), (4, 4, 1)), "map")
    assert "single slice" in inspect(scaled(1.0), FIXED, structures=[Structures({1: "disc"}, one)])["warnings"][0]


def test_the_worker_inspects_and_can_be_stopped():
    transform = Composite((bumps(3.0, grid((4, 4, 4))), scaled(1.1)))
    group = Structures({1: "large", 4: "small"}, balls(FIXED), balls(MOVING, 1.1))
    with EngineClient() as client:
        seen = []
        found = client.inspect(transform, FIXED, transform.inverse(), [group]).wait(seen.append)
        assert found == inspect(transform, FIXED, transform.inverse(), [group])
        assert seen[-1].fraction == 1.0
        job = client.inspect(transform, FIXED, None, [group] * 50)
        job.cancel()
        with pytest.raises(Cancelled):
            job.wait()
        # The worker goes on.
        assert client.inspect(scaled(1.0), FIXED).wait()["deformation"]["folded_voxels"] == 0


def test_a_run_is_stopped_between_the_structures():
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        inspect(
            scaled(1.0), FIXED, structures=[Structures({1: "large", 4: "small"}, balls(FIXED))], cancelled=cancelled
        )
