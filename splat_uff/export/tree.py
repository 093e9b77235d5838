"""Tree as a record that other programs can read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.hierarchy.dendrogram import Dendrogram, node_sizes


def describe_tree(
    tree: Dendrogram,
    positions: Float[np.ndarray, "N 3"],
    names: Mapping[int, str] | None = None,
    support: Float[np.ndarray, "T"] | None = None,
    kept: Bool[np.ndarray, "N"] | None = None,
) -> list[dict[str, Any]]:
    """Describe every node above the leaves, the root first.

    Args:
        tree: Merge tree.
        positions: Centres of the leaves; boxes are in their frame.
        names: Names of nodes that have one.
        support: Support of each node, if known.
        kept: Leaves that count and that boxes surround, by default all.

    Returns:
        For each node, `id` and `parent` (None at the root), as numbered in the dendrogram;
        `height`, `size` (number of leaves), `box` (smallest and largest x, y, z of their centres,
        None if no leaf is kept), `name` and, if known, `support`.
    """
    count = len(tree.parents)
    sizes = node_sizes(tree)
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    low[: tree.num_leaves] = high[: tree.num_leaves] = positions
    if kept is not None:
        low[: tree.num_leaves][~kept], high[: tree.num_leaves][~kept] = np.inf, -np.inf
        sizes = node_sizes(tree, kept)
    leaves, holders = slice(0, tree.num_leaves), tree.parents[: tree.num_leaves]
    np.minimum.at(low, holders, low[leaves])
    np.maximum.at(high, holders, high[leaves])
    for node in range(tree.num_leaves, count - 1):
        parent = tree.parents[node]
        np.minimum(low[parent], low[node], out=low[parent])
        np.maximum(high[parent], high[node], out=high[parent])
    return [
        {
            "id": node,
            "parent": None if node == count - 1 else int(tree.parents[node]),
            "height": float(tree.altitudes[node]),
            "size": int(sizes[node]),
            "box": [low[node].tolist(), high[node].tolist()] if sizes[node] else None,
            "name": (names or {}).get(node, ""),
            **({} if support is None else {"support": round(float(support[node]), 4)}),
        }
        for node in range(count - 1, tree.num_leaves - 1, -1)
    ]
