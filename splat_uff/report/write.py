"""The report of a run, made from its files and its scores."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from splat_uff.capture import View
from splat_uff.capture.images import area_resize, reduced_size
from splat_uff.evaluate.score import Evaluation, label_view, scored_camera
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.render.compositing import WHITE, blend_over_white, render_over_white
from splat_uff.report.curves import read_log
from splat_uff.report.html import write_report as write_page
from splat_uff.report.paint import feature_colours, nested_colours
from splat_uff.report.pictures import Report, ReportView, write_overview
from splat_uff.run.open import Run
from splat_uff.settings import flatten
from splat_uff.system.progress import notice

VIEWS = 4
"""Number of held-out views that are shown."""
WIDEST = 800
"""Longer side of the pictures shown, in pixels."""
THUMB = 96
"""Longer side of the virtual photos on their sheet, in pixels."""


def write_report(run: Run, evaluation: Evaluation, metrics: dict[str, Any]) -> None:
    """Write the report page and the overview picture of a run.

    Args:
        run: Run whose held-out views are shown, or training views if none are held out.
        evaluation: Scores and cuts of the run.
        metrics: Full content of `metrics.json`, which is written only after this.

    Raises:
        InputError: If the features of the run are missing or damaged.
    """
    shown = run.capture.val or run.capture.train
    indices = np.unique(np.linspace(0, len(shown) - 1, VIEWS).round().astype(int))
    colours = gaussian_colours(run.features, run.hierarchy)
    report = Report(
        scene=str(metrics["scene"]),
        metrics=metrics,
        views=tuple(_show(run, shown[index], colours, evaluation) for index in indices),
        colours=tuple(nested_colours(list(evaluation.cuts))),
        masks=str(metrics.get("masks", run.capture.masks)),
        curves=read_log(run.folder.log) if run.folder.log.exists() else {},
        settings=flatten(msgspec.to_builtins(run.provenance)),
        sheet=_contact_sheet(run.capture.train) if run.capture.virtual else None,
        borders=_picture(run.folder.borders_sheet),
    )
    write_page(run.folder.report, report)
    write_overview(run.folder.overview, report)


def _picture(path: Path) -> Float[np.ndarray, "H W 3"] | None:
    """Colours of a picture in [0, 1], if there is one; a notice if it is damaged."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"), np.float32) / 255
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        notice(f"{path} is damaged; the report is written without it.")
        return None


def _contact_sheet(views: Sequence[View]) -> Float[np.ndarray, "A B 3"]:
    """All photos side by side, over white; as many in a row as make the sheet twice as wide."""
    columns = math.ceil(math.sqrt(2 * len(views)))
    thumbs = [
        area_resize(view.composite(WHITE), *reduced_size(camera.height, camera.width, THUMB))
        for view, camera in ((view, view.camera) for view in views)
    ]
    height, width = (max(thumb.shape[axis] for thumb in thumbs) for axis in (0, 1))
    sheet = np.ones((-(-len(thumbs) // columns) * height, columns * width, 3))
    for index, thumb in enumerate(thumbs):
        top, left = (index // columns) * height, (index % columns) * width
        sheet[top : top + thumb.shape[0], left : left + thumb.shape[1]] = thumb
    return sheet


def _show(
    run: Run, view: View, colours: Float[np.ndarray, "N 3"], evaluation: Evaluation
) -> ReportView:
    """Make the pictures of one view for the report."""
    camera = scored_camera(view)
    rows, columns = reduced_size(camera.height, camera.width, WIDEST)
    config, camera = run.provenance.settings.evaluate, camera.resized(columns, rows)
    labels = label_view(run.gaussians, run.hierarchy, camera, evaluation.cuts, config)
    height, width = reduced_size(view.camera.height, view.camera.width, WIDEST)
    shown_camera = view.camera.resized(width, height)
    return ReportView(
        view.name,
        area_resize(view.composite(WHITE), height, width),
        render_over_white(run.gaussians, shown_camera),
        blend_over_white(colours, run.gaussians, shown_camera),
        _enlarge(labels, height, width),
        None if view.truth is None else view.truth.objects,
        None if view.truth is None else view.truth.collections,
    )


def gaussian_colours(
    features: Float[np.ndarray, "N D"], hierarchy: Hierarchy
) -> Float[np.ndarray, "N 3"]:
    """Features as colours, along the main directions of those that shape the tree."""
    colours = np.full((len(features), 3), 0.5)
    colours[hierarchy.shaping] = feature_colours(features[hierarchy.shaping])
    return colours


def _enlarge(labels: Int[np.ndarray, "K h w"], height: int, width: int) -> Int[np.ndarray, "K H W"]:
    """Scale label maps to the size of the photo, taking the nearest pixel."""
    rows = (np.arange(height) * labels.shape[1]) // height
    columns = (np.arange(width) * labels.shape[2]) // width
    return labels[:, rows][:, :, columns].astype(np.int32)
