"""NC, normalized covering: how well the best of all granularities answers a click."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture.records import GroundTruth
from splat_uff.errors import InputError
from splat_uff.masks.records import MaskSet

LEVELS = ("objects", "collections", "scene")
"""Granularities of the ground truth, finest first."""
MIN_PIXELS = 20
"""True segments with fewer pixels are not scored."""


@dataclass(frozen=True)
class CoveringScores:
    """NC of one segmentation, from `normalized_covering` or `masks_covering`."""

    per_view: Float[np.ndarray, "V 3"]
    """One row a view, columns as in `LEVELS`; NaN where the view has no segment to score."""

    @property
    def objects(self) -> float:
        """NC at the level of objects, mean over views."""
        return float(np.nanmean(self.per_view[:, 0]))

    @property
    def collections(self) -> float:
        """NC at the level of collections, mean over views."""
        return float(np.nanmean(self.per_view[:, 1]))

    @property
    def scene(self) -> float:
        """NC of foreground and background, mean over views."""
        return float(np.nanmean(self.per_view[:, 2]))

    @property
    def mean(self) -> float:
        """Mean of the three levels, the headline figure."""
        return (self.objects + self.collections + self.scene) / 3

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard error over views of each level and of `mean`; empty with fewer than 2 views.

        Clicks of one view are averaged first: views, not clicks, are what a new run would redraw.
        """
        columns = [*self.per_view.T, self.per_view.mean(axis=1)]
        errors = {}
        for name, column in zip((*LEVELS, "mean"), columns, strict=True):
            scored = column[np.isfinite(column)]
            if len(scored) > 1:
                errors[name] = float(scored.std(ddof=1) / np.sqrt(len(scored)))
        return errors

    def record(self) -> dict[str, float]:
        """The four figures by name, as `metrics.json` keeps them."""
        return {name: getattr(self, name) for name in (*LEVELS, "mean")}


def normalized_covering(
    label_maps: Int[np.ndarray, "V C H W"],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> CoveringScores:
    """Score nested cuts of one hierarchy against three levels of true segments.

    For each true segment A of at least `MIN_PIXELS` pixels, `num_clicks` random pixels of A are
    clicked. Each click is worth the best IoU with A, over all cuts, of the predicted segment that
    contains it. Clicks are averaged, then segments, then views. NC grows with the number of cuts;
    headline figures use exactly 50.

    Source: METHOD.md section 7; UFF, supplement A.3.

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
    _check_sizes(len(label_maps), [label_maps.shape[2:]] * len(label_maps), truths)
    if label_maps.shape[1] == 0:
        raise InputError("no cuts to score; expected label maps of at least one granularity.")
    if label_maps.min() < 0:
        raise InputError(f"label {label_maps.min()} found; labels start at 0, which is none.")
    per_view = [
        _score_view(_CutOverlaps(maps), truth, num_clicks, rng)
        for maps, truth in zip(label_maps, truths, strict=True)
    ]
    return _collect(per_view)


def masks_covering(
    masks: Sequence[MaskSet],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> CoveringScores:
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
    _check_sizes(len(masks), [(bag.height, bag.width) for bag in masks], truths)
    per_view = [
        _score_view(_MaskOverlaps(bag), truth, num_clicks, rng)
        for bag, truth in zip(masks, truths, strict=True)
    ]
    return _collect(per_view)


class _CutOverlaps:
    """Best IoU of each pixel over the cuts of one view."""

    def __init__(self, maps: Int[np.ndarray, "C H W"]) -> None:
        self.cuts = [_consecutive(cut) for cut in maps.reshape(len(maps), -1)]

    def best_iou(self, truth: Int[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
        """Best IoU, over cuts, of a pixel's predicted segment with its true one."""
        best = np.zeros(len(truth))
        true_sizes = np.bincount(truth)
        for cut in self.cuts:
            sizes = np.bincount(cut)
            # One joint histogram replaces a boolean stack of every segment against every other.
            joint = np.bincount(
                truth * len(sizes) + cut, minlength=len(true_sizes) * len(sizes)
            ).reshape(len(true_sizes), len(sizes))
            iou = joint / (true_sizes[:, None] + sizes[None] - joint)
            np.maximum(best, iou[truth, cut], out=best)
        return best


class _MaskOverlaps:
    """Best IoU of each pixel over the masks of one view."""

    def __init__(self, bag: MaskSet) -> None:
        self.masks = bag.unpack().reshape(len(bag), bag.height * bag.width)

    def best_iou(self, truth: Int[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
        """Best IoU, over the masks that hold a pixel, with its true segment; 0 without a mask."""
        best = np.zeros(len(truth))
        true_sizes = np.bincount(truth)
        for mask in self.masks:
            inside = truth[mask]
            joint = np.bincount(inside, minlength=len(true_sizes))
            iou = joint / (true_sizes + len(inside) - joint)
            best[mask] = np.maximum(best[mask], iou[inside])
        return best


def _score_view(
    overlaps: _CutOverlaps | _MaskOverlaps,
    truth: GroundTruth,
    num_clicks: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "3"]:
    """NC of one view at each of the levels."""
    foreground = (truth.objects > 0).astype(np.int64)
    maps = {"objects": truth.objects, "collections": truth.collections, "scene": foreground}
    scores = np.full(len(LEVELS), np.nan)
    for column, level in enumerate(LEVELS):
        true_map = maps[level].ravel()
        ids = np.unique(true_map)
        segments = _consecutive(true_map)
        best = overlaps.best_iou(segments)
        covered = [
            best[rng.choice(pixels, num_clicks)].mean()
            for segment, pixels in enumerate(_pixels_of(segments))
            # Background is a segment of the scene, never an object or a collection.
            if len(pixels) >= MIN_PIXELS and (ids[segment] > 0 or level == "scene")
        ]
        if covered:
            scores[column] = np.mean(covered)
    return scores


def _collect(per_view: list[Float[np.ndarray, "3"]]) -> CoveringScores:
    table = np.stack(per_view)
    for level, column in zip(LEVELS, table.T, strict=True):
        if np.isnan(column).all():
            raise InputError(
                f"ground truth has no {level} of {MIN_PIXELS} pixels or more in any of "
                f"{len(table)} views, so NC is undefined; check the gt_seg files."
            )
    return CoveringScores(table)


def _consecutive(labels: Int[np.ndarray, "P"]) -> Int[np.ndarray, "P"]:
    """Renumber labels 0, 1, 2 ... in their order, without the sort of `np.unique`."""
    present = np.bincount(labels) > 0
    return (np.cumsum(present) - 1)[labels]


def _pixels_of(segments: Int[np.ndarray, "P"]) -> list[Int[np.ndarray, "..."]]:
    """The pixels of each of the consecutive segments, in row-major order."""
    order = np.argsort(segments, kind="stable")
    return np.split(order, np.cumsum(np.bincount(segments))[:-1])


def _check_sizes(
    num_views: int, sizes: Sequence[tuple[int, ...]], truths: Sequence[GroundTruth]
) -> None:
    if num_views != len(truths) or num_views == 0:
        raise InputError(
            f"{num_views} views are predicted and {len(truths)} have ground truth; "
            "pass one prediction for each truth, and at least one."
        )
    for view, (size, truth) in enumerate(zip(sizes, truths, strict=True)):
        for level in ("objects", "collections"):
            true_size = getattr(truth, level).shape
            if true_size != tuple(size):
                raise InputError(
                    f"view {view} is predicted at {size[0]} x {size[1]} and its true {level} are "
                    f"{true_size[0]} x {true_size[1]} pixels; predict at the size of the truth."
                )
