"""Superpoints in blocks: every point is in one, and blocks change little of what comes out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.hierarchy.superpoints import cut_into_blocks, grow_superpoints
from splat_uff.settings import TrainConfig, check_settings
from splat_uff.system.errors import InputError


@given(st.integers(0, 2**32 - 1), st.integers(1, 900), st.integers(1, 9), st.booleans())
@settings(max_examples=40, deadline=None)
def test_blocks_share_all_points(seed, count, blocks, coarse):
    points = np.random.default_rng(seed).normal(size=(count, 3)) * (3, 1, 1)
    points = points.round(0) if coarse else points  # Many coincide.
    cut = cut_into_blocks(points, blocks)
    assert 1 <= len(cut) <= blocks
    assert (np.sort(np.concatenate([block.inside for block in cut])) == np.arange(count)).all()
    for block in cut:
        assert (np.flatnonzero(block.holds(points)) == block.inside).all()
        assert np.isin(block.inside, block.seen(points)).all()
    if not coarse and count >= 100 * blocks:
        sizes = [len(block.inside) for block in cut]
        assert len(cut) == blocks
        assert max(sizes) - min(sizes) <= blocks


def plates(rng, count=3000, columns=6):
    """Points of a plane in columns of four squares of one colour each."""
    points = rng.uniform((0, 0, 0), (columns, 4, 0.02), (count, 3))
    square = np.floor(points[:, 0]).astype(int) * 4 + np.floor(points[:, 1]).astype(int)
    return points, square


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_superpoints_do_not_mix_squares(blocks):
    points, square = plates(np.random.default_rng(0))

    def lengths(sources, targets):
        asked.append(int(max(sources.max(), targets.max())))
        return (square[sources] != square[targets]) + 0.01

    asked: list[int] = []
    group = grow_superpoints(points, lengths, neighbours=8, most=60, blocks=blocks)
    assert len(asked) == blocks
    assert set(group) == set(range(group.max() + 1))
    assert 24 <= group.max() + 1 <= 60 + 6 * blocks
    for one in range(group.max() + 1):
        assert len(np.unique(square[group == one])) == 1


def test_a_block_keeps_superpoints_whole_near_its_faces():
    rng = np.random.default_rng(1)
    points = rng.uniform((0, 0, 0), (5, 4, 0.02), (6000, 3))
    square = np.floor(points[:, 0] / 0.2).astype(int) * 20 + np.floor(points[:, 1] / 0.2).astype(
        int
    )
    at = float(cut_into_blocks(points, 2)[0].high[0])
    assert at == pytest.approx(2.5, abs=0.06)  # Inside the squares from 2.4 to 2.6.
    group = grow_superpoints(
        points, lambda s, t: (square[s] != square[t]) + 0.01, neighbours=8, most=700, blocks=2
    )
    for one in np.unique(square[np.abs(points[:, 0] - at) < 0.01]):
        sides = [group[(square == one) & ((points[:, 0] < at) == side)] for side in (True, False)]
        assert len(np.intersect1d(*sides))  # Cut there, a square would have other groups beyond.


def test_a_tree_of_blocks_has_the_segments_of_one_without():
    points, square = plates(np.random.default_rng(2))
    features = np.eye(24, dtype=np.float32)[square]
    config = HierarchyConfig(linkage="average", superpoints=80, resamples=0)
    for blocks in (1, 4):
        hierarchy = build_hierarchy(
            points, features, np.ones(len(points)), replace(config, blocks=blocks)
        )
        labels = cut_into(hierarchy.tree, 24)
        assert len(np.unique(np.stack([labels, square]), axis=1).T) == 24


def test_the_watershed_has_no_blocks():
    hierarchy = HierarchyConfig(linkage="watershed", blocks=2)
    with pytest.raises(InputError, match=r"hierarchy\.blocks is 2 with the linkage watershed"):
        check_settings(TrainConfig(hierarchy=hierarchy))
