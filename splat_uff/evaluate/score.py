"""Scores of a run's Gaussians and tree on the held-out views."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture import Capture, View
from splat_uff.capture.images import area_resize
from splat_uff.capture.records import GroundTruth
from splat_uff.capture.rotated import (
    ANGLES,
    RotatedView,
    TrueDepth,
    read_depths,
    read_rotated,
)
from splat_uff.evaluate.ceiling import ceiling_ratios, oracle_labels
from splat_uff.evaluate.config import EvaluateConfig
from splat_uff.evaluate.consistency import Warp, view_consistency, warp_pixels
from splat_uff.evaluate.covering import (
    coverings,
    masks_covering,
    segmentation_injectivity,
)
from splat_uff.evaluate.explain import explain_masks
from splat_uff.evaluate.geometry import depth_error
from splat_uff.evaluate.images import score_images
from splat_uff.evaluate.levels import Undefined
from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import cut, cut_into, height_of, segment_counts
from splat_uff.hierarchy.labels import Parties, Votes, blended_votes, label_maps, nearest_votes
from splat_uff.hierarchy.natural import describe_levels
from splat_uff.hierarchy.segments import largest_first, numbered
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.render import Gaussians
from splat_uff.render.compositing import WHITE, render_over_white
from splat_uff.system.progress import notice, track
from splat_uff.system.records import array_record

STAGE = 4
"""Number of this stage's random stream."""
MOST_SEGMENTS = 200
"""Number of segments kept per cut, the largest; others become no segment (docs/metrics.md)."""


@array_record
class Evaluation:
    """Scores, and the cuts that they were computed from."""

    metrics: dict[str, Any]
    """Quality scores, as in `metrics.json`."""
    cuts: Int[np.ndarray, "K N"]
    """Segment of each Gaussian at K granularities, fine to coarse; 0 for the smallest segments."""


def evaluate(
    capture: Capture,
    gaussians: Gaussians,
    hierarchy: Hierarchy,
    val_masks: Sequence[tuple[MaskSet, MaskTree]],
    config: EvaluateConfig,
    *,
    seed: int,
    full: bool = False,
) -> Evaluation:
    """Score a run on its held-out views (docs/metrics.md).

    The scores are PSNR and SSIM, unless the photos are virtual; with ground truth, NC, SI and
    related scores; with true depth, the depth error.

    Args:
        capture: Capture whose held-out views are scored.
        gaussians: Fitted Gaussians.
        hierarchy: Hierarchy over the same Gaussians.
        val_masks: Input masks of the held-out views and their trees, to score beside ours; may be
            empty.
        config: Settings of the evaluation.
        seed: Seed of the clicks.
        full: Whether to add VC, if the capture has rotated views, the ceilings, and the ratios to
            them; takes longer.
    """
    cuts = make_cuts(hierarchy, config)
    parties = Parties.of(cuts)

    def see(camera: Camera) -> Int[np.ndarray, "K H W"]:
        return label_view(gaussians, hierarchy, camera, parties, config)

    metrics: dict[str, Any] = {
        "num_gaussians": len(gaussians),
        "num_segments": hierarchy.tree.most_segments,
        "num_cuts": len(cuts),
        "natural_levels": describe_levels(hierarchy, most_segments=config.most_segments),
        **_image_scores(capture, gaussians),
    }
    depths = read_depths(capture)
    if depths is not None:
        metrics["depth_error"] = _depth_errors(capture, gaussians, depths)
    known = [view for view in capture.val if view.truth is not None]
    maps = _see_truths(known, see)
    if any(len(masks) for masks, _ in val_masks):
        metrics["explained"] = _explained(capture, (bag for bag, _ in val_masks), maps, see)
    if known:
        truths = [view.truth for view in known if view.truth is not None]
        metrics |= click_scores(maps, truths, seed, config.clicks)
        metrics |= {"granularities": len(np.unique(cuts, axis=0))}
        metrics |= {"nesting_violations": count_nesting_violations(cuts)}
        if full:
            metrics |= _full_scores(capture, gaussians, see, maps, depths, config, seed)
            metrics["ratios"] = ceiling_ratios(metrics)
        metrics |= _masks_scores(val_masks, truths, seed, config.clicks)
    return Evaluation(metrics, cuts)


