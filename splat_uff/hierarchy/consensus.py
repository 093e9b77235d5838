"""What the masks of all photos agree on: how much two Gaussians belong together.

The bag of masks of each photo is an opinion. For a photo v, P_v[a, m] is the share of the blend
weight of a (a Gaussian, or a superpoint of several) that lies in mask m, and vis_v[a] is that
weight. The photo says that a and b belong together as far as their shares are alike:

    J_v(a, b) = overlap / (sum P_a + sum P_b - overlap)

a soft Jaccard index, where overlap is the sum over masks of min(P_a, P_b) for the neighbours in a
graph, and of the product P_a P_b for superpoints, whose shares are means. The consensus of two is
the mean of J_v over the photos that see both, weighted by how well they do. Two that no photo sees
together have none.

Masks that are the same (`MaskTree.same`) count as one. Nothing depends on the number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, no_type_check, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numba import njit, prange
from scipy.sparse import csr_matrix

from splat_uff.features.linkage import Merges
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.memory import Kept, Memory
from splat_uff.progress import track

LEAST_SEEN = 0.1
"""Blend weight, in pixels, below which a Gaussian has no say in a photo."""
MOST_SEEN = 1.0
"""Weight from which on an edge counts in full."""
LEAST_GROUP, MOST_GROUP = 0.5, 3.0
"""The same for superpoints."""
LEAST_MASKED = 0.3
"""A Gaussian of which less lies in masks, by the sum of its shares, is not spoken of."""
LEAST_SHARE = 1e-3
"""Smaller shares are taken for none."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@runtime_checkable
class Views(Protocol):
    """Blend weights of views, made or held."""

    def matrix(self, view: int, count: int) -> csr_matrix:
        """Blend weights [pixels, count] of one view."""
        ...


@dataclass(frozen=True)
class _Opinion:
    """What one photo says: shares of the Gaussians that it sees, as compressed sparse rows."""

    points: Kept
    """int32 [S], which points it sees, rising."""
    seen: Kept
    """float32 [S], their blend weight in pixels."""
    starts: Kept
    """int64 [S + 1]."""
    masks: Kept
    """int32 [E]."""
    shares: Kept
    """float32 [E], in each row by rising mask."""
    counts: Kept
    """float32 [M], what each mask counts: 1, or less where others are the same."""


@dataclass(frozen=True)
class Consensus:
    """The opinions of all photos on P points."""

    num_points: int
    opinions: Sequence[_Opinion]

    @staticmethod
    def of(
        views: Views,
        bags: Sequence[tuple[MaskSet, MaskTree]],
        chosen: Int[np.ndarray, "P"],
        num_gaussians: int,
        *,
        memory: Memory | None = None,
    ) -> "Consensus":
        """Ask every photo once.

        Args:
            views: Blend weights of the training views, at the size of their masks.
            bags: Masks of each view and their tree; a view without masks has no opinion.
            chosen: The Gaussians that are the points, rising.
            num_gaussians: Of all Gaussians.
            memory: Budget that what is kept counts towards.
        """
        budget = memory or Memory()
        opinions = []
        for view in track(range(len(bags)), "consensus", len(bags)):
            masks, tree = bags[view]
            if len(masks):
                matrix = views.matrix(view, num_gaussians)
                opinions.append(_ask(matrix, masks, tree, chosen, budget))
        return Consensus(len(chosen), opinions)

    def along_edges(
        self, sources: Int[np.ndarray, "E"], targets: Int[np.ndarray, "E"]
    ) -> Float[np.ndarray, "E"]:
        """Consensus of the two points of each edge, 0 to 1; 0 where no photo sees both."""
        total, weight = np.zeros(len(sources)), np.zeros(len(sources))
        row = np.empty(self.num_points, np.int64)
        for opinion in self.opinions:
            points = opinion.points.load()
            row[:] = -1
            row[points] = np.arange(len(points))
            _add_edges(
                row, sources, targets, opinion.starts.load(), opinion.masks.load(),
                opinion.shares.load(), opinion.seen.load(), opinion.counts.load(), total, weight,
            )  # fmt: skip
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)

    def between_groups(
        self, group: Int[np.ndarray, "P"]
    ) -> tuple[Float[np.ndarray, "G G"], Float[np.ndarray, "G G"]]:
        """Weighted sums of J over the photos, and of the weights; the consensus is their ratio.

        Args:
            group: Superpoint of each point, from 0.
        """
        count = int(group.max()) + 1
        total, weight = (np.zeros((count, count), np.float32) for _ in range(2))
        for opinion in self.opinions:
            shares, seen, which = _grouped(opinion, group, count)
            _add_groups(shares, seen, which, opinion.counts.load(), total, weight)
        _mirror(total)
        _mirror(weight)
        return total, weight


