"""Queries on the tree: the nodes above and below a node, and the cuts in which it is a segment."""

from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float, Int

from splat_uff.hierarchy.colours import LOOKAHEAD, distinct_colours, furthest
from splat_uff.hierarchy.dendrogram import Dendrogram, highest_merges, node_sizes


@dataclass(frozen=True)
class Walk:
    """A tree prepared for many queries; the time of those about one node does not grow with N.

    Its nodes are those that can be segments: from the root down to the groups that hold leaves, as
    in `cut_nodes`. Nothing below a group has a node here.
    """

    tree: Dendrogram

    @property
    def root(self) -> int:
        """Number of the root, which is the last node."""
        return len(self.tree.parents) - 1

    @property
    def most_segments(self) -> int:
        """Number of segments of the finest cut."""
        return len(self._merges) + 1

    @cached_property
    def sizes(self) -> Int[np.ndarray, "T"]:
        """Number of leaves below each node."""
        return node_sizes(self.tree)

    def holds(self, node: SupportsIndex) -> bool:
        """Whether a number belongs to a node that can be a segment."""
        return self.tree.num_leaves <= int(node) <= self.root and int(node) in self._nodes

    def parent(self, node: SupportsIndex) -> int | None:
        """Parent of a node; None for the root."""
        return None if int(node) == self.root else int(self.tree.parents[node])

    def ancestors(self, node: SupportsIndex) -> list[int]:
        """Nodes above a node, from its parent to the root."""
        above, at = [], int(node)
        while at != self.root:
            at = int(self.tree.parents[at])
            above.append(at)
        return above

    def children(self, node: SupportsIndex) -> list[int]:
        """Nodes into which a node splits, the largest first; empty for a group."""
        return self._children.get(int(node), [])

    def child_towards(self, node: SupportsIndex, leaf: SupportsIndex) -> int | None:
        """Child of a node that contains a leaf; None if there is none."""
        children, at = self.children(node), int(self.tree.parents[leaf])
        while at not in children:
            if at == self.root:
                return None
            at = int(self.tree.parents[at])
        return at

    def levels(self, node: SupportsIndex) -> tuple[int, int]:
        """Fewest and most segments of the cuts in which a node is a segment of its own."""
        parent = self.parent(node)
        first = 1 if parent is None else self._rank[parent] + 2
        return first, self._rank.get(int(node), len(self._merges)) + 1

    def leaves(self, node: SupportsIndex) -> Int[np.ndarray, "M"]:
        """Leaves below a node, in no particular order; for a leaf, itself.

        Raises:
            ValueError: If there is no such node.
        """
        if not 0 <= int(node) <= self.root:
            raise ValueError(f"node {int(node)} of {self.root + 1}")
        start, order = self._spans
        return order[start[node] : start[node] + self.sizes[node]]

    def cut(self, num_segments: int) -> Int[np.ndarray, "N"]:
        """Same cut as `cut_nodes`, several times faster because it handles leaves only at the end.

        Raises:
            ValueError: If `num_segments` is below 1.
        """
        if num_segments < 1:
            raise ValueError(f"num_segments is {num_segments}; a scene has at least 1.")
        leaves = self.tree.num_leaves
        parents = self.tree.parents[leaves:] - leaves
        undone = np.zeros(len(parents), bool)
        undone[self._merges[: num_segments - 1] - leaves] = True
        top = np.where(undone[parents], np.arange(len(parents)), parents)
        while (top[top] != top).any():
            top = top[top]
        return top[self.tree.parents[:leaves] - leaves] + leaves

    @cached_property
    def colours(self) -> Float[np.ndarray, "T 3"]:
        """One sRGB colour in [0, 1] for each node, the same at every granularity.

        The largest child has its parent's colour, so the main part of a segment that splits keeps
        its hue; the other children get new colours, far from it. Leaves have their group's colour.
        """
        lab, srgb = distinct_colours()
        chosen = np.full(len(self.tree.parents), -1)
        unused = list(range(len(lab)))
        chosen[self.root] = unused.pop(0)
        for merge in self._merges:
            first, *others = self.children(merge)
            chosen[first] = chosen[merge]
            company = [int(chosen[merge])]
            for child in others:
                unused = unused or list(range(len(lab)))
                chosen[child] = furthest(lab, unused[:LOOKAHEAD], company)
                unused.remove(int(chosen[child]))
                company.append(int(chosen[child]))
        while (chosen < 0).any():
            chosen = np.where(chosen < 0, chosen[self.tree.parents], chosen)
        return srgb[chosen]

    @cached_property
    def _merges(self) -> Int[np.ndarray, "K"]:
        return highest_merges(self.tree)

    @cached_property
    def _rank(self) -> dict[int, int]:
        return {merge: rank for rank, merge in enumerate(self._merges.tolist())}

    @cached_property
    def _children(self) -> dict[int, list[int]]:
        below: dict[int, list[int]] = {merge: [] for merge in self._merges.tolist()}
        for node in range(self.tree.num_leaves, self.root):
            siblings = below.get(int(self.tree.parents[node]))
            if siblings is not None:
                siblings.append(node)
        return {
            node: sorted(children, key=lambda child: (-self.sizes[child], child))
            for node, children in below.items()
        }

    @cached_property
    def _nodes(self) -> set[int]:
        return {self.root, *(child for children in self._children.values() for child in children)}

    @cached_property
    def _spans(self) -> tuple[Int[np.ndarray, "T"], Int[np.ndarray, "N"]]:
        """Offset of each node's leaves, and an order in which the leaves of a node are adjacent."""
        parents, sizes = self.tree.parents, self.sizes
        start, filled = np.zeros(len(parents), np.int64), np.zeros(len(parents), np.int64)
        for node in range(self.root - 1, -1, -1):
            parent = parents[node]
            start[node] = start[parent] + filled[parent]
            filled[parent] += sizes[node]
        order = np.empty(self.tree.num_leaves, np.int64)
        order[start[: self.tree.num_leaves]] = np.arange(self.tree.num_leaves)
        return start, order