def _see_truths(
    known: Sequence[View], see: Callable[[Camera], Int[np.ndarray, "K H W"]]
) -> Int[np.ndarray, "V K H W"]:
    """Label maps of views with ground truth, at its size; an empty array if there are none."""
    if not known:
        return np.empty((0, 0, 0, 0), np.int16)
    return np.stack([see(scored_camera(view)) for view in track(known, "labels", len(known))])


def _explained(
    capture: Capture,
    bags: Iterable[MaskSet],
    maps: Int[np.ndarray, "V K H W"],
    see: Callable[[Camera], Int[np.ndarray, "K H W"]],
) -> float:
    """Mean IoU of the masks with the best segments, at the size of the photos.

    Label maps of ground truth are used where every photo has one of its own size.
    """
    sizes = {(view.camera.height, view.camera.width) for view in capture.val}
    if len(maps) == len(capture.val) and sizes == {maps.shape[2:]}:
        shown = iter(maps)
    else:
        shown = (see(view.camera) for view in capture.val)
    return float(explain_masks(track(shown, "explain", len(capture.val)), bags).mean())


def _image_scores(capture: Capture, gaussians: Gaussians) -> dict[str, float]:
    if not capture.val or capture.virtual:  # There is no photo to compare renderings with.
        return {}
    scores = score_images(
        (render_over_white(gaussians, view.camera), view.composite(WHITE).astype(np.float32))
        for view in track(capture.val, "render", len(capture.val))
    )
    return {"psnr": scores.psnr, "ssim": scores.ssim}


def _full_scores(
    capture: Capture,
    gaussians: Gaussians,
    see: Callable[[Camera], Int[np.ndarray, "K H W"]],
    maps: Int[np.ndarray, "V K H W"],
    depths: list[TrueDepth] | None,
    config: EvaluateConfig,
    seed: int,
) -> dict[str, Any]:
    """VC, if there is true depth, and the ceilings."""
    found: dict[str, Any] = {}
    if depths is not None and all(view.truth is not None for view in capture.val):
        found["vc"] = _consistencies(
            capture, see, maps, depths, "labels", seed=seed, num_clicks=config.clicks
        )
    return found | ceiling_scores(capture, gaussians, depths, seed=seed, num_clicks=config.clicks)


def _masks_scores(
    val_masks: Sequence[tuple[MaskSet, MaskTree]],
    truths: Sequence[GroundTruth],
    seed: int,
    num_clicks: int,
) -> dict[str, Any]:
    """NC of the masks themselves, if every held-out view has masks and ground truth."""
    if len(val_masks) != len(truths) or not all(len(masks) for masks, _ in val_masks):
        return {}
    bags = [
        masks_at_size(masks, truth) for (masks, _), truth in zip(val_masks, truths, strict=True)
    ]
    rng = np.random.default_rng([seed, STAGE])
    return {"nc_masks": masks_covering(bags, truths, rng=rng, num_clicks=num_clicks).record()}


def make_cuts(hierarchy: Hierarchy, config: EvaluateConfig) -> Int[np.ndarray, "K N"]:
    """Make the nested cuts to score, fine to coarse, each with its largest segments only."""
    tree = hierarchy.tree
    if config.cut_by == "heights":
        cuts = [cut(tree, height=height) for height in cut_heights(hierarchy, config)]
    else:
        cuts = [cut_into(tree, count) for count in _cut_counts(hierarchy, config)]
    return np.stack([numbered(labels, largest_first(labels)[:MOST_SEGMENTS]) for labels in cuts])


def cut_heights(hierarchy: Hierarchy, config: EvaluateConfig) -> list[float]:
    """Height in the tree of each cut of `make_cuts`."""
    tree = hierarchy.tree
    if config.cut_by == "segments":
        return [height_of(tree, count) for count in _cut_counts(hierarchy, config)]
    highest = config.highest_cut or float(tree.altitudes[-1])
    return [highest * rank / config.cuts for rank in range(1, config.cuts + 1)]


