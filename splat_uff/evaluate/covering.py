"""NC and SI: how well a granularity answers a click, and whether it answers all clicks alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.levels import (
    LEVELS,
    LevelScores,
    check_maps,
    check_sizes,
    collect,
    consecutive,
    mean_row,
    overlaps,
    true_levels,
)
from splat_uff.masks.records import MaskSet

LARGEST_LABEL = 1000
"""Larger label numbers are renumbered first, or histograms would be mostly empty."""


@dataclass(frozen=True)
class FixedCovering:
    """NC with one cut for all views, chosen once for each level."""

    nc: dict[str, float]
    """By level, and `mean` of the three."""
    cuts: dict[str, int]
    """Index of the cut that is best for each level."""


def normalized_covering(
    label_maps: Int[np.ndarray, "V C H W"],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """Score nested cuts of one hierarchy against three levels of true segments.

    For each true segment A of at least `MIN_PIXELS` pixels, `num_clicks` random pixels of A are
    clicked. Each click is worth the best IoU with A, over all cuts, of the predicted segment that
    contains it. Clicks are averaged, then segments, then views. NC grows with the number of cuts;
    headline figures use exactly 50.

    Source: UFF, supplement A.3; docs/metrics.md.

    Args:
        label_maps: Predicted segment of each pixel, per view and cut. Only equality within one
            map matters; 0, "none", is scored as a segment like any other.
        truths: Ground truth of the views, at the size of the maps.
        rng: Draws the clicks. Equal generators click equal pixels, whatever is predicted.
        num_clicks: Clicks per true segment, drawn with replacement.

    Returns:
        Scores in [0, 1] per view and level.

    Raises:
        InputError: If sizes or numbers of views differ, labels are negative, or a level has no
            segment to score in any view.

    Example:
        >>> truth = np.repeat([[1, 2]], 5, axis=0).repeat(10, axis=1)
        >>> truths = [GroundTruth(truth, truth)]
        >>> rng = np.random.default_rng(0)
        >>> normalized_covering(truth[None, None], truths, rng=rng).objects
        1.0
    """
    return coverings(label_maps, truths, rng=rng, num_clicks=num_clicks)[0]


def segmentation_injectivity(
    label_maps: Int[np.ndarray, "V C H W"],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """SI: whether two clicks on one true segment get the same answer.

    `num_clicks` times, two random pixels of a true segment A are drawn. With the cut that is best
    for the first (the finest of equally good ones), the IoU of the predicted segments containing
    the first and the second is 1 if they are one segment and 0 if they are two.

    Source: UFF, supplement A.3; docs/metrics.md.

    Args:
        label_maps: As for `normalized_covering`, cuts from fine to coarse.
        truths: Ground truth of the views, at the size of the maps.
        rng: Draws the pixels.
        num_clicks: Pairs per true segment.

    Returns:
        Scores in [0, 1] per view and level.

    Raises:
        InputError: As `normalized_covering` does.
    """
    check_maps(label_maps, truths)

    def score(maps: np.ndarray, ious: np.ndarray, pixels: np.ndarray) -> float:
        first, second = rng.choice(pixels, (2, num_clicks))
        cuts = ious[:, first].argmax(axis=0)
        return float((maps[cuts, first] == maps[cuts, second]).mean())

    per_view = []
    for maps, truth in zip(label_maps.reshape(*label_maps.shape[:2], -1), truths, strict=True):
        rows = []
        for level in true_levels(truth):
            ious = cut_ious(maps, level.segments)
            rows.append([score(maps, ious, pixels) for pixels in level.scored])
        per_view.append(mean_row(rows))
    return collect(per_view)


def coverings(
    label_maps: Int[np.ndarray, "V C H W"],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> tuple[LevelScores, FixedCovering]:
    """`normalized_covering`, and beside it NC without an oracle for each click.

    The second has one cut a level, the same for all views and clicks: the one that scores best.

    Args:
        label_maps: As for `normalized_covering`.
        truths: Ground truth of the views, at the size of the maps.
        rng: Draws the clicks.
        num_clicks: Clicks per true segment.

    Raises:
        InputError: As `normalized_covering` does.
    """
    check_maps(label_maps, truths)
    best, by_cut = [], []
    for maps, truth in zip(label_maps.reshape(*label_maps.shape[:2], -1), truths, strict=True):
        clicked = []  # IoUs of the clicks in every cut, [C, K], by level and true segment.
        for level in true_levels(truth):
            ious = cut_ious(maps, level.segments)
            clicked.append([ious[:, rng.choice(pixels, num_clicks)] for pixels in level.scored])
        best.append(mean_row([[each.max(axis=0).mean() for each in level] for level in clicked]))
        nothing = np.full((1, len(maps)), np.nan)
        means = [[each.mean(axis=1) for each in level] or nothing for level in clicked]
        by_cut.append(np.stack([np.mean(level, axis=0) for level in means]))
    return collect(best), best_cuts(np.stack(by_cut))


def best_cuts(scores: Float[np.ndarray, "V 3 C"]) -> FixedCovering:
    """The best cut of each level, over all views, and what it scores.

    Args:
        scores: NC of each view, level and cut; NaN where a view has no segment to score, which is
            not so in all views.
    """
    table = np.nanmean(scores, axis=0)
    cuts = {level: int(row.argmax()) for level, row in zip(LEVELS, table, strict=True)}
    nc = {level: float(row.max()) for level, row in zip(LEVELS, table, strict=True)}
    return FixedCovering(nc | {"mean": sum(nc.values()) / len(nc)}, cuts)


def masks_covering(
    masks: Sequence[MaskSet],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """Score bags of 2D masks as if they were a segmentation, to know the quality of the input.

    As `normalized_covering`, but a click is worth the best IoU with A of any *mask* that contains
    it, and 0 where no mask does.

    Args:
        masks: The masks of each view, already reduced to the size of its truth.
        truths: Ground truth of the same views.
        rng: Draws the clicks.
        num_clicks: Clicks per true segment, drawn with replacement.

    Returns:
        Scores in [0, 1] per view and level.

    Raises:
        InputError: If sizes or numbers of views differ, or a level has no segment in any view.
    """
    check_sizes(len(masks), [(bag.height, bag.width) for bag in masks], truths)
    per_view = []
    for bag, truth in zip(masks, truths, strict=True):
        rows = []
        for level in true_levels(truth):
            best = best_mask(bag, level.segments)
            rows.append([best[rng.choice(pixels, num_clicks)].mean() for pixels in level.scored])
        per_view.append(mean_row(rows))
    return collect(per_view)


def cut_ious(
    maps: Int[np.ndarray, "C P"], segments: Int[np.ndarray, "P"]
) -> Float[np.ndarray, "C P"]:
    """IoU, in each cut, of each pixel's predicted segment with its true one.

    Args:
        maps: Labels, at least 0.
        segments: True segments, numbered from 0 without gaps.
    """
    if maps.max(initial=0) > LARGEST_LABEL:
        maps = np.stack([consecutive(labels) for labels in maps])
    return np.stack([overlaps(segments, labels)[segments, labels] for labels in maps])


def mask_ious(masks: MaskSet, segments: Int[np.ndarray, "P"]) -> Float[np.ndarray, "M S"]:
    """IoU of every mask with every true segment, the segments numbered from 0 without gaps."""
    sizes = np.bincount(segments)
    rows = np.empty((len(masks), len(sizes)))
    for row, packed in zip(rows, masks.packed, strict=True):
        inside = segments[np.unpackbits(packed, count=len(segments)).astype(bool)]
        joint = np.bincount(inside, minlength=len(sizes))
        row[:] = joint / (sizes + len(inside) - joint)
    return rows


def best_mask(masks: MaskSet, segments: Int[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """Best IoU, over the masks that hold a pixel, with its true segment; 0 without a mask."""
    best = np.zeros(len(segments))
    for iou, packed in zip(mask_ious(masks, segments), masks.packed, strict=True):
        inside = np.unpackbits(packed, count=len(segments)).astype(bool)
        best[inside] = np.maximum(best[inside], iou[segments[inside]])
    return best