def merge_by_ratio(totals: Float[np.ndarray, "G G"], weights: Float[np.ndarray, "G G"]) -> Merges:
    """Average linkage where the similarity of two clusters is a ratio of sums over their members.

    Merging adds rows of numerators and of denominators, so that pairs without weight have no say.
    Nearest-neighbour chain (Benzecri 1982), O(G^2) time and memory. A merge is never more alike
    than those it contains.

    Args:
        totals: Numerators, symmetric.
        weights: Denominators, symmetric; where they are 0 two clusters are less alike than any.

    Returns:
        The merges, the most alike first.
    """
    lefts, rights, similarities = _chain(totals.astype(np.float64), weights.astype(np.float64))
    ranks = np.argsort(-similarities, kind="stable")
    return Merges(lefts[ranks], rights[ranks], similarities[ranks])


def _ask(
    matrix: csr_matrix,
    masks: MaskSet,
    tree: MaskTree,
    chosen: Int[np.ndarray, "P"],
    memory: Memory,
) -> _Opinion:
    weights = matrix.tocsc()[:, chosen].T.tocsr()  # Points by pixels.
    seen = np.asarray(weights.sum(axis=1), np.float64).ravel()
    points = np.flatnonzero(seen >= LEAST_SEEN)
    inside = csr_matrix(masks.flat().T.astype(np.float32))
    product = (weights[points] @ inside).tocsr()
    product.sort_indices()
    rows = np.repeat(np.arange(len(points)), np.diff(product.indptr))
    shares = product.data / seen[points][rows]
    kept = shares > LEAST_SHARE
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(points)))])
    counts = 1 / tree.same.sum(axis=1)
    parts = (
        points.astype(np.int32), seen[points].astype(np.float32), starts.astype(np.int64),
        product.indices[kept].astype(np.int32), shares[kept].astype(np.float32),
        counts.astype(np.float32),
    )  # fmt: skip
    return _Opinion(*(memory.keep(part) for part in parts))


def _grouped(
    opinion: _Opinion, group: Int[np.ndarray, "P"], count: int
) -> tuple[Float[np.ndarray, "S M"], Float[np.ndarray, "S"], Int[np.ndarray, "S"]]:
    """Mean shares of the superpoints that a photo sees, their weight, and which they are."""
    points, seen, starts = opinion.points.load(), opinion.seen.load(), opinion.starts.load()
    masks, shares = opinion.masks.load(), opinion.shares.load()
    of_row = group[points]
    total = np.bincount(of_row, seen, minlength=count)
    which = np.flatnonzero(total > LEAST_GROUP)
    place = np.full(count, -1)
    place[which] = np.arange(len(which))
    rows = np.repeat(np.arange(len(points)), np.diff(starts))
    at = place[of_row[rows]]
    known = at >= 0
    num_masks = len(opinion.counts.load())
    flat = np.bincount(
        at[known] * num_masks + masks[known],
        shares[known].astype(np.float64) * seen[rows[known]],
        minlength=len(which) * num_masks,
    )
    means = flat.reshape(len(which), num_masks) / total[which][:, None]
    return means.astype(np.float32), total[which].astype(np.float32), which


