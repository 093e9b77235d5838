"""The consensus of all photos' masks: how strongly two Gaussians belong together.

Each photo's bag of masks is an opinion. For a photo v, P_v[a, m] is the share of the blend weight
of a (a Gaussian, or a superpoint of several) that lies in mask m, and vis_v[a] is that weight. In
the photo, a and b belong together to the extent that their shares are alike:

    J_v(a, b) = overlap / (sum P_a + sum P_b - overlap)

This is a soft Jaccard index, where overlap is the sum over masks of min(P_a, P_b) for neighbours in
a graph, and of the product P_a P_b for superpoints, whose shares are means. The consensus on a and
b is the mean of J_v over the photos that see both, weighted by how well they see them. If no photo
sees both, there is no consensus.

Masks that are the same (`MaskTree.same`) count as one, and a mask of A pixels, in a photo of
200 x 200, has weight 1 / log2(2 + A): sharing a large mask means less than sharing a small one.
Photos are asked in `splat_uff.hierarchy.opinions`. Nothing depends on the number of threads.
Numba's kernels are here; `consensus_torch` has the same operations for other devices than the CPU.
"""

from collections.abc import Sequence
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int, UInt
from numba import njit, prange

from splat_uff.features.linkage import Merges
from splat_uff.hierarchy.consensus_torch import add_groups, edge_sums, group_sums
from splat_uff.hierarchy.opinions import Opinion
from splat_uff.system import kernels
from splat_uff.system.records import array_record

