"""What a run's Gaussians and tree are worth on the held-out views."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from splat_uff.capture import Capture, View
from splat_uff.capture.images import area_resize
from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.config import EvaluateConfig
from splat_uff.evaluate.covering import masks_covering, normalized_covering
from splat_uff.evaluate.images import score_images
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import cut, cut_into, segment_counts
from splat_uff.hierarchy.labels import Votes, blended_votes, label_maps, nearest_votes
from splat_uff.masks.records import MaskSet
from splat_uff.progress import track
from splat_uff.render import Gaussians, render_colours

STAGE = 4
"""Number of this stage's stream of random draws."""
MOST_LABELS = 200
"""Segments kept per cut, the largest ones; the others count as none (METHOD.md section 7)."""
WHITE = np.ones(3)


@dataclass(frozen=True)
class Evaluation:
    """Scores and what they were computed from."""

    metrics: dict[str, Any]
    """The part of `metrics.json` that is about quality."""
    cuts: Int[np.ndarray, "K N"]
    """Segment of each Gaussian at K granularities, fine to coarse; 0 for the smallest segments."""
    renderings: tuple[Float[np.ndarray, "_ _ 3"], ...]
    """One per held-out view, over white."""


def evaluate(
    capture: Capture,
    gaussians: Gaussians,
    hierarchy: Hierarchy,
    val_masks: list[MaskSet],
    config: EvaluateConfig,
    *,
    seed: int,
) -> Evaluation:
    """Score a run: PSNR and SSIM, and NC where there is ground truth (METHOD.md section 7).

    Args:
        capture: Its held-out views are scored.
        gaussians: As fitted.
        hierarchy: Over the same Gaussians.
        val_masks: Input masks of the held-out views, to score beside ours; may be empty.
        config: Settings.
        seed: Seeds the clicks.
    """
    cuts = make_cuts(hierarchy, config)
    metrics: dict[str, Any] = {"num_gaussians": len(gaussians), "num_cuts": len(cuts)}
    renderings = tuple(
        render_over_white(gaussians, view)
        for view in track(capture.val, "render", len(capture.val))
    )
    if renderings:
        photos = [view.composite(WHITE).astype(np.float32) for view in capture.val]
        scores = score_images(renderings, photos)
        metrics |= {"psnr": scores.psnr, "ssim": scores.ssim}
    known = [view for view in capture.val if view.truth is not None]
    if known:
        truths = [view.truth for view in known if view.truth is not None]
        maps = [
            label_view(gaussians, hierarchy, view, cuts, config)
            for view in track(known, "labels", len(known))
        ]
        clicks = {"num_clicks": config.clicks}
        rng = np.random.default_rng([seed, STAGE])
        covering = normalized_covering(np.stack(maps), truths, rng=rng, **clicks)
        metrics |= {"nc": covering.record(), "nc_standard_errors": covering.standard_errors}
        if val_masks and all(len(bag) for bag in val_masks) and len(known) == len(capture.val):
            rng = np.random.default_rng([seed, STAGE])
            bags = [_at_size(bag, truth) for bag, truth in zip(val_masks, truths, strict=True)]
            metrics["nc_masks"] = masks_covering(bags, truths, rng=rng, **clicks).record()
    return Evaluation(metrics, cuts, renderings)


def make_cuts(hierarchy: Hierarchy, config: EvaluateConfig) -> Int[np.ndarray, "K N"]:
    """The nested cuts to score, fine to coarse, each with its largest segments only."""
    tree = hierarchy.tree
    if config.cut_by == "heights":
        highest = config.highest_cut or tree.altitudes[-1]
        heights = highest * np.arange(1, config.cuts + 1) / config.cuts
        cuts = [cut(tree, height=float(height)) for height in heights]
    else:
        most = min(config.most_segments, tree.most_segments)
        counts = segment_counts(most=most, count=config.cuts)
        cuts = [cut_into(tree, int(count)) for count in counts[::-1]]
    return np.stack([_keep_largest(labels) for labels in cuts])


def label_view(
    gaussians: Gaussians,
    hierarchy: Hierarchy,
    view: View,
    cuts: Int[np.ndarray, "K N"],
    config: EvaluateConfig,
) -> Int[np.ndarray, "K H W"]:
    """Label maps of one view at the size of its ground truth, or of its photo where it has none."""
    camera = view.camera
    if view.truth is not None:
        height, width = view.truth.objects.shape
        camera = camera.resized(width, height)
    votes: Votes
    if config.labels == "nearest":
        votes = nearest_votes(gaussians, camera, hierarchy.shaping)
    else:
        votes = blended_votes(gaussians, camera)
    return label_maps(votes, cuts).astype(np.int16)


def render_over_white(gaussians: Gaussians, view: View) -> Float[np.ndarray, "H W 3"]:
    """The colours of a view as its photo shows them, opaque photos included."""
    with torch.no_grad():
        render = render_colours(gaussians, view.camera)
        image = render.values + (1 - render.alpha[..., None])
    return image.clamp(0, 1).cpu().numpy()


def _at_size(masks: MaskSet, truth: GroundTruth) -> MaskSet:
    """Masks at the size of the truth, which need not be the size that was trained on."""
    height, width = truth.objects.shape
    if (masks.height, masks.width) == (height, width):
        return masks
    resized = [area_resize(mask.astype(np.float32), height, width) for mask in masks.unpack()]
    return MaskSet.of(np.stack(resized) >= 0.5)


def _keep_largest(labels: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """Number segments by size from 1 and call all beyond the 200 largest none."""
    sizes = np.bincount(labels)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0][:MOST_LABELS]
    number = np.zeros(len(sizes), np.int32)
    number[order] = np.arange(1, len(order) + 1)
    return number[labels]
