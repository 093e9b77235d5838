"""One tree over all Gaussians, built from one feature per Gaussian (docs/method.md, "The tree").

There are three trees. *Watershed* is the paper's: connected components of the neighbour graph at
every threshold of feature distance, that is, single linkage. *Average* first groups the same graph
into superpoints by a watershed on area, then merges these by average linkage of their mean
features: blended pixels on a border have in-between features, through which single linkage leaks
in small steps and average linkage does not. *Consensus* also uses the masks of all photos:
superpoints grow along edges that are short where photos and features agree, and merge by the mean
of consensus and cosine.
"""

from collections.abc import Callable

import higra as hg
import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.features.linkage import Merges, average_linkage, join
from splat_uff.features.scene_tree import SceneTree, group_means
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.consensus import Consensus, merge_by_ratio
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.graph import find_outliers, neighbour_graph
from splat_uff.hierarchy.superpoints import Lengths, grow_superpoints
from splat_uff.hierarchy.support import bootstrap_support
from splat_uff.system.records import array_record

Opinions = Callable[[Int[np.ndarray, "P"]], Consensus]
"""Function that collects the photos' opinions on the given Gaussians (indices in rising order)."""
FEATURES = 1.5
"""Length that opposite features add to an edge; photos that disagree add 1. Measured in
docs/research/tree.md."""
MOST_EDGES = 2**20
"""Most edges whose features are compared at a time."""
COLOUR = 0.1
"""Length that a colour difference of 1 (in `sh0`) adds to an edge if there are no features."""


@array_record
class Hierarchy:
    """A tree over all N Gaussians, and the Gaussians that shaped it."""

    tree: Dendrogram
    shaping: Bool[np.ndarray, "N"]
    """Whether each Gaussian shaped the tree; the others are attached to the nearest that did."""
    support: Float[np.ndarray, "T"] | None = None
    """Share of resampled trees that contain each node, 0 to 1; 1 for leaves and superpoints. None
    if it was not computed (see `splat_uff.hierarchy.support`)."""


def build_hierarchy(
    means: Float[np.ndarray, "N 3"],
    features: Float[np.ndarray, "N D"],
    largest_weights: Float[np.ndarray, "N"],
    config: HierarchyConfig,
    opinions: Opinions | None = None,
    *,
    colours: Float[np.ndarray, "N 3"] | None = None,
    rng: np.random.Generator | None = None,
) -> Hierarchy:
    """Build the tree of all granularities.

    Every Gaussian is a leaf. Leaves are attached at height 0 to the groups from which the tree
    starts: superpoints, or single Gaussians for the watershed. Gaussians that hardly show, and
    those far from all others, do not shape the tree and join the group of the nearest one that
    does.

    Args:
        means: Centres, in world units.
        features: Feature of each Gaussian, of which only the direction is used.
        largest_weights: Largest blend weight of each Gaussian in any view.
        config: Settings of the tree.
        opinions: Function that collects the photos' opinions on the Gaussians that shape the tree;
            required for `consensus`.
        colours: `sh0` of each Gaussian if features were not trained: a `consensus` tree is then
            that of `consensus_tree`, without features. None otherwise.
        rng: Generator that draws resamples for the support of a `consensus` tree's nodes; without
            it, there is no support.

    Raises:
        ValueError: If the linkage is `consensus` and there are no opinions.
    """
    shaping = _shaping(means, largest_weights, config)
    points, unit = means[shaping], _unit(features[shaping])
    support = None
    if config.linkage == "watershed":
        group = np.arange(len(points))
        below, heights = _single_linkage(unit, *neighbour_graph(points, k=config.neighbours))
    elif config.linkage == "consensus":
        if opinions is None:
            raise ValueError("a tree by consensus needs the opinions of the photos")
        consensus, grown = opinions(np.flatnonzero(shaping)), None
        if colours is not None:
            grown = _grow_by_consensus(points, colours[shaping], consensus, config)
        group, merges, share = grown or _grow_by_both(points, unit, consensus, config)
        below, heights = _rank_merges(merges, group, 0.0)
        if rng is not None and config.resamples > 0:
            support = bootstrap_support(
                consensus, group_means(unit, group)[0], group, share, merges,
                resamples=config.resamples, rng=rng,
            )  # fmt: skip
    else:
        group = _grow(points, lambda *ends: _feature_distances(unit, *ends), config)
        merges = average_linkage(*group_means(unit, group))
        below, heights = _rank_merges(merges, group, config.crumb_exponent)
    tree = _hang_leaves(_groups_of_all(group, shaping, means), below, heights)
    return Hierarchy(tree, shaping, None if support is None else _of_nodes(tree, support, heights))


