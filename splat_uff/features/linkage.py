"""Average linkage: a tree built by always merging the two clusters most alike on average."""

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from splat_uff.system.records import array_record

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@array_record
class Merges:
    """S - 1 merges of S clusters, from the most alike to the least.

    A cluster is named by a representative: after a merge, the union keeps that of `lefts`.
    """

    lefts: Int[np.ndarray, "K"]
    rights: Int[np.ndarray, "K"]
    similarities: Float[np.ndarray, "K"]


def average_linkage(
    vectors: Float[np.ndarray, "S D"], sizes: Float[np.ndarray, "S"] | None = None
) -> Merges:
    """Merge clusters by the mean dot product between their members, until one is left.

    The mean dot product between two clusters is the dot product of their means, so clusters are
    stored as means. Nearest-neighbour chain (Benzecri 1982), O(S^2 D) time and O(S D) memory.

    Args:
        vectors: Mean of each starting cluster; for unit vectors the dot product is a cosine.
        sizes: Number of members of each starting cluster, 1 by default.
    """
    sizes = np.ones(len(vectors)) if sizes is None else sizes
    lefts, rights, similarities = _chain(
        np.ascontiguousarray(vectors, dtype=np.float32), sizes.astype(np.float32)
    )
    ranks = np.argsort(-similarities, kind="stable")
    return Merges(lefts[ranks], rights[ranks], similarities[ranks])


def join(merges: Merges) -> Int[np.ndarray, "K 2"]:
    """Nodes that each merge joins: starting clusters are 0 to S - 1, merge k is S + k."""
    return _join(merges.lefts, merges.rights)


def lay_out(merges: Merges) -> tuple[Int[np.ndarray, "S"], Int[np.ndarray, "K 3"]]:
    """Order the starting clusters so that every merge joins two neighbouring runs.

    Returns:
        The order, and the start, middle and end of the two runs that each merge joins.
    """
    return _runs(join(merges))


@njit(fastmath=True, **_options)
@no_type_check
def _chain(vectors, sizes):
    """Nearest-neighbour chain on cluster means; merges are pairs of representatives, in any order.

    In exact arithmetic the chain never returns to itself, and no merge is more alike than those it
    contains. If many vectors are almost equal, rounding breaks the second property and could break
    the first, so both are enforced.
    """
    count, channels = vectors.shape
    means, sizes = vectors.copy(), sizes.copy()
    alive = np.arange(count)
    place = np.arange(count)  # Position of each cluster in `alive`.
    living = count
    chain = np.empty(count, np.int64)
    chained = np.zeros(count, np.bool_)
    ceilings = np.full(count, np.inf)  # Similarity at which each cluster formed.
    depth = 0
    lefts, rights = np.empty(count - 1, np.int64), np.empty(count - 1, np.int64)
    similarities = np.empty(count - 1, np.float64)
    for merge in range(count - 1):
        if depth == 0:
            chain[0], depth = alive[0], 1
            chained[alive[0]] = True
        while True:
            top = chain[depth - 1]
            best, best_similarity = -1, -np.inf
            if depth > 1:  # On ties, prefer going back, so that the chain ends.
                best = chain[depth - 2]
                total = np.float32(0)
                for c in range(channels):
                    total += means[top, c] * means[best, c]
                best_similarity = total
            for k in range(living):
                other = alive[k]
                if chained[other]:
                    continue
                total = np.float32(0)
                for c in range(channels):
                    total += means[top, c] * means[other, c]
                if total > best_similarity:
                    best, best_similarity = other, total
            if depth > 1 and best == chain[depth - 2]:
                break
            chain[depth] = best
            chained[best] = True
            depth += 1
        a, b = chain[depth - 2], chain[depth - 1]
        depth -= 2
        chained[a] = chained[b] = False
        a, b = min(a, b), max(a, b)
        ceilings[a] = min(best_similarity, ceilings[a], ceilings[b])
        lefts[merge], rights[merge], similarities[merge] = a, b, ceilings[a]
        share = sizes[a] / (sizes[a] + sizes[b])
        for c in range(channels):
            means[a, c] = share * means[a, c] + (np.float32(1) - share) * means[b, c]
        sizes[a] += sizes[b]
        living -= 1
        last = alive[living]
        alive[place[b]] = last
        place[last] = place[b]
    return lefts, rights, similarities


@njit(**_options)
@no_type_check
def _join(lefts, rights):
    count = len(lefts) + 1
    top = np.arange(count)  # Node that each representative currently stands for.
    below = np.empty((count - 1, 2), np.int64)
    for merge in range(count - 1):
        a, b = lefts[merge], rights[merge]
        below[merge, 0], below[merge, 1] = top[a], top[b]
        top[a] = count + merge
    return below


@njit(**_options)
@no_type_check
def _runs(below):
    merges = len(below)
    count = merges + 1
    size = np.ones(count + merges, np.int64)
    for merge in range(merges):
        size[count + merge] = size[below[merge, 0]] + size[below[merge, 1]]
    start = np.zeros(count + merges, np.int64)
    spans = np.empty((merges, 3), np.int64)
    for merge in range(merges - 1, -1, -1):
        left, right, node = below[merge, 0], below[merge, 1], count + merge
        start[left], start[right] = start[node], start[node] + size[left]
        spans[merge, 0] = start[node]
        spans[merge, 1] = start[right]
        spans[merge, 2] = start[node] + size[node]
    order = np.empty(count, np.int64)
    for leaf in range(count):
        order[start[leaf]] = leaf
    return order, spans
