"""A merge tree over the Gaussians and its cuts, one for every granularity."""

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record


@array_record
class Dendrogram:
    """A merge tree over N leaves; nodes are numbered leaves first, children before parents."""

    parents: Int[np.ndarray, "T"]
    """Parent of each node; the root, which is the last node, is its own parent."""
    altitudes: Float[np.ndarray, "T"]
    """Ultrametric height at which a node forms: 0 at leaves, never falling towards the root."""
    num_leaves: int

    @property
    def most_segments(self) -> int:
        """Number of nodes that hold leaves; no cut by number gives more segments."""
        return int(np.count_nonzero(_hold_leaves(self)))


def cut(
    tree: Dendrogram, num_segments: int | None = None, *, height: float | None = None
) -> Int[np.ndarray, "N"]:
    """Label each leaf by its segment, in a cut by number of segments or by height.

    Cuts are nested: fewer segments, or a greater height, only ever merge segments.

    Args:
        tree: Merge tree, for example from `build_hierarchy`.
        num_segments: Number of segments, at least 1; see `cut_into`. Usually the better choice,
            since heights of different scenes' trees are not comparable.
        height: Altitude to cut at instead, in the unit of `tree.altitudes`, at least 0: segments
            are the largest subtrees that form at or below it.

    Returns:
        Segment of each leaf, numbered from 1.

    Raises:
        InputError: If both or neither are given, or one is out of range.

    Example:
        >>> parents = np.array([4, 4, 5, 5, 6, 6, 6])
        >>> tree = Dendrogram(parents, np.array([0, 0, 0, 0, 0.2, 0.3, 0.9]), 4)
        >>> cut(tree, 2).tolist()
        [1, 1, 2, 2]
        >>> cut(tree, height=0.25).tolist()
        [3, 3, 1, 2]
        >>> cut(tree, 1).tolist() == cut(tree, height=0.9).tolist() == [1, 1, 1, 1]
        True
    """
    if (num_segments is None) == (height is None):
        raise InputError("give either a number of segments or a height, and not both.")
    if num_segments is not None:
        return cut_into(tree, num_segments)
    if height is None or not height >= 0:
        raise InputError(f"height is {height}; ultrametric heights start at 0.")
    return _numbered(_top_nodes(tree, tree.altitudes[tree.parents] <= height))


def cut_into(tree: Dendrogram, num_segments: int) -> Int[np.ndarray, "N"]:
    """Cut into `num_segments` segments by undoing the highest merges.

    Nodes that hold leaves are never undone, so there are at most `tree.most_segments` segments.
    Among merges at the same height, the one nearest the root is undone first. Cuts are nested: more
    segments only ever split.

    Args:
        tree: Merge tree.
        num_segments: Number of segments, at least 1; capped at `tree.most_segments`.

    Returns:
        Segment of each leaf, numbered from 1.

    Raises:
        InputError: If `num_segments` is below 1.

    Example:
        >>> parents = np.array([4, 4, 5, 5, 6, 6, 6])
        >>> tree = Dendrogram(parents, np.array([0, 0, 0, 0, 0, 0, 0.9]), 4)
        >>> cut_into(tree, 2).tolist()
        [1, 1, 2, 2]
    """
    return _numbered(cut_nodes(tree, num_segments))


def cut_nodes(tree: Dendrogram, num_segments: int) -> Int[np.ndarray, "N"]:
    """Node of the segment that each leaf is in, for the same cut as `cut_into`."""
    if num_segments < 1:
        raise InputError(f"num_segments is {num_segments}; a scene has at least 1.")
    undone = np.zeros(len(tree.parents), dtype=bool)
    undone[highest_merges(tree)[: num_segments - 1]] = True
    return _top_nodes(tree, ~undone[tree.parents])


def height_of(tree: Dendrogram, num_segments: int) -> float:
    """Lowest height at which `cut` gives no more than `num_segments` segments.

    Args:
        tree: Merge tree.
        num_segments: Number of segments, at least 1.

    Example:
        >>> parents = np.array([4, 4, 5, 5, 6, 6, 6])
        >>> tree = Dendrogram(parents, np.array([0, 0, 0, 0, 0, 0, 0.9]), 4)
        >>> height_of(tree, 1), height_of(tree, 2)
        (0.9, 0.0)
    """
    merges = highest_merges(tree)[num_segments - 1 :]
    return float(tree.altitudes[merges[0]]) if len(merges) else 0.0


def highest_merges(tree: Dendrogram) -> Int[np.ndarray, "M"]:
    """Nodes whose merge can be undone, the highest first; ties go to the one nearest the root."""
    undoable = tree.num_leaves + np.flatnonzero(~_hold_leaves(tree)[tree.num_leaves :])
    return undoable[np.argsort(tree.altitudes[undoable], kind="stable")][::-1]


def node_sizes(
    tree: Dendrogram, counted: Bool[np.ndarray, "N"] | None = None
) -> Int[np.ndarray, "T"]:
    """Number of leaves below each node, of all or only of those that count; 1 for such a leaf."""
    sizes = np.zeros(len(tree.parents), np.int64)
    sizes[: tree.num_leaves] = 1 if counted is None else counted
    np.add.at(sizes, tree.parents[: tree.num_leaves], sizes[: tree.num_leaves])
    for node in range(tree.num_leaves, len(sizes) - 1):
        sizes[tree.parents[node]] += sizes[node]
    return sizes


def segment_counts(*, fewest: int = 1, most: int, count: int) -> Int[np.ndarray, "K"]:
    """Distinct numbers of segments, spaced evenly in their logarithm as far as integers allow.

    Args:
        fewest: First number.
        most: Last number; if there are not enough integers, fewer than `count` are returned.
        count: Number of values.

    Example:
        >>> segment_counts(most=300, count=10).tolist()
        [1, 2, 4, 7, 13, 24, 45, 84, 159, 300]
    """
    chosen = [fewest]
    for number in np.geomspace(fewest, max(fewest, most), count)[1:]:
        chosen.append(max(chosen[-1] + 1, round(number)))
    return np.array([number for number in chosen if number <= most])


def _top_nodes(tree: Dendrogram, joined: np.ndarray) -> Int[np.ndarray, "N"]:
    """Node that each leaf reaches by climbing while nodes are `joined` to their parents."""
    nodes = np.arange(len(tree.parents))
    top = np.where(joined, tree.parents, nodes)
    while (top[top] != top).any():
        top = top[top]  # Each pass doubles the levels climbed, so deep chains stay cheap.
    return top[: tree.num_leaves]


def _numbered(nodes: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """Number the distinct nodes from 1."""
    known = np.zeros(nodes.max(initial=-1) + 1, bool)
    known[nodes] = True
    return np.cumsum(known, dtype=np.int32)[nodes]


def _hold_leaves(tree: Dendrogram) -> Bool[np.ndarray, "T"]:
    """Whether each node is the parent of a leaf."""
    holds = np.zeros(len(tree.parents), bool)
    holds[tree.parents[: tree.num_leaves]] = True
    return holds
