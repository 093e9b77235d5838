"""Superpoints: groups of neighbouring Gaussians from which a tree is built, in blocks if asked for.

A scene that is too large to be handled as one graph is cut into blocks of equally many Gaussians.
Each block sees its neighbours' Gaussians near its faces, so that superpoints there grow as they
would without the cut. A superpoint belongs to the block in which its centre lies, with all its
Gaussians; these replace the superpoints that the neighbour grew there. Graph, lengths and flooding
need memory for one block at a time, and the tree over the superpoints is one over all blocks.
"""

from collections.abc import Callable

import higra as hg
import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.hierarchy.graph import neighbour_graph
from splat_uff.system.records import array_record

OVERLAP = 0.1
"""Reach of a block beyond its faces, as a share of its extent along each axis."""
LEAST_IN_BLOCK = 100
"""Fewest Gaussians for which a block is worth having."""

Lengths = Callable[[Int[np.ndarray, "E"], Int[np.ndarray, "E"]], Float[np.ndarray, "E"]]
"""Function that measures edges, given the indices of their ends."""


@array_record
class Block:
    """A box of space that holds some of the points."""

    low: Float[np.ndarray, "3"]
    """Lower faces; minus infinity where the block is open."""
    high: Float[np.ndarray, "3"]
    """Upper faces, which do not belong to the block."""
    inside: Int[np.ndarray, "B"]
    """Indices of the points in the block, in rising order."""

    def holds(self, points: Float[np.ndarray, "P 3"]) -> Bool[np.ndarray, "P"]:
        """Whether each point lies in the block."""
        return np.all((points >= self.low) & (points < self.high), axis=1)

    def seen(self, points: Float[np.ndarray, "P 3"]) -> Int[np.ndarray, "_"]:
        """Indices of the points in the block and near its faces, in rising order."""
        there = points[self.inside]
        reach = OVERLAP * (there.max(axis=0) - there.min(axis=0))
        return np.flatnonzero(
            ((points >= self.low - reach) & (points < self.high + reach)).all(axis=1)
        )


def cut_into_blocks(points: Float[np.ndarray, "P 3"], count: int) -> list[Block]:
    """Cut space into boxes of about equally many points, each across its longest extent.

    Args:
        points: Centres, at least one.
        count: Number of boxes; fewer if they would hold less than `LEAST_IN_BLOCK` points, or if
            points coincide.
    """
    whole = Block(np.full(3, -np.inf), np.full(3, np.inf), np.arange(len(points)))
    return _cut(points, whole, min(count, max(1, len(points) // LEAST_IN_BLOCK)))


def _cut(points: Float[np.ndarray, "P 3"], block: Block, count: int) -> list[Block]:
    there = points[block.inside]
    axis = int(np.argmax(there.max(axis=0) - there.min(axis=0)))
    if count == 1 or there[:, axis].max() == there[:, axis].min():
        return [block]
    fewer = count // 2
    at = np.partition(there[:, axis], len(there) * fewer // count)[len(there) * fewer // count]
    at = max(at, np.nextafter(there[:, axis].min(), np.inf))
    below = there[:, axis] < at
    high, low = block.high.copy(), block.low.copy()
    high[axis] = low[axis] = at
    lower = Block(block.low, high, block.inside[below])
    upper = Block(low, block.high, block.inside[~below])
    return _cut(points, lower, fewer) + _cut(points, upper, count - fewer)


def grow_superpoints(
    points: Float[np.ndarray, "P 3"], lengths: Lengths, *, neighbours: int, most: int, blocks: int
) -> Int[np.ndarray, "P"]:
    """Superpoint of each point, from 0.

    Args:
        points: Centres, at least one.
        lengths: Function that measures edges between neighbours.
        neighbours: Number of nearest neighbours to which each point is joined.
        most: Most superpoints; blocks share them by their numbers of points, and a few more can
            come of it.
        blocks: Number of blocks.
    """

    def grow(seen: Int[np.ndarray, "B"], most: int) -> Int[np.ndarray, "B"]:
        sources, targets = neighbour_graph(points[seen], k=neighbours)
        measured = lengths(seen[sources], seen[targets])
        return flood(measured, sources, targets, len(seen), most)

    cut = cut_into_blocks(points, blocks)
    if len(cut) == 1:
        return grow(np.arange(len(points)), most)
    own, claimed = np.empty(len(points), np.int64), np.full(len(points), -1)
    strong = np.zeros(len(points), dtype=bool)
    offset = 0
    for block in cut:
        seen = block.seen(points)
        group = grow(seen, max(1, round(most * len(seen) / len(points))))
        here, central = block.holds(points[seen]), block.holds(_centres(points[seen], group))
        own[seen[here]] = offset + group[here]
        claims = central[group]
        # A claim of the point's own block comes before those of others.
        wins = claims & (here | ~strong[seen])
        claimed[seen[wins]] = offset + group[wins]
        strong[seen[claims & here]] = True
        offset += int(group.max()) + 1
    return np.unique(np.where(claimed >= 0, claimed, own), return_inverse=True)[1]


def _centres(
    points: Float[np.ndarray, "P 3"], group: Int[np.ndarray, "P"]
) -> Float[np.ndarray, "G 3"]:
    """Mean of the points of each group."""
    sums = [np.bincount(group, points[:, axis]) for axis in range(3)]
    return np.stack(sums, axis=1) / np.bincount(group)[:, None]


def flood(
    lengths: Float[np.ndarray, "E"],
    sources: Int[np.ndarray, "E"],
    targets: Int[np.ndarray, "E"],
    count: int,
    most: int,
) -> Int[np.ndarray, "P"]:
    """Group of each of `count` points, from 0, by a watershed on area (Cousty, Najman 2011).

    Basins are ranked by the number of points that they hold when flooded, so the remaining groups
    have some size and are not stray points. Many basins are flooded at the same area; if keeping
    all of them would leave too many, those that come first in the tree are merged first.
    """
    if count <= 2:
        return np.zeros(count, np.int64)
    graph = hg.UndirectedGraph(count)  # pyright: ignore[reportAttributeAccessIssue]
    graph.add_edges(sources, targets)
    tree, areas = hg.watershed_hierarchy_by_area(graph, lengths, vertex_area=np.ones(count))
    parents = tree.parents()
    merged = areas == 0  # Leaves, and the nodes inside a basin.
    nodes = np.flatnonzero(~merged)
    nodes = nodes[np.argsort(areas[nodes], kind="stable")]
    # Number of groups left once all basins have formed, and after each node that joins some.
    fewer = np.bincount(parents[:-1], minlength=len(parents)) - 1
    basins = count - fewer[count:][merged[count:]].sum()
    left = basins - np.concatenate([[0], np.cumsum(fewer[nodes])])
    merged[nodes[: int(np.argmax(left <= most))]] = True
    top = np.where(merged[parents], parents, np.arange(len(parents)))
    while (top[top] != top).any():
        top = top[top]
    return np.unique(top[:count], return_inverse=True)[1]
