"""Average linkage against its definition and SciPy, and the trees it lays out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from splat_uff.features.linkage import average_linkage, join, lay_out


def unit_vectors(rng, count, channels=5):
    vectors = rng.normal(size=(count, channels))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clusters_of(below, count):
    """Leaves under each merge, from the nodes that it joins."""
    leaves = {leaf: frozenset([leaf]) for leaf in range(count)}
    for merge, (left, right) in enumerate(below):
        assert not leaves[left] & leaves[right]
        leaves[count + merge] = leaves[left] | leaves[right]
    return [leaves[count + merge] for merge in range(len(below))]


def mean_similarity(vectors, weights, one, other):
    """Weighted mean dot product between the members of two clusters, pair by pair."""
    pairs = [(i, j) for i in one for j in other]
    weight = [weights[i] * weights[j] for i, j in pairs]
    return np.average([vectors[i] @ vectors[j] for i, j in pairs], weights=weight)


def greedy_linkage(vectors, weights):
    """The definition: merge the two clusters most alike on average, until one is left."""
    alive = [frozenset([i]) for i in range(len(vectors))]
    while len(alive) > 1:
        similarity, one, other = max(
            (mean_similarity(vectors, weights, a, b), i, j)
            for i, a in enumerate(alive)
            for j, b in enumerate(alive)
            if i < j
        )
        merged = alive[one] | alive[other]
        alive = [c for k, c in enumerate(alive) if k not in (one, other)] + [merged]
        yield merged, similarity


@pytest.mark.parametrize("count", [2, 3, 40, 151])
def test_average_linkage_equals_scipy(count):
    vectors = unit_vectors(np.random.default_rng(count), count)
    merges = average_linkage(vectors)
    theirs = linkage(pdist(vectors, "cosine"), "average")
    np.testing.assert_allclose(1 - merges.similarities, theirs[:, 2], atol=1e-5)
    expected = clusters_of(theirs[:, :2].astype(int), count)
    assert clusters_of(join(merges), count) == expected


def test_average_linkage_weighs_starting_clusters_by_their_size():
    rng = np.random.default_rng(0)
    vectors, sizes = unit_vectors(rng, 14), rng.integers(1, 30, 14).astype(float)
    merges = average_linkage(vectors, sizes)
    expected = list(greedy_linkage(vectors, sizes))
    assert clusters_of(join(merges), 14) == [cluster for cluster, _ in expected]
    np.testing.assert_allclose(merges.similarities, [s for _, s in expected], atol=1e-5)
    even = list(greedy_linkage(vectors, np.ones(14)))
    assert [cluster for cluster, _ in even] != [cluster for cluster, _ in expected]


def test_average_linkage_of_a_mean_equals_that_of_its_members():
    rng = np.random.default_rng(1)
    apart = unit_vectors(rng, 6)
    copies = [3, 1, 5, 2, 1, 4]
    whole = average_linkage(np.repeat(apart, copies, axis=0))
    pooled = average_linkage(apart, np.array(copies, dtype=float))
    np.testing.assert_allclose(whole.similarities[-5:], pooled.similarities, atol=1e-5)


def test_average_linkage_of_one_vector_is_no_merge():
    merges = average_linkage(np.ones((1, 3)))
    assert len(merges.lefts) == len(merges.rights) == len(merges.similarities) == 0
    order, spans = lay_out(merges)
    assert order.tolist() == [0]
    assert spans.shape == (0, 3)


def test_average_linkage_of_two_vectors_is_their_dot_product():
    merges = average_linkage(np.array([[0.6, 0.8], [1.0, 0.0]]))
    assert (merges.lefts.tolist(), merges.rights.tolist()) == ([0], [1])
    assert merges.similarities[0] == pytest.approx(0.6)
    assert join(merges).tolist() == [[0, 1]]
    assert lay_out(merges)[1].tolist() == [[0, 1, 2]]


def assert_is_binary_tree(merges, count):
    """Every merge joins two clusters that are still there, and similarity never rises."""
    alive = set(range(count))
    for left, right in zip(merges.lefts, merges.rights, strict=True):
        assert left != right
        assert {left, right} <= alive
        alive.remove(right)
    assert len(alive) == 1
    assert (np.diff(merges.similarities) <= 0).all()
    assert sorted(join(merges).ravel().tolist()) == list(range(2 * count - 2))


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 200),
    channels=st.integers(1, 40),
    centres=st.integers(1, 5),
    noise=st.sampled_from([0, 1e-7, 1e-6, 1e-3]),
)
@settings(max_examples=60)
def test_average_linkage_is_a_tree_whatever_is_tied(seed, count, channels, centres, noise):
    rng = np.random.default_rng(seed)
    vectors = unit_vectors(rng, centres, channels)[rng.integers(0, centres, count)]
    vectors = vectors + noise * rng.normal(size=vectors.shape)
    assert_is_binary_tree(average_linkage(vectors), count)


def test_average_linkage_of_equal_vectors_merges_everything_at_once():
    merges = average_linkage(np.tile([0.6, 0.8], (37, 1)))
    assert_is_binary_tree(merges, 37)
    np.testing.assert_allclose(merges.similarities, 1, atol=1e-6)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 60))
@settings(max_examples=40)
def test_lay_out_gives_every_merge_a_run_of_its_own_leaves(seed, count):
    vectors = unit_vectors(np.random.default_rng(seed), count)
    merges = average_linkage(vectors)
    order, spans = lay_out(merges)
    assert sorted(order.tolist()) == list(range(count))
    below = join(merges)
    clusters = clusters_of(below, count)
    leaves = [frozenset([leaf]) for leaf in range(count)] + clusters
    for (left, right), (start, middle, end) in zip(below, spans, strict=True):
        assert set(order[start:middle].tolist()) == leaves[left]
        assert set(order[middle:end].tolist()) == leaves[right]


def test_average_linkage_repeats_itself():
    vectors = unit_vectors(np.random.default_rng(2), 90)
    first, second = average_linkage(vectors), average_linkage(vectors)
    assert (first.lefts == second.lefts).all()
    assert (first.similarities == second.similarities).all()
