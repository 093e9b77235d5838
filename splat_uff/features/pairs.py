"""Pairs of pixels that belong together and pairs that do not, drawn from one image's masks.

This is Algorithm 1 of the UFF supplement with the details of its published code (docs/method.md,
"Pairs"), without a loop over masks or pairs: every set to draw from is a row of one boolean matrix,
and all draws of a kind are made at once.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Int
from numba import njit

from splat_uff.masks.tree import minimal_parents
from splat_uff.system.records import array_record

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}
FEWEST_IN_MASK = 5
"""A mask is used only if more sampled pixels than this lie inside it, and outside it."""
FEWEST_IN_REMAINDER = 10
"""Fewest sampled pixels that a mask must have outside its children for them to be used."""
MOST_CHAINS = 512
"""Most paths from leaves to roots that are climbed at once."""


@array_record
class Pairs:
    """P positive pairs, each with R negative pairs to contrast it with; values index pixels."""

    positives: Int[np.ndarray, "P 2"]
    negatives: Int[np.ndarray, "P R 2"]

    def all_ends(self) -> Int[np.ndarray, "_ 2"]:
        """All pairs in one array: the positive ones, then the negative ones."""
        return np.concatenate([self.positives, self.negatives.reshape(-1, 2)])


def draw_pairs(
    members: Bool[np.ndarray, "M S"],
    inside: Bool[np.ndarray, "M M"],
    *,
    per_group: int,
    neg_ratio: int,
    rng: np.random.Generator,
) -> Pairs:
    """Draw pairs for every mask, for the part of it outside its children, and for every climb.

    Args:
        members: Whether each of the S sampled pixels lies in each mask.
        inside: Whether the row's mask lies inside the column's.
        per_group: Positive pairs drawn per group.
        neg_ratio: Negative pairs per positive pair.
        rng: Generator of the draws, which are with replacement.
    """
    counts = np.count_nonzero(members, axis=1)
    kept = (counts > FEWEST_IN_MASK) & (counts < members.shape[1] - FEWEST_IN_MASK)
    members, inside = members[kept], inside[np.ix_(kept, kept)]
    if len(members) == 0:
        nothing = np.zeros((0, 2), np.int64)
        return Pairs(nothing, nothing[:, None].repeat(neg_ratio, axis=1))
    parents = minimal_parents(inside)
    children, uppers = np.nonzero(parents)
    # Inclusion has a tolerance, so a grandchild can extend beyond the child that it lies in.
    remainders = members & ~_union_of_children(members, inside)
    rings = members[uppers] & ~members[children]
    sets = _Sets(np.concatenate([members, ~members, remainders, rings]), per_group, rng)
    count = len(members)
    masks = np.arange(count)

    with_children = masks[parents.any(axis=0)]
    enough = sets.counts[2 * count + with_children] >= FEWEST_IN_REMAINDER
    partial = with_children[enough]
    insides = np.concatenate([masks, 2 * count + partial])
    outsides = count + np.concatenate([masks, partial])
    groups = [
        (sets.draw(insides, insides), sets.draw_many(insides, outsides, neg_ratio)),
        *_climb(sets, parents, children, uppers, neg_ratio),
    ]
    positives = np.concatenate([positive.reshape(-1, 2) for positive, _ in groups])
    negatives = np.concatenate([negative.reshape(-1, neg_ratio, 2) for _, negative in groups])
    return Pairs(positives, negatives)


def _climb(
    sets: "_Sets",
    parents: Bool[np.ndarray, "M M"],
    children: Int[np.ndarray, "E"],
    uppers: Int[np.ndarray, "E"],
    neg_ratio: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Climb from every leaf: negative pairs of the smaller mask become positives of the larger.

    Makes one pass per level. A chain stores its mask, the set in which its next negatives start,
    and its current pairs; it splits where a mask has several minimal parents.
    """
    count = len(parents)
    ring_of_edge = 3 * count + np.arange(len(children))
    first_edge = np.searchsorted(children, np.arange(count + 1))
    nodes = np.flatnonzero(~parents.any(axis=0) & parents.any(axis=1))
    rings = nodes.copy()  # The first ring is the leaf itself: the row of its own members.
    current = sets.draw(nodes, nodes)
    groups = []
    while len(nodes):
        climbing = np.diff(first_edge)[nodes]
        tops = climbing == 0
        if tops.any():
            negatives = sets.draw_many(rings[tops], count + nodes[tops], neg_ratio)
            groups.append((current[tops], negatives))
        chain = np.repeat(np.arange(len(nodes)), climbing)
        edge = first_edge[nodes[chain]] + _ramp(climbing)
        chain, edge = chain[:MOST_CHAINS], edge[:MOST_CHAINS]
        filled = sets.counts[ring_of_edge[edge]] > 0  # No sampled pixel in between: climb on.
        negatives = sets.draw_many(rings[chain[filled]], ring_of_edge[edge[filled]], neg_ratio)
        groups.append((current[chain[filled]], negatives))
        current, rings, nodes = current[chain], rings[chain], uppers[edge]
        current[filled] = negatives[:, :, 0]
        rings[filled] = ring_of_edge[edge[filled]]
    return groups


