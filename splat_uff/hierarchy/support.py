"""Certainty of each node of the tree: a bootstrap over photos and features.

The method is the one used for phylogenetic trees (Felsenstein 1985): the data from which the tree
was built are resampled with replacement, the tree is rebuilt, and the support of a node is the
share of these trees that contain it. The photos, each with its bag of masks, and the channels of
the features are resampled. A tree contains a node if one of its own has an IoU of at least `SAME`
with it, in Gaussians. Superpoints stay the same.

A photo's opinion on two superpoints is computed once and added, as often as the photo was drawn, to
all resamples. With G superpoints, V photos and B resamples this takes O(B V G^2) time and O(B G^2)
memory, in several rounds if that is above `MOST_BYTES`. Nothing depends on the number of threads.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit, prange

from splat_uff.features.linkage import Merges, lay_out
from splat_uff.hierarchy.consensus import Consensus, grouped_shares
from splat_uff.system.records import array_record

STAGE = 3
"""Number of this stage's random stream."""
SAME = 0.75
"""IoU, in Gaussians, from which two nodes count as the same."""
MOST_BYTES = 512_000_000
"""Memory limit, in bytes, for the similarities of the resamples held at a time."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


def bootstrap_support(
    consensus: Consensus,
    vectors: Float[np.ndarray, "G D"],
    group: Int[np.ndarray, "P"],
    share: float,
    merges: Merges,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "K"]:
    """Support of each merge of superpoints, from 0 to 1.

    Args:
        consensus: Opinions of all V photos.
        vectors: Mean feature of each superpoint.
        group: Superpoint of each point, from 0.
        share: Weight of the consensus, 0 to 1; the features have the rest.
        merges: Merges of the tree, from `merge_by_ratio`.
        resamples: Number of resampled trees, at least 1.
        rng: Generator that draws the photos and the channels.
    """
    drawn = [
        rng.multinomial(count, np.full(count, 1 / count), size=resamples)
        if count
        else np.zeros((resamples, 0), np.int64)
        for count in (len(consensus.opinions), vectors.shape[1])
    ]
    return (shared_nodes(consensus, vectors, group, share, merges, *drawn) >= SAME).mean(axis=0)


def shared_nodes(
    consensus: Consensus,
    vectors: Float[np.ndarray, "G D"],
    group: Int[np.ndarray, "P"],
    share: float,
    merges: Merges,
    photos: Int[np.ndarray, "B V"],
    channels: Int[np.ndarray, "B D"],
) -> Float[np.ndarray, "B K"]:
    """Best IoU, in each of B resamples, of each merge with any node of the resample's tree.

    Args:
        consensus: Opinions of all V photos.
        vectors: Mean feature of each superpoint.
        group: Superpoint of each point, from 0.
        share: Weight of the consensus, 0 to 1; the features have the rest.
        merges: Merges of the tree, from `merge_by_ratio`.
        photos: Number of times that each photo is drawn.
        channels: Number of times that each channel of the features is drawn.
    """
    count = len(vectors)
    sizes = np.bincount(group, minlength=count)
    own = lay_out(merges)
    said = _Said.of(consensus, group, count)
    by_channel = np.ascontiguousarray(vectors.T, np.float32)
    found, at_once = [], max(1, MOST_BYTES // (4 * count**2))
    for first in range(0, len(photos), at_once):
        times = np.ascontiguousarray(photos[first : first + at_once].T, np.float32)
        weights = channels[first : first + at_once].astype(np.float32)
        alike = np.empty((len(weights), count, count), np.float32)
        _add_photos(
            said.rows, said.spans, said.which, said.trust, said.sums, said.shares, said.counts,
            times, by_channel, weights, np.float32(share), alike,
        )  # fmt: skip
        trees = []
        for chained in zip(*_chains(alike, sizes.astype(np.float32)), strict=True):
            ranks = np.argsort(-chained[2], kind="stable")
            trees.append(lay_out(Merges(*(column[ranks] for column in chained))))
        orders, spans = (np.stack(parts) for parts in zip(*trees, strict=True))
        found.append(_match(*own, orders, spans, sizes))
    return np.concatenate(found)


@array_record
class _Said:
    """Opinions of all V photos on G superpoints, photo after photo in flat arrays."""

    rows: Int[np.ndarray, "V G"]
    """Row of each superpoint in each photo; -1 if the photo has no opinion on it."""
    spans: Int[np.ndarray, "V 5"]
    """Offsets of each photo's rows, shares and masks, and its number of rows and of masks."""
    which: Int[np.ndarray, "R"]
    """Superpoint of each row, in rising order within each photo."""
    trust: Float[np.ndarray, "R"]
    """Trust in each row, 0 to 1: how well the superpoint is seen."""
    sums: Float[np.ndarray, "R"]
    """Sum of each row's shares, weighted by mask."""
    shares: Float[np.ndarray, "E"]
    """Shares of each photo, flattened from [masks, rows]."""
    counts: Float[np.ndarray, "M"]
    """Weight of each mask."""

    @staticmethod
    def of(consensus: Consensus, group: Int[np.ndarray, "P"], count: int) -> "_Said":
        """Collect each photo's opinion, which takes 4 bytes per superpoint and mask."""
        rows = np.full((len(consensus.opinions), count), -1, np.int32)
        spans = np.zeros((len(consensus.opinions), 5), np.int64)
        parts, begin = [], np.zeros(3, np.int64)
        for photo, opinion in enumerate(consensus.opinions):
            heard = consensus.load(opinion)
            shares, counted, trust, which = grouped_shares(heard, group, count)
            counts = heard.counts
            rows[photo, which] = np.arange(len(which))
            spans[photo] = *begin, *shares.shape
            begin += len(which), shares.size, len(counts)
            parts.append((which, trust, counted.sum(axis=1), shares.T.ravel(), counts))
        if not parts:
            return _Said(rows, spans, np.zeros(0, np.int64), *[np.zeros(0, np.float32)] * 4)
        which, *others = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Said(rows, spans, which, *(other.astype(np.float32) for other in others))


