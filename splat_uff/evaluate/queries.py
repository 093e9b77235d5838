"""Scores of dense features: the segment of a click is everything near it in feature space.

LSeg, DFF and LeRF segment a click by its feature: the segment consists of the pixels whose features
are within a distance of it, and the distances are the granularities (docs/research/baselines.md).
Segments of two clicks can overlap, so there are no label maps to score; otherwise, the metrics are
the same.
"""

from collections.abc import Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numba import njit, prange

from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.consistency import Warp
from splat_uff.evaluate.covering import FixedCovering, best_cuts
from splat_uff.evaluate.levels import (
    LevelScores,
    Undefined,
    check_sizes,
    collect,
    mean_row,
    true_levels,
)
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

STEPS = 1 << 16
"""Number of steps that squared distances of unit vectors, from 0 to 4, are quantized to."""
FEWEST = 1e-3
"""Share of the pairs of pixels that are within the finest distance."""
MOST_DISTANCES = 254


@array_record
class DenseView:
    """Features of every pixel of one view."""

    features: Float[np.ndarray, "H W D"]
    """Features, float32, of unit length; 0 where there are none."""
    covered: Bool[np.ndarray, "H W"]
    """Whether each pixel shows anything; VC never clicks on the others."""

    @staticmethod
    def of(features: Float[np.ndarray, "H W D"], covered: Bool[np.ndarray, "H W"]) -> "DenseView":
        """Scale features to unit length, and set those of uncovered pixels to 0."""
        features = features.astype(np.float32)
        lengths = np.linalg.norm(features, axis=2, keepdims=True)
        unit = np.where(lengths > 1e-9, features / np.maximum(lengths, 1e-9), 0)
        return DenseView(np.where(covered[..., None], unit, 0).astype(np.float32), covered)

    @property
    def flat(self) -> Float[np.ndarray, "P D"]:
        """Features with one row per pixel."""
        return self.features.reshape(-1, self.features.shape[2])


@array_record
class Distances:
    """Granularities: squared feature distances, fine to coarse."""

    steps: UInt8[np.ndarray, "_"]
    """Finest granularity that spans each step of squared distance."""
    count: int

    @staticmethod
    def of(squared: Float[np.ndarray, "T"]) -> "Distances":
        """Make granularities from squared distances in increasing order, 1 to `MOST_DISTANCES`.

        Raises:
            InputError: If there are none, or more.
        """
        if not 0 < len(squared) <= MOST_DISTANCES:
            raise InputError(f"{len(squared)} distances; expected 1 to {MOST_DISTANCES}.")
        edges = np.floor(np.clip(squared, 0, 4) * (STEPS / 4)).astype(np.int64)
        steps = np.searchsorted(edges, np.arange(STEPS + 1), side="left")
        return Distances(steps.astype(np.uint8), len(squared))


@array_record
class _Rows:
    """Pixels of a view to compare with; all those without a feature share the last row."""

    flat: Float[np.ndarray, "R D"]
    weight: Int[np.ndarray, "R"]
    """Number of pixels of each row."""
    of_pixel: Int[np.ndarray, "P"]

    @staticmethod
    def of(flat: Float[np.ndarray, "P D"]) -> "_Rows":
        known = flat.any(axis=1)
        of_pixel = np.where(known, np.cumsum(known) - 1, known.sum())
        rows, weight = flat[known], np.ones(known.sum(), np.int64)
        if not known.all():
            rows = np.concatenate([rows, np.zeros((1, flat.shape[1]), np.float32)])
            weight = np.append(weight, (~known).sum())
        return _Rows(rows, weight, of_pixel)

    def ranks(self, clicks: Int[np.ndarray, "C"], distances: Distances):
        """Ranks of all rows for each distinct clicked row, and the index of each click's row."""
        rows, back = np.unique(self.of_pixel[clicks], return_inverse=True)
        return _ranks(self.flat[rows], self.flat, distances), back

    def inside(self, pixels: Int[np.ndarray, "A"]) -> Int[np.ndarray, "R"]:
        """Number of the given pixels that each row stands for."""
        return np.bincount(self.of_pixel[pixels], minlength=len(self.flat))


