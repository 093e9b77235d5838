"""View consistency (VC): whether a segment seen from two sides is the same segment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.covering import cut_ious, mask_ious
from splat_uff.evaluate.levels import (
    LevelScores,
    Undefined,
    check_maps,
    check_sizes,
    consecutive,
    mean_row,
    overlaps,
    true_levels,
)
from splat_uff.geometry.cameras import Camera, pixel_centres, project, unproject
from splat_uff.masks.records import MaskSet
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

_Choice = Callable[[Int[np.ndarray, "C"], int], Int[np.ndarray, "C"]]


@array_record
class Warp:
    """Mapping from each pixel of a view to the same surface point in the rotated view."""

    target: Int[np.ndarray, "P"]
    """Flattened pixel of the rotated view; -1 for background and points outside of it."""
    seen: Bool[np.ndarray, "P"]
    """Whether the surface under each pixel is also visible in the rotated view."""
    seen_there: Bool[np.ndarray, "Q"]
    """Whether the surface under each pixel of the rotated view is also visible in this view."""


def warp_pixels(
    camera: Camera,
    depth: Float[np.ndarray, "H W"],
    rotated: Camera,
    *,
    seen: Bool[np.ndarray, "H W"],
    seen_there: Bool[np.ndarray, "H W"],
    as_published: bool = False,
) -> Warp:
    """Project the surface under each pixel into the rotated view, to the pixel that it falls in.

    The published scripts subtract half a pixel before they round down, so half of all warps land
    one pixel to the left, and half one above; points outside are moved to the edge.

    Args:
        camera: Camera of the view, at the size of `depth`.
        depth: True depth (z), in world units, 0 for background.
        rotated: Camera of the rotated view.
        seen: Pixels that are co-visible in the rotated view.
        seen_there: Pixels of the rotated view that are co-visible in this one.
        as_published: Round and clip as the published scripts do.
    """
    flat = depth.ravel().astype(np.float64)
    solid = np.flatnonzero(flat > 0)
    points = unproject(camera, pixel_centres(camera)[solid], flat[solid])
    pixels, depths = project(rotated, points)
    pixels = np.where(depths[:, None] > 0, pixels, -1)
    if as_published:
        pixels = np.clip(pixels - 0.5, 0, np.array([rotated.width, rotated.height]) - 1)
    column, row = np.floor(pixels).astype(np.int64).T
    inside = (column >= 0) & (column < rotated.width) & (row >= 0) & (row < rotated.height)
    target = np.full(len(flat), -1)
    target[solid[inside]] = row[inside] * rotated.width + column[inside]
    return Warp(target, seen.ravel() & (target >= 0), seen_there.ravel())


def view_consistency(
    label_maps: Int[np.ndarray, "V C H W"],
    rotated_maps: Int[np.ndarray, "V C H W"],
    truths: Sequence[GroundTruth],
    warps: Sequence[Warp],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """VC: IoU of the segments that the same surface point selects in a view and in a rotated one.

    This is repeated `num_clicks` times for each true segment A. A first click, on any pixel of A,
    picks the cut that is best for it (the finest of equally good ones). A second click is drawn
    from the pixels of A that are co-visible and whose warp lands on a co-visible pixel that is
    labelled in that cut. The predicted segment around its warp in the rotated view, warped back, is
    compared by IoU with the segment around the second click, over the co-visible pixels of the
    view. Draws with no such second click are skipped.

    Source: UFF, supplement A.3; docs/metrics.md.

    Args:
        label_maps: Predicted segment of each pixel, per view and cut, cuts from fine to coarse;
            0 is no segment.
        rotated_maps: Label maps of the rotated views, with the same cuts.
        truths: Ground truth of the views, at the size of the maps.
        warps: Warp of each view to its rotated one.
        rng: Generator that draws the clicks.
        num_clicks: Number of draws per true segment.

    Returns:
        Scores in [0, 1] per view and level.

    Raises:
        InputError: If sizes or numbers differ.
        Undefined: If no segment of a level is seen and labelled in both views.
    """
    check_maps(label_maps, truths)
    check_maps(rotated_maps, truths)
    answers = [_Cuts(*pair) for pair in zip(_flat(label_maps), _flat(rotated_maps), strict=True)]
    return _score_views(answers, truths, warps, rng, num_clicks)


def masks_consistency(
    masks: Sequence[MaskSet],
    rotated: Sequence[MaskSet],
    truths: Sequence[GroundTruth],
    warps: Sequence[Warp],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """`view_consistency` of bags of masks, each mask being the same thing in both views.

    Each mask is a cut of its own: the mask, and the rest. The first click picks the best of the
    masks that contain it; if none does, the draw is skipped.

    Args:
        masks: Masks of each view, at the size of its truth.
        rotated: Masks of each rotated view, the same number in the same order.
        truths: Ground truth of the views.
        warps: Warp of each view to its rotated one.
        rng: Generator that draws the clicks.
        num_clicks: Number of draws per true segment.

    Raises:
        InputError: If sizes or numbers differ.
        Undefined: If no segment of a level is seen and labelled in both views.
    """
    check_sizes(len(masks), [(bag.height, bag.width) for bag in masks], truths)
    for view, (here, there) in enumerate(zip(masks, rotated, strict=True)):
        if len(here) != len(there):
            raise InputError(
                f"view {view} has {len(here)} masks and its rotated view {len(there)}; expected "
                "each mask in both, empty where it is not seen."
            )
    answers = [_Masks(*pair) for pair in zip(masks, rotated, strict=True)]
    return _score_views(answers, truths, warps, rng, num_clicks)


@array_record
class _Cuts:
    """Label maps of one view and of its rotated one, per cut."""

    here: Int[np.ndarray, "C P"]
    there: Int[np.ndarray, "C Q"]

    def chooser(self, segments: Int[np.ndarray, "P"]) -> _Choice:
        """Function that maps clicks and their true segment to the best cut of each click."""
        ious = cut_ious(self.here, segments)
        return lambda clicks, _: ious[:, clicks].argmax(axis=0)

    def labels(self, choice: int, both: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, ...]:
        """Labels of one cut at pixels of the view, and at the target pixels of the rotated one."""
        return self.here[choice, both], self.there[choice, targets]


@dataclass(frozen=True)
class _Masks:
    """Masks of one view and of its rotated one, with the interface of `_Cuts`."""

    here: MaskSet
    there: MaskSet

    def chooser(self, segments: Int[np.ndarray, "P"]) -> _Choice:
        """Function that maps clicks and their true segment to each click's mask; -1 is none."""
        if len(self.here) == 0:
            return lambda clicks, _: np.full(len(clicks), -1)
        ious = mask_ious(self.here, segments)

        def choose(clicks: np.ndarray, segment: int) -> np.ndarray:
            inside = self.here.at(clicks)
            best = np.where(inside, ious[:, segment, None], -1).argmax(axis=0)
            return np.where(inside.any(axis=0), best, -1)

        return choose

    def labels(self, choice: int, both: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, ...]:
        """Labels at pixels of the view and the rotated one: 1 in the mask and 0 outside of it."""
        one = slice(choice, choice + 1)
        here, there = self.here[one].at(both), self.there[one].at(targets)
        return here[0].astype(np.int64), there[0].astype(np.int64)


