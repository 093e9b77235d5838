"""Ultrametric similarity against brute force over all paths, SciPy and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import pdist, squareform

from splat_uff.features.ultrametric import (
    APART,
    average_linkage_similarity,
    bottleneck_edges,
    neighbour_edges,
    spanning_tree_similarity,
)

ROUGHLY = {"eps": 1e-3, "atol": 1e-3, "rtol": 1e-3}
"""For finite differences of functions that may compute in float32; both are bilinear."""


def unit(rng, count, channels):
    vectors = rng.normal(size=(count, channels))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def all_pairs(count):
    return np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1).reshape(-1, 2)


def random_graph(rng, count, share):
    """Each possible edge with probability `share`, with few different lengths, so that some tie."""
    sources, targets = np.nonzero(np.triu(rng.random((count, count)) < share, k=1))
    return sources, targets, rng.integers(0, 12, len(sources)) / 4


def minimax(sources, targets, lengths, count):
    """Smallest longest edge over all paths, by trying every middle; infinite where none leads."""
    longest = np.full((count, count), np.inf)
    np.fill_diagonal(longest, -np.inf)
    longest[sources, targets] = longest[targets, sources] = lengths
    for middle in range(count):
        longest = np.minimum(longest, np.maximum(longest[:, [middle]], longest[[middle]]))
    return longest


def ultrametric_of(sources, targets, lengths, count):
    """All bottleneck lengths as a matrix; infinite between parts, -infinite on the diagonal."""
    edges = bottleneck_edges(sources, targets, lengths, count, all_pairs(count))
    found = np.append(lengths, np.inf)[edges].reshape(count, count)
    np.fill_diagonal(found, -np.inf)
    return found


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.05, 0.15, 0.5, 1.0]))
@settings(max_examples=60)
def test_bottleneck_edges_equal_brute_force_over_all_paths(seed, share):
    graph = random_graph(np.random.default_rng(seed), 20, share)
    if len(graph[0]) == 0:
        return
    assert (ultrametric_of(*graph, 20) == minimax(*graph, 20)).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_bottleneck_edges_obey_the_ultrametric_inequality(seed):
    distance = ultrametric_of(*random_graph(np.random.default_rng(seed), 20, 0.2), 20)
    assert (distance == distance.T).all()
    assert (distance[:, :, None] <= np.maximum(distance[:, None], distance[None])).all()


def test_bottleneck_edges_are_none_between_parts_and_on_the_spot():
    sources, targets = np.array([0, 1, 3]), np.array([1, 2, 4])
    pairs = np.array([[0, 2], [0, 3], [4, 2], [3, 4], [2, 2], [5, 5], [5, 0]])
    edges = bottleneck_edges(sources, targets, np.array([0.5, 0.2, 0.9]), 6, pairs)
    assert edges.tolist() == [0, -1, -1, 2, -1, -1, -1]


def test_neighbour_edges_join_each_pixel_to_its_ten_nearest():
    directions = unit(np.random.default_rng(0), 60, 3)
    sources, targets = neighbour_edges(directions)
    distance = squareform(pdist(directions))
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :10]
    expected = {(min(p, q), max(p, q)) for p in range(60) for q in nearest[p].tolist()}
    assert set(zip(sources.tolist(), targets.tolist(), strict=True)) == expected
    assert len(sources) == len(expected)


def random_pixels(seed=0, *, count=11, channels=4, masks=3):
    """With 11 pixels the graph of 10 neighbours is complete."""
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(unit(rng, count, channels)).requires_grad_()
    return features, unit(rng, count, 3), rng.random((masks, count)) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_spanning_tree_similarity_is_the_cosine_of_the_bottleneck(seed):
    features, directions, members = random_pixels(seed)
    cosines = (features @ features.T).detach().numpy()
    apart = (members[:, :, None] != members[:, None]).any(axis=0)
    sources, targets = np.triu_indices(11, k=1)
    lengths = (1 - cosines + APART * apart)[sources, targets]
    longest = minimax(sources, targets, lengths, 11)
    np.fill_diagonal(longest, 0)
    expected = 1 - np.where(longest > APART / 2, longest - APART, longest)
    found = spanning_tree_similarity(features, directions, members, all_pairs(11))
    np.testing.assert_allclose(found.detach().numpy().reshape(11, 11), expected, atol=1e-6)


def test_spanning_tree_similarity_crosses_the_border_of_a_mask_last():
    # 0 and 2 are equal and a mask parts them; 1 is far from both and on the side of 0. From 1 to 3
    # the crossing is the longest edge, and it is their cosine that counts, without the addition.
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    directions = unit(np.random.default_rng(0), 4, 3)
    members = np.array([[True, True, False, False]])
    pairs = np.array([[0, 1], [2, 3], [0, 2], [1, 3]])
    found = spanning_tree_similarity(features, directions, members, pairs)
    torch.testing.assert_close(found, torch.tensor([-1.0, 0.6, 1.0, 1.0]))


def test_spanning_tree_similarity_compares_pixels_directly_where_no_path_joins_them():
    rng = np.random.default_rng(3)
    directions = np.concatenate([[0, 0, 1.0] + 0.01 * rng.normal(size=(12, 3)) for _ in range(2)])
    directions[12:] *= -1
    features = torch.from_numpy(unit(rng, 24, 4))
    found = spanning_tree_similarity(
        features, directions, np.zeros((0, 24), dtype=bool), np.array([[0, 12], [5, 20], [7, 7]])
    )
    expected = torch.stack([features[0] @ features[12], features[5] @ features[20]])
    np.testing.assert_allclose(found[:2], expected, atol=1e-6)
    assert found[2].item() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_spanning_tree_similarity_sends_the_gradient_through_one_edge(seed):
    features, directions, members = random_pixels(seed, count=40)
    pair = np.array([[3, 31]])
    spanning_tree_similarity(features, directions, members, pair).sum().backward()
    sources, targets = neighbour_edges(directions)
    cosines = (features[sources] * features[targets]).sum(1).detach().numpy()
    lengths = 1 - cosines + APART * (members[:, sources] != members[:, targets]).any(axis=0)
    longest = minimax(sources, targets, lengths, 40)[3, 31]
    edge = np.flatnonzero(lengths == longest).item()
    one, other = sources[edge], targets[edge]
    touched = np.flatnonzero(features.grad.abs().sum(1).numpy())
    assert set(touched.tolist()) == {one, other}
    np.testing.assert_allclose(features.grad[one], features.detach()[other], atol=1e-6)
    np.testing.assert_allclose(features.grad[other], features.detach()[one], atol=1e-6)


def test_spanning_tree_similarity_gradient_equals_finite_differences():
    features, directions, members = random_pixels(1, count=15)
    pairs = np.random.default_rng(0).integers(0, 15, (20, 2))
    assert torch.autograd.gradcheck(
        lambda given: spanning_tree_similarity(given, directions, members, pairs),
        (features,),
        **ROUGHLY,
    )


@pytest.mark.parametrize("count", [2, 3, 33])
def test_average_linkage_similarity_is_where_scipy_lets_clusters_meet(count):
    vectors = unit(np.random.default_rng(count), count, 5)
    expected = 1 - squareform(cophenet(linkage(pdist(vectors, "cosine"), "average")))
    found = average_linkage_similarity(torch.from_numpy(vectors), all_pairs(count))
    np.testing.assert_allclose(found.reshape(count, count), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_average_linkage_similarity_obeys_the_ultrametric_inequality(seed):
    vectors = unit(np.random.default_rng(seed), 40, 6)
    found = average_linkage_similarity(torch.from_numpy(vectors), all_pairs(40)).reshape(40, 40)
    distance = 1 - found.numpy()
    bound = np.maximum(distance[:, None], distance[None])
    assert (distance[:, :, None] <= bound + 1e-6).all()


def test_average_linkage_similarity_of_a_pixel_with_itself_is_one_without_gradient():
    features = random_pixels(0)[0]
    found = average_linkage_similarity(features, np.array([[4, 4]]))
    assert found.item() == 1
    found.sum().backward()
    assert not features.grad.any()


def test_average_linkage_similarity_gradient_equals_finite_differences():
    features = random_pixels(2, count=14)[0]
    pairs = np.random.default_rng(0).integers(0, 14, (25, 2))
    assert torch.autograd.gradcheck(
        lambda given: average_linkage_similarity(given, pairs), (features,), **ROUGHLY
    )


def test_average_linkage_similarity_sends_the_gradient_to_all_members_of_both_clusters():
    # Two clusters of three pixels each, a third one aside.
    centres = np.repeat(np.eye(3), 3, axis=0)
    centres[3:6] += 0.5 * np.eye(3)[0]
    features = torch.from_numpy(centres + 0.01 * np.random.default_rng(0).normal(size=(9, 3)))
    features = torch.nn.functional.normalize(features, dim=1).requires_grad_()
    average_linkage_similarity(features, np.array([[0, 4]])).sum().backward()
    assert (features.grad.abs().sum(1) > 0).tolist() == [True] * 6 + [False] * 3
    expected = features.detach()[3:6].mean(0) / 3
    np.testing.assert_allclose(features.grad[0], expected, atol=1e-6)


def test_average_linkage_similarity_stands_equal_features():
    features = torch.full((30, 4), 0.5)
    found = average_linkage_similarity(features, all_pairs(30))
    torch.testing.assert_close(found, torch.ones(900))
