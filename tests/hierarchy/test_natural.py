"""Natural levels: those of trees of known scales, and what must not matter."""

from itertools import pairwise

import numpy as np
import pytest

from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import Dendrogram, cut, cut_into
from splat_uff.hierarchy.natural import APART, MOST_LEVELS, describe_levels, natural_levels

TIMES = (4, 8, 8)
"""4 objects of 8 parts of 8 superpoints, of 2 Gaussians each."""


def tree_of(heights, rng, times=TIMES):
    """Binary merges, those inside each part, each object and the whole about a height of theirs."""
    count = int(np.prod(times))
    below, altitudes, tops = [], [], list(range(count))
    for height, number in zip(heights, times[::-1], strict=True):
        above = []
        for start in range(0, len(tops), number):
            some = tops[start : start + number]
            for at in np.sort(height * rng.uniform(0.9, 1.1, number - 1)):
                first, second, *rest = some
                some = [*rest, count + len(below)]
                below.append((first, second))
                altitudes.append(at)
            above += some
        tops = above
    order = np.argsort(altitudes, kind="stable")
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    leaves = 2 * count
    number = leaves + np.concatenate([np.arange(count), count + rank])
    parents = np.arange(leaves + 2 * count - 1)
    parents[:leaves] = leaves + np.arange(leaves) // 2
    for merge, pair in enumerate(below):
        parents[number[list(pair)]] = number[count + merge]
    heights = np.concatenate([np.zeros(leaves + count), np.array(altitudes)[order]])
    return Dendrogram(parents, heights, leaves)


def numbers(tree, support=None, **options):
    return [level.segments for level in natural_levels(tree, support, **options)]


def strongest(tree, count, support=None):
    levels = sorted(natural_levels(tree, support), key=lambda level: -level.persistence)
    return sorted(level.segments for level in levels[:count])


@pytest.mark.parametrize("seed", range(5))
def test_natural_levels_of_a_tree_of_two_scales_are_those(seed):
    tree = tree_of((0.02, 0.2, 1.0), np.random.default_rng(seed))
    assert strongest(tree, 2) == [4, 32]


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_of_one_scale_has_that_one(seed):
    tree = tree_of((0.05, 0.07, 1.0), np.random.default_rng(seed))
    assert strongest(tree, 1) == [4]


def test_scale_that_photos_contradict_is_weaker():
    tree = tree_of((0.02, 0.2, 1.0), np.random.default_rng(0))
    support = np.ones(len(tree.parents))
    sure = {level.segments: level.persistence for level in natural_levels(tree, support)}
    support[cut_tops(tree, 32)] = 0.25
    unsure = {level.segments: level.persistence for level in natural_levels(tree, support)}
    assert all(level.support == 1 for level in natural_levels(tree, np.ones_like(support)))
    assert sure == {n.segments: n.persistence for n in natural_levels(tree)}
    assert unsure.get(32, 0) < 0.5 * sure[32]
    assert strongest(tree, 1, support) == [4]


def cut_tops(tree, count):
    """Nodes of the segments of a cut."""
    labels, tops = cut_into(tree, count), []
    for segment in np.unique(labels):
        node = int(np.flatnonzero(labels == segment)[0])
        while True:
            parent = int(tree.parents[node])
            inside = leaves_below(tree, parent)
            if parent == node or len(np.unique(labels[inside])) > 1:
                break
            node = parent
        tops.append(node)
    return tops


def leaves_below(tree, node):
    top = np.arange(len(tree.parents))
    for _ in range(len(tree.parents)):
        top = np.where(top == node, top, tree.parents[top])
    return np.flatnonzero(top[: tree.num_leaves] == node)


@pytest.mark.parametrize("seed", range(3))
def test_natural_levels_are_few_apart_and_cuts_of_the_tree(seed):
    rng = np.random.default_rng(seed)
    tree = tree_of((0.02, 0.2, 1.0), rng)
    levels = natural_levels(tree, rng.random(len(tree.parents)))
    assert 1 <= len(levels) <= MOST_LEVELS
    for coarse, fine in pairwise(levels):
        assert fine.segments > APART * coarse.segments
    for level in levels:
        assert level.persistence > 0
        assert cut(tree, height=level.height).max() == level.segments
    assert max(numbers(tree, most_segments=20)) <= 20


def test_units_of_height_do_not_matter():
    tree = tree_of((0.02, 0.2, 1.0), np.random.default_rng(1))
    larger = Dendrogram(tree.parents, tree.altitudes * 8, tree.num_leaves)
    assert numbers(larger) == numbers(tree)


@pytest.mark.parametrize("times", [(1,), (2,), (3,), (1, 2)])
def test_trees_of_hardly_any_merge_have_no_level_or_one(times):
    tree = tree_of((0.1, 1.0)[-len(times) :], np.random.default_rng(0), times)
    assert len(numbers(tree)) <= 1


def test_trees_that_merge_at_no_height_have_no_level():
    tree = tree_of((0.02, 0.2, 1.0), np.random.default_rng(1))
    flat = Dendrogram(tree.parents, np.zeros(len(tree.parents)), tree.num_leaves)
    assert numbers(flat) == []


def test_describe_levels_takes_support_where_there_is_some():
    tree = tree_of((0.02, 0.2, 1.0), np.random.default_rng(0))
    shaping = np.ones(tree.num_leaves, bool)
    support = np.full(len(tree.parents), 0.5)
    plain = describe_levels(Hierarchy(tree, shaping), most_segments=300)
    assert set(plain[0]) == {"segments", "height", "persistence"}
    found = describe_levels(Hierarchy(tree, shaping, support), most_segments=300)
    assert [level["segments"] for level in found] == [level["segments"] for level in plain]
    assert {level["support"] for level in found} == {0.5}
