"""What photos agree on: exact against brute force, and independent of what must not matter."""

import numba
import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from splat_uff.features.linkage import average_linkage
from splat_uff.hierarchy.build import build_hierarchy, consensus_tree
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.consensus import (
    LEAST_GROUP,
    LEAST_MASKED,
    MOST_GROUP,
    MOST_SEEN,
    Consensus,
    merge_by_ratio,
)
from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.hierarchy.opinions import LEAST_SEEN, LEAST_SHARE, PHOTO_AREA, Opinion
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.system import kernels
from splat_uff.system.memory import Memory
from tests.hierarchy.test_build import same_partition

HEIGHT, WIDTH, POINTS = 6, 8, 30


def bag(masks):
    packed = MaskSet.of(masks)
    return packed, build_tree(packed)


def random_scene(seed, views=5):
    rng = np.random.default_rng(seed)
    weights, bags = [], []
    for _ in range(views):
        dense = rng.random((HEIGHT * WIDTH, POINTS)) * (rng.random((HEIGHT * WIDTH, POINTS)) < 0.05)
        weights.append(csr_matrix(dense.astype(np.float32)))
        bags.append(bag(rng.random((int(rng.integers(1, 6)), HEIGHT, WIDTH)) < 0.5))
    return weights, bags


def ask(weights, bags, chosen=None, *, memory=None, device="cpu"):
    """Consensus of photos whose blend weights are known, by default on all Gaussians."""
    opinions = [
        Opinion.of(matrix, each, memory=memory, device=device)
        for matrix, each in zip(weights, bags, strict=True)
        if len(each[0])
    ]
    count = weights[0].shape[1]
    chosen = np.arange(count) if chosen is None else chosen
    return Consensus.of(opinions, chosen, count, device=device)


def shares_of(matrix, masks):
    dense = matrix.toarray().astype(np.float64)
    seen = dense.sum(axis=0)
    inside = masks.flat().astype(np.float64) @ dense
    shares = (inside / np.maximum(seen, 1e-12)).T
    return np.where(shares > LEAST_SHARE, shares, 0), seen


def counts_of(masks, tree):
    once = 1 / tree.same.sum(axis=1)
    counts = once / np.log2(2 + PHOTO_AREA * masks.unpack().mean(axis=(1, 2)))
    return counts * once.sum() / counts.sum()


def edges_by_hand(weights, bags, sources, targets):
    values = []
    for a, b in zip(sources, targets, strict=True):
        total = trust = 0.0
        for matrix, (masks, tree) in zip(weights, bags, strict=True):
            if not len(masks):
                continue
            shares, seen = shares_of(matrix, masks)
            counts = counts_of(masks, tree)
            if min(seen[a], seen[b]) < LEAST_SEEN:
                continue
            sums = (counts * shares[a]).sum(), (counts * shares[b]).sum()
            if max(sums) < LEAST_MASKED:
                continue
            overlap = (counts * np.minimum(shares[a], shares[b])).sum()
            weight = min(seen[a], MOST_SEEN) * min(seen[b], MOST_SEEN)
            total += weight * overlap / (sum(sums) - overlap)
            trust += weight
        values.append(total / trust if trust else 0.0)
    return np.array(values)


ALL = np.triu_indices(POINTS, 1)


