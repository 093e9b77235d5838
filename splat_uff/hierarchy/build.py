"""From one feature per Gaussian to one tree over all of them (METHOD.md section 5).

Two trees are offered. *Watershed* is the paper's: connected components of the neighbour graph at
every threshold of feature distance, that is, single linkage. *Average* first lets the same graph
grow into superpoints by a watershed on area, and then merges those by average linkage of their
mean features: blended pixels on a border carry in-between features, through which single linkage
leaks in small steps and average linkage does not.
"""

from dataclasses import dataclass

import higra as hg
import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.features.linkage import average_linkage, join
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.graph import find_outliers, neighbour_graph
from splat_uff.neighbours import find_nearest


@dataclass(frozen=True)
class Hierarchy:
    """A tree over all N Gaussians, and which of them shaped it."""

    tree: Dendrogram
    shaping: Bool[np.ndarray, "N"]
    """The others hang on the nearest of these."""


def build_hierarchy(
    means: Float[np.ndarray, "N 3"],
    features: Float[np.ndarray, "N D"],
    largest_weights: Float[np.ndarray, "N"],
    config: HierarchyConfig,
) -> Hierarchy:
    """Build the tree of all granularities.

    Every Gaussian is a leaf. Leaves hang at height 0 on the groups that the tree starts from:
    superpoints, or single Gaussians for the watershed. Gaussians that hardly show, and those far
    from all others, do not shape the tree and hang on the group of the nearest that does.

    Args:
        means: Centres, world units.
        features: One per Gaussian; only their direction counts.
        largest_weights: Largest blend weight of each Gaussian in any view.
        config: Settings.
    """
    shaping = largest_weights >= config.min_weight
    if not shaping.any():
        shaping[:] = True
    shaping[shaping] = ~find_outliers(means[shaping])
    points, unit = means[shaping], _unit(features[shaping])
    sources, targets = neighbour_graph(points, k=config.neighbours)
    if config.linkage == "watershed":
        group = np.arange(len(points))
        below, heights = _single_linkage(unit, sources, targets)
    else:
        group = _superpoints(unit, sources, targets, config.superpoints)
        below, heights = _merge_groups(unit, group, config.crumb_exponent)
    _, nearest = find_nearest(points, means, k=1)
    return Hierarchy(_hang_leaves(group[nearest[:, 0]], below, heights), shaping)


def _superpoints(
    unit: Float[np.ndarray, "P D"], sources: np.ndarray, targets: np.ndarray, most: int
) -> Int[np.ndarray, "P"]:
    """Group of each point, numbered from 0: hierarchical watershed by area (Cousty, Najman 2011).

    Area ranks the basins by how many points they hold when they drown, so that what is left are
    groups of some size rather than stray points.
    """
    if len(unit) <= 2:
        return np.zeros(len(unit), np.int64)
    graph = hg.UndirectedGraph(len(unit))  # pyright: ignore[reportAttributeAccessIssue]
    graph.add_edges(sources, targets)
    lengths = np.linalg.norm(unit[sources] - unit[targets], axis=1)
    tree, areas = hg.watershed_hierarchy_by_area(graph, lengths, vertex_area=np.ones(len(unit)))
    labels = hg.labelisation_horizontal_cut_from_num_regions(tree, areas, most)
    return np.unique(labels, return_inverse=True)[1]


def _merge_groups(
    unit: Float[np.ndarray, "P D"], group: Int[np.ndarray, "P"], crumb_exponent: float
) -> tuple[Int[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    """Average linkage of the groups' mean features: which nodes merge, and how high."""
    sizes = np.bincount(group).astype(np.float64)
    vectors = np.stack([np.bincount(group, column) for column in unit.T], axis=1) / sizes[:, None]
    merges = average_linkage(vectors, sizes)
    below = join(merges)
    count = len(sizes)
    sizes = np.concatenate([sizes, np.zeros(len(below))])
    heights = np.zeros(count + len(below))
    for merge, (left, right) in enumerate(below):
        node = count + merge
        sizes[node] = sizes[left] + sizes[right]
        distance = max(0.0, 1 - merges.similarities[merge])
        ranked = distance * min(sizes[left], sizes[right]) ** crumb_exponent
        heights[node] = max(ranked, heights[left], heights[right])
    return below, heights[count:]


def _single_linkage(
    unit: Float[np.ndarray, "P D"], sources: np.ndarray, targets: np.ndarray
) -> tuple[Int[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    """Binary tree of the minimum spanning tree over feature distances."""
    if len(unit) == 1:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    graph = hg.UndirectedGraph(len(unit))  # pyright: ignore[reportAttributeAccessIssue]
    graph.add_edges(sources, targets)
    lengths = np.linalg.norm(unit[sources] - unit[targets], axis=1)
    tree, altitudes = hg.bpt_canonical(graph, lengths)
    below = np.stack([tree.child(0), tree.child(1)], axis=1)[-(len(unit) - 1) :]
    return below, altitudes[len(unit) :]


def _hang_leaves(
    group: Int[np.ndarray, "N"], below: Int[np.ndarray, "K 2"], heights: Float[np.ndarray, "K"]
) -> Dendrogram:
    """Tree of N leaves on G groups on K = G - 1 merges, nodes sorted by height."""
    leaves, groups = len(group), len(below) + 1
    # Ranking by crumbs can put a merge above a later one; children stay below their parents.
    order = np.argsort(heights, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    number = np.concatenate([np.arange(groups), groups + rank]) + leaves
    parents = np.arange(leaves + 2 * groups - 1)
    parents[:leaves] = leaves + group
    for side in (0, 1):
        parents[number[below[:, side]]] = leaves + groups + rank
    altitudes = np.concatenate([np.zeros(leaves + groups), heights[order]])
    return Dendrogram(parents, altitudes, leaves)


def _unit(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype(np.float64)