def _cut_counts(hierarchy: Hierarchy, config: EvaluateConfig) -> list[int]:
    """Number of segments in each cut, fine to coarse, if cuts are by segments."""
    most = min(config.most_segments, hierarchy.tree.most_segments)
    return segment_counts(most=most, count=config.cuts)[::-1].tolist()


def label_view(
    gaussians: Gaussians,
    hierarchy: Hierarchy,
    camera: Camera,
    cuts: Int[np.ndarray, "K N"] | Parties,
    config: EvaluateConfig,
) -> Int[np.ndarray, "K H W"]:
    """Label maps of what a camera sees, in each of the given cuts."""
    votes: Votes
    if config.labels == "nearest":
        votes = nearest_votes(gaussians, camera, hierarchy.shaping)
    else:
        votes = blended_votes(gaussians, camera)
    return label_maps(votes, cuts).astype(np.int16)


def scored_camera(view: View) -> Camera:
    """Camera of a view at the size of its ground truth, or of its photo if it has none."""
    if view.truth is None:
        return view.camera
    height, width = view.truth.objects.shape
    return view.camera.resized(width, height)


def click_scores(
    maps: Int[np.ndarray, "V K H W"], truths: list[GroundTruth], seed: int, num_clicks: int
) -> dict[str, Any]:
    """NC, with an oracle for each click and with one cut per level, and SI, as in `metrics.json`.

    Args:
        maps: Label maps of each view, cuts from fine to coarse.
        truths: Ground truth of the same views.
        seed: Seed of the clicks.
        num_clicks: Number of clicks per true segment.
    """

    def clicks() -> dict[str, Any]:
        return {"rng": np.random.default_rng([seed, STAGE]), "num_clicks": num_clicks}

    covering, fixed = coverings(maps, truths, **clicks())
    injectivity = segmentation_injectivity(maps, truths, **clicks())
    return {
        "nc": covering.record(),
        "nc_standard_errors": covering.standard_errors,
        "nc_fixed": fixed.nc,
        "nc_fixed_cuts": fixed.cuts,
        "si": injectivity.record(),
        "si_standard_errors": injectivity.standard_errors,
    }


def ceiling_scores(
    capture: Capture,
    gaussians: Gaussians,
    depths: list[TrueDepth] | None,
    *,
    seed: int,
    num_clicks: int,
) -> dict[str, Any]:
    """Scores these Gaussians could reach if each carried its true label, as in `metrics.json`.

    The cuts are the three labellings of `oracle_labels`, blended and scored like ours, on the same
    clicks.

    Args:
        capture: Capture whose training views give the labels. If these have no ground truth, the
            scored views do, and the scores are *optimistic*.
        gaussians: Fitted Gaussians.
        depths: True depth of the held-out views; if None, there is no VC.
        seed: Seed of the clicks.
        num_clicks: Number of clicks per true segment.
    """
    known = [view for view in capture.val if view.truth is not None]
    trained = [view for view in capture.train if view.truth is not None]
    labels = Parties.of(oracle_labels(gaussians, trained or known))

    def see(camera: Camera) -> Int[np.ndarray, "3 H W"]:
        return label_maps(blended_votes(gaussians, camera), labels)

    maps = np.stack([see(scored_camera(view)) for view in known])
    truths = [view.truth for view in known if view.truth is not None]
    rng = np.random.default_rng([seed, STAGE])
    covering, fixed = coverings(maps, truths, rng=rng, num_clicks=num_clicks)
    found: dict[str, Any] = {
        "nc_ceiling": {**covering.record(), "optimistic": not trained},
        "nc_fixed_ceiling": fixed.nc,
    }
    if depths is not None and len(known) == len(capture.val):
        found["vc_ceiling"] = _consistencies(
            capture, see, maps, depths, "ceiling", seed=seed, num_clicks=num_clicks
        )
    return found


