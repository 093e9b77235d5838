"""`report.html`: one self-contained page that shows the results of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from splat_uff.report.curves import Curves, draw_curve
from splat_uff.report.paint import paint
from splat_uff.report.pictures import Report, data_uri, segments_in_words, view_pictures
from splat_uff.report.tables import (
    COLUMNS,
    CONTEXT_TITLE,
    VC_ANGLES,
    ScoreRow,
    consistency_rows,
    fact_rows,
    format_count,
    format_score,
    mask_origin,
    score_rows,
    second_rows,
)
from splat_uff.system.files import replacing
from splat_uff.system.records import array_record

CURVE_TITLES = {
    "loss": "loss",
    "psnr": "PSNR in dB",
    "num_gaussians": "number of Gaussians",
    "ultrametric": "ultrametric loss",
    "euclidean": "Euclidean loss",
    "norm": "norm loss",
    "depth": "depth-continuity loss",
}
STAGE_TITLES = {"gaussians": "Geometry", "features": "Features"}


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML page that loads nothing from the network.

    Every name that comes from a file is escaped, so a folder called `<script>` is only text.

    Args:
        path: File to write; an existing one is replaced.
        report: Content of the report; parts without content are left out.
    """
    metrics = report.metrics
    angles = [f"{angle}°" for angle in VC_ANGLES]
    names = [view.name for view in report.views]
    page = _template("report.html").render(
        scene=report.scene,
        made=_made_by(report),
        figures=_figures(metrics),
        rows=list(zip(names, view_pictures(report), strict=False)),
        slider=_slider(report),
        scores=_ScoreTable(COLUMNS, score_rows(metrics)),
        consistency=_ScoreTable(angles, consistency_rows(metrics)),
        context_title=CONTEXT_TITLE,
        facts=fact_rows(metrics),
        curves=_charts(report.curves),
        seconds=_shares_of_longest(second_rows(metrics)),
        settings=report.settings,
        virtual=metrics.get("virtual_views", ""),
        sheet=report.sheet,
        borders=report.borders,
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def natural_marks(report: Report) -> dict[int, int]:
    """Slider place nearest, in ratio, to each natural level, by the level's number of segments."""
    segments = np.log(np.maximum(report.num_segments[::-1], 1))  # Coarse is on the left.
    return {
        int(level["segments"]): int(np.abs(segments - np.log(level["segments"])).argmin())
        for level in report.metrics.get("natural_levels", ())
    }


@dataclass(frozen=True)
class _ScoreTable:
    columns: Sequence[str]
    rows: Sequence[ScoreRow]


@array_record
class _Slider:
    """A slider over all granularities; without scripts, the page shows the middle one."""

    numbers: Sequence[int]
    """Number of segments at each place, from coarse on the left to fine on the right."""
    shown: int
    """Initial place of the slider."""
    levels: Sequence[dict[str, Any]]
    """Natural levels, in the form of `metrics.json`."""
    marks: Sequence[int]
    """Place nearest to each natural level."""
    stacks: Sequence[tuple[str, list[str]]]
    """Name of each view with its pictures as URIs, one for every place."""


def _template(name: str) -> Any:
    """Load a template; it escapes its values and fails on unknown names."""
    environment = Environment(
        loader=PackageLoader("splat_uff.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    environment.filters |= {
        "data_uri": data_uri,
        "score": format_score,
        "segments": segments_in_words,
    }
    return environment.get_template(name)


def _made_by(report: Report) -> list[str]:
    made = [f"2D input: {mask_origin(report.masks)}"]
    if "virtual_views" in report.metrics:
        made.insert(0, "from the splat alone, without photos")
    if "seed" in report.metrics:
        made.append(f"seed {report.metrics['seed']}")
    if "version" in report.metrics:
        made.append(f"splat-uff {report.metrics['version']}")
    return made


def _figures(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the key figures at the top of the page."""
    figures = []
    if "nc" in metrics:
        figures.append(("NC mean", f"{metrics['nc']['mean']:.3f}"))
    if "nc_fixed" in metrics:
        figures.append(("NC mean, one cut", f"{metrics['nc_fixed']['mean']:.3f}"))
    if "psnr" in metrics:
        figures.append(("PSNR", f"{metrics['psnr']:.1f} dB"))
    if "num_gaussians" in metrics:
        figures.append(("Gaussians", format_count(metrics["num_gaussians"])))
    if "total" in metrics.get("seconds", {}):
        figures.append(("total time", _duration(metrics["seconds"]["total"])))
    return figures


def _slider(report: Report) -> _Slider | None:
    if len(report.colours) < 2 or not report.views:
        return None
    return _Slider(
        numbers=report.num_segments[::-1],
        shown=len(report.colours) // 2,
        levels=report.metrics.get("natural_levels", ()),
        marks=list(natural_marks(report).values()),
        stacks=[
            (
                view.name,
                [
                    data_uri(paint(labels, table))
                    for labels, table in zip(view.labels, report.colours, strict=True)
                ][::-1],
            )
            for view in report.views[:4]
        ],
    )


def _charts(curves: Curves) -> list[tuple[str, list[str]]]:
    """Titles of stages, each with its curves as SVG."""
    stages = []
    for stage, columns in curves.items():
        charts = [
            draw_curve(CURVE_TITLES.get(name, name), columns["step"], values)
            for name, values in columns.items()
            if name != "step" and np.isfinite(values).any()
        ]
        if charts:
            stages.append((STAGE_TITLES.get(stage, stage), charts))
    return stages


def _shares_of_longest(stages: list[tuple[str, float]]) -> list[tuple[str, float, float]]:
    """Stages and their seconds, each with its share of the longest stage's seconds."""
    longest = max((seconds for stage, seconds in stages if stage != "total"), default=0) or 1
    return [(stage, seconds, seconds / longest) for stage, seconds in stages]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
