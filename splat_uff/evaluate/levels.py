"""The three levels of true segments, and scores with one column per level."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture.records import GroundTruth
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

LEVELS = ("objects", "collections", "scene")
"""Granularities of the ground truth, finest first."""
MIN_PIXELS = 20
"""Minimum size of a true segment that is scored, in pixels."""


class Undefined(InputError):
    """Error: a score is undefined for these predictions, for example VC if nothing is labelled."""


@array_record
class LevelScores:
    """Scores of one segmentation, per view and level."""

    per_view: Float[np.ndarray, "V 3"]
    """One row per view, columns as in `LEVELS`; NaN where the view has no segment to score."""

    @property
    def objects(self) -> float:
        """Score at the level of objects, mean over views."""
        return float(np.nanmean(self.per_view[:, 0]))

    @property
    def collections(self) -> float:
        """Score at the level of collections, mean over views."""
        return float(np.nanmean(self.per_view[:, 1]))

    @property
    def scene(self) -> float:
        """Score of foreground and background, mean over views."""
        return float(np.nanmean(self.per_view[:, 2]))

    @property
    def mean(self) -> float:
        """Mean of the three levels, the headline figure."""
        return (self.objects + self.collections + self.scene) / 3

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard error over views of each level and of `mean`; empty with fewer than 2 views.

        Clicks of one view are averaged first, as repeating the experiment would redraw views, not
        clicks.
        """
        columns = [*self.per_view.T, self.per_view.mean(axis=1)]
        errors = {}
        for name, column in zip((*LEVELS, "mean"), columns, strict=True):
            scored = column[np.isfinite(column)]
            if len(scored) > 1:
                errors[name] = float(scored.std(ddof=1) / np.sqrt(len(scored)))
        return errors

    def record(self) -> dict[str, float]:
        """Scores of the levels and their mean, by name, as in `metrics.json`."""
        return {name: getattr(self, name) for name in (*LEVELS, "mean")}


@array_record
class TrueLevel:
    """One level of one view's ground truth."""

    segments: Int[np.ndarray, "P"]
    """Segment of each pixel, numbered from 0 without gaps, including background."""
    scored: list[Int[np.ndarray, "..."]]
    """Pixels of each segment that is scored, in row-major order."""


def true_levels(truth: GroundTruth) -> list[TrueLevel]:
    """Levels of one view, in the order of `LEVELS`.

    Segments under `MIN_PIXELS` are not scored; background is scored only at the level of the scene.
    """
    foreground = (truth.objects > 0).astype(np.int64)
    levels = []
    for name, values in zip(LEVELS, (truth.objects, truth.collections, foreground), strict=True):
        ids = np.unique(values)
        segments = consecutive(values.ravel())
        scored = [
            pixels
            for segment, pixels in enumerate(_pixels_of(segments))
            if len(pixels) >= MIN_PIXELS and (ids[segment] > 0 or name == "scene")
        ]
        levels.append(TrueLevel(segments, scored))
    return levels


def mean_row(scores: Sequence[Sequence[float]]) -> Float[np.ndarray, "3"]:
    """Mean score of each level over its segments; NaN if it has none."""
    return np.array([np.mean(found) if len(found) else np.nan for found in scores])


def collect(per_view: Sequence[Float[np.ndarray, "3"]]) -> LevelScores:
    """Combine the scores of all views.

    Raises:
        InputError: If a level has no score in any view.
    """
    table = np.stack(per_view)
    for level, column in zip(LEVELS, table.T, strict=True):
        if np.isnan(column).all():
            raise InputError(
                f"ground truth has no {level} of {MIN_PIXELS} pixels or more in any of "
                f"{len(table)} views, so they cannot be scored; check the gt_seg files."
            )
    return LevelScores(table)


def consecutive(labels: Int[np.ndarray, "P"]) -> Int[np.ndarray, "P"]:
    """Renumber labels as 0, 1, 2 ... in their order, without the sort of `np.unique`."""
    present = np.bincount(labels) > 0
    return (np.cumsum(present) - 1)[labels]


def overlaps(one: Int[np.ndarray, "P"], two: Int[np.ndarray, "P"]) -> Float[np.ndarray, "A B"]:
    """IoU of every segment of one labelling with every segment of another, both numbered from 0.

    One joint histogram replaces a stack of boolean masks for every pair of segments.
    """
    sizes, others = np.bincount(one), np.bincount(two)
    joint = np.bincount(one * len(others) + two, minlength=len(sizes) * len(others))
    joint = joint.reshape(len(sizes), len(others))
    return joint / (sizes[:, None] + others[None] - joint)


def check_maps(label_maps: Int[np.ndarray, "V C H W"], truths: Sequence[GroundTruth]) -> None:
    """Check that label maps can be scored against ground truth.

    Raises:
        InputError: If sizes or numbers of views differ, or labels are negative.
    """
    check_sizes(len(label_maps), [label_maps.shape[2:]] * len(label_maps), truths)
    if label_maps.shape[1] == 0:
        raise InputError("no cuts to score; expected label maps of at least one granularity.")
    if label_maps.min() < 0:
        raise InputError(f"label {label_maps.min()} found; labels start at 0, which is none.")


def check_sizes(
    num_views: int, sizes: Sequence[tuple[int, ...]], truths: Sequence[GroundTruth]
) -> None:
    """Check that there is one prediction for each truth, of the same size.

    Raises:
        InputError: If sizes or numbers of views differ, or there is none.
    """
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


def _pixels_of(segments: Int[np.ndarray, "P"]) -> list[Int[np.ndarray, "..."]]:
    order = np.argsort(segments, kind="stable")
    return np.split(order, np.cumsum(np.bincount(segments))[:-1])
