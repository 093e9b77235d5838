"""Normalized covering (NC) and segmentation injectivity (SI): accuracy and agreement of clicks."""

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
"""Labels above this are renumbered first, or histograms would be mostly empty."""


@dataclass(frozen=True)
class FixedCovering:
    """NC with one cut for all views, chosen once for each level."""

    nc: dict[str, float]
    """NC by level, and the `mean` of the three."""
    cuts: dict[str, int]
    """Index of the best cut, by level."""


def normalized_covering(
    label_maps: Int[np.ndarray, "V C H W"],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """Score nested cuts of one hierarchy against three levels of true segments.

    For each true segment A of at least `MIN_PIXELS` pixels, `num_clicks` random pixels of A are
    clicked. A click scores the best IoU with A, over all cuts, of the predicted segment that
    contains it. Scores are averaged over clicks, then segments, then views. NC grows with the
    number of cuts; headline figures use exactly 50.

    Source: UFF, supplement A.3; docs/metrics.md.

    Args:
        label_maps: Predicted segment of each pixel, per view and cut. Only equality within one
            map matters; 0, "none", is scored like any other segment.
        truths: Ground truth of the views, at the size of the maps.
        rng: Generator that draws the clicks. Equal generators click equal pixels, whatever is
            predicted.
        num_clicks: Number of clicks per true segment, drawn with replacement.

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

    This draws two random pixels of a true segment A, `num_clicks` times. In the cut that is best
    for the first (the finest of equally good ones), the IoU of the predicted segments containing
    the first and the second is 1 if they are one segment and 0 if they are two.

    Source: UFF, supplement A.3; docs/metrics.md.

    Args:
        label_maps: Label maps as for `normalized_covering`, cuts from fine to coarse.
        truths: Ground truth of the views, at the size of the maps.
        rng: Generator that draws the pixels.
        num_clicks: Number of pairs per true segment.

    Returns:
        Scores in [0, 1] per view and level.

    Raises:
        InputError: In the same cases as `normalized_covering`.
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
    """`normalized_covering`, together with NC without an oracle for each click.

    The latter uses one cut per level for all views and clicks, the one that scores best.

    Args:
        label_maps: Label maps as for `normalized_covering`.
        truths: Ground truth of the views, at the size of the maps.
        rng: Generator that draws the clicks.
        num_clicks: Number of clicks per true segment.

    Raises:
        InputError: In the same cases as `normalized_covering`.
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
    """Best cut of each level, over all views, and its score.

    Args:
        scores: NC of each view, level and cut; NaN where a view has no segment to score, but never
            in all views.
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
    """Score bags of 2D masks as if they were a segmentation, to measure the quality of the input.

    This differs from `normalized_covering` in that a click scores the best IoU with A of any *mask*
    that contains it, and 0 if no mask does.

    Args:
        masks: Masks of each view, already reduced to the size of its truth.
        truths: Ground truth of the same views.
        rng: Generator that draws the clicks.
        num_clicks: Number of clicks per true segment, drawn with replacement.

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
    """IoU of each pixel's predicted segment with its true one, in each cut.

    Args:
        maps: Predicted labels of each cut, at least 0.
        segments: True segment of each pixel, numbered from 0 without gaps.
    """
    if maps.max(initial=0) > LARGEST_LABEL:
        maps = np.stack([consecutive(labels) for labels in maps])
    return np.stack([overlaps(segments, labels)[segments, labels] for labels in maps])


def mask_ious(masks: MaskSet, segments: Int[np.ndarray, "P"]) -> Float[np.ndarray, "M S"]:
    """IoU of every mask with every true segment; segments are numbered from 0 without gaps."""
    sizes = np.bincount(segments)
    rows = np.empty((len(masks), len(sizes)))
    for row, packed in zip(rows, masks.packed, strict=True):
        inside = segments[np.unpackbits(packed, count=len(segments)).astype(bool)]
        joint = np.bincount(inside, minlength=len(sizes))
        row[:] = joint / (sizes + len(inside) - joint)
    return rows


def best_mask(masks: MaskSet, segments: Int[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """Best IoU with each pixel's true segment, over the masks that contain it; 0 if none does."""
    best = np.zeros(len(segments))
    for iou, packed in zip(mask_ious(masks, segments), masks.packed, strict=True):
        inside = np.unpackbits(packed, count=len(segments)).astype(bool)
        best[inside] = np.maximum(best[inside], iou[segments[inside]])
    return best
