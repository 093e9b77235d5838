"""Ceilings: the scores these Gaussians could reach if each carried its true label."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from splat_uff.capture.records import GroundTruth, View
from splat_uff.render import Gaussians, blend_weights
from splat_uff.system.progress import track


def oracle_labels(gaussians: Gaussians, views: Sequence[View]) -> Int[np.ndarray, "3 N"]:
    """True object, collection and foreground of each Gaussian, by majority over views.

    Each pixel votes for its true segment with the Gaussian's blend weight in it; background votes,
    too. A label is the segment's id plus 1, so that background is an ordinary label; Gaussians that
    are visible in no view get 0.

    Args:
        gaussians: Fitted Gaussians.
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


def ceiling_ratios(metrics: dict[str, Any]) -> dict[str, Any]:
    """Scores of a run as shares of its ceilings, each a mean over the levels.

    Args:
        metrics: Scores as in `metrics.json`. Used are `nc`, `nc_fixed` and, by degrees, `vc` with
            published depth; each with its `_ceiling`.

    Returns:
        Ratios for `nc`, `nc_fixed` and, by degrees, `vc`, as far as both scores are known.

    Example:
        >>> ceiling_ratios({"nc": {"mean": 0.9}, "nc_ceiling": {"mean": 0.9}, "nc_fixed": {}})
        {'nc': 1.0}
    """
    found: dict[str, Any] = {}
    for name in ("nc", "nc_fixed"):
        bound = metrics.get(f"{name}_ceiling", {}).get("mean")
        if bound and name in metrics:
            found[name] = metrics[name]["mean"] / bound
    angles = {}
    for angle, bounds in metrics.get("vc_ceiling", {}).items():
        bound = bounds.get("published", {}).get("mean")
        score = metrics.get("vc", {}).get(angle, {}).get("published", {}).get("mean")
        if bound and score is not None:
            angles[angle] = score / bound
    return found | ({"vc": angles} if angles else {})


def _levels(view: View) -> list[Int[np.ndarray, "H W"]]:
    truth: GroundTruth | None = view.truth
    assert truth is not None, "The views of an oracle have ground truth."
    return [truth.objects, truth.collections, (truth.objects > 0).astype(np.int32)]
