import numpy as np
import pytest

from splat_uff.hierarchy.segments import largest_first, numbered


def test_largest_first_breaks_ties_by_the_lower_segment():
    assert largest_first(np.array([5, 9, 9, 4, 4, 7])) == [4, 9, 5, 7]


@pytest.mark.parametrize("seed", range(5))
def test_numbered_by_size_is_the_same_cut_with_sizes_that_never_rise(seed):
    rng = np.random.default_rng(seed)
    segments = rng.integers(0, 30, 200)
    labels = numbered(segments, largest_first(segments))
    assert len(set(zip(segments.tolist(), labels.tolist(), strict=True))) == len(set(segments))
    sizes = np.bincount(labels)
    assert sizes[0] == 0
    assert (np.diff(sizes[1:]) <= 0).all()


def test_numbered_calls_what_is_not_in_the_order_none():
    pixels = np.array([[0, 3], [8, 3], [5, 0]])
    np.testing.assert_array_equal(numbered(pixels, [3, 8]), [[0, 1], [2, 1], [0, 0]])
    np.testing.assert_array_equal(numbered(pixels, []), np.zeros((3, 2)))
    np.testing.assert_array_equal(numbered(pixels, [99]), np.zeros((3, 2)))
