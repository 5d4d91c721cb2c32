"""Estimates before the start: they grow with the work, and say it in words."""

import pytest
from deepregister import Geometry
from deepregister.resources import Estimate, available_memory, estimate

SMALL, BRAIN, CT = (Geometry(size) for size in ((64, 64, 64), (160, 192, 224), (512, 512, 400)))


def test_more_voxels_need_more():
    sizes = [estimate(g, g, 0, 0, "lncc", True) for g in (SMALL, BRAIN, CT)]
    assert sizes == sorted(sizes, key=lambda e: (e.memory_bytes, e.seconds))
    finer = estimate(BRAIN, BRAIN, 5_000_000, 1e8, "lncc", True)
    assert finer.memory_bytes > sizes[1].memory_bytes and finer.seconds > sizes[1].seconds
    assert estimate(BRAIN, BRAIN, 5_000_000, 1e8, "mind", True).memory_bytes > finer.memory_bytes
    assert estimate(BRAIN, BRAIN, 5_000_000, 1e8, "lncc", False).seconds < finer.seconds


def test_promised_sizes_fit():
    cube = Geometry((256, 256, 256))
    assert estimate(cube, cube, 7_000_000, 1e8, "mind", True).memory_bytes < 4e9
    assert estimate(CT, CT, 7_000_000, 1e8, "mind", True).memory_bytes < 24e9


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (45, "45 s"), (300, "5 min"), (7200, "2.0 h")])
def test_durations_read_as_people_say_them(seconds, words):
    assert Estimate(2_500_000_000, seconds).describe() == f"about 2.5 GB of memory and {words}"


def test_the_machine_says_what_it_has_or_nothing():
    free = available_memory()
    assert free is None or 0 < free < 1e15
