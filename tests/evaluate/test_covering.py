import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.covering import (
    coverings,
    masks_covering,
    normalized_covering,
    segmentation_injectivity,
)
from splat_uff.evaluate.levels import LevelScores
from splat_uff.masks.records import MaskSet
from splat_uff.system.errors import InputError


def random_truth(rng: np.random.Generator, size: int = 24) -> GroundTruth:
    """Blocks of objects in pairs of collections, with background around them."""
    objects = np.zeros((size, size), int)
    blocks = np.arange(1, 10).reshape(3, 3).repeat(6, axis=0).repeat(6, axis=1)
    row, column = rng.integers(0, size - 17, 2)
    objects[row : row + 18, column : column + 18] = blocks
    return GroundTruth(objects, (objects + 1) // 2)


def random_maps(rng: np.random.Generator, views: int = 2, cuts: int = 4) -> np.ndarray:
    coarse = rng.integers(0, 6, (views, cuts, 6, 6))
    return coarse.repeat(4, axis=2).repeat(4, axis=3)


def brute_force(maps: np.ndarray, truths: list[GroundTruth], rng: np.random.Generator) -> list:
    """NC of docs/metrics.md word for word, with one boolean mask a segment."""
    table = []
    for cuts, truth in zip(maps, truths, strict=True):
        row = []
        levels = [truth.objects, truth.collections, (truth.objects > 0).astype(int)]
        for level, true_map in enumerate(levels):
            scores = []
            for segment in np.unique(true_map):
                A = true_map == segment
                if A.sum() < 20 or (segment == 0 and level < 2):
                    continue
                clicks = rng.choice(np.flatnonzero(A), 100)
                values = []
                for click in clicks:
                    answers = [cut == cut.ravel()[click] for cut in cuts]
                    values.append(max((A & S).sum() / (A | S).sum() for S in answers))
                scores.append(np.mean(values))
            row.append(np.mean(scores))
        table.append(row)
    return table


@given(seed=st.integers(0, 99))
def test_normalized_covering_scores_the_truth_itself_as_one(seed):
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng) for _ in range(2)]
    maps = np.stack([[t.objects, t.collections, (t.objects > 0).astype(int)] for t in truths])
    scores = normalized_covering(maps, truths, rng=rng)
    assert scores.record() == {"objects": 1, "collections": 1, "scene": 1, "mean": 1}


def test_normalized_covering_equals_brute_force():
    rng = np.random.default_rng(3)
    truths, maps = [random_truth(rng) for _ in range(2)], random_maps(rng)
    scores = normalized_covering(maps, truths, rng=np.random.default_rng(5))
    np.testing.assert_allclose(
        scores.per_view, brute_force(maps, truths, np.random.default_rng(5)), atol=1e-12
    )