@njit(parallel=True, fastmath=True, **_options)
@no_type_check
def _add_photos(
    rows, spans, which, trust, sums, shares, counts, times, vectors, weights, share, alike
):
    """Similarities in all resamples, as lower triangles; only one thread writes each row."""
    count = rows.shape[1]
    for turn in prange((count + 1) // 2):  # A short row and a long one keep all threads busy.
        short = np.int64(turn)
        long = count - 1 - short
        for a in range(short, long + 1, max(long - short, 1)):
            _add_row(
                a, rows, spans, which, trust, sums, shares, counts, times, vectors, weights, share,
                alike,
            )  # fmt: skip


@njit(fastmath=True, **_options)
@no_type_check
def _add_row(
    a, rows, spans, which, trust, sums, shares, counts, times, vectors, weights, share, alike
):
    draws = len(weights)
    total = np.zeros((a + 1, draws), np.float32)
    weight = np.zeros((a + 1, draws), np.float32)
    overlap = np.empty(a + 1, np.float32)
    for photo in range(len(rows)):
        row = rows[photo, a]
        if row < 0:
            continue
        first, at, mask, num_rows, num_masks = spans[photo]
        overlap[: row + 1] = 0
        for m in range(num_masks):
            mine = counts[mask + m] * shares[at + m * num_rows + row]
            if mine > 0:
                for other in range(row + 1):
                    overlap[other] += mine * shares[at + m * num_rows + other]
        for other in range(row + 1):
            b, both = which[first + other], overlap[other]
            level = trust[first + row] * trust[first + other]
            for draw in range(draws):
                weight[b, draw] += times[photo, draw] * level
            if both > 0:
                either = sums[first + row] + sums[first + other] - both
                level *= both / max(either, np.float32(1e-6))
                for draw in range(draws):
                    total[b, draw] += times[photo, draw] * level
    for draw in range(draws):
        cosine = alike[draw, a, : a + 1]
        cosine[:] = 0
        for channel in range(len(vectors)):
            mine = weights[draw, channel] * vectors[channel, a]
            for b in range(a + 1):
                cosine[b] += mine * vectors[channel, b]
        for b in range(a + 1):
            if weight[b, draw] > 0:
                agreed = total[b, draw] / weight[b, draw]
                cosine[b] = share * agreed + (np.float32(1) - share) * cosine[b]


@njit(parallel=True, **_options)
@no_type_check
def _chains(alike, sizes):
    """Average linkage of every resample, from lower triangles; the matrices are overwritten."""
    draws, count = alike.shape[:2]
    lefts = np.empty((draws, count - 1), np.int64)
    rights = np.empty((draws, count - 1), np.int64)
    similarities = np.empty((draws, count - 1), np.float32)
    for draw in prange(draws):
        _chain(alike[draw], sizes.copy(), lefts[draw], rights[draw], similarities[draw])
    return lefts, rights, similarities


@njit(**_options)
@no_type_check
def _chain(alike, sizes, lefts, rights, similarities):
    """Nearest-neighbour chain, as in `features.linkage`, on a matrix of mean similarities."""
    count = len(alike)
    for a in range(count):
        for b in range(a):
            alike[b, a] = alike[a, b]
    alive, place, living = np.arange(count), np.arange(count), count
    chain, chained, depth = np.empty(count, np.int64), np.zeros(count, np.bool_), 0
    ceilings = np.full(count, np.inf, np.float32)
    for merge in range(count - 1):
        if depth == 0:
            chain[0], depth = alive[0], 1
            chained[alive[0]] = True
        while True:
            top = chain[depth - 1]
            best, best_similarity = np.int64(-1), np.float32(-np.inf)
            if depth > 1:  # On ties, prefer going back, so that the chain ends.
                best = chain[depth - 2]
                best_similarity = alike[top, best]
            for k in range(living):
                other = alive[k]
                if alike[top, other] > best_similarity and not chained[other]:
                    best, best_similarity = other, alike[top, other]
            if depth > 1 and best == chain[depth - 2]:
                break
            chain[depth] = best
            chained[best] = True
            depth += 1
        a, b = min(best, top), max(best, top)
        depth -= 2
        chained[a] = chained[b] = False
        ceilings[a] = min(best_similarity, ceilings[a], ceilings[b])
        lefts[merge], rights[merge], similarities[merge] = a, b, ceilings[a]
        living -= 1
        last = alive[living]
        alive[place[b]], place[last] = last, place[b]
        part = sizes[a] / (sizes[a] + sizes[b])
        sizes[a] += sizes[b]
        for k in range(living):
            other = alive[k]
            merged = part * alike[a, other] + (np.float32(1) - part) * alike[b, other]
            alike[a, other] = merged
            alike[other, a] = merged


@njit(parallel=True, **_options)
@no_type_check
def _match(own_order, own_spans, orders, spans, sizes):
    """Best IoU of each merge with any merge of each other tree; nodes are runs of leaves."""
    draws, count = orders.shape
    best = np.zeros((draws, count - 1))
    for draw in prange(draws):
        inside = np.zeros(count, np.int64)
        shared, upto = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
        for k in range(count):
            upto[k + 1] = upto[k] + sizes[orders[draw, k]]
        for merge in range(count - 1):
            start, end, size = own_spans[merge, 0], own_spans[merge, 2], 0
            for k in range(start, end):
                inside[own_order[k]] = sizes[own_order[k]]
                size += sizes[own_order[k]]
            for k in range(count):  # Sums over the first k leaves of the other tree.
                shared[k + 1] = shared[k] + inside[orders[draw, k]]
            for other in range(count - 1):
                left, right = spans[draw, other, 0], spans[draw, other, 2]
                both = shared[right] - shared[left]
                iou = both / (size + upto[right] - upto[left] - both)
                best[draw, merge] = max(best[draw, merge], iou)
            inside[own_order[start:end]] = 0
    return best
