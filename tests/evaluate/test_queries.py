"""Scores of dense features: brute force, and what they are for features that are labels."""

import numpy as np
import pytest

from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.consistency import Warp
from splat_uff.evaluate.levels import LEVELS, true_levels
from splat_uff.evaluate.queries import (
    STEPS,
    DenseView,
    Distances,
    choose_distances,
    query_consistency,
    query_scores,
)
from splat_uff.system.errors import InputError
from tests.evaluate.test_covering import random_truth


def random_view(rng, *, size=24, dimension=5, holes=0.2):
    """Smooth random features with holes that nothing covers."""
    coarse = rng.standard_normal((size // 4, size // 4, dimension))
    features = coarse.repeat(4, axis=0).repeat(4, axis=1)
    features = features + 0.3 * rng.standard_normal(features.shape)
    return DenseView.of(features, rng.random((size, size)) > holes)


def segment(flat, click, threshold):
    """Pixels within a squared distance of a click, in the steps that distances are told apart."""
    squared = ((flat - flat[click]) ** 2).sum(axis=1)
    edge = np.floor(threshold * STEPS / 4)
    return np.floor(squared * STEPS / 4 + 1e-3) <= edge


def iou(one, two):
    return (one & two).sum() / max((one | two).sum(), 1)


def test_query_scores_equal_brute_force():
    rng = np.random.default_rng(0)
    views, truths = [random_view(rng) for _ in range(2)], [random_truth(rng) for _ in range(2)]
    thresholds = np.array([0.05, 0.3, 0.8, 1.5, 3.0])
    distances = Distances.of(thresholds)
    *found, fixed = query_scores(views, truths, distances, seeds=[7], num_clicks=15)
    by_distance = np.zeros((2, 3, len(thresholds)))
    covering_rng, pairs_rng = np.random.default_rng([7]), np.random.default_rng([7])
    for row, (view, truth) in enumerate(zip(views, truths, strict=True)):
        flat = view.flat.astype(np.float64)
        for column, level in enumerate(true_levels(truth)):
            coverings, injectivities, means = [], [], []
            for pixels in level.scored:
                A = np.isin(np.arange(len(flat)), pixels)
                clicked = [
                    [iou(segment(flat, click, t), A) for t in thresholds]
                    for click in covering_rng.choice(pixels, 15)
                ]
                coverings.append(np.max(clicked, axis=1).mean())
                means.append(np.mean(clicked, axis=0))
                values = []
                for first, second in zip(*pairs_rng.choice(pixels, (2, 15)), strict=True):
                    ious = [iou(segment(flat, first, t), A) for t in thresholds]
                    t = thresholds[int(np.argmax(ious))]
                    values.append(iou(segment(flat, first, t), segment(flat, second, t)))
                injectivities.append(np.mean(values))
            by_distance[row, column] = np.mean(means, axis=0)
            expected = np.mean(coverings), np.mean(injectivities)
            for scores, value in zip(found, expected, strict=True):
                assert scores.per_view[row, column] == pytest.approx(value, abs=2e-3)
    best = by_distance.mean(axis=0).max(axis=1)
    assert [fixed.nc[level] for level in LEVELS] == pytest.approx(best.tolist(), abs=2e-3)
    assert fixed.nc["mean"] == pytest.approx(best.mean(), abs=2e-3)
    assert fixed.nc["mean"] < found[0].mean


def test_features_that_are_true_labels_score_one():
    truth = random_truth(np.random.default_rng(1))
    labels = truth.objects
    features = np.eye(labels.max() + 1)[labels] + np.eye(labels.max() + 1)[(labels + 1) // 2]
    features = features + np.where(labels > 0, 1.0, 0.0)[..., None]
    view = DenseView.of(features, np.ones(labels.shape, bool))
    distances = choose_distances([view], 50, rng=np.random.default_rng(0))
    covering, injectivity, fixed = query_scores([view], [truth], distances, seeds=[0])
    assert covering.objects == fixed.nc["objects"] == 1
    assert injectivity.objects == 1
    still = Warp(np.arange(labels.size), np.ones(labels.size, bool), np.ones(labels.size, bool))
    rng = np.random.default_rng(0)
    assert query_consistency([view], [view], [truth], [still], distances, rng=rng).mean == 1


def test_query_consistency_equals_brute_force():
    rng = np.random.default_rng(2)
    view, twin, truth = random_view(rng), random_view(rng), random_truth(rng)
    pixels = 24 * 24
    warp = Warp(rng.permutation(pixels), rng.random(pixels) < 0.7, rng.random(pixels) < 0.8)
    thresholds = np.array([0.1, 0.6, 1.6])
    found = query_consistency(
        [view], [twin], [truth], [warp], Distances.of(thresholds),
        rng=np.random.default_rng(3), num_clicks=15,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    here, there = view.flat.astype(np.float64), twin.flat.astype(np.float64)
    for column, level in enumerate(true_levels(truth)):
        row = []
        for scored in level.scored:
            A = np.isin(np.arange(pixels), scored)
            firsts = rng.choice(scored, 15)
            landing = warp.seen_there & twin.covered.ravel()
            allowed = [p for p in scored if warp.seen[p] and landing[warp.target[p]]]
            if not allowed:
                continue
            values = []
            for first, p in zip(firsts, rng.choice(allowed, 15), strict=True):
                ious = [iou(segment(here, first, t), A) for t in thresholds]
                t = thresholds[int(np.argmax(ious))]
                back = segment(there, warp.target[p], t)[warp.target]
                values.append(iou(segment(here, p, t) & warp.seen, back & warp.seen))
            row.append(np.mean(values))
        assert found.per_view[0, column] == pytest.approx(np.mean(row), abs=2e-3)


def test_query_consistency_of_nothing_covered_is_undefined():
    truth = random_truth(np.random.default_rng(1))
    features = np.ones((24, 24, 2))
    view = DenseView.of(features, np.ones((24, 24), bool))
    blind = DenseView.of(features, np.zeros((24, 24), bool))
    warp = Warp(np.arange(576), np.ones(576, bool), np.ones(576, bool))
    with pytest.raises(InputError, match="VC is undefined"):
        query_consistency(
            [view], [blind], [truth], [warp], Distances.of(np.ones(1)),
            rng=np.random.default_rng(0),
        )  # fmt: skip


def test_chosen_distances_join_even_shares_of_pairs_in_their_logarithm():
    view = random_view(np.random.default_rng(4), size=48, holes=0.0)
    distances = choose_distances([view], 4, rng=np.random.default_rng(0))
    ends = np.random.default_rng(1).integers(0, 48 * 48, (2, 100_000))
    squared = ((view.flat[ends[0]] - view.flat[ends[1]]) ** 2).sum(axis=1)
    ranks = distances.steps[(squared * STEPS / 4).astype(int)]
    shares = [(ranks <= k).mean() for k in range(4)]
    np.testing.assert_allclose(shares, [0.001, 0.01, 0.1, 1], rtol=0.25)


def test_distances_are_one_to_254():
    with pytest.raises(InputError, match="0 distances"):
        Distances.of(np.zeros(0))
    with pytest.raises(InputError, match="255 distances"):
        Distances.of(np.linspace(0, 4, 255))


def test_query_scores_want_the_size_of_the_truth():
    truth = GroundTruth(np.ones((8, 8), int), np.ones((8, 8), int))
    view = DenseView.of(np.ones((4, 4, 2)), np.ones((4, 4), bool))
    with pytest.raises(InputError, match="4 x 4"):
        query_scores([view], [truth], Distances.of(np.ones(1)), seeds=[0])
