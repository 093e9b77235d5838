"""Ultrametric similarity between pixels: that of their clusters when the two merge.

There are two trees. The paper's is a minimum spanning tree over neighbouring pixels: the similarity
of two pixels is that of the weakest edge on the path between them, and the gradient flows through
that one edge. Ours is average linkage over all sampled pixels: the similarity of two pixels is the
mean between the clusters in which they meet, and the gradient reaches every member of both.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numba import njit
from torch import Tensor

from splat_uff.features.cosines import pair_cosines
from splat_uff.features.linkage import average_linkage, lay_out
from splat_uff.geometry.neighbours import find_nearest

NEIGHBOURS = 10
"""Nearest sampled pixels to which each pixel is joined (docs/method.md, "Losses")."""
APART = 10.0
"""Length added to an edge whose two ends are separated by a mask."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


def spanning_tree_similarity(
    features: Float[Tensor, "S D"],
    directions: Float[np.ndarray, "S 3"],
    members: Bool[np.ndarray, "M S"],
    pairs: Int[np.ndarray, "P 2"],
) -> Float[Tensor, "P"]:
    """Cosine of the bottleneck edge between the pixels of each pair, as in the paper.

    Args:
        features: Unit features of the sampled pixels.
        directions: Unit directions of the pixels' rays.
        members: Whether each pixel lies in each mask.
        pairs: Indices of pixels. Pixels that no path joins are compared directly.
    """
    sources, targets = neighbour_edges(directions)
    with torch.no_grad():
        lengths = 1 - pair_cosines(features, np.stack([sources, targets], axis=1)).cpu().numpy()
    lengths += APART * (members[:, sources] != members[:, targets]).any(axis=0)
    bottlenecks = bottleneck_edges(sources, targets, lengths, len(features), pairs)
    joined = bottlenecks >= 0
    firsts = np.where(joined, sources[bottlenecks], pairs[:, 0])
    seconds = np.where(joined, targets[bottlenecks], pairs[:, 1])
    return pair_cosines(features, np.stack([firsts, seconds], axis=1))


def average_linkage_similarity(
    features: Float[Tensor, "S D"], pairs: Int[np.ndarray, "P 2"]
) -> Float[Tensor, "P"]:
    """Mean cosine between the two clusters in which the pixels of each pair meet.

    For unit vectors this mean is the dot product of the clusters' mean vectors, so running sums in
    leaf order give it for all merges at once.
    """
    merges = average_linkage(features.detach().cpu().numpy())
    order, spans = lay_out(merges)
    meetings = meeting_merges(spans, np.argsort(order), pairs)
    running = torch.cat([features.new_zeros(1, features.shape[1]), features[order].cumsum(0)])
    start, middle, end = torch.as_tensor(spans, device=features.device).unbind(1)
    left = (running[middle] - running[start]) / (middle - start)[:, None]
    right = (running[end] - running[middle]) / (end - middle)[:, None]
    similarity = (left * right).sum(1)[np.maximum(meetings, 0)]
    alone = torch.as_tensor(meetings < 0, device=features.device)  # A pixel paired with itself.
    return torch.where(alone, torch.ones_like(similarity), similarity)


def neighbour_edges(
    directions: Float[np.ndarray, "S 3"],
) -> tuple[Int[np.ndarray, "E"], Int[np.ndarray, "E"]]:
    """Edges from each pixel to its nearest neighbours, each undirected edge once."""
    count = min(NEIGHBOURS + 1, len(directions))
    _, nearest = find_nearest(directions, directions, k=count)
    sources = np.repeat(np.arange(len(directions)), count - 1)
    targets = nearest[:, 1:].ravel()
    low, high = np.minimum(sources, targets), np.maximum(sources, targets)
    keys = np.unique(low[low != high] * len(directions) + high[low != high])
    return keys // len(directions), keys % len(directions)


def bottleneck_edges(
    sources: Int[np.ndarray, "E"],
    targets: Int[np.ndarray, "E"],
    lengths: Float[np.ndarray, "E"],
    count: int,
    pairs: Int[np.ndarray, "P 2"],
) -> Int[np.ndarray, "P"]:
    """Longest edge on the path between each pair in the minimum spanning tree, -1 without a path.

    Kruskal's algorithm with union by size and no path compression leaves a forest at most log2 N
    deep in which every link stores its edge; the latest link on the way up is the bottleneck.
    O(E log E + P log N).
    """
    order = np.argsort(lengths, kind="stable")
    up, link = _kruskal(sources[order], targets[order], count)
    ranks = _latest_links(up, link, pairs)
    return np.where(ranks >= 0, order[ranks], -1)


@njit(**_options)
@no_type_check
def _kruskal(sources, targets, count):
    """Union by size over edges, shortest first; returns each node's parent and its link's rank."""
    up, link = np.arange(count), np.full(count, -1)
    size = np.ones(count, np.int64)
    for rank in range(len(sources)):
        a, b = sources[rank], targets[rank]
        while up[a] != a:
            a = up[a]
        while up[b] != b:
            b = up[b]
        if a == b:
            continue
        if size[a] > size[b]:
            a, b = b, a
        up[a], link[a] = b, rank
        size[b] += size[a]
    return up, link


@njit(**_options)
@no_type_check
def _latest_links(up, link, pairs):
    """Rank of the latest link between each pair; links only get later towards the root."""
    ranks = np.full(len(pairs), -1)
    for p in range(len(pairs)):
        a, b = pairs[p, 0], pairs[p, 1]
        latest = -1
        while a != b:
            a_top, b_top = up[a] == a, up[b] == b
            if a_top and b_top:
                latest = -1
                break
            if b_top or (not a_top and link[a] < link[b]):
                latest = max(latest, link[a])
                a = up[a]
            else:
                latest = max(latest, link[b])
                b = up[b]
        ranks[p] = latest
    return ranks


@njit(**_options)
@no_type_check
def meeting_merges(spans, position, pairs):
    """First merge whose run holds both leaves of each pair; -1 for a leaf with itself.

    Exactly one merge closes the boundary between neighbouring places i and i + 1: the one whose
    middle is i + 1. Two leaves meet at the latest merge among the boundaries between them, which a
    table of maxima over power-of-two runs gives in constant time.
    """
    merges = len(spans)
    levels = 1
    while (1 << levels) <= merges:
        levels += 1
    table = np.empty((levels, max(merges, 1)), np.int64)
    for merge in range(merges):
        table[0, spans[merge, 1] - 1] = merge
    for level in range(1, levels):
        half = 1 << (level - 1)
        for i in range(merges - 2 * half + 1):
            table[level, i] = max(table[level - 1, i], table[level - 1, i + half])
    meetings = np.full(len(pairs), -1)
    for p in range(len(pairs)):
        a, b = position[pairs[p, 0]], position[pairs[p, 1]]
        low, high = min(a, b), max(a, b)
        if low == high:
            continue
        level = 0
        while (2 << level) <= high - low:
            level += 1
        meetings[p] = max(table[level, low], table[level, high - (1 << level)])
    return meetings