@njit(parallel=True, **_options)
@no_type_check
def _add_edges(row, sources, targets, starts, masks, shares, seen, counts, total, weight):
    for e in prange(len(sources)):
        a, b = row[sources[e]], row[targets[e]]
        if a < 0 or b < 0:
            continue
        overlap, sum_a, sum_b = 0.0, 0.0, 0.0
        for i in range(starts[a], starts[a + 1]):
            sum_a += counts[masks[i]] * shares[i]
        for j in range(starts[b], starts[b + 1]):
            sum_b += counts[masks[j]] * shares[j]
        if sum_a < LEAST_MASKED and sum_b < LEAST_MASKED:
            continue
        i, j = starts[a], starts[b]
        while i < starts[a + 1] and j < starts[b + 1]:
            if masks[i] == masks[j]:
                overlap += counts[masks[i]] * min(shares[i], shares[j])
                i += 1
                j += 1
            elif masks[i] < masks[j]:
                i += 1
            else:
                j += 1
        trust = min(seen[a], MOST_SEEN) * min(seen[b], MOST_SEEN)
        total[e] += trust * overlap / (sum_a + sum_b - overlap)
        weight[e] += trust


@njit(parallel=True, fastmath=True, **_options)
@no_type_check
def _add_groups(shares, seen, which, counts, total, weight):
    """Add to the lower triangles; every entry is one thread's own."""
    count, num_masks = shares.shape
    sums = np.zeros(count, np.float32)
    weighted = np.empty_like(shares)
    for a in range(count):
        for m in range(num_masks):
            weighted[a, m] = counts[m] * shares[a, m]
            sums[a] += weighted[a, m]
    for a in prange(count):
        if sums[a] <= LEAST_MASKED:
            continue
        for b in range(a + 1):
            if sums[b] <= LEAST_MASKED:
                continue
            overlap = np.float32(0)
            for m in range(num_masks):
                overlap += weighted[a, m] * shares[b, m]
            trust = min(seen[a], MOST_GROUP) * min(seen[b], MOST_GROUP) / MOST_GROUP**2
            alike = overlap / max(sums[a] + sums[b] - overlap, np.float32(1e-6))
            total[which[a], which[b]] += trust * alike
            weight[which[a], which[b]] += trust


@njit(**_options)
@no_type_check
def _mirror(matrix):
    for a in range(len(matrix)):
        for b in range(a):
            matrix[b, a] = matrix[a, b]


@njit(**_options)
@no_type_check
def _chain(totals, weights):
    """Nearest-neighbour chain on ratios; both matrices are used up."""
    count = len(totals)
    alive = np.ones(count, np.bool_)
    ceilings = np.full(count, np.inf)  # Similarity at which each cluster formed.
    chain = np.empty(count, np.int64)
    chained = np.zeros(count, np.bool_)
    depth, first = 0, 0
    lefts, rights = np.empty(count - 1, np.int64), np.empty(count - 1, np.int64)
    similarities = np.empty(count - 1, np.float64)
    for merge in range(count - 1):
        if depth == 0:
            while not alive[first]:
                first += 1
            chain[0], depth = first, 1
            chained[first] = True
        while True:
            top = chain[depth - 1]
            best, best_similarity = -1, -np.inf
            if depth > 1:  # Prefer going back on ties, so that the chain ends.
                best = chain[depth - 2]
                best_similarity = _ratio(totals[top, best], weights[top, best])
            for other in range(count):
                if not alive[other] or chained[other]:
                    continue
                similarity = _ratio(totals[top, other], weights[top, other])
                if similarity > best_similarity:
                    best, best_similarity = other, similarity
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
        for other in range(count):
            totals[a, other] += totals[b, other]
            weights[a, other] += weights[b, other]
            totals[other, a] = totals[a, other]
            weights[other, a] = weights[a, other]
        alive[b] = False
    return lefts, rights, similarities


@njit(**_options)
@no_type_check
def _ratio(total, weight):
    return total / weight if weight > 1e-9 else -1.0
