"""Landmark pairs: rows of points with their partners, or an error that says which side is wrong."""

import numpy as np
import pytest
from deepregister.errors import InputError
from deepregister.landmarks import LandmarkPairs


def test_holds_copies_that_nobody_changes():
    fixed = np.arange(6.0).reshape(2, 3)
    pairs = LandmarkPairs(fixed, [[1, 2, 3], [4, 5, 6]])
    fixed[0, 0] = 99
    assert pairs.fixed[0, 0] == 0
    assert pairs.moving.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert len(pairs) == 2
    with pytest.raises(ValueError, match="read-only"):
        pairs.moving[0, 0] = 7


@pytest.mark.parametrize(
    ("fixed", "moving", "words"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), "2 fixed and 3 moving"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "empty"),
        (np.zeros((2, 2)), np.zeros((2, 3)), r"fixed landmarks.*\(2, 2\)"),
        (np.zeros((2, 3)), np.zeros(3), r"moving landmarks.*\(3,\)"),
        ([[0, 0, 0]], [[0, np.nan, 0]], "moving landmarks.*finite"),
        ([[0, np.inf, 0]], [[0, 0, 0]], "fixed landmarks.*finite"),
        ([[1, 2, 3], [4, 5]], np.zeros((2, 3)), "fixed landmarks.*rows of three"),
        (np.zeros((1, 3)), [["a", "b", "c"]], "moving landmarks.*rows of three"),
    ],
)
def test_refuses_what_are_no_pairs(fixed, moving, words):
    with pytest.raises(InputError, match=words):
        LandmarkPairs(fixed, moving)