@given(seed=st.integers(0, 99))
def test_normalized_covering_ignores_how_segments_are_numbered(seed):
    rng = np.random.default_rng(seed)
    truths, maps = [random_truth(rng) for _ in range(2)], random_maps(rng)
    renumbered = (7 * rng.permutation(6) + 3)[maps]
    first = normalized_covering(maps, truths, rng=np.random.default_rng(1))
    second = normalized_covering(renumbered, truths, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(first.per_view, second.per_view)


@given(seed=st.integers(0, 99))
def test_normalized_covering_never_falls_with_more_cuts(seed):
    rng = np.random.default_rng(seed)
    truths, maps = [random_truth(rng)], random_maps(rng, views=1, cuts=5)
    fewer = normalized_covering(maps[:, :3], truths, rng=np.random.default_rng(1))
    more = normalized_covering(maps, truths, rng=np.random.default_rng(1))
    assert (more.per_view >= fewer.per_view).all()
    assert (more.per_view <= 1).all()


def test_normalized_covering_of_a_constant_map_is_the_share_of_each_segment():
    objects = np.zeros((10, 20), int)
    objects[:, :10], objects[:5, 10:] = 1, 2  # 100 and 50 pixels, 50 of background.
    truth = GroundTruth(objects, (objects > 0).astype(int))
    constant = np.zeros((1, 1, 10, 20), int)  # "None" everywhere is a segment like any other.
    scores = normalized_covering(constant, [truth], rng=np.random.default_rng(0))
    assert scores.objects == pytest.approx((100 / 200 + 50 / 200) / 2)
    assert scores.collections == pytest.approx(150 / 200)
    assert scores.scene == pytest.approx((150 / 200 + 50 / 200) / 2)
    assert scores.mean == pytest.approx((0.375 + 0.75 + 0.5) / 3)


def test_normalized_covering_skips_segments_under_20_pixels():
    objects = np.ones((10, 10), int)
    objects[0, :], objects[1, :9] = 2, 2  # 19 pixels, which nothing predicts.
    truth = GroundTruth(objects, np.ones((10, 10), int))
    prediction = (objects == 1).astype(int)[None, None] * 4
    scores = normalized_covering(prediction, [truth], rng=np.random.default_rng(0))
    assert scores.objects == 1
    objects[1, 9] = 2
    prediction[..., 1, 9] = 4
    scores = normalized_covering(prediction, [truth], rng=np.random.default_rng(0))
    assert scores.objects < 1


def test_normalized_covering_repeats_with_the_same_rng():
    rng = np.random.default_rng(0)
    truths, maps = [random_truth(rng)], random_maps(rng, views=1)
    runs = [normalized_covering(maps, truths, rng=np.random.default_rng(9)) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].per_view, runs[1].per_view)


def test_normalized_covering_refuses_maps_of_another_size():
    truth = random_truth(np.random.default_rng(0))
    with pytest.raises(InputError, match=r"12 x 12 .* 24 x 24"):
        normalized_covering(np.zeros((1, 1, 12, 12), int), [truth], rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="2 views are predicted and 1"):
        normalized_covering(np.zeros((2, 1, 24, 24), int), [truth], rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="label -1"):
        normalized_covering(np.full((1, 1, 24, 24), -1), [truth], rng=np.random.default_rng(0))


def test_normalized_covering_refuses_truth_without_segments():
    empty = GroundTruth(np.zeros((9, 9), int), np.zeros((9, 9), int))
    with pytest.raises(InputError, match="no objects of 20 pixels"):
        normalized_covering(np.zeros((1, 1, 9, 9), int), [empty], rng=np.random.default_rng(0))


def test_masks_covering_of_every_true_segment_is_one_and_of_none_is_zero():
    truth = random_truth(np.random.default_rng(0))
    levels = (truth.objects, truth.collections, (truth.objects > 0).astype(int))
    segments = [level == segment for level in levels for segment in np.unique(level)]
    perfect = masks_covering(
        [MaskSet.of(np.stack(segments))], [truth], rng=np.random.default_rng(0)
    )
    assert perfect.mean == 1
    nothing = MaskSet.of(np.zeros((0, 24, 24), bool))
    assert masks_covering([nothing], [truth], rng=np.random.default_rng(0)).mean == 0


def test_masks_covering_agrees_with_normalized_covering_on_a_partition():
    rng = np.random.default_rng(4)
    truths, maps = [random_truth(rng)], random_maps(rng, views=1)
    masks = [cut == label for cut in maps[0] for label in np.unique(cut)]
    of_masks = masks_covering([MaskSet.of(np.stack(masks))], truths, rng=np.random.default_rng(2))
    of_maps = normalized_covering(maps, truths, rng=np.random.default_rng(2))
    np.testing.assert_allclose(of_masks.per_view, of_maps.per_view)


