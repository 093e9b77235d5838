"""Simulated masks: repeatable, imperfect, and never two alike."""

from pathlib import Path

import numpy as np
import pytest

from splat_uff.capture.images import read_ids
from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.covering import masks_covering
from splat_uff.scenes.simulated import SIMULATED, Flaws, simulate_masks

RADAR = Path(__file__).parents[3] / "shared" / "data" / "radar"
SIZE = 120
PERFECT = Flaws(
    missed=0,
    merged=0,
    split=0,
    apart=0,
    collection=1,
    groups=0,
    whole=1,
    background=1,
    jitter=0,
    smallest=0,
)


@pytest.fixture
def truth():
    """Nine blocks in three collections, within a margin of background."""
    objects = np.zeros((SIZE, SIZE), dtype=np.int32)
    collections = np.zeros_like(objects)
    for index in range(9):
        row, column = divmod(index, 3)
        box = np.s_[10 + 30 * row : 40 + 30 * row, 10 + 35 * column : 45 + 35 * column]
        objects[box], collections[box] = index + 1, row + 1
    return objects, collections


def iou(masks, target):
    shared = (masks & target).sum((1, 2))
    return shared / (masks | target).sum((1, 2))


def test_simulate_masks_repeats_itself(truth):
    first, second = (simulate_masks(*truth, rng=np.random.default_rng(7)) for _ in range(2))
    assert (first.packed == second.packed).all()


def test_simulate_masks_differs_between_views(truth):
    rng = np.random.default_rng(7)
    first, second = (simulate_masks(*truth, rng=rng) for _ in range(2))
    assert first.packed.shape != second.packed.shape or (first.packed != second.packed).any()


def test_simulate_masks_without_flaws_is_the_truth(truth):
    objects, collections = truth
    masks = simulate_masks(*truth, rng=np.random.default_rng(0), flaws=PERFECT).unpack()
    targets = [objects == index for index in range(10)]
    targets += [collections == index for index in range(1, 4)] + [objects > 0]
    assert len(masks) == len(targets)
    # Blurring rounds the four corners of a block, and nothing else.
    assert min(iou(masks, target).max() for target in targets) > 0.98


def test_simulate_masks_has_no_duplicates(truth):
    rng = np.random.default_rng(1)
    for _ in range(10):
        masks = simulate_masks(*truth, rng=rng).unpack()
        for index, mask in enumerate(masks):
            assert (iou(masks[index + 1 :], mask) < SIMULATED.duplicate).all()


def test_simulate_masks_goes_from_large_to_small(truth):
    areas = simulate_masks(*truth, rng=np.random.default_rng(2)).unpack().sum((1, 2))
    assert (np.diff(areas) <= 0).all()
    assert areas.min() > 0


def test_simulate_masks_misses_and_merges(truth):
    rng = np.random.default_rng(3)
    bags = [simulate_masks(*truth, rng=rng).unpack() for _ in range(20)]
    best = np.array([[iou(bag, truth[0] == index).max() for index in range(1, 10)] for bag in bags])
    assert 0.3 < (best > 0.8).mean() < 0.8
    assert np.median(best) < 1


def test_simulate_masks_finds_separate_components(truth):
    objects, collections = truth
    apart = Flaws(**{**vars(PERFECT), "apart": 1, "collection": 0, "whole": 0, "background": 0})
    divided = np.where(np.abs(np.arange(SIZE) - 25) < 4, 0, objects[:, :])
    masks = simulate_masks(divided, collections, rng=np.random.default_rng(0), flaws=apart)
    assert len(masks) == 9 + 3


def test_simulate_masks_of_background_alone():
    nothing = np.zeros((SIZE, SIZE), dtype=np.int32)
    masks = simulate_masks(nothing, nothing, rng=np.random.default_rng(0), flaws=PERFECT)
    assert len(masks) == 1
    assert masks.unpack().all()


def test_simulate_masks_may_find_none():
    nothing = np.zeros((SIZE, SIZE), dtype=np.int32)
    blind = Flaws(**{**vars(PERFECT), "background": 0})
    assert len(simulate_masks(nothing, nothing, rng=np.random.default_rng(0), flaws=blind)) == 0


@pytest.mark.skipif(not RADAR.exists(), reason="the radar capture is not here")
def test_simulate_masks_scores_like_real_masks():
    ids = [
        [read_ids(RADAR / f"gt_seg/val/r_{index}_seg_{level}.tif") for index in range(12)]
        for level in ("objects", "collections")
    ]
    truths = [GroundTruth(*pair) for pair in zip(*ids, strict=True)]
    rng = np.random.default_rng(0)
    bags = [simulate_masks(truth.objects, truth.collections, rng=rng) for truth in truths]
    scores = masks_covering(bags, truths, rng=rng)
    assert 0.60 < scores.mean < 0.72
    assert scores.objects < scores.collections