class _Sets:
    """Sets of sampled pixels, one per row, from which pairs are drawn."""

    def __init__(
        self, rows: Bool[np.ndarray, "G S"], per_group: int, rng: np.random.Generator
    ) -> None:
        self.counts, self._starts, self._pixels = _listed(rows)
        self._per_group, self._rng = per_group, rng

    def draw(self, firsts: Int[np.ndarray, "K"], seconds: Int[np.ndarray, "K"]) -> np.ndarray:
        """Draw pairs [K, per_group, 2], one end from each first set and one from each second."""
        return self.draw_many(firsts, seconds, 1)[:, :, 0]

    def draw_many(
        self, firsts: Int[np.ndarray, "K"], seconds: Int[np.ndarray, "K"], count: int
    ) -> np.ndarray:
        """Draw `count` pairs for each pair of a group: [K, per_group, count, 2]."""
        ends = np.empty((len(firsts), self._per_group, count, 2), np.int64)
        for side, rows in enumerate((firsts, seconds)):
            fractions = self._rng.random(ends.shape[:3])
            _pick(fractions, rows, self.counts, self._starts, self._pixels, ends[..., side])
        return ends


@njit(**_options)
@no_type_check
def _listed(rows):
    """Members of each set: their number, and where they start in the list of all pixels."""
    counts = np.zeros(len(rows), np.int64)
    starts = np.zeros(len(rows), np.int64)
    total = 0
    for row in range(len(rows)):
        starts[row] = total
        for s in range(rows.shape[1]):
            total += rows[row, s]
        counts[row] = total - starts[row]
    pixels = np.empty(total, np.int64)
    at = 0
    for row in range(len(rows)):
        for s in range(rows.shape[1]):
            if rows[row, s]:
                pixels[at] = s
                at += 1
    return counts, starts, pixels


@njit(**_options)
@no_type_check
def _pick(fractions, rows, counts, starts, pixels, picked):
    """Fill in the member at a fraction [K, P, R] of each row's set."""
    for k in range(len(rows)):
        count, start = counts[rows[k]], starts[rows[k]]
        for i in range(fractions.shape[1]):
            for j in range(fractions.shape[2]):
                picked[k, i, j] = pixels[start + int(fractions[k, i, j] * count)]


def _union_of_children(
    members: Bool[np.ndarray, "M S"], inside: Bool[np.ndarray, "M M"]
) -> Bool[np.ndarray, "M S"]:
    """Pixels of each mask's children: those in any mask that lies inside it."""
    return inside.T.astype(np.float32) @ members.astype(np.float32) > 0


def _ramp(counts: Int[np.ndarray, "K"]) -> Int[np.ndarray, "L"]:
    """Concatenate the ranges 0, 1, ... counts[0] - 1, then 0, 1, ... counts[1] - 1, and so on."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
