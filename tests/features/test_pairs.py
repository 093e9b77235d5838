"""Pair sampling against Algorithm 1 written as plain loops, and the laws of what it draws."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.features import pairs as pairs_module
from splat_uff.features.pairs import Pairs, draw_pairs
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree

MANY = 1500
"""Draws per group that show every pixel of a set of some 80, except once in a million runs."""


def draw(members, inside, *, per_group=64, neg_ratio=1, seed=0) -> Pairs:
    rng = np.random.default_rng(seed)
    return draw_pairs(members, inside, per_group=per_group, neg_ratio=neg_ratio, rng=rng)


def exact_inclusion(members):
    """Row is a proper subset of column."""
    subset = ~(members[:, None] & ~members[None]).any(axis=2)
    return subset & ~subset.T


def members_of(*ranges, pixels=80):
    """Masks of pixels in a line, each from a start to an end."""
    members = np.zeros((len(ranges), pixels), dtype=bool)
    for row, (start, end) in zip(members, ranges, strict=True):
        row[start:end] = True
    return members


def random_bag(rng, *, count=9, size=24, pixels=80):
    """Rectangles of an image that often nest, seen at a few pixels, and their tree."""
    masks = np.zeros((count, size, size), dtype=bool)
    for mask in masks:
        top, left = rng.integers(0, size - 4, 2)
        mask[top : top + rng.integers(4, size), left : left + rng.integers(4, size)] = True
    bag = MaskSet.of(masks)
    chosen = np.sort(rng.choice(size * size, pixels, replace=False))
    return bag.at(chosen), build_tree(bag).inside


def groups_of(pairs: Pairs, per_group: int):
    """What each group was drawn from: the pixels seen at each end of positives and negatives."""
    positives = pairs.positives.reshape(-1, per_group, 2)
    negatives = pairs.negatives.reshape(len(positives), -1, 2)
    return Counter(
        tuple(frozenset(ends[:, side].tolist()) for ends in (positive, negative) for side in (0, 1))
        for positive, negative in zip(positives, negatives, strict=True)
    )


def algorithm_1(members, inside):
    """The groups of Algorithm 1 (docs/method.md, "Pairs"), one loop after the other."""
    total = members.shape[1]
    kept = [m for m in range(len(members)) if 5 < members[m].sum() < total - 5]
    everything = frozenset(range(total))
    area = {m: frozenset(np.flatnonzero(members[m]).tolist()) for m in kept}
    above = {m: [b for b in kept if inside[m, b]] for m in kept}
    children = {m: [a for a in kept if inside[a, m]] for m in kept}
    groups = Counter()

    def reaches(start, goal):
        return any(b == goal or reaches(b, goal) for b in above[start])

    def climb(mask, ring, current):
        if not above[mask]:
            groups[(*current, ring, everything - area[mask])] += 1
        for parent in above[mask]:
            if any(reaches(other, parent) for other in above[mask]):
                continue  # Not a minimal parent.
            beyond = area[parent] - area[mask]
            if beyond:
                groups[(*current, ring, beyond)] += 1
                climb(parent, beyond, (ring, beyond))
            else:
                climb(parent, ring, current)

    for mask in kept:
        groups[(area[mask], area[mask], area[mask], everything - area[mask])] += 1
        rest = area[mask].difference(*(area[child] for child in children[mask]))
        if children[mask] and len(rest) >= 10:
            groups[(rest, rest, rest, everything - area[mask])] += 1
        if not children[mask] and above[mask]:
            climb(mask, area[mask], (area[mask], area[mask]))
    return groups


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_draw_pairs_emits_the_groups_of_algorithm_1(seed):
    members, inside = random_bag(np.random.default_rng(seed))
    pairs = draw(members, inside, per_group=MANY, seed=seed)
    assert groups_of(pairs, MANY) == algorithm_1(members, inside)


def test_draw_pairs_climbs_every_minimal_parent():
    # A leaf under two parents that overlap, both under one root: two ways up.
    members = members_of((20, 30), (10, 30), (20, 45), (5, 60))
    inside = exact_inclusion(members)
    groups = groups_of(draw(members, inside, per_group=MANY), MANY)
    assert groups == algorithm_1(members, inside)
    leaf, left, right = (frozenset(range(*r)) for r in ((20, 30), (10, 20), (30, 45)))
    assert groups[(leaf, leaf, leaf, left)] == 1
    assert groups[(leaf, leaf, leaf, right)] == 1
    around_left = frozenset(range(5, 10)) | frozenset(range(30, 60))
    assert groups[(leaf, left, left, around_left)] == 1


def test_draw_pairs_takes_what_a_grandchild_covers_out_of_the_remainder():
    # The grandchild counts as inside the child, though a pixel of it sticks out.
    members = members_of((0, 21), (1, 30), (0, 60))
    inside = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
    groups = groups_of(draw(members, inside, per_group=MANY), MANY)
    rest, outside = frozenset(range(30, 60)), frozenset(range(60, 80))
    assert groups[(rest, rest, rest, outside)] == 1
    assert groups == algorithm_1(members, inside)


def test_draw_pairs_goes_on_up_where_no_sampled_pixel_lies_between():
    members = members_of((10, 20), (10, 20), (5, 40))
    inside = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
    groups = groups_of(draw(members, inside, per_group=MANY), MANY)
    leaf = frozenset(range(10, 20))
    assert groups[(leaf, leaf, leaf, frozenset(range(5, 40)) - leaf)] == 1
    assert groups == algorithm_1(members, inside)


@given(seed=st.integers(0, 10_000), neg_ratio=st.sampled_from([1, 4]))
@settings(max_examples=30)
def test_draw_pairs_puts_positives_closer_than_their_negatives(seed, neg_ratio):
    members, _ = random_bag(np.random.default_rng(seed))
    pairs = draw(members, exact_inclusion(members), neg_ratio=neg_ratio, seed=seed)
    together = members[:, pairs.positives].all(axis=2)
    negatives_together = members[:, pairs.negatives].all(axis=3)
    assert (together[:, :, None] & ~negatives_together).any(axis=0).all()


def test_draw_pairs_turns_the_negatives_of_a_climb_into_its_next_positives():
    members = members_of((20, 30), (15, 35), (5, 50))
    pairs = draw(members, exact_inclusion(members), per_group=7, neg_ratio=3)
    positives, negatives = pairs.positives.reshape(-1, 7, 2), pairs.negatives.reshape(-1, 7, 3, 2)
    assert len(positives) == 3 + 2 + 3  # Masks, remainders, and the climb with its root.
    assert (positives[-2] == negatives[-3, :, 0]).all()
    assert (positives[-1] == negatives[-2, :, 0]).all()


@pytest.mark.parametrize("neg_ratio", [1, 4])
def test_draw_pairs_draws_per_group_and_ratio(neg_ratio):
    members = members_of((0, 20), (30, 50))
    pairs = draw(members, exact_inclusion(members), neg_ratio=neg_ratio)
    assert pairs.positives.shape == (2 * 64, 2)
    assert pairs.negatives.shape == (2 * 64, neg_ratio, 2)


@pytest.mark.parametrize(
    ("count", "groups"), [(5, 0), (6, 1), (40, 1), (74, 1), (75, 0), (0, 0), (80, 0)]
)
def test_draw_pairs_keeps_masks_with_more_than_five_pixels_in_and_out(count, groups):
    pairs = draw(members_of((0, count)), np.zeros((1, 1), dtype=bool), neg_ratio=4)
    assert pairs.positives.shape == (64 * groups, 2)
    assert pairs.negatives.shape == (64 * groups, 4, 2)


@pytest.mark.parametrize(("end", "groups"), [(29, 4), (30, 5)])
def test_draw_pairs_skips_remainders_under_ten_pixels(end, groups):
    members = members_of((0, 20), (0, end))
    pairs = draw(members, exact_inclusion(members))
    assert len(pairs.positives) == 64 * groups  # Two masks, two of the climb, the remainder.


def test_draw_pairs_forgets_masks_that_are_not_kept():
    # The middle mask has too few pixels, so the largest has no child and nothing climbs.
    members = members_of((0, 4), (0, 40))
    groups = groups_of(draw(members, exact_inclusion(members), per_group=MANY), MANY)
    assert groups == algorithm_1(members, exact_inclusion(members))
    assert sum(groups.values()) == 1


def test_draw_pairs_of_no_masks_is_nothing():
    pairs = draw(np.zeros((0, 80), dtype=bool), np.zeros((0, 0), dtype=bool), neg_ratio=3)
    assert pairs.positives.shape == (0, 2)
    assert pairs.negatives.shape == (0, 3, 2)


def test_draw_pairs_depends_on_its_generator_alone():
    members, inside = random_bag(np.random.default_rng(1))
    first, second, other = (draw(members, inside, seed=seed) for seed in (3, 3, 4))
    assert (first.positives == second.positives).all()
    assert (first.negatives == second.negatives).all()
    assert (first.positives != other.positives).any()


def test_draw_pairs_draws_each_pixel_of_a_set_equally_often():
    members = members_of((0, 20))
    pairs = draw(members, np.zeros((1, 1), dtype=bool), per_group=40_000)
    for ends, size in ((pairs.positives[:, 1], 20), (pairs.negatives[:, 0, 1], 60)):
        counts = np.unique(ends, return_counts=True)[1]
        assert len(counts) == size
        np.testing.assert_allclose(counts, 40_000 / size, rtol=0.15)


def test_draw_pairs_stays_bounded_where_ways_up_multiply(monkeypatch):
    monkeypatch.setattr(pairs_module, "MOST_CHAINS", 32)
    layer = np.repeat(np.arange(8), 4)  # 4 ** 7 ways from each leaf to a root.
    inside = layer[:, None] < layer[None]
    members = np.random.default_rng(0).random((32, 80)) < 0.5
    pairs = draw(members, inside, per_group=1)
    assert len(pairs.positives) <= 2 * 32 + 32 * 9