def test_masks_covering_scores_clicks_outside_every_mask_as_zero():
    whole = np.ones((10, 10), int)
    left = np.zeros((1, 10, 10), bool)
    left[:, :, :5] = True
    scores = masks_covering(
        [MaskSet.of(left)],
        [GroundTruth(whole, whole)],
        rng=np.random.default_rng(0),
        num_clicks=4000,
    )
    assert scores.objects == pytest.approx(0.5 * 0.5, abs=0.02)


def test_covering_scores_skip_views_without_segments():
    scores = LevelScores(np.array([[0.5, 0.7, 0.9], [np.nan, 0.9, 0.9], [0.7, 0.8, 0.9]]))
    assert scores.objects == pytest.approx(0.6)
    assert scores.standard_errors["objects"] == pytest.approx(0.1)
    assert scores.standard_errors["scene"] == pytest.approx(0)
    assert LevelScores(np.array([[0.5, 0.7, 0.9]])).standard_errors == {}


def one_segment(labels: np.ndarray) -> tuple[np.ndarray, list[GroundTruth]]:
    """One true segment of 40 pixels, and cuts of it."""
    whole = np.ones((1, 40), int)
    return np.reshape(labels, (1, -1, 1, 40)), [GroundTruth(whole, whole)]


def test_segmentation_injectivity_of_a_hand_worked_example():
    labels = np.repeat([0, 3], [30, 10])  # "None" is a segment like any other.
    maps, truths = one_segment(labels)
    scores = segmentation_injectivity(maps, truths, rng=np.random.default_rng(0), num_clicks=40_000)
    assert scores.objects == pytest.approx(0.75**2 + 0.25**2, abs=0.01)


def test_segmentation_injectivity_asks_the_cut_that_is_best_for_the_first_click():
    fine, coarse = np.arange(40), np.ones(40, int)
    maps, truths = one_segment(np.stack([fine, coarse]))
    assert segmentation_injectivity(maps, truths, rng=np.random.default_rng(0)).mean == 1


@given(seed=st.integers(0, 99))
def test_segmentation_injectivity_of_the_truth_is_one_whatever_the_numbers(seed):
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng) for _ in range(2)]
    maps = np.stack([[t.objects, t.collections, (t.objects > 0).astype(int)] for t in truths])
    assert segmentation_injectivity(maps, truths, rng=rng).mean == 1
    maps = random_maps(rng)
    renumbered = (7 * rng.permutation(6) + 3)[maps]
    found = [
        segmentation_injectivity(m, truths, rng=np.random.default_rng(1)).per_view
        for m in (maps, renumbered)
    ]
    np.testing.assert_array_equal(*found)


def test_fixed_covering_takes_one_cut_for_all_segments():
    objects = np.repeat([[1, 2, 3, 4]], 10, axis=0).repeat(5, axis=1)
    truth = GroundTruth(objects, (objects + 1) // 2)
    cuts = np.stack([objects, (objects + 1) // 2, np.ones_like(objects)])[None]
    _, fixed = coverings(cuts, [truth], rng=np.random.default_rng(0))
    assert fixed.nc == {"objects": 1, "collections": 1, "scene": 1, "mean": 1}
    assert fixed.cuts == {"objects": 0, "collections": 1, "scene": 2}
    mixed = np.where(objects > 2, 9, objects)  # Each cut is right for one half only.
    cuts = np.stack([mixed, np.where(objects > 2, objects, 9)])[None]
    oracle = normalized_covering(cuts, [truth], rng=np.random.default_rng(0))
    _, fixed = coverings(cuts, [truth], rng=np.random.default_rng(0))
    assert oracle.objects == 1
    assert fixed.nc["objects"] == pytest.approx(0.75)


def test_fixed_covering_of_one_cut_is_the_normalized_covering():
    rng = np.random.default_rng(4)
    truths, maps = [random_truth(rng)], random_maps(rng, views=1, cuts=1)
    _, fixed = coverings(maps, truths, rng=np.random.default_rng(2))
    assert fixed.nc == normalized_covering(maps, truths, rng=np.random.default_rng(2)).record()