def choose_distances(
    views: Sequence[DenseView], count: int, *, rng: np.random.Generator, pairs: int = 200_000
) -> Distances:
    """Choose distances that span shares of the pairs of pixels, evenly spaced in their logarithm.

    Like cuts that are even in the logarithm of their number of segments, they suit any features,
    whichever part of the range of distances these fill.

    Args:
        views: Views whose pixels are paired, each with others of its view.
        count: Number of distances.
        rng: Generator that draws the pairs.
        pairs: Number of pairs of pixels, over all views.
    """
    found = []
    for view in views:
        ends = rng.integers(0, view.flat.shape[0], (2, max(pairs // len(views), 1)))
        found.append(((view.flat[ends[0]] - view.flat[ends[1]]) ** 2).sum(axis=1))
    shares = np.geomspace(FEWEST, 1, count)
    return Distances.of(np.quantile(np.concatenate(found), shares))


def query_scores(
    views: Sequence[DenseView],
    truths: Sequence[GroundTruth],
    distances: Distances,
    *,
    seeds: Sequence[int],
    num_clicks: int = 100,
) -> tuple[LevelScores, LevelScores, FixedCovering]:
    """NC, SI and NC with one distance per level; see `coverings` and `segmentation_injectivity`.

    SI is the IoU of the segments of two clicks, which can lie between 0 and 1.

    Args:
        views: Features of each view, at the size of its truth.
        truths: Ground truth of the same views.
        distances: Granularities to score.
        seeds: Seeds of a generator for each metric. Equal seeds click on the same pixels as equal
            generators for label maps.
        num_clicks: Number of clicks, and of pairs of clicks, per true segment.

    Raises:
        InputError: If sizes or numbers of views differ, or a level has no segment in any view.
    """
    check_sizes(len(views), [view.covered.shape for view in views], truths)
    covering_rng, pairs_rng = (np.random.default_rng(list(seeds)) for _ in range(2))
    nothing = np.full((1, distances.count), np.nan)
    coverings, injectivities, by_distance = [], [], []
    for view, truth in zip(views, truths, strict=True):
        known = _Rows.of(view.flat)
        rows: tuple[list, list, list] = [], [], []
        for level in true_levels(truth):
            scores: tuple[list, list, list] = [], [], []
            for pixels in level.scored:
                inside = known.inside(pixels)
                ranks, back = known.ranks(covering_rng.choice(pixels, num_clicks), distances)
                ious = _ious(ranks, inside, known.weight, distances.count)[back]
                scores[0].append(ious.max(axis=1).mean())
                scores[2].append(ious.mean(axis=0))
                pairs = pairs_rng.choice(pixels, (2, num_clicks))
                (one, first), (two, second) = (known.ranks(ends, distances) for ends in pairs)
                cuts = _ious(one, inside, known.weight, distances.count).argmax(axis=1)
                alike = _segment_ious(one, two, first, second, cuts[first], known.weight)
                scores[1].append(alike.mean())
            for row, score in zip(rows, scores, strict=True):
                row.append(score)
        coverings.append(mean_row(rows[0]))
        injectivities.append(mean_row(rows[1]))
        by_distance.append(np.stack([np.mean(level or nothing, axis=0) for level in rows[2]]))
    return collect(coverings), collect(injectivities), best_cuts(np.stack(by_distance))


def query_consistency(
    views: Sequence[DenseView],
    rotated: Sequence[DenseView],
    truths: Sequence[GroundTruth],
    warps: Sequence[Warp],
    distances: Distances,
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """VC of dense features; see `view_consistency`.

    The segment in the rotated view consists of the pixels near the feature found *there* at the
    warp of the second click.

    Args:
        views: Features of each view, at the size of its truth.
        rotated: Features of the rotated views.
        truths: Ground truth of the views.
        warps: Warp of each view to its rotated one.
        distances: Granularities to score.
        rng: Generator that draws the clicks.
        num_clicks: Number of draws per true segment.

    Raises:
        InputError: If sizes or numbers differ.
        Undefined: If no segment of a level is seen and covered in both views.
    """
    check_sizes(len(views), [view.covered.shape for view in views], truths)
    table = []
    for view, twin, truth, warp in zip(views, rotated, truths, warps, strict=True):
        pair = _Pair.of(view, twin, warp)
        scores = [
            [pair.score(pixels, distances, rng, num_clicks) for pixels in level.scored]
            for level in true_levels(truth)
        ]
        rows = [[score for score in row if score is not None] for row in scores]
        table.append(mean_row(rows))
    if np.isnan(table).all(axis=0).any():
        raise Undefined(
            "no covered pixel of any true segment is seen in both views, so VC is undefined; "
            "check the co-visibility images."
        )
    return LevelScores(np.stack(table))


@array_record
class _Pair:
    """Features of one view and of its rotated one, P pixels each."""

    here: Float[np.ndarray, "P D"]
    there: Float[np.ndarray, "P D"]
    warp: Warp
    ours: Float[np.ndarray, "B D"]
    """Features of the pixels that are visible in both."""
    theirs: Float[np.ndarray, "B D"]
    """Features of the same surface points in the rotated view."""
    is_allowed: Bool[np.ndarray, "P"]
    """Whether the second click may fall on a pixel: it is visible and covered in both."""
    known: _Rows
    """Rows of the view."""

    @staticmethod
    def of(view: DenseView, twin: DenseView, warp: Warp) -> "_Pair":
        here, there = view.flat, twin.flat
        both = np.flatnonzero(warp.seen)
        targets = warp.target[both]
        is_allowed = np.zeros(len(here), bool)
        is_allowed[both] = (warp.seen_there & twin.covered.ravel())[targets]
        return _Pair(here, there, warp, here[both], there[targets], is_allowed, _Rows.of(here))

    def score(
        self,
        pixels: Int[np.ndarray, "S"],
        distances: Distances,
        rng: np.random.Generator,
        num_clicks: int,
    ) -> float | None:
        """VC of one true segment; None if it has no pixel for a second click."""
        known = self.known
        ranks, back = known.ranks(rng.choice(pixels, num_clicks), distances)
        ious = _ious(ranks, known.inside(pixels), known.weight, distances.count)
        best = ious.argmax(axis=1)
        clickable = pixels[self.is_allowed[pixels]]
        if len(clickable) == 0:
            return None
        clicks, each = np.unique(rng.choice(clickable, num_clicks), return_inverse=True)
        one = _ranks(self.here[clicks], self.ours, distances)
        two = _ranks(self.there[self.warp.target[clicks]], self.theirs, distances)
        ones = np.ones(len(self.ours), np.int64)
        return float(_segment_ious(one, two, each, each, best[back], ones).mean())


def _ranks(
    clicked: Float[np.ndarray, "C D"], flat: Float[np.ndarray, "P D"], distances: Distances
) -> UInt8[np.ndarray, "C P"]:
    """Finest granularity at which each pixel belongs to the segment of each click."""
    one, two = (rows.any(axis=1).astype(np.float32) for rows in (clicked, flat))  # Length 1, or 0.
    return _look_up(clicked @ flat.T, one, two, distances.steps)


@njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _look_up(products, clicked, lengths, steps):
    ranks = np.empty(products.shape, np.uint8)
    scale, last = np.float32((len(steps) - 1) / 4), np.float32(len(steps) - 1)
    for c in prange(len(products)):
        for p in range(products.shape[1]):
            squared = clicked[c] + lengths[p] - np.float32(2) * products[c, p]
            ranks[c, p] = steps[np.int32(min(max(squared * scale, np.float32(0)), last))]
    return ranks


@njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _ious(ranks, inside, weight, count):
    """IoU of the segment of each click with the true one, per granularity."""
    ious = np.zeros((len(ranks), count))
    size = inside.sum()
    for c in prange(len(ranks)):
        inner, both = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
        for p in range(ranks.shape[1]):
            inner[ranks[c, p]] += inside[p]
            both[ranks[c, p]] += weight[p]
        found, around = 0, 0
        for k in range(count):
            found += inner[k]
            around += both[k] - inner[k]
            ious[c, k] = found / (size + around)
    return ious


@njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _segment_ious(one, two, first, second, cuts, weight):
    """IoU of the segments of two clicks at one granularity, for each pair of rows."""
    ious = np.zeros(len(cuts))
    for c in prange(len(cuts)):
        a, b, k, joint, either = first[c], second[c], cuts[c], 0, 0
        for p in range(len(weight)):
            here, there = one[a, p] <= k, two[b, p] <= k
            joint += weight[p] * (here and there)
            either += weight[p] * (here or there)
        ious[c] = joint / max(either, 1)
    return ious
