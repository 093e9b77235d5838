"""Label maps of held-out views as files: ours for others to score, others' for us to score."""

from pathlib import Path
from typing import Any

from splat_uff.capture import read_capture
from splat_uff.capture.rotated import read_depths, read_rotated
from splat_uff.evaluate.layout import count_views, read_layout, write_layout
from splat_uff.evaluate.score import (
    click_scores,
    cut_heights,
    label_view,
    make_cuts,
    scored_camera,
    scores_by_depth,
)
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError
from splat_uff.system.progress import track

PUBLISHED_ANGLE = 10
"""Degrees of the rotated views that the published scripts score."""


def write_labels(path: Path, output: Path) -> int:
    """Write the label maps of a finished run in the layout of the published scripts.

    First the held-out views, then those rotated by 10 degrees, where the capture has them.

    Args:
        path: Run folder.
        output: New folder.

    Returns:
        Number of views written.

    Raises:
        InputError: If there is no finished run, nothing is held out, or `output` is there already.
    """
    run = open_run(path, finished=True)
    config = run.provenance.settings.evaluate
    if not run.capture.val:
        raise InputError(f"{run.capture.folder} holds out no views, so there is none to label.")
    cameras = [scored_camera(view) for view in run.capture.val]
    cameras += [view.camera for view in read_rotated(run.capture, PUBLISHED_ANGLE) or []]
    cuts = make_cuts(run.hierarchy, config)
    maps = [
        label_view(run.gaussians, run.hierarchy, camera, cuts, config)
        for camera in track(cameras, "labels", len(cameras))
    ]
    write_layout(output, maps, cut_heights(run.hierarchy, config))
    return len(maps)


def score_predictions(
    folder: Path, data: Path, *, scene: str = "", seed: int = 0, num_clicks: int = 100
) -> dict[str, Any]:
    """Score the label maps of any method against the ground truth of a capture.

    Args:
        folder: Label maps in the layout of the published scripts: first the held-out views, then,
            optionally, those rotated by 10 degrees.
        data: Capture with ground truth.
        scene: Its name; that of the folder `data` unless given.
        seed: Seeds the clicks.
        num_clicks: Clicks per true segment.

    Returns:
        NC, SI, and VC at 10 degrees where there are maps of rotated views, as in `metrics.json`.

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
