"""Building the tree: clusters come out as clusters, and the watershed is the minimax path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from splat_uff.geometry.neighbours import find_nearest
from splat_uff.hierarchy import graph as graphs
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.dendrogram import cut, cut_into
from splat_uff.hierarchy.graph import _bridges, find_outliers, neighbour_graph
from splat_uff.hierarchy.superpoints import flood


def scene(rng, per_part=40):
    """Two objects of two parts each; features agree within a part, and less within an object."""
    centres = np.array([[0, 0, 0], [1.5, 0, 0], [6, 0, 0], [7.5, 0, 0.0]])
    feature = np.array([[1, 0.6, 0, 0], [1, -0.6, 0, 0], [0, 0, 1, 0.6], [0, 0, 1, -0.6]])
    part = np.repeat(np.arange(4), per_part)
    means = centres[part] + rng.uniform(-0.4, 0.4, (len(part), 3))
    features = feature[part] + 0.05 * rng.standard_normal((len(part), 4))
    return means, features.astype(np.float32), part


def same_partition(first, second):
    return (
        len(np.unique(np.stack([first, second]), axis=1).T)
        == len(np.unique(first))
        == len(np.unique(second))
    )


@pytest.mark.parametrize("linkage", ["average", "watershed"])
def test_build_hierarchy_finds_parts_and_objects(linkage):
    means, features, part = scene(np.random.default_rng(0))
    config = HierarchyConfig(linkage=linkage)
    tree = build_hierarchy(means, features, np.ones(len(part), np.float32), config).tree
    assert same_partition(cut_into(tree, 4), part)
    assert same_partition(cut_into(tree, 2), part // 2)
    assert cut_into(tree, 1).max() == 1


@pytest.mark.parametrize("linkage", ["average", "watershed"])
def test_altitudes_never_fall_towards_the_root(linkage):
    means, features, part = scene(np.random.default_rng(1))
    config = HierarchyConfig(linkage=linkage)
    tree = build_hierarchy(means, features, np.ones(len(part), np.float32), config).tree
    assert (tree.altitudes[tree.parents] >= tree.altitudes).all()
    assert (tree.parents[:-1] > np.arange(len(tree.parents) - 1)).all()
    assert tree.parents[-1] == len(tree.parents) - 1


def test_gaussians_that_hardly_show_take_the_nearest_label_and_shape_nothing():
    rng = np.random.default_rng(2)
    means, features, part = scene(rng)
    weights = np.ones(len(part), np.float32)
    faint = rng.choice(len(part), 30, replace=False)
    weights[faint] = 0.01
    features[faint] = rng.standard_normal((30, 4))
    hierarchy = build_hierarchy(means, features, weights, HierarchyConfig(linkage="average"))
    assert same_partition(cut_into(hierarchy.tree, 4), part)
    assert not hierarchy.shaping[faint].any()


def test_watershed_cuts_are_components_of_short_edges():
    rng = np.random.default_rng(3)
    means, features = rng.random((60, 3)), rng.standard_normal((60, 3)).astype(np.float32)
    config = HierarchyConfig(linkage="watershed", neighbours=5)
    hierarchy = build_hierarchy(means, features, np.ones(60, np.float32), config)
    assert hierarchy.shaping.all()
    sources, targets = neighbour_graph(means, k=5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    lengths = np.linalg.norm(unit[sources] - unit[targets], axis=1)
    for height in (0.2, 0.5, 0.8, 1.1):
        short = lengths <= height
        edges = (np.ones(short.sum()), (sources[short], targets[short]))
        _, brute = connected_components(coo_array(edges, shape=(60, 60)), directed=False)
        assert same_partition(cut(hierarchy.tree, height=height), brute)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_build_hierarchy_takes_very_few_gaussians(count):
    rng = np.random.default_rng(4)
    means, features = rng.random((count, 3)), rng.standard_normal((count, 4)).astype(np.float32)
    for linkage in ("average", "watershed"):
        config = HierarchyConfig(linkage=linkage)
        tree = build_hierarchy(means, features, np.ones(count, np.float32), config).tree
        assert cut_into(tree, 1).tolist() == [1] * count


def test_superpoints_are_at_most_as_many_as_asked_for_and_nest():
    rng = np.random.default_rng(0)
    sources, targets = neighbour_graph(rng.random((3000, 3)), k=6)
    lengths = rng.random(len(sources))  # Hundreds of basins of the same small areas.
    finer = flood(lengths, sources, targets, 3000, 3000)
    basins = int(finer.max()) + 1
    for most in (basins, basins - 1, 300, 100, 10, 2, 1):
        group = flood(lengths, sources, targets, 3000, most)
        assert 0.95 * most <= group.max() + 1 <= most
        assert all(len(np.unique(group[finer == one])) == 1 for one in range(finer.max() + 1))
        graph = coo_array((np.ones(len(sources)), (sources, targets)), shape=(3000, 3000)).tocsr()
        for one in range(group.max() + 1):
            inside = np.flatnonzero(group == one)
            assert connected_components(graph[inside][:, inside], directed=False)[0] == 1
        finer = group


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from([3, 40, 400]))
@settings(max_examples=20, deadline=None)
def test_bridges_are_the_shortest_edges_between_pieces(seed, pieces, most):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, pieces)
    centres = rng.normal(size=(pieces, 3)) * rng.choice([1.0, 30.0])
    piece = np.repeat(np.arange(pieces), sizes)
    points = centres[piece] + rng.normal(size=(len(piece), 3)) * rng.choice([0.1, 1.0])
    bridges = _bridges(points, piece)
    assert len(bridges) == pieces - 1
    far = np.linalg.norm(points[:, None] - points[None], axis=2)
    far[piece[:, None] == piece[None]] = np.inf
    expected = np.array([far[piece == index].min() for index in range(pieces)])
    found = np.linalg.norm(points[bridges[:, 0]] - points[bridges[:, 1]], axis=1)
    assert np.allclose(found, expected[piece[bridges[:, 0]]])
    assert np.argmax(np.bincount(piece)) not in piece[bridges[:, 0]]


def test_few_of_many_pieces_are_compared_with_all_points(monkeypatch):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(500, 3)) * 100
    points = centres.repeat(20, axis=0) + rng.normal(size=(10_000, 3)) * 0.1
    asked = []

    def find(points, queries, *, k):
        asked.append(len(queries))
        return find_nearest(points, queries, k=k)

    monkeypatch.setattr(graphs, "find_nearest", find)
    sources, targets = neighbour_graph(points, k=10)
    shape = (len(points), len(points))
    edges = coo_array((np.ones(len(sources)), (sources, targets)), shape=shape)
    assert connected_components(edges, directed=False)[0] == 1
    assert len(asked) < 20


def test_neighbour_graph_is_connected_by_the_shortest_bridges():
    clusters = [np.random.default_rng(i).random((20, 3)) + 100 * i for i in range(4)]
    points = np.concatenate(clusters)
    sources, targets = neighbour_graph(points, k=3)
    graph = coo_array((np.ones(len(sources)), (sources, targets)), shape=(80, 80))
    assert connected_components(graph, directed=False)[0] == 1
    assert (sources < targets).all()
    between = sources // 20 != targets // 20
    assert between.sum() == 3


def test_find_outliers_names_the_one_far_away():
    points = np.concatenate([np.random.default_rng(0).random((50, 3)), [[30, 30, 30]]])
    assert np.flatnonzero(find_outliers(points)).tolist() == [50]


def test_a_tree_by_consensus_needs_somebody_to_ask():
    means, features, part = scene(np.random.default_rng(0))
    with pytest.raises(ValueError, match="needs the opinions"):
        build_hierarchy(means, features, np.ones(len(part), np.float32), HierarchyConfig())


def test_gaussians_with_the_same_centre_leave_no_node_without_leaves():
    """As in splats far from the origin, whose centres 32 bits round together."""
    rng = np.random.default_rng(0)
    means = np.repeat(rng.normal(size=(30, 3)), 40, axis=0).astype(np.float32)
    features = rng.normal(size=(1200, 8)).astype(np.float32)
    config = HierarchyConfig(linkage="average", superpoints=400)
    found = build_hierarchy(means, features, np.ones(1200, np.float32), config)
    tree = found.tree
    holders = np.bincount(tree.parents[:-1], minlength=len(tree.parents))
    assert (holders[tree.num_leaves :] >= 1).all()
