"""Laws of trees and cuts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.hierarchy.dendrogram import Dendrogram, cut, cut_into, segment_counts
from splat_uff.system.errors import InputError


def random_tree(rng, leaves=12):
    """A binary tree with random heights, some of them equal."""
    parents, alive = np.arange(2 * leaves - 1), list(range(leaves))
    for node in range(leaves, 2 * leaves - 1):
        for _ in range(2):
            parents[alive.pop(rng.integers(len(alive)))] = node
        alive.append(node)
    merges = np.sort(np.round(rng.random(leaves - 1), 1))
    return Dendrogram(parents, np.concatenate([np.zeros(leaves), merges]), leaves)


def nested(fine, coarse):
    return all(len(np.unique(coarse[fine == segment])) == 1 for segment in np.unique(fine))


@given(seed=st.integers(0, 99), low=st.floats(0, 1), step=st.floats(0, 1))
def test_cut_nests_as_height_grows(seed, low, step):
    tree = random_tree(np.random.default_rng(seed))
    assert nested(cut(tree, height=low), cut(tree, height=low + step))


@given(seed=st.integers(0, 99), fewer=st.integers(1, 12), more=st.integers(0, 5))
def test_cut_into_nests_as_segments_grow(seed, fewer, more):
    tree = random_tree(np.random.default_rng(seed))
    assert nested(cut_into(tree, fewer + more), cut_into(tree, fewer))


@given(seed=st.integers(0, 99))
@settings(max_examples=30)
def test_heights_of_meeting_are_ultrametric(seed):
    tree = random_tree(np.random.default_rng(seed), leaves=8)
    heights = np.unique(tree.altitudes)
    distance = np.zeros((8, 8))
    for height in heights[::-1]:
        labels = cut(tree, height=height)
        distance[labels[:, None] == labels] = height
    for middle in range(8):
        bound = np.maximum(distance[:, middle, None], distance[None, middle])
        assert (distance <= bound).all()


def pairs_tree(count):
    """Leaves hang two by two on groups, which then merge one after the other."""
    groups = count // 2
    leaves = count + np.repeat(np.arange(groups), 2)
    first = count + groups
    merges = np.arange(first, first + groups - 1)
    parents = np.concatenate([leaves, [merges[0]], merges, merges[1:], merges[-1:]])
    heights = np.concatenate([np.zeros(count + groups), np.arange(1.0, groups)])
    return Dendrogram(parents, heights, count)


@pytest.mark.parametrize("wanted", [1, 2, 3, 5, 9])
def test_cut_into_gives_as_many_segments_as_asked_or_as_there_are(wanted):
    tree = pairs_tree(10)
    labels = cut_into(tree, wanted)
    assert len(np.unique(labels)) == min(wanted, tree.most_segments) == labels.max()
    assert (labels[::2] == labels[1::2]).all()


def test_cut_refuses_a_negative_height():
    with pytest.raises(ValueError, match="start at 0"):
        cut(pairs_tree(4), height=-0.1)
    with pytest.raises(ValueError, match="at least 1"):
        cut_into(pairs_tree(4), 0)


@pytest.mark.parametrize("given", [{}, {"num_segments": 2, "height": 0.5}])
def test_cut_wants_either_a_number_or_a_height(given):
    with pytest.raises(InputError, match="either a number of segments or a height"):
        cut(pairs_tree(4), **given)


@pytest.mark.parametrize("wanted", [1, 3, 9])
def test_cut_by_number_is_cut_into(wanted):
    np.testing.assert_array_equal(cut(pairs_tree(10), wanted), cut_into(pairs_tree(10), wanted))


@given(most=st.integers(1, 500), count=st.integers(1, 60))
def test_segment_counts_are_distinct_and_within_bounds(most, count):
    counts = segment_counts(most=most, count=count)
    assert (np.diff(counts) > 0).all()
    assert counts[0] == 1
    assert counts[-1] <= most
    assert len(counts) == min(most, count) or most < 2 * count


def test_fifty_cuts_are_fifty():
    counts = segment_counts(most=300, count=50)
    assert len(counts) == 50
    assert counts[-1] == 300