def scores_by_depth(
    twins: Sequence[tuple[View, RotatedView, TrueDepth]],
    maps: Int[np.ndarray, "V K H W"],
    rotated_maps: Int[np.ndarray, "V K H W"],
    *,
    seed: int,
    degrees: int,
    num_clicks: int,
) -> dict[str, Any]:
    """VC at one angle with depth as published and, if it is known, with exact depth.

    Args:
        twins: Held-out views with ground truth, their rotated twins, and their true depth.
        maps: Label maps of the views.
        rotated_maps: Label maps of the twins.
        seed: Seed of the clicks.
        degrees: Angle of the rotation, in degrees.
        num_clicks: Number of draws per true segment.
    """
    views, rotated, depths = zip(*twins, strict=True)
    truths = [view.truth for view in views]
    found: dict[str, Any] = {}
    for kind in ("published", "exact"):
        known = [getattr(depth, kind) for depth in depths]
        if any(depth is None for depth in known):
            continue
        warps = warp_views(views, known, rotated, as_published=kind == "published")
        rng = np.random.default_rng([seed, STAGE, degrees])
        try:
            scores = view_consistency(
                maps, rotated_maps, truths, warps, rng=rng, num_clicks=num_clicks
            )
        except Undefined as reason:  # The other scores are still valid.
            notice(f"VC at {degrees} degrees, {kind} depth: {reason}")
            continue
        found[kind] = scores.record() | {"standard_errors": scores.standard_errors}
    return found


def warp_views(
    views: Sequence[View],
    depths: Sequence[Float[np.ndarray, "_ _"]],
    rotated: Sequence[RotatedView],
    *,
    as_published: bool,
) -> list[Warp]:
    """Warp each held-out view to its rotated twin, by true depth; see `warp_pixels`."""
    return [
        warp_pixels(
            scored_camera(view),
            depth,
            twin.camera,
            seen=twin.seen,
            seen_there=twin.seen_there,
            as_published=as_published,
        )
        for view, depth, twin in zip(views, depths, rotated, strict=True)
    ]


def count_nesting_violations(cuts: Int[np.ndarray, "K N"]) -> int:
    """Count the segments that lie in more than one segment of the next coarser cut; 0 in a tree.

    Args:
        cuts: Segment of each Gaussian in each cut, fine to coarse; 0 is no segment.
    """
    violations = 0
    for fine, coarse in pairwise(cuts):
        holders = np.unique(np.stack([fine, coarse])[:, fine > 0], axis=1)
        violations += holders.shape[1] - len(np.unique(holders[0]))
    return violations


def masks_at_size(masks: MaskSet, truth: GroundTruth) -> MaskSet:
    """Resize masks to the size of the truth, which may differ from the training images'."""
    height, width = truth.objects.shape
    if (masks.height, masks.width) == (height, width):
        return masks
    resized = [area_resize(mask.astype(np.float32), height, width) for mask in masks.unpack()]
    return MaskSet.of(np.stack(resized) >= 0.5)


def _depth_errors(
    capture: Capture, gaussians: Gaussians, depths: list[TrueDepth]
) -> dict[str, float]:
    cameras = [view.camera for view in capture.val]
    errors = {"published": depth_error(gaussians, cameras, [each.published for each in depths])}
    exact = [each.exact for each in depths if each.exact is not None]
    if len(exact) == len(depths):
        errors["exact"] = depth_error(gaussians, cameras, exact)
    return errors


def _consistencies(
    capture: Capture,
    see: Callable[[Camera], Int[np.ndarray, "K H W"]],
    maps: Int[np.ndarray, "V K H W"],
    depths: list[TrueDepth],
    title: str,
    *,
    seed: int,
    num_clicks: int,
) -> dict[str, Any]:
    """VC at each angle, with published and with exact depth, each with standard errors.

    Args:
        capture: Capture with ground truth for all held-out views.
        see: Returns the label maps of what a camera sees.
        maps: Label maps of the held-out views.
        depths: True depth of the held-out views.
        title: Title of the progress bars.
        seed: Seed of the clicks.
        num_clicks: Number of draws per true segment.
    """
    found: dict[str, Any] = {}
    for degrees in ANGLES:
        views = read_rotated(capture, degrees)
        if views is None:
            continue
        tracked = track(views, f"{title} {degrees}", len(views))
        rotated = np.stack([see(view.camera) for view in tracked])
        found[str(degrees)] = scores_by_depth(
            list(zip(capture.val, views, depths, strict=True)), maps, rotated,
            seed=seed, degrees=degrees, num_clicks=num_clicks,
        )  # fmt: skip
    return found