@pytest.mark.parametrize("seed", range(4))
def test_along_edges_is_the_weighted_mean_over_photos(seed):
    weights, bags = random_scene(seed)
    found = ask(weights, bags).along_edges(*ALL)
    np.testing.assert_allclose(found, edges_by_hand(weights, bags, *ALL), atol=1e-5)
    assert 0 <= found.min() < found.max() <= 1 + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_between_groups_is_the_weighted_sum_over_photos(seed):
    weights, bags = random_scene(seed)
    group = np.random.default_rng(seed).permutation(np.arange(POINTS) % 7)
    total, weight = ask(weights, bags).between_groups(group)
    joined = csr_matrix((np.ones(POINTS), (np.arange(POINTS), group)))
    expected = np.zeros((2, 7, 7))
    for matrix, (masks, tree) in zip(weights, bags, strict=True):
        dense = matrix.toarray().astype(np.float64)
        dense[:, dense.sum(axis=0) < LEAST_SEEN] = 0
        shares, seen = shares_of(csr_matrix(dense @ joined.toarray()), masks)
        counts = counts_of(masks, tree)
        sums = (counts * shares).sum(axis=1)
        overlap = (counts * shares) @ shares.T
        alike = overlap / np.maximum(sums[:, None] + sums - overlap, 1e-6)
        speaks = (seen > LEAST_GROUP) & (sums > LEAST_MASKED)
        level = np.minimum(seen, MOST_GROUP) / MOST_GROUP * speaks
        expected += np.stack([np.outer(level, level) * alike, np.outer(level, level)])
    np.testing.assert_allclose(total, expected[0], atol=5e-3)
    np.testing.assert_allclose(weight, expected[1], atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_shares_of_large_gaussians_are_exact_and_the_same_for_any_number_of_threads(
    seed, monkeypatch
):
    """Gaussians of many rows, which cross the borders of bands, regions and threads' stretches."""
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(3, 90)), 5 * int(rng.integers(1, 8))
    y, x = np.mgrid[:height, :width].reshape(2, -1, 1)
    centre, size = rng.random((2, POINTS)) * [[height], [width]], rng.uniform(1, 20, POINTS)
    dense = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / size**2)
    matrix = csr_matrix(np.where(dense > 0.05, dense, 0).astype(np.float32))
    masks, tree = bag(np.repeat(rng.random((6, height, width // 5)) < 0.5, 5, axis=2))
    opinions = []
    for threads in (1, 2, 5, 8):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        opinions.append(Opinion.of(matrix, (masks, tree)))
    expected, seen = shares_of(matrix, masks)
    first, *others = opinions
    rows = np.repeat(first.gaussians.load(), np.diff(first.starts.load()))
    found = np.zeros_like(expected)
    found[rows, first.masks.load()] = first.shares.load()
    np.testing.assert_allclose(found, np.where(seen[:, None] >= LEAST_SEEN, expected, 0), atol=1e-6)
    for other in others:
        for name in ("gaussians", "seen", "starts", "masks", "shares"):
            np.testing.assert_array_equal(getattr(other, name).load(), getattr(first, name).load())


def test_the_order_of_views_and_masks_changes_nothing():
    weights, bags = random_scene(7)
    expected = ask(weights, bags).along_edges(*ALL)
    order = np.random.default_rng(0).permutation(len(bags))
    turned = [bag(bags[v][0].unpack()[::-1].copy()) for v in order]
    found = ask([weights[v] for v in order], turned).along_edges(*ALL)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_view_without_masks_changes_nothing():
    weights, bags = random_scene(8)
    expected = ask(weights, bags).along_edges(*ALL)
    nothing = bag(np.zeros((0, HEIGHT, WIDTH), bool))
    found = ask([*weights, weights[0]], [*bags, nothing]).along_edges(*ALL)
    np.testing.assert_array_equal(found, expected)


def test_masks_that_are_the_same_count_once():
    weights, bags = random_scene(9)
    twice = [bag(np.concatenate([m.unpack(), m.unpack()[:1]])) for m, _ in bags]
    first = ask(weights, bags).along_edges(*ALL)
    np.testing.assert_allclose(ask(weights, twice).along_edges(*ALL), first, atol=1e-6)


def test_points_that_no_photo_sees_together_have_no_consensus():
    weights, bags = random_scene(10, views=2)
    alone = []
    for view, matrix in enumerate(weights):
        dense = matrix.toarray()
        dense[:, (POINTS // 2) * (1 - view) : (POINTS // 2) * (2 - view)] = 0
        alone.append(csr_matrix(dense))
    consensus = ask(alone, bags)
    apart = consensus.along_edges(np.arange(15), np.arange(15, 30))
    assert (apart == 0).all()
    _, weight = consensus.between_groups((np.arange(POINTS) >= 15).astype(int))
    assert weight[0, 1] == weight[1, 0] == 0 < weight[0, 0]


def test_neither_memory_nor_threads_change_a_bit():
    weights, bags = random_scene(11)
    group = np.arange(POINTS) % 7
    results = []
    for threads, memory in ((1, None), (2, Memory(0))):
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        consensus = ask(weights, bags, memory=memory)
        results.append((consensus.along_edges(*ALL), *consensus.between_groups(group)))
        numba.set_num_threads(before)
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("seed", range(3))
def test_merge_by_ratio_of_sums_over_pairs_is_average_linkage(seed):
    rng = np.random.default_rng(seed)
    vectors, sizes = rng.normal(size=(25, 4)), rng.integers(1, 9, 25).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = average_linkage(vectors, sizes)
    pairs = sizes[:, None] * sizes[None]
    found = merge_by_ratio(vectors @ vectors.T * pairs, pairs)
    np.testing.assert_allclose(found.similarities, expected.similarities, atol=1e-5)
    assert found.lefts.tolist() == expected.lefts.tolist()
    assert found.rights.tolist() == expected.rights.tolist()


def test_merge_by_ratio_joins_what_has_no_weight_last():
    totals = np.array([[1, 0.2, 0], [0.2, 1, 0], [0, 0, 1.0]])
    merges = merge_by_ratio(totals, (totals > 0).astype(float))
    assert (merges.lefts[0], merges.rights[0]) == (0, 1)
    assert merges.similarities.tolist() == pytest.approx([0.2, -1])


def rows_of_parts():
    """48 Gaussians in a row, one a pixel, and the bags of four views: parts, objects, halves."""
    count = 48
    rng = np.random.default_rng(0)
    means = np.stack([np.arange(count), *rng.uniform(0, 0.3, (2, count))], axis=1).astype(float)
    part = np.arange(count) // 6
    views, bags = [], []
    for _ in range(4):
        order = rng.permutation(count)
        views.append(csr_matrix(np.eye(count, dtype=np.float32)[order]))
        masks = [(part // size == k)[order] for size in (1, 2, 4) for k in range(8 // size)]
        bags.append(bag(np.stack(masks).reshape(-1, 6, 8)))

    def opinions(chosen):
        return ask(views, bags, chosen)

    return means, part, opinions


@pytest.mark.parametrize("by_numba", [True, False])
def test_consensus_on_some_gaussians_is_that_on_all_of_them(by_numba, monkeypatch):
    monkeypatch.setattr(kernels, "numba_computes", lambda device: by_numba)
    weights, bags = random_scene(11)
    rng = np.random.default_rng(11)
    chosen = np.flatnonzero(rng.random(POINTS) < 0.6)
    sources, targets = rng.integers(0, len(chosen), (2, 60))
    group = rng.permutation(np.arange(len(chosen)) % 5)
    some, everything = ask(weights, bags, chosen), ask(weights, bags)
    np.testing.assert_array_equal(
        some.along_edges(sources, targets),
        everything.along_edges(chosen[sources], chosen[targets]),
    )
    # The others are a superpoint of their own, which comes last.
    of_all = np.full(POINTS, 5)
    of_all[chosen] = group
    for one, all_ in zip(
        some.between_groups(group), everything.between_groups(of_all), strict=True
    ):
        assert one.shape == (5, 5)
        np.testing.assert_allclose(one, all_[:5, :5], rtol=1e-6)


def test_nested_masks_in_every_view_give_exactly_their_tree():
    """Rows of pixels, one Gaussian each; parts of 6, objects of 12, all of 24."""
    means, part, opinions = rows_of_parts()
    features = np.ones((48, 4), np.float32)  # They know nothing.
    config = HierarchyConfig(linkage="consensus", consensus_share=1.0, superpoints=8, neighbours=4)
    tree = build_hierarchy(means, features, np.ones(48, np.float32), config, opinions).tree
    for segments, size in ((8, 1), (4, 2), (2, 4)):
        assert same_partition(cut_into(tree, segments), part // size)


def test_build_hierarchy_of_untrained_features_is_the_consensus_tree():
    means, part, opinions = rows_of_parts()
    rng = np.random.default_rng(1)
    noise, ones = rng.normal(size=(48, 4)).astype(np.float32), np.ones(48, np.float32)
    colours = rng.uniform(0, 0.1, (48, 3))
    config = HierarchyConfig(linkage="consensus", superpoints=8, neighbours=4)
    start = consensus_tree(means, colours, ones, config, opinions)
    assert start is not None
    assert same_partition(start.group, part)
    tree = build_hierarchy(means, noise, ones, config, opinions, colours=colours).tree
    for segments, size in ((8, 1), (4, 2), (2, 4)):
        assert same_partition(cut_into(tree, segments), part // size)


def test_consensus_tree_is_none_where_no_photo_sees_two_neighbours():
    means, _, _ = rows_of_parts()
    ones, colours = np.ones(48, np.float32), np.zeros((48, 3))

    def nothing(chosen):
        return Consensus.of([], chosen, len(chosen))

    config = HierarchyConfig(linkage="consensus", neighbours=4)
    assert consensus_tree(means, colours, ones, config, nothing) is None
    assert consensus_tree(means[:1], colours[:1], ones[:1], config, nothing) is None
    features = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
    hierarchy = build_hierarchy(means, features, ones, config, nothing, colours=colours)
    assert hierarchy.tree.num_leaves == 48


@pytest.mark.parametrize("count", [1, 2, 3])
def test_consensus_tree_takes_a_few_gaussians(count):
    means, _, opinions = rows_of_parts()
    weights = np.where(np.arange(48) < count, 1, 0).astype(np.float32)
    tree = consensus_tree(means, np.zeros((48, 3)), weights, HierarchyConfig(), opinions)
    if tree is not None:
        assert len(np.unique(tree.group)) == len(tree.merges.similarities) + 1