MOST_SEEN = 1.0
"""Blend weight, in pixels, from which a Gaussian counts in full."""
LEAST_GROUP, MOST_GROUP = 0.5, 3.0
"""Blend weights, in pixels, below which a superpoint is ignored and from which it counts in full.
"""
LEAST_MASKED = 0.3
"""Sum of shares in masks below which a photo has no opinion on a Gaussian or superpoint."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@array_record
class Loaded:
    """An opinion with its arrays in memory, on the points of a consensus."""

    points: Int[np.ndarray, "S"]
    """Point of each row; -1 for Gaussians that are no points."""
    seen: Float[np.ndarray, "S"]
    starts: Int[np.ndarray, "_"]
    masks: UInt[np.ndarray, "E"]
    shares: Float[np.ndarray, "E"]
    counts: Float[np.ndarray, "M"]

    def rows(self, num_points: int) -> Int[np.ndarray, "P"]:
        """Row of each point; -1 for points that the photo does not see."""
        found, kept = np.full(num_points, -1, np.int64), np.flatnonzero(self.points >= 0)
        found[self.points[kept]] = kept
        return found


@array_record
class Consensus:
    """The opinions of all photos on P points, which are some of the Gaussians."""

    point_of: Int[np.ndarray, "N"]
    """Point of each Gaussian; -1 for those that are no points."""
    opinions: Sequence[Opinion]
    device: str = "cpu"
    """Device that sums: numba's kernels on `cpu`, torch's operations on others."""

    @property
    def num_points(self) -> int:
        """Number P of points."""
        return int((self.point_of >= 0).sum())

    @staticmethod
    def of(
        opinions: Sequence[Opinion],
        chosen: Int[np.ndarray, "P"],
        num_gaussians: int,
        *,
        device: str = "cpu",
    ) -> "Consensus":
        """Consensus on some Gaussians.

        Args:
            opinions: Opinions of the photos on all Gaussians.
            chosen: Indices of the Gaussians that are the points, in rising order.
            num_gaussians: Number N of Gaussians.
            device: Device that computes: `cpu` or `cuda`.
        """
        point_of = np.full(num_gaussians, -1, np.int32)
        point_of[chosen] = np.arange(len(chosen))
        return Consensus(point_of, opinions, device)

    def load(self, opinion: Opinion) -> Loaded:
        """Load an opinion, with points in place of Gaussians."""
        parts = opinion.seen, opinion.starts, opinion.masks, opinion.shares, opinion.counts
        points = self.point_of[opinion.gaussians.load()]
        return Loaded(points, *(part.load() for part in parts))

    def along_edges(
        self, sources: Int[np.ndarray, "E"], targets: Int[np.ndarray, "E"]
    ) -> Float[np.ndarray, "E"]:
        """Consensus on the two points of each edge, 0 to 1; 0 if no photo sees both."""
        if kernels.numba_computes(self.device):
            total, weight = self._edges(sources, targets)
        else:
            total, weight = self._edges_by_torch(sources, targets)
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)

    def _edges(self, sources: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total, weight = np.zeros(len(sources)), np.zeros(len(sources))
        num_points = self.num_points
        for opinion in self.opinions:
            said = self.load(opinion)
            _add_edges(
                said.rows(num_points), sources, targets, said.starts, said.masks, said.shares,
                said.seen, said.counts, total, weight,
            )  # fmt: skip
        return total, weight

    def _edges_by_torch(
        self, sources: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        ends = [torch.from_numpy(each).to(self.device) for each in (sources, targets)]
        total, weight = (torch.zeros_like(ends[0], dtype=torch.float64) for _ in range(2))
        for opinion in self.opinions:
            limits = LEAST_MASKED, MOST_SEEN
            said = self.load(opinion)
            given = said.rows(self.num_points), *_shares_of(said)
            found = edge_sums(given, ends[0], ends[1], limits)
            total += found[0]
            weight += found[1]
        return total.cpu().numpy(), weight.cpu().numpy()

    def between_groups(
        self, group: Int[np.ndarray, "P"]
    ) -> tuple[Float[np.ndarray, "G G"], Float[np.ndarray, "G G"]]:
        """Weighted sums of J over the photos, and sums of the weights; consensus is their ratio.

        Args:
            group: Superpoint of each point, from 0.
        """
        count = int(group.max()) + 1
        if not kernels.numba_computes(self.device):
            return self._groups_by_torch(group, count)
        total, weight = (np.zeros((count, count), np.float32) for _ in range(2))
        for opinion in self.opinions:
            _add_groups(*grouped_shares(self.load(opinion), group, count), total, weight)
        _mirror(total)
        _mirror(weight)
        return total, weight

    def _groups_by_torch(self, group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        total, weight = (torch.zeros(count, count, device=self.device) for _ in range(2))
        for opinion in self.opinions:
            found = grouped_shares(self.load(opinion), group, count, device=self.device)
            parts = [torch.from_numpy(part).to(self.device) for part in found]
            add_groups(parts[0], parts[1], parts[2], parts[3], total, weight)
        return total.cpu().numpy(), weight.cpu().numpy()


def merge_by_ratio(totals: Float[np.ndarray, "G G"], weights: Float[np.ndarray, "G G"]) -> Merges:
    """Average linkage where the similarity of two clusters is a ratio of sums over their members.

    Merging adds rows of numerators and of denominators, so pairs without weight have no influence.
    Nearest-neighbour chain (Benzecri 1982), O(G^2) time and memory. A merge is never more alike
    than those it contains.

    Args:
        totals: Numerators, symmetric.
        weights: Denominators, symmetric; two clusters with a denominator of 0 are the least alike.

    Returns:
        The merges, from the most alike to the least.
    """
    lefts, rights, similarities = _chain(totals.astype(np.float64), weights.astype(np.float64))
    ranks = np.argsort(-similarities, kind="stable")
    return Merges(lefts[ranks], rights[ranks], similarities[ranks])


def _shares_of(said: Loaded) -> tuple[np.ndarray, ...]:
    return said.seen, said.starts, said.masks, said.shares, said.counts


def grouped_shares(
    said: Loaded, group: Int[np.ndarray, "P"], count: int, *, device: str = "cpu"
) -> tuple[
    Float[np.ndarray, "S M"], Float[np.ndarray, "S M"], Float[np.ndarray, "S"], Int[np.ndarray, "S"]
]:
    """Shares of the superpoints on which a photo has an opinion.

    Returns:
        Mean shares [S, M], these times the masks' weights, trust [S], and the superpoints' indices
        in rising order.
    """
    # Gaussians that are no points are a superpoint of their own, which is left out.
    of_row = np.where(said.points >= 0, group[said.points], count)
    if kernels.numba_computes(device):
        total = np.bincount(of_row, said.seen, minlength=count + 1)
        sums = np.zeros((count + 1, len(said.counts)))
        _group_sums(of_row, said.starts, said.masks, said.shares, said.seen, sums)
    else:
        found = group_sums((of_row, *_shares_of(said)), count + 1, device)
        sums, total = (each.cpu().numpy() for each in found)
    sums, total = sums[:count], total[:count]
    means = (sums / np.maximum(total, 1e-12)[:, None]).astype(np.float32)
    counted = means * said.counts
    which = np.flatnonzero((total > LEAST_GROUP) & (counted.sum(axis=1) > LEAST_MASKED))
    trust = np.minimum(total[which], MOST_GROUP) / MOST_GROUP
    return means[which], counted[which], trust.astype(np.float32), which


@njit(**_options)
@no_type_check
def _group_sums(of_row, starts, masks, shares, seen, sums):
    for row in range(len(of_row)):
        for i in range(starts[row], starts[row + 1]):
            sums[of_row[row], masks[i]] += np.float64(shares[i]) * seen[row]


@njit(parallel=True, **_options)
@no_type_check
def _add_edges(row, sources, targets, starts, masks, shares, seen, counts, total, weight):
    sums = np.zeros(len(seen), np.float64)
    for a in prange(len(seen)):
        for i in range(starts[a], starts[a + 1]):
            sums[a] += counts[masks[i]] * shares[i]
    for e in prange(len(sources)):
        a, b = row[sources[e]], row[targets[e]]
        if a < 0 or b < 0 or (sums[a] < LEAST_MASKED and sums[b] < LEAST_MASKED):
            continue
        overlap = 0.0
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
        total[e] += trust * overlap / (sums[a] + sums[b] - overlap)
        weight[e] += trust


@njit(parallel=True, **_options)
@no_type_check
def _add_groups(shares, counted, trust, which, total, weight):
    """Add to the lower triangles; only one thread writes each entry.

    A superpoint lies in few of the masks; the others add nothing.
    """
    count, num_masks = shares.shape
    by_mask = np.ascontiguousarray(counted.T)
    sums = np.zeros(count, np.float32)
    for mask in range(num_masks):
        for a in range(count):
            sums[a] += by_mask[mask, a]
    for turn in prange((count + 1) // 2):  # A short row and a long one, to keep all threads busy.
        short = np.int64(turn)
        long = count - 1 - short
        _add_row(short, shares, by_mask, sums, trust, which, total, weight)
        if long > short:
            _add_row(long, shares, by_mask, sums, trust, which, total, weight)


@njit(**_options)
@no_type_check
def _add_row(a, shares, by_mask, sums, trust, which, total, weight):
    overlap = np.zeros(a + 1, np.float32)
    for mask in range(len(by_mask)):
        share = shares[a, mask]
        if share > 0:
            for b in range(a + 1):
                overlap[b] += share * by_mask[mask, b]
    for b in range(a + 1):
        either = max(sums[a] + sums[b] - overlap[b], np.float32(1e-6))
        overlap[b] = trust[a] * trust[b] * (overlap[b] / either)
    for b in range(a + 1):
        total[which[a], which[b]] += overlap[b]
        weight[which[a], which[b]] += trust[a] * trust[b]


@njit(**_options)
@no_type_check
def _mirror(matrix):
    for a in range(len(matrix)):
        for b in range(a):
            matrix[b, a] = matrix[a, b]


@njit(**_options)
@no_type_check
def _chain(totals, weights):
    """Nearest-neighbour chain on ratios; both matrices are overwritten."""
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
            if depth > 1:  # On ties, prefer going back, so that the chain ends.
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
