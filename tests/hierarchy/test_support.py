"""Support of nodes: exact against trees built one by one, and laws of the bootstrap."""

from dataclasses import replace

import numba
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from splat_uff.features.linkage import join
from splat_uff.hierarchy import support as module
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.consensus import Consensus, merge_by_ratio
from splat_uff.hierarchy.support import SAME, bootstrap_support, shared_nodes
from tests.hierarchy.test_consensus import POINTS, ask, bag, random_scene

GROUPS = 9
GROUP = np.random.default_rng(5).permutation(np.arange(POINTS) % GROUPS)
VECTORS = np.random.default_rng(6).normal(size=(GROUPS, 8)) / 3


def tree_of(consensus, vectors=VECTORS, channels=None, share=0.5):
    """Average linkage of a weighted mean, as `build_hierarchy` has it."""
    weights = np.ones(vectors.shape[1]) if channels is None else channels
    cosine = (vectors * weights) @ vectors.T
    total, weight = consensus.between_groups(GROUP)
    agreed = np.divide(total, weight, out=cosine.copy(), where=weight > 0)
    sizes = np.bincount(GROUP).astype(float)
    pairs = sizes[:, None] * sizes
    return merge_by_ratio((share * agreed + (1 - share) * cosine) * pairs, pairs)


def members(merges):
    """Superpoints below each merge."""
    below = [{group} for group in range(len(merges.lefts) + 1)]
    for left, right in join(merges):
        below.append(below[left] | below[right])
    return below[len(merges.lefts) + 1 :]


def iou(one, two):
    sizes = np.bincount(GROUP)
    return sizes[list(one & two)].sum() / sizes[list(one | two)].sum()


def repeated(consensus, times):
    """Each photo as often as it was drawn."""
    opinions = [o for o, n in zip(consensus.opinions, times, strict=True) for _ in range(n)]
    return replace(consensus, opinions=opinions)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("at_once", [1, 100])
