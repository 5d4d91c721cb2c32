"""What the study of failures stands on: points follow their voxels through all that is done to a side, and the area."""

import sys
from pathlib import Path

import numpy as np
import pytest
from deepregister import Geometry, Rigid, Volume
from scipy.stats import mannwhitneyu

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import failures
from failure_cases import KINDS, Side, anywhere, cases, error_mm, frontal, placed, slab, upside_down
from failures import area, interval

# Axes in another order and direction than those of space, as brains have them.
GRID = Geometry((12, 14, 16), (1.0, 2.0, 1.5), (5.0, -7.0, 9.0), ((0, 0, 1), (-1, 0, 0), (0, -1, 0)))


def spot(index=(3, 4, 5)):
    """A volume with one bright voxel, and its place as the point."""
    data = np.zeros(GRID.shape, np.float32)
    data[index[::-1]] = 1
    return Side(Volume(data, GRID, "spot"), GRID.index_to_point([index]))


def bright(side):
    """Where the bright voxel lies, LPS mm."""
    (index,) = np.argwhere(side.volume.data > 0)
    return side.volume.geometry.index_to_point(index[::-1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_upside_down_turns_by_180_degrees_about_one_axis(axis):
    side = spot()
    turned = upside_down(side, axis)
    np.testing.assert_allclose(bright(turned), turned.points[0], atol=1e-9)
    assert turned.volume.geometry == side.volume.geometry
    before, after = (GRID.point_to_index(each.points[0]) for each in (side, turned))
    moved = [n for n in range(3) if abs(before[n] - after[n]) > 1e-6]
    assert moved == [n for n in range(3) if n != axis]
    np.testing.assert_allclose(upside_down(turned, axis).points, side.points, atol=1e-9)


def test_a_side_that_is_placed_elsewhere_keeps_its_voxels():
    side = spot()
    motion = Rigid.identity().matrix.copy()
    motion[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    motion[:3, 3] = (4, 5, 6)
    for moved in (placed(side, Rigid(motion)), anywhere(side, np.random.default_rng(1))):
        np.testing.assert_allclose(bright(moved), moved.points[0], atol=1e-9)
        assert moved.volume.data is side.volume.data
        assert not moved.volume.geometry.same_grid(GRID)
    assert error_mm(Rigid(motion), side, placed(side, Rigid(motion))) < 1e-9
    assert error_mm(Rigid.identity(), side, Side(side.volume)) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slabs_are_taken_along_the_axes_of_space(axis):
    low, high = slab(spot(), axis, 0.0, 0.5), slab(spot(), axis, 0.5, 1.0)
    assert low.volume.geometry.points()[..., axis].max() < high.volume.geometry.points()[..., axis].min()
    assert low.volume.data.size + high.volume.data.size == spot().volume.data.size
    (shown,) = (each for each in (low, high) if each.volume.data.any())
    np.testing.assert_allclose(bright(shown), spot().points[0], atol=1e-9)


def test_both_halves_hold_all_kinds():
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    for half in ("development", "held-out"):
        mine = [case for case in cases() if case.half == half]
        assert {case.kind for case in mine} == set(KINDS)
        assert all(sum(case.good is good for case in mine) >= 14 for good in (True, False))


def test_the_area_is_that_of_the_rank_test():
    rng = np.random.default_rng(3)
    good, bad = rng.integers(3, 12, 40) / 10, rng.integers(0, 9, 30) / 10
    expected = mannwhitneyu(good, bad).statistic / (len(good) * len(bad))
    assert area(good, bad) == pytest.approx(expected, abs=1e-12)
    rows = [
        {"case": f"{good_one} {n}", "good": good_one, "confidence": value}
        for good_one, values in ((True, good), (False, bad))
        for n, value in enumerate(values)
    ]
    low, high = interval(rows)
    assert low < expected < high
    assert high - low < 0.3


def test_the_frontal_crops_hold_no_hippocampus(shared_data):
    for number in range(3):
        crop = frontal(shared_data, number).volume
        assert crop.data.std() > 0
        assert crop.geometry.size == (36, 50, 36)


def test_the_held_out_half_needs_a_word_in_the_ledger(tmp_path, monkeypatch):
    monkeypatch.setattr(failures, "HERE", tmp_path)
    monkeypatch.setattr(failures, "rows", lambda case, data, models: [{}])
    monkeypatch.setattr(failures, "summary", lambda run: "a table")
    for half in ("held-out", "both"):
        with pytest.raises(SystemExit):
            failures.main(["--half", half])
    failures.main(["--half", "development"])
    assert not (tmp_path / "ledger.md").exists()
    failures.main(["--half", "both", "--models", "affine", "--changed", "the weather"])
    (line,) = (tmp_path / "ledger.md").read_text(encoding="utf-8").splitlines()
    count = sum(case.half == "held-out" for case in cases())
    assert line.endswith(f"| failures, held-out half | {count} | affine | the weather |")
