"""Walking a tree agrees with cutting it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splat_uff.hierarchy.dendrogram import Dendrogram, cut_nodes
from splat_uff.hierarchy.walk import Walk

SMALL = Walk(
    # Leaves 0-5 on groups 6 (0, 1), 7 (2), 8 (3, 4, 5); 9 = 7 + 8, 10 = 6 + 9.
    Dendrogram(
        np.array([6, 6, 7, 8, 8, 8, 10, 9, 9, 10, 10]),
        np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0.2, 0.9]),
        6,
    )
)


@st.composite
def trees(draw):
    """A tree of groups that hold one to four leaves each, merged two at a time."""
    groups = draw(st.integers(1, 12))
    held = draw(st.lists(st.integers(1, 4), min_size=groups, max_size=groups))
    leaves = sum(held)
    parents = list(np.repeat(np.arange(groups) + leaves, held)) + [0] * (2 * groups - 1)
    roots = [leaves + group for group in range(groups)]
    heights = [0.0] * (leaves + groups)
    for merge in range(groups - 1):
        node = leaves + groups + merge
        for _ in range(2):
            parents[roots.pop(draw(st.integers(0, len(roots) - 1)))] = node
        roots.append(node)
        heights.append(max(heights) + draw(st.sampled_from([0.0, 0.5])))
    parents[-1] = len(parents) - 1
    return Dendrogram(np.array(parents), np.array(heights), leaves)


@given(trees())
def test_every_cut_is_that_of_the_dendrogram(tree):
    walk = Walk(tree)
    assert walk.most_segments == tree.most_segments
    for number in range(1, walk.most_segments + 3):
        np.testing.assert_array_equal(walk.cut(number), cut_nodes(tree, number))


@given(trees())
def test_levels_are_the_cuts_in_which_a_node_is_a_segment(tree):
    walk = Walk(tree)
    met: dict[int, list[int]] = {}
    for number in range(1, walk.most_segments + 1):
        for node in np.unique(walk.cut(number)).tolist():
            met.setdefault(node, []).append(number)
    for node, numbers in met.items():
        first, last = walk.levels(node)
        assert numbers == list(range(first, last + 1))
        assert walk.holds(node)
        inside = np.flatnonzero(walk.cut(first) == node)
        np.testing.assert_array_equal(np.sort(walk.leaves(node)), inside)
        assert walk.sizes[node] == len(inside)


@given(trees())
def test_the_largest_child_has_its_parents_colour_and_the_others_have_not(tree):
    walk = Walk(tree)
    for node in range(tree.num_leaves, len(tree.parents)):
        for rank, child in enumerate(walk.children(node)):
            same = (walk.colours[child] == walk.colours[node]).all()
            assert same == (rank == 0)
            assert walk.parent(child) == node
    np.testing.assert_array_equal(
        walk.colours[: tree.num_leaves], walk.colours[tree.parents[: tree.num_leaves]]
    )


def test_segments_of_a_cut_have_distinct_colours():
    groups = 200
    below = np.concatenate([np.arange(groups), np.arange(groups, 2 * groups - 2)])
    parents = np.concatenate(
        [np.arange(groups) + groups, below // 2 + 2 * groups, [3 * groups - 2]]
    )
    tree = Dendrogram(parents, np.arange(len(parents)) / len(parents), groups)
    walk = Walk(tree)
    shown = walk.colours[np.unique(walk.cut(walk.most_segments))]
    assert len(np.unique(shown, axis=0)) == groups


def test_a_small_tree():
    assert SMALL.children(10) == [9, 6]
    assert SMALL.children(9) == [8, 7]
    assert SMALL.children(8) == []
    assert SMALL.ancestors(7) == [9, 10]
    assert SMALL.parent(10) is None
    assert SMALL.sizes.tolist() == [1] * 6 + [2, 1, 3, 4, 6]
    assert SMALL.levels(10) == (1, 1)
    assert SMALL.levels(6) == (2, 3)
    assert SMALL.child_towards(10, 4) == 9
    assert SMALL.child_towards(9, 0) is None
    assert not SMALL.holds(0)
    assert not SMALL.holds(11)
    assert not SMALL.holds(-1)
    assert SMALL.leaves(4).tolist() == [4]
    with pytest.raises(ValueError, match="num_segments is 0"):
        SMALL.cut(0)
    for node in (-1, 11):
        with pytest.raises(ValueError, match=f"node {node} of 11"):
            SMALL.leaves(node)