def test_shared_nodes_are_those_of_trees_built_one_by_one(seed, at_once, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", at_once * 4 * GROUPS**2)
    consensus, rng = ask(*random_scene(seed, views=6)), np.random.default_rng(seed)
    photos = rng.multinomial(6, np.full(6, 1 / 6), size=5)
    channels = rng.multinomial(8, np.full(8, 1 / 8), size=5)
    merges = tree_of(consensus)
    found = shared_nodes(consensus, VECTORS, GROUP, 0.5, merges, photos, channels)
    for row, times, kept in zip(found, photos, channels, strict=True):
        others = members(tree_of(repeated(consensus, times), channels=kept))
        expected = [max(iou(own, other) for other in others) for own in members(merges)]
        np.testing.assert_allclose(row, expected)
    assert found.min() < SAME < found.max()


def test_bootstrap_support_is_the_share_of_trees_that_have_a_node():
    consensus = ask(*random_scene(3))
    merges = tree_of(consensus)
    given = consensus, VECTORS, GROUP, 0.5, merges
    found = bootstrap_support(*given, resamples=7, rng=np.random.default_rng(1))
    rng = np.random.default_rng(1)
    drawn = [rng.multinomial(n, np.full(n, 1 / n), size=7) for n in (5, 8)]
    np.testing.assert_array_equal(found, (shared_nodes(*given, *drawn) >= SAME).mean(axis=0))
    assert found[-1] == 1, "Every tree has the root."


def test_photos_that_all_say_the_same_support_every_node():
    weights, bags = random_scene(1, views=1)
    consensus = ask(weights * 6, bags * 6)
    given = consensus, VECTORS, GROUP, 1.0, tree_of(consensus, share=1.0)
    assert (bootstrap_support(*given, resamples=9, rng=np.random.default_rng(0)) == 1).all()


def test_the_order_of_photos_and_channels_changes_nothing():
    weights, bags = random_scene(2)
    rng = np.random.default_rng(0)
    photos, channels = rng.integers(0, 3, (6, 5)), rng.integers(0, 3, (6, 8))
    turn, order = rng.permutation(5), rng.permutation(8)
    merges = tree_of(ask(weights, bags))
    expected = shared_nodes(ask(weights, bags), VECTORS, GROUP, 0.5, merges, photos, channels)
    turned = ask([weights[v] for v in turn], [bags[v] for v in turn])
    found = shared_nodes(
        turned, VECTORS[:, order], GROUP, 0.5, merges, photos[:, turn], channels[:, order]
    )
    np.testing.assert_array_equal(found, expected)


def test_threads_and_rounds_change_nothing(monkeypatch):
    consensus = ask(*random_scene(4))
    given = consensus, VECTORS, GROUP, 0.5, tree_of(consensus)
    found = []
    for threads, most in ((1, 10**9), (2, 3 * 4 * GROUPS**2)):
        monkeypatch.setattr(module, "MOST_BYTES", most)
        before = numba.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        found.append(bootstrap_support(*given, resamples=8, rng=np.random.default_rng(3)))
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_without_photos_the_features_alone_are_drawn():
    consensus = Consensus.of([], np.arange(POINTS), POINTS)
    given = consensus, VECTORS, GROUP, 0.5, tree_of(consensus)
    found = bootstrap_support(*given, resamples=20, rng=np.random.default_rng(0))
    assert 0 < found.min() < 1


def scene(views):
    """A row of 48 Gaussians, a pixel each; in each view masks of `sizes` Gaussians."""
    matrices, bags = [], []
    for sizes in views:
        masks = [np.arange(48) // size == k for size in sizes for k in range(48 // size)]
        matrices.append(csr_matrix(np.eye(48, dtype=np.float32)))
        bags.append(bag(np.stack(masks).reshape(-1, 6, 8)))
    return lambda chosen: ask(matrices, bags, chosen)


def hierarchy_of(views, resamples=40, rng=True):
    means = np.stack([np.arange(48.0), np.zeros(48), np.zeros(48)], axis=1)
    config = HierarchyConfig(
        linkage="consensus", consensus_share=1.0, superpoints=8, neighbours=4, resamples=resamples
    )
    return build_hierarchy(
        means, np.ones((48, 4), np.float32), np.ones(48, np.float32), config, scene(views),
        rng=np.random.default_rng(0) if rng else None,
    )  # fmt: skip


def support_of(hierarchy, leaves):
    """Of the smallest node that holds some leaves."""
    parents, node = hierarchy.tree.parents, leaves[0]
    while True:
        below = np.arange(len(parents))
        for _ in range(len(parents)):
            below = np.where(below == node, below, parents[below])
        if set(leaves) <= set(np.flatnonzero(below[:48] == node)):
            return hierarchy.support[node]
        node = parents[node]


def test_a_node_that_half_of_the_photos_contradict_has_less_support():
    # All see parts of 6; two thirds see things of 12, the others of 18 that cut across them.
    hierarchy = hierarchy_of([(6, 12)] * 4 + [(6, 18)] * 3)
    support = hierarchy.support
    assert support.shape == hierarchy.tree.parents.shape
    assert (support[:48] == 1).all()
    assert (support[48:56] == 1).all(), "Superpoints."
    assert support[-1] == 1, "The root."
    assert 0.3 < support_of(hierarchy, range(12, 24)) < 1
    agreeing = hierarchy_of([(6, 12, 24)] * 7)
    assert support_of(agreeing, range(12, 24)) == 1
    assert support_of(agreeing, range(24)) == 1


@pytest.mark.parametrize("options", [{"resamples": 0}, {"rng": False}])
def test_there_is_no_support_where_nothing_is_drawn(options):
    assert hierarchy_of([(6, 12)], **options).support is None


def test_trees_by_features_alone_have_no_support():
    rng = np.random.default_rng(0)
    given = rng.random((40, 3)), rng.normal(size=(40, 4)).astype(np.float32), np.ones(40)
    for linkage in ("average", "watershed"):
        config = HierarchyConfig(linkage=linkage)
        means, features, weights = given
        built = build_hierarchy(means, features, weights.astype(np.float32), config, rng=rng)
        assert built.support is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_support_takes_very_few_gaussians(count):
    config = HierarchyConfig(linkage="consensus", neighbours=2)
    views = [csr_matrix(np.eye(48, count, dtype=np.float32))]
    bags = [bag(np.ones((1, 6, 8), bool))]
    hierarchy = build_hierarchy(
        np.eye(count, 3), np.eye(count, 4, dtype=np.float32), np.ones(count, np.float32), config,
        lambda chosen: ask(views, bags, chosen), rng=np.random.default_rng(0),
    )  # fmt: skip
    assert hierarchy.support is not None
    assert (hierarchy.support == 1).all()
