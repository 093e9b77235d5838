"""The ceiling: what these Gaussians could score if each bore its true label."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from splat_uff.capture.records import GroundTruth, View
from splat_uff.evaluate.covering import normalized_covering
from splat_uff.evaluate.levels import LevelScores
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.progress import track
from splat_uff.render import Gaussians, blend_weights


def oracle_labels(gaussians: Gaussians, views: Sequence[View]) -> Int[np.ndarray, "3 N"]:
    """The true object, collection and foreground of each Gaussian, by majority over views.

    Each pixel votes for its true segment with the weight that the Gaussian has in it; background
    votes, too. A label is the segment's id plus 1, so that background is a label like any other;
    Gaussians that no view sees get 0.

    Args:
        gaussians: As fitted.
        views: Views with ground truth.
    """
    truths = [_levels(view) for view in views]
    most = [1 + max(int(truth[level].max()) for truth in truths) for level in range(3)]
    votes = [np.zeros((len(gaussians), count), np.float32) for count in most]
    for view, truth in zip(track(views, "oracle", len(views)), truths, strict=True):
        height, width = truth[0].shape
        weights = blend_weights(gaussians, view.camera.resized(width, height)).T.tocsr()
        for level, found in enumerate(votes):
            found += weights @ np.eye(most[level], dtype=np.float32)[truth[level].ravel()]
    return np.stack([np.where(found.any(1), found.argmax(1) + 1, 0) for found in votes])


def score_ceiling(
    gaussians: Gaussians,
    labels: Int[np.ndarray, "3 N"],
    views: Sequence[View],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """NC of true labels, blended: of the three labellings each click takes the best.

    Args:
        gaussians: As fitted.
        labels: From `oracle_labels`.
        views: Held-out views with ground truth.
        rng: Draws the clicks.
        num_clicks: Clicks per true segment.
    """
    truths = [view.truth for view in views if view.truth is not None]
    maps = []
    for view, truth in zip(views, truths, strict=True):
        height, width = truth.objects.shape
        votes = blended_votes(gaussians, view.camera.resized(width, height))
        maps.append(label_maps(votes, labels))
    return normalized_covering(np.stack(maps), truths, rng=rng, num_clicks=num_clicks)


def _levels(view: View) -> list[Int[np.ndarray, "H W"]]:
    truth: GroundTruth | None = view.truth
    assert truth is not None, "The views of an oracle have ground truth."
    return [truth.objects, truth.collections, (truth.objects > 0).astype(np.int32)]