def _flat(maps: Int[np.ndarray, "V C H W"]) -> Int[np.ndarray, "V C P"]:
    return maps.reshape(*maps.shape[:2], -1)


def _score_views(
    answers: Sequence[_Cuts | _Masks],
    truths: Sequence[GroundTruth],
    warps: Sequence[Warp],
    rng: np.random.Generator,
    num_clicks: int,
) -> LevelScores:
    views = zip(answers, truths, warps, strict=True)
    table = np.stack([_score_view(*view, rng, num_clicks) for view in views])
    if np.isnan(table).all(axis=0).any():
        raise Undefined(
            "no labelled pixel of any true segment is seen in both views, so VC is undefined; "
            "check the co-visibility images and that the predictions are of these views."
        )
    return LevelScores(table)


def _score_view(
    answers: _Cuts | _Masks,
    truth: GroundTruth,
    warp: Warp,
    rng: np.random.Generator,
    num_clicks: int,
) -> Float[np.ndarray, "3"]:
    both = np.flatnonzero(warp.seen)
    position = np.full(len(warp.seen), -1)  # Index among the co-visible pixels.
    position[both] = np.arange(len(both))
    targets = warp.target[both]
    landing = warp.seen_there[targets]
    tables: dict[int, tuple[np.ndarray, ...]] = {}  # Filled when first needed.

    def table(choice: int) -> tuple[np.ndarray, ...]:
        if choice not in tables:
            ours, its = answers.labels(choice, both, targets)
            labelled = its > 0
            ours, its = consecutive(ours), consecutive(its)
            tables[choice] = overlaps(ours, its)[ours, its], landing & labelled
        return tables[choice]

    rows = []
    for level in true_levels(truth):
        choose = answers.chooser(level.segments)
        scores = []
        for pixels in level.scored:
            choices = choose(rng.choice(pixels, num_clicks), int(level.segments[pixels[0]]))
            candidates = position[pixels]
            candidates = candidates[candidates >= 0]
            found = []
            chosen = np.unique(choices[choices >= 0], return_counts=True)
            for choice, draws in zip(*chosen, strict=True):
                iou, allowed = table(int(choice))
                clickable = candidates[allowed[candidates]]
                if len(clickable):
                    found.append(iou[rng.choice(clickable, draws)])
            if found:
                scores.append(float(np.concatenate(found).mean()))
        rows.append(scores)
    return mean_row(rows)
