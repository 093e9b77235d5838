"""Scoring of the label maps of any method."""

from pathlib import Path
from typing import Any

from splat_uff.capture import read_capture
from splat_uff.capture.rotated import read_depths, read_rotated
from splat_uff.evaluate.layout import PUBLISHED_ANGLE, count_views, read_layout
from splat_uff.evaluate.score import click_scores, scores_by_depth
from splat_uff.system.errors import InputError


def score_predictions(
    folder: Path, data: Path, *, scene: str = "", seed: int = 0, num_clicks: int = 100
) -> dict[str, Any]:
    """Score the label maps of any method against the ground truth of a capture.

    Args:
        folder: Label maps in the layout of the published scripts: first the held-out views, then,
            optionally, those rotated by 10 degrees.
        data: Folder of a capture with ground truth.
        scene: Name of the scene; the name of the folder `data` unless given.
        seed: Seed of the clicks.
        num_clicks: Number of clicks per true segment.

    Returns:
        NC, SI, and if there are maps of rotated views, VC at 10 degrees, as in `metrics.json`.

    Raises:
        InputError: If there is no ground truth, or a map is missing, damaged or of another size.
    """
    capture = read_capture(data)
    views = [view for view in capture.val if view.truth is not None]
    if not views or len(views) < len(capture.val):
        raise InputError(f"{data} has no ground truth for its held-out views (gt_seg/val).")
    count = count_views(folder)
    rotated = read_rotated(capture, PUBLISHED_ANGLE) if count >= 2 * len(views) else None
    maps = read_layout(folder, len(views) if rotated is None else 2 * len(views))
    truths = [view.truth for view in views if view.truth is not None]
    metrics = {"scene": scene or capture.name, "num_cuts": maps.shape[1]}
    metrics |= click_scores(maps[: len(views)], truths, seed, num_clicks)
    depths = read_depths(capture)
    if rotated is not None and depths is not None:
        metrics["vc"] = {
            str(PUBLISHED_ANGLE): scores_by_depth(
                list(zip(views, rotated, depths, strict=True)),
                maps[: len(views)], maps[len(views) :],
                seed=seed, degrees=PUBLISHED_ANGLE, num_clicks=num_clicks,
            )
        }  # fmt: skip
    return metrics
