"""Inclusion of masks: strict, acyclic, and equal to its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree, minimal_parents


def random_boxes(rng, count, size=24):
    """Masks that often nest: random rectangles, some of them barely changed copies."""
    masks = np.zeros((count, size, size), dtype=bool)
    for mask in masks:
        top, left = rng.integers(0, size, 2)
        mask[top : top + rng.integers(0, size), left : left + rng.integers(0, size)] = True
    copies = rng.integers(0, count, count // 3)
    masks[rng.integers(0, count, len(copies))] = masks[copies] & (rng.random((size, size)) < 0.97)
    return masks


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_build_tree_follows_the_definition(seed):
    masks = random_boxes(np.random.default_rng(seed), 12)
    found = build_tree(MaskSet.of(masks))
    for row, child in enumerate(masks):
        for column, parent in enumerate(masks):
            shared, union = (child & parent).sum(), (child | parent).sum()
            alike = row == column or bool(union and shared / union >= 0.85)
            within = bool(child.any() and shared / child.sum() > 0.95 and not alike)
            assert found.same[row, column] == alike
            assert found.inside[row, column] == within


@given(seed=st.integers(0, 10_000), p_in=st.floats(0.1, 1), p_iou=st.floats(0.1, 1))
@settings(max_examples=50)
def test_build_tree_is_strict_and_acyclic_at_any_thresholds(seed, p_in, p_iou):
    masks = random_boxes(np.random.default_rng(seed), 12)
    found = build_tree(MaskSet.of(masks), p_in=p_in, p_iou=p_iou)
    assert not (found.inside & found.same).any()
    assert not (found.inside & found.inside.T).any()
    assert (found.same == found.same.T).all()
    chains = found.inside.astype(int)
    for _ in range(len(masks)):
        chains = np.minimum(chains @ found.inside.astype(int), 1)
    assert not chains.any()  # A chain longer than there are masks would be a cycle.


@pytest.mark.parametrize("count", [0, 1])
def test_build_tree_of_few_masks(count):
    found = build_tree(MaskSet.of(np.ones((count, 3, 5), dtype=bool)))
    assert found.inside.shape == (count, count)
    assert found.same.all()


def test_build_tree_moves_with_the_order_of_masks():
    rng = np.random.default_rng(3)
    masks, order = random_boxes(rng, 15), rng.permutation(15)
    straight, shuffled = build_tree(MaskSet.of(masks)), build_tree(MaskSet.of(masks[order]))
    assert (shuffled.inside == straight.inside[np.ix_(order, order)]).all()


def random_order(rng, count):
    """An acyclic relation that need not be transitive."""
    return np.triu(rng.random((count, count)) < 0.3, k=1)


def reachability(relation):
    reach = relation.copy()
    for middle in range(len(reach)):
        reach |= reach[:, [middle]] & reach[[middle], :]
    return reach


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50)
def test_minimal_parents_keeps_every_ancestor_reachable(seed):
    inside = random_order(np.random.default_rng(seed), 12)
    assert (reachability(minimal_parents(inside)) == reachability(inside)).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50)
def test_minimal_parents_can_spare_none(seed):
    minimal = minimal_parents(random_order(np.random.default_rng(seed), 12))
    for row, column in np.argwhere(minimal):
        without = minimal.copy()
        without[row, column] = False
        assert not reachability(without)[row, column]


def test_minimal_parents_of_a_chain_is_the_next_link():
    chain = np.triu(np.ones((5, 5), dtype=bool), k=1)
    assert (minimal_parents(chain) == np.eye(5, k=1, dtype=bool)).all()


def test_minimal_parents_of_none_is_none():
    assert minimal_parents(np.zeros((0, 0), dtype=bool)).shape == (0, 0)