def consensus_tree(
    means: Float[np.ndarray, "N 3"],
    colours: Float[np.ndarray, "N 3"],
    largest_weights: Float[np.ndarray, "N"],
    config: HierarchyConfig,
    opinions: Opinions,
) -> SceneTree | None:
    """Build the tree that the masks of all photos give by themselves, without features.

    Superpoints grow where photos agree and colours differ little, and merge by consensus alone.

    Args:
        means: Centres, in world units.
        colours: `sh0` of each Gaussian.
        largest_weights: Largest blend weight of each Gaussian in any view.
        config: Settings of the tree.
        opinions: Function that collects the photos' opinions on the Gaussians that shape the tree.

    Returns:
        The tree, or None if the photos agree on nothing because no mask holds two neighbours.
    """
    shaping = _shaping(means, largest_weights, config)
    consensus = opinions(np.flatnonzero(shaping))
    grown = _grow_by_consensus(means[shaping], colours[shaping], consensus, config)
    if grown is None:
        return None
    group, merges, _ = grown
    return SceneTree(_groups_of_all(group, shaping, means), merges)


def _grow_by_consensus(
    points: Float[np.ndarray, "P 3"],
    colours: Float[np.ndarray, "P 3"],
    consensus: Consensus,
    config: HierarchyConfig,
) -> tuple[Int[np.ndarray, "P"], Merges, float] | None:
    """Superpoints by consensus and colour, and their merges by consensus; None without consensus.

    The last value is the consensus's share in the merges, here 1.
    """
    any_agreed = False

    def lengths(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        nonlocal any_agreed
        agreed = consensus.along_edges(sources, targets)
        any_agreed |= bool(agreed.any())
        return 1 - agreed + COLOUR * _feature_distances(colours, sources, targets)

    group = _grow(points, lengths, config)
    if not any_agreed:
        return None
    return group, merge_by_ratio(*consensus.between_groups(group)), 1.0


def _grow_by_both(
    points: Float[np.ndarray, "P 3"],
    unit: Float[np.ndarray, "P D"],
    consensus: Consensus,
    config: HierarchyConfig,
) -> tuple[Int[np.ndarray, "P"], Merges, float]:
    """Superpoints and their merges by consensus and features, and the consensus's share."""

    def cosines(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (unit[sources] * unit[targets]).sum(axis=1)

    def lengths(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        apart = FEATURES * (1 - _in_parts(cosines, sources, targets)) / 2
        return 1 - consensus.along_edges(sources, targets) + apart

    group = _grow(points, lengths, config)
    share = config.consensus_share
    merges = _merge_by_consensus(consensus, group_means(unit, group)[0], group, share)
    return group, merges, share


def _grow(
    points: Float[np.ndarray, "P 3"], lengths: Lengths, config: HierarchyConfig
) -> Int[np.ndarray, "P"]:
    """Superpoint of each point, by the settings."""
    return grow_superpoints(
        points, lengths,
        neighbours=config.neighbours, most=config.superpoints, blocks=config.blocks,
    )  # fmt: skip


def _feature_distances(
    features: Float[np.ndarray, "P D"], sources: np.ndarray, targets: np.ndarray
) -> Float[np.ndarray, "E"]:
    def distances(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.linalg.norm(features[sources] - features[targets], axis=1)

    return _in_parts(distances, sources, targets)


def _in_parts(
    measure: Lengths, sources: Int[np.ndarray, "E"], targets: Int[np.ndarray, "E"]
) -> Float[np.ndarray, "E"]:
    """Measure some edges at a time, since both ends' features of all would take gigabytes."""
    starts = range(0, max(1, len(sources)), MOST_EDGES)
    parts = [slice(start, start + MOST_EDGES) for start in starts]
    return np.concatenate([measure(sources[part], targets[part]) for part in parts])


def _shaping(
    means: Float[np.ndarray, "N 3"],
    largest_weights: Float[np.ndarray, "N"],
    config: HierarchyConfig,
) -> Bool[np.ndarray, "N"]:
    """Whether each Gaussian is visible enough and not far from all others."""
    shaping = largest_weights >= config.min_weight
    if not shaping.any():
        shaping[:] = True
    shaping[shaping] = ~find_outliers(means[shaping])
    return shaping


def _groups_of_all(
    group: Int[np.ndarray, "P"], shaping: Bool[np.ndarray, "N"], means: Float[np.ndarray, "N 3"]
) -> Int[np.ndarray, "N"]:
    """Group of every Gaussian: its own if it shapes the tree, otherwise that of the nearest one.

    One that shapes the tree is not looked up among the nearest: another may have the same centre,
    and a group all of whose Gaussians were taken for others would have none.
    """
    found = np.empty(len(means), group.dtype)
    found[shaping] = group
    if not shaping.all():
        _, nearest = find_nearest(means[shaping], means[~shaping], k=1)
        found[~shaping] = group[nearest[:, 0]]
    return found


def _merge_by_consensus(
    consensus: Consensus,
    vectors: Float[np.ndarray, "G D"],
    group: Int[np.ndarray, "P"],
    share: float,
) -> Merges:
    """Average linkage of superpoints by consensus and by the cosine of their mean features.

    Pairs that no photo sees together are compared by their features alone. All pairs of members
    have the same weight, so merging adds sums over pairs.
    """
    cosine = vectors @ vectors.T
    total, weight = consensus.between_groups(group)
    agreed = np.divide(total, weight, out=cosine.copy(), where=weight > 0)
    sizes = np.bincount(group).astype(np.float64)
    pairs = sizes[:, None] * sizes[None]
    return merge_by_ratio((share * agreed + (1 - share) * cosine) * pairs, pairs)


def _rank_merges(
    merges: Merges, group: Int[np.ndarray, "P"], crumb_exponent: float
) -> tuple[Int[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    """Nodes that merge, and their heights, weighted so that crumbs do not become segments."""
    sizes = np.bincount(group).astype(np.float64)
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
    lengths = _feature_distances(unit, sources, targets)
    tree, altitudes = hg.bpt_canonical(graph, lengths)
    below = np.stack([tree.child(0), tree.child(1)], axis=1)[-(len(unit) - 1) :]
    return below, altitudes[len(unit) :]


def _hang_leaves(
    group: Int[np.ndarray, "N"], below: Int[np.ndarray, "K 2"], heights: Float[np.ndarray, "K"]
) -> Dendrogram:
    """Tree of N leaves, G groups and K = G - 1 merges, with nodes sorted by height."""
    leaves, groups = len(group), len(below) + 1
    # The weighting can put a merge above a later one; children stay below their parents.
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


def _of_nodes(
    tree: Dendrogram, support: Float[np.ndarray, "K"], heights: Float[np.ndarray, "K"]
) -> Float[np.ndarray, "T"]:
    """Arrange the support of merges by node, in the order of `_hang_leaves`."""
    found = np.ones(len(tree.parents))
    found[len(found) - len(support) :] = support[np.argsort(heights, kind="stable")]
    return found


def _unit(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype(np.float64)
