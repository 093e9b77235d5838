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
Nothing depends on the number of threads. Numba's kernels are here; `consensus_torch` has the same
operations for other devices than the CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, no_type_check, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numba import njit, prange
from scipy.sparse import csr_matrix

from splat_uff.features.linkage import Merges
from splat_uff.hierarchy.consensus_torch import add_groups, edge_sums, group_sums, shares_in_masks
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.system import kernels
from splat_uff.system.memory import Kept, Memory
from splat_uff.system.progress import track

LEAST_SEEN = 0.1
"""Blend weight, in pixels, below which a Gaussian is ignored in a photo."""
MOST_SEEN = 1.0
"""Blend weight, in pixels, from which a Gaussian counts in full."""
LEAST_GROUP, MOST_GROUP = 0.5, 3.0
"""Blend weights, in pixels, below which a superpoint is ignored and from which it counts in full.
"""
LEAST_MASKED = 0.3
"""Sum of shares in masks below which a photo has no opinion on a Gaussian or superpoint."""
LEAST_SHARE = 1e-3
"""Share up to which a mask is taken not to contain a Gaussian."""
PHOTO_AREA = 200**2
"""Area in pixels to which every photo is scaled when areas of masks are compared."""
MOST_PARTS = 8
"""Most threads that sort a photo's blend weights, since each has a counter for every Gaussian."""
PART = 256
"""Number of points that one thread processes at a time."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@runtime_checkable
class Views(Protocol):
    """Blend weights of views over N Gaussians; `FrozenViews` is one implementation."""

    def matrix(self, view: int) -> csr_matrix:
        """Blend weights [pixels, N] of one view."""
        ...


@dataclass(frozen=True)
class Opinion:
    """The opinion of one photo: shares of the Gaussians that it sees, as compressed sparse rows."""

    points: Kept
    """int32 [S], points that the photo sees, in rising order."""
    seen: Kept
    """float32 [S], blend weight of these points, in pixels."""
    starts: Kept
    """int64 [S + 1], index of each point's first share, then the number of shares."""
    masks: Kept
    """uint16 [E], mask of each share; uint32 if uint16 cannot number all masks."""
    shares: Kept
    """float32 [E], share of each point in a mask, sorted by mask within each point."""
    counts: Kept
    """float32 [M], weight of each mask in the sums over masks."""

    def load(self) -> tuple[np.ndarray, ...]:
        """Load all arrays, in the order of the fields."""
        parts = self.points, self.seen, self.starts, self.masks, self.shares, self.counts
        return tuple(part.load() for part in parts)


