"""From a finished run to the pictures of its report."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture import Capture
from splat_uff.capture.images import area_resize, reduced_size
from splat_uff.evaluate.config import EvaluateConfig
from splat_uff.evaluate.curves import read_log
from splat_uff.evaluate.palette import feature_colours, nested_colours
from splat_uff.evaluate.pictures import Report, ReportView, write_overview
from splat_uff.evaluate.report import write_report
from splat_uff.evaluate.score import Evaluation, label_view, scored_camera
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.render import Gaussians
from splat_uff.render.compositing import WHITE, blend_over_white, render_over_white

VIEWS = 4
"""Held-out views that are shown."""
WIDEST = 800
"""Pixels of the longer side of what is shown."""


def write_pictures(
    page: Path,
    overview: Path,
    *,
    capture: Capture,
    gaussians: Gaussians,
    features: Float[np.ndarray, "N D"],
    hierarchy: Hierarchy,
    evaluation: Evaluation,
    metrics: dict[str, Any],
    config: EvaluateConfig,
    log: Path,
    settings: dict[str, Any],
) -> None:
    """Write the report page and the overview picture of a run.

    Args:
        page: Where the HTML goes.
        overview: Where the PNG goes.
        capture: Its held-out views are shown, or training views where none is held out.
        gaussians: As fitted.
        features: One per Gaussian.
        hierarchy: Over the same Gaussians.
        evaluation: Scores and cuts.
        metrics: The whole of `metrics.json`; the report is titled by its `scene`.
        config: How pixels get their labels.
        log: The run's `log.jsonl`.
        settings: The run's configuration; names are joined by dots.
    """
    shown = capture.val or capture.train
    indices = np.unique(np.linspace(0, len(shown) - 1, VIEWS).round().astype(int))
    colours = gaussian_colours(features, hierarchy)
    views = []
    for index in indices:
        view = shown[index]
        camera = scored_camera(view)
        rows, columns = reduced_size(camera.height, camera.width, WIDEST)
        camera = camera.resized(columns, rows)
        labels = label_view(gaussians, hierarchy, camera, evaluation.cuts, config)
        height, width = reduced_size(view.camera.height, view.camera.width, WIDEST)
        shown_camera = view.camera.resized(width, height)
        photo = area_resize(view.composite(WHITE), height, width)
        rendering = render_over_white(gaussians, shown_camera)
        views.append(
            ReportView(
                view.name,
                photo,
                rendering,
                blend_over_white(colours, gaussians, shown_camera),
                _enlarge(labels, height, width),
                None if view.truth is None else view.truth.objects,
                None if view.truth is None else view.truth.collections,
            )
        )
    report = Report(
        scene=str(metrics["scene"]),
        metrics=metrics,
        views=tuple(views),
        colours=tuple(nested_colours(list(evaluation.cuts))),
        masks=str(metrics.get("masks", capture.masks)),
        curves=read_log(log) if log.exists() else {},
        settings=settings,
    )
    write_report(page, report)
    write_overview(overview, report)


def gaussian_colours(
    features: Float[np.ndarray, "N D"], hierarchy: Hierarchy
) -> Float[np.ndarray, "N 3"]:
    """Features as colours, by the directions in which those that shape the tree vary."""
    colours = np.full((len(features), 3), 0.5)
    colours[hierarchy.shaping] = feature_colours(features[hierarchy.shaping])
    return colours


def _enlarge(labels: Int[np.ndarray, "K h w"], height: int, width: int) -> Int[np.ndarray, "K H W"]:
    """Label maps at the size of the photo, by the nearest pixel."""
    rows = (np.arange(height) * labels.shape[1]) // height
    columns = (np.arange(width) * labels.shape[2]) // width
    return labels[:, rows][:, :, columns].astype(np.int32)
