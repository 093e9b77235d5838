"""VC: whether a segment seen from one side is the same segment seen from another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.cameras import Camera, pixel_centres, project, unproject
from splat_uff.capture.records import GroundTruth
from splat_uff.errors import InputError
from splat_uff.evaluate.covering import cut_ious
from splat_uff.evaluate.levels import (
    LevelScores,
    check_maps,
    consecutive,
    mean_row,
    overlaps,
    true_levels,
)


@dataclass(frozen=True)
class Warp:
    """Where the surface under each pixel of a view is in the rotated view."""

    target: Int[np.ndarray, "P"]
    """Flattened pixel of the rotated view; -1 for background and what falls outside."""
    seen: Bool[np.ndarray, "P"]
    """Pixels whose surface the rotated view sees, too."""
    seen_there: Bool[np.ndarray, "Q"]
    """Pixels of the rotated view whose surface this view sees, too."""


def warp_pixels(
    camera: Camera,
    depth: Float[np.ndarray, "H W"],
    rotated: Camera,
    *,
    seen: Bool[np.ndarray, "H W"],
    seen_there: Bool[np.ndarray, "H W"],
) -> Warp:
    """Follow the surface under each pixel into the rotated view.

    Args:
        camera: Of the view, at the size of `depth`.
        depth: True depth (z), world units, 0 for background.
        rotated: Of the rotated view.
        seen: Pixels that are co-visible in the rotated view.
        seen_there: Pixels of the rotated view that are co-visible in this one.
    """
    flat = depth.ravel().astype(np.float64)
    solid = np.flatnonzero(flat > 0)
    points = unproject(camera, pixel_centres(camera)[solid], flat[solid])
    pixels, depths = project(rotated, points)
    column, row = np.floor(np.where(depths[:, None] > 0, pixels, -1)).astype(np.int64).T
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
    """VC: the IoU of what a click finds in a view and what the same spot finds in a rotated one.

    `num_clicks` times for each true segment A: a first click, any pixel of A, picks the cut that is
    best for it (the finest of equally good ones). A second is drawn from the pixels of A that are
    co-visible and whose warp lands on a co-visible pixel that is labelled in that cut. The
    predicted segment around its warp in the rotated view, warped back, is compared by IoU with the
    segment around the second click, over the co-visible pixels of the view. Draws with no such
    second click are skipped.

    Source: METHOD.md section 7; UFF, supplement A.3.

    Args:
        label_maps: Predicted segment of each pixel, per view and cut, cuts from fine to coarse;
            0 is none.
        rotated_maps: The same cuts in the rotated views.
        truths: Ground truth of the views, at the size of the maps.
        warps: From each view into its rotated one.
        rng: Draws the clicks.
        num_clicks: Draws per true segment.

    Returns:
        Scores in [0, 1] per view and level.

    Raises:
        InputError: If sizes or numbers differ, or no segment of a level is seen in both views.
    """
    check_maps(label_maps, truths)
    check_maps(rotated_maps, truths)
    views = zip(_flat(label_maps), _flat(rotated_maps), truths, warps, strict=True)
    table = np.stack([_score_view(*view, rng, num_clicks) for view in views])
    if np.isnan(table).all(axis=0).any():
        raise InputError(
            "no labelled pixel of any true segment is seen in both views, so VC is undefined; "
            "check the co-visibility images and that the predictions are of these views."
        )
    return LevelScores(table)


def _flat(maps: Int[np.ndarray, "V C H W"]) -> Int[np.ndarray, "V C P"]:
    return maps.reshape(*maps.shape[:2], -1)


def _score_view(
    maps: Int[np.ndarray, "C P"],
    rotated: Int[np.ndarray, "C Q"],
    truth: GroundTruth,
    warp: Warp,
    rng: np.random.Generator,
    num_clicks: int,
) -> Float[np.ndarray, "3"]:
    both = np.flatnonzero(warp.seen)
    position = np.full(len(warp.seen), -1)  # Of a pixel among the co-visible ones.
    position[both] = np.arange(len(both))
    targets = warp.target[both]
    landing = warp.seen_there[targets]
    tables: dict[int, tuple[np.ndarray, ...]] = {}  # Per cut, made when a click first asks for it.

    def table(cut: int) -> tuple[np.ndarray, ...]:
        if cut not in tables:
            there = rotated[cut, targets]
            ours, its = consecutive(maps[cut, both]), consecutive(there)
            tables[cut] = overlaps(ours, its)[ours, its], landing & (there > 0)
        return tables[cut]

    rows = []
    for level in true_levels(truth):
        ious = cut_ious(maps, level.segments)
        scores = []
        for pixels in level.scored:
            cuts = ious[:, rng.choice(pixels, num_clicks)].argmax(axis=0)
            candidates = position[pixels]
            candidates = candidates[candidates >= 0]
            found = []
            for cut, draws in zip(*np.unique(cuts, return_counts=True), strict=True):
                iou, allowed = table(int(cut))
                clickable = candidates[allowed[candidates]]
                if len(clickable):
                    found.append(iou[rng.choice(clickable, draws)])
            if found:
                scores.append(float(np.concatenate(found).mean()))
        rows.append(scores)
    return mean_row(rows)