@dataclass(frozen=True)
class Consensus:
    """The opinions of all photos on P points."""

    num_points: int
    opinions: Sequence[Opinion]
    device: str = "cpu"
    """Device that sums: numba's kernels on `cpu`, torch's operations on others."""

    @staticmethod
    def of(
        views: Views,
        bags: Sequence[tuple[MaskSet, MaskTree]],
        chosen: Int[np.ndarray, "P"],
        *,
        memory: Memory | None = None,
        device: str = "cpu",
    ) -> "Consensus":
        """Collect the opinion of every photo.

        Args:
            views: Blend weights of the training views, at the size of their masks.
            bags: Masks and mask tree of each view; a view without masks has no opinion.
            chosen: Indices of the Gaussians that are the points, in rising order.
            memory: Budget towards which the stored opinions count.
            device: Device that computes: `cpu` or `cuda`.
        """
        budget = memory or Memory()
        opinions = []
        for view in track(range(len(bags)), "consensus", len(bags)):
            masks, tree = bags[view]
            if len(masks):
                matrix = views.matrix(view)
                opinions.append(_ask(matrix, masks, tree, chosen, budget, device))
        return Consensus(len(chosen), opinions, device)

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
        row = np.empty(self.num_points, np.int64)
        for opinion in self.opinions:
            points = opinion.points.load()
            row[:] = -1
            row[points] = np.arange(len(points))
            _add_edges(
                row, sources, targets, opinion.starts.load(), opinion.masks.load(),
                opinion.shares.load(), opinion.seen.load(), opinion.counts.load(), total, weight,
            )  # fmt: skip
        return total, weight

    def _edges_by_torch(
        self, sources: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        ends = [torch.from_numpy(each).to(self.device) for each in (sources, targets)]
        total, weight = (torch.zeros_like(ends[0], dtype=torch.float64) for _ in range(2))
        for opinion in self.opinions:
            limits = LEAST_MASKED, MOST_SEEN
            found = edge_sums(opinion.load(), ends[0], ends[1], self.num_points, limits)
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
            _add_groups(*grouped_shares(opinion, group, count), total, weight)
        _mirror(total)
        _mirror(weight)
        return total, weight

    def _groups_by_torch(self, group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        total, weight = (torch.zeros(count, count, device=self.device) for _ in range(2))
        for opinion in self.opinions:
            found = grouped_shares(opinion, group, count, device=self.device)
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


def _ask(
    matrix: csr_matrix,
    masks: MaskSet,
    tree: MaskTree,
    chosen: Int[np.ndarray, "P"],
    memory: Memory,
    device: str,
) -> Opinion:
    run_of, members = _runs(masks)
    kind = np.uint16 if len(masks) <= np.iinfo(np.uint16).max else np.uint32
    if kernels.numba_computes(device):
        points, seen, *rows = _shares(matrix, run_of, members, chosen, kind)
    else:
        least = LEAST_SEEN, LEAST_SHARE
        points, seen, *rows = shares_in_masks(matrix, run_of, members, chosen, least, device)
    starts, inside, shares = rows
    counts = _counts(tree, members @ np.bincount(run_of) / len(run_of)).astype(np.float32)
    parts = points.astype(np.int32), seen.astype(np.float32), starts, inside.astype(kind), shares
    return Opinion(*(memory.keep(part) for part in (*parts, counts)))


def _shares(
    matrix: csr_matrix,
    run_of: Int[np.ndarray, "_"],
    members: Bool[np.ndarray, "M R"],
    chosen: Int[np.ndarray, "P"],
    kind: type[np.unsignedinteger],
) -> tuple[np.ndarray, ...]:
    """`consensus_torch.shares_in_masks` by numba's kernels; masks are numbered by `kind`."""
    runs, lists = np.nonzero(members.T)
    list_starts = np.searchsorted(runs, np.arange(members.shape[1] + 1))
    starts, runs, weights = _by_column(
        matrix.indptr, matrix.indices, matrix.data, run_of, _columns(matrix),
        min(torch.get_num_threads(), MOST_PARTS),
    )  # fmt: skip
    seen = _seen(chosen, starts, weights)
    points = np.flatnonzero(seen >= LEAST_SEEN)
    given = chosen[points], starts, runs, weights, seen[points], list_starts, lists, len(members)
    rows = np.zeros(len(points) + 1, np.int64)
    np.cumsum(_share(*given, rows, np.empty(0, kind), np.empty(0, np.float32)), out=rows[1:])
    inside, shares = np.empty(rows[-1], kind), np.empty(rows[-1], np.float32)
    _share(*given, rows, inside, shares)
    return points, seen[points], rows, inside, shares


def _columns(matrix: csr_matrix) -> int:
    """Number of columns, which scipy's annotations do not guarantee."""
    assert matrix.shape is not None
    return matrix.shape[1]


def _counts(tree: MaskTree, shares: Float[np.ndarray, "M"]) -> Float[np.ndarray, "M"]:
    """Weight of each mask; masks that are the same share one weight, and the mean weight is 1.

    Args:
        tree: Tree of the photo's masks.
        shares: Share of the photo's pixels that lie in each mask.
    """
    once = 1 / tree.same.sum(axis=1)
    counts = once / np.log2(2 + PHOTO_AREA * shares)
    return counts * (once.sum() / counts.sum())


def _runs(masks: MaskSet) -> tuple[Int[np.ndarray, "_"], Bool[np.ndarray, "M R"]]:
    """Runs of row-major pixels in the same masks: run of each pixel, and masks of each run."""
    starts = masks.run_starts()
    lengths = np.diff(np.append(starts, masks.height * masks.width))
    return np.repeat(np.arange(len(starts), dtype=np.int32), lengths), masks.at(starts)


def grouped_shares(
    opinion: Opinion, group: Int[np.ndarray, "P"], count: int, *, device: str = "cpu"
) -> tuple[
    Float[np.ndarray, "S M"], Float[np.ndarray, "S M"], Float[np.ndarray, "S"], Int[np.ndarray, "S"]
]:
    """Shares of the superpoints on which a photo has an opinion.

    Returns:
        Mean shares [S, M], these times the masks' weights, trust [S], and the superpoints' indices
        in rising order.
    """
    points, seen, starts, masks, shares, counts = opinion.load()
    if kernels.numba_computes(device):
        of_row = group[points]
        total = np.bincount(of_row, seen, minlength=count)
        sums = _group_sums(of_row, starts, masks, shares, seen, np.zeros((count, len(counts))))
    else:
        groups = torch.from_numpy(group).to(device)
        found = group_sums((points, seen, starts, masks, shares, counts), groups, count)
        sums, total = (each.cpu().numpy() for each in found)
    means = (sums / np.maximum(total, 1e-12)[:, None]).astype(np.float32)
    counted = means * counts
    which = np.flatnonzero((total > LEAST_GROUP) & (counted.sum(axis=1) > LEAST_MASKED))
    trust = np.minimum(total[which], MOST_GROUP) / MOST_GROUP
    return means[which], counted[which], trust.astype(np.float32), which


@njit(parallel=True, **_options)
@no_type_check
def _by_column(starts, columns, weights, run_of, count, parts):
    """Start, pixel runs and weights of each of `count` columns, in rising order of pixels.

    Each of `parts` stretches of pixels is counted and then written by a thread of its own.
    """
    pixels = len(starts) - 1
    ends = (np.arange(parts + 1) * pixels) // parts
    cursors = np.zeros((parts, count), np.int64)
    for part in prange(parts):
        for e in range(starts[ends[part]], starts[ends[part + 1]]):
            cursors[part, columns[e]] += 1
    column_starts = np.zeros(count + 1, np.int64)
    total = 0
    for column in range(count):
        for part in range(parts):
            before = total
            total += cursors[part, column]
            cursors[part, column] = before
        column_starts[column + 1] = total
    runs = np.empty(total, np.int32)
    ordered = np.empty(total, np.float32)
    for part in prange(parts):
        for pixel in range(ends[part], ends[part + 1]):
            run = run_of[pixel]
            for e in range(starts[pixel], starts[pixel + 1]):
                at = cursors[part, columns[e]]
                cursors[part, columns[e]] = at + 1
                runs[at], ordered[at] = run, weights[e]
    return column_starts, runs, ordered


@njit(parallel=True, **_options)
@no_type_check
def _seen(chosen, starts, weights):
    seen = np.zeros(len(chosen), np.float64)
    for point in prange(len(chosen)):
        for e in range(starts[chosen[point]], starts[chosen[point] + 1]):
            seen[point] += weights[e]
    return seen


@njit(parallel=True, **_options)
@no_type_check
def _share(
    columns, starts, runs, weights, seen, list_starts, lists, num_masks, rows, inside, shares
):
    """Count the shares of every point and, if there is room, write them from `rows` on."""
    counts = np.zeros(len(columns), np.int64)
    writing = len(inside) > 0
    parts = (len(columns) + PART - 1) // PART
    for part in prange(parts):
        within = np.zeros(num_masks, np.float64)
        for row in range(part * PART, min(len(columns), (part + 1) * PART)):
            e, end = starts[columns[row]], starts[columns[row] + 1]
            while e < end:
                run, weight = runs[e], 0.0
                while e < end and runs[e] == run:
                    weight += weights[e]
                    e += 1
                for i in range(list_starts[run], list_starts[run + 1]):
                    within[lists[i]] += weight
            found = 0
            for mask in range(num_masks):
                if within[mask] == 0.0:
                    continue
                share = np.float32(within[mask] / seen[row])
                within[mask] = 0.0
                if share > LEAST_SHARE:
                    if writing:
                        inside[rows[row] + found] = mask
                        shares[rows[row] + found] = share
                    found += 1
            counts[row] = found
    return counts


@njit(**_options)
@no_type_check
def _group_sums(of_row, starts, masks, shares, seen, sums):
    for row in range(len(of_row)):
        for i in range(starts[row], starts[row + 1]):
            sums[of_row[row], masks[i]] += np.float64(shares[i]) * seen[row]
    return sums


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
