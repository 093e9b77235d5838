"""`report.html`: one self-contained page that shows what a run has found."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.evaluate.curves import Log, draw_curve
from splat_uff.evaluate.palette import paint
from splat_uff.evaluate.pictures import Report, data_uri, segments_in_words, view_pictures
from splat_uff.evaluate.tables import (
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
from splat_uff.files import replacing

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
    """Write the report as one HTML page that asks nothing of the network.

    Every name that comes from a file is escaped, so a folder called `<script>` is only text.

    Args:
        path: Where the page goes; an existing one is replaced.
        report: What to show; parts without content are left out.
    """
    sections = [
        _header(report),
        _views_section(report),
        _granularity_section(report),
        _scores_section(report),
        _curves_section(report.curves),
        _time_section(report.metrics),
        _settings_section(report),
    ]
    page = _PAGE.format(
        title=escape(f"{report.scene} · splat-uff"),
        style=_STYLE,
        body="\n".join(section for section in sections if section),
        script=_SCRIPT if len(report.colours) > 1 else "",
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _header(report: Report) -> str:
    metrics = report.metrics
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
    tiles = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in figures
    )
    made = [f"2D input: {mask_origin(report.masks)}"]
    if "seed" in metrics:
        made.append(f"seed {metrics['seed']}")
    if "version" in metrics:
        made.append(f"splat-uff {metrics['version']}")
    return (
        f"<header><h1>{escape(report.scene)}</h1>"
        "<p>Hierarchical 3D segmentation of a Gaussian splat<br>"
        f"{escape(' · '.join(made))}</p>"
        f'<div class="tiles">{tiles}</div></header>'
    )


def _views_section(report: Report) -> str:
    rows = []
    for view, pictures in zip(report.views, view_pictures(report), strict=False):
        figures = "".join(
            f'<figure><img class="{"flat" if picture.is_flat else "photo"}" '
            f'src="{data_uri(picture.pixels)}" '
            f'alt="{escape(picture.title)} of view {escape(view.name)}">'
            f"<figcaption>{escape(picture.title)}</figcaption></figure>"
            for picture in pictures
        )
        rows.append(
            f'<h3>{escape(view.name)}</h3><div class="row" style="--columns: {len(pictures)}">'
            f"{figures}</div>"
        )
    if not rows:
        return ""
    note = (
        "Views that were not trained on. One colour is one segment, in every view; going from "
        "coarse to fine, the largest part keeps the colour of the whole."
    )
    return f"<section><h2>Held-out views</h2><p>{note}</p>{''.join(rows)}</section>"


def _granularity_section(report: Report) -> str:
    """A slider over all granularities; without scripts, the middle one stays."""
    count = len(report.colours)
    if count < 2 or not report.views:
        return ""
    middle = (count - 1) // 2
    stacks = []
    for view in report.views[:4]:
        # Coarse is on the left of the slider, fine on its right.
        images = "".join(
            f'<img class="flat" alt="{segments_in_words(report.num_segments[place])} in view '
            f'{escape(view.name)}" src="{data_uri(paint(view.labels[place], table))}"'
            f"{'' if place == middle else ' hidden'}>"
            for place, table in reversed(list(enumerate(report.colours)))
        )
        stacks.append(
            f'<figure class="stack">{images}<figcaption>{escape(view.name)}</figcaption></figure>'
        )
    shown = segments_in_words(report.num_segments[middle])
    words = ",".join(segments_in_words(number) for number in reversed(report.num_segments))
    marks = natural_marks(report)
    levels = ", ".join(_level_in_words(level) for level in report.metrics.get("natural_levels", ()))
    note = (
        f" Natural levels, at which it is most stable: {levels}; marks below the slider are the "
        "granularities nearest to them."
        if marks
        else ""
    )
    ticks = "".join(f'<option value="{place}"></option>' for place in marks.values())
    return (
        "<section><h2>Granularity</h2>"
        f"<p>All granularities are cuts of one tree, so segments only ever split.{note}</p>"
        f'<datalist id="levels">{ticks}</datalist>'
        '<label class="slider"><span>coarse</span>'
        f'<input id="granularity" type="range" min="0" max="{count - 1}" '
        f'value="{count - 1 - middle}" data-words="{words}" list="levels" '
        'aria-label="granularity">'
        f'<span>fine</span><output id="segments">{shown}</output>'
        f'</label><div class="row" style="--columns: 4">{"".join(stacks)}</div></section>'
    )


def _level_in_words(level: dict[str, Any]) -> str:
    support = f" (mean support {level['support']:.2f})" if "support" in level else ""
    return f"{segments_in_words(int(level['segments']))}{support}"


def natural_marks(report: Report) -> dict[int, int]:
    """By the segments of each natural level, the place on the slider that is nearest in ratio."""
    segments = np.log(np.maximum(report.num_segments[::-1], 1))  # Coarse is on the left.
    return {
        int(level["segments"]): int(np.abs(segments - np.log(level["segments"])).argmin())
        for level in report.metrics.get("natural_levels", ())
    }


def _scores_section(report: Report) -> str:
    rows = score_rows(report.metrics)
    facts = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in fact_rows(report.metrics)
    )
    parts = ["<section><h2>Scores</h2>"]
    if rows:
        parts.append(
            "<p>NC, normalized covering: the overlap (IoU) of the best segment that contains a "
            "click with the true one, averaged over clicks, segments and held-out views. "
            "1 is perfect; ± is the standard error over views. The ceiling is what these Gaussians "
            "could score if each bore its true label (splat-uff metrics finds it).</p>"
            + _scores_html(COLUMNS, rows)
        )
    else:
        parts.append("<p>The scene has no ground truth, so there is no NC to report.</p>")
    consistency = consistency_rows(report.metrics)
    if consistency:
        angles = [f"{angle}°" for angle in VC_ANGLES]
        parts.append(
            "<p>VC, view consistency: whether what a click finds from here is the same thing from "
            "over there, by the angle between the two.</p>" + _scores_html(angles, consistency)
        )
    if facts:
        parts.append(f'<table class="facts">{facts}</table>')
    return "".join([*parts, "</section>"])


def _scores_html(columns: Sequence[str], rows: Sequence[ScoreRow]) -> str:
    """A table of scores, those from elsewhere below."""
    heads = "".join(f"<th>{column}</th>" for column in columns)
    own = "".join(_score_html(row) for row in rows if not row.is_context)
    context = "".join(_score_html(row) for row in rows if row.is_context)
    return (
        f'<div class="wide"><table class="scores"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{own}</tbody>"
        f'<tbody class="context"><tr><th colspan="5">{CONTEXT_TITLE}</th></tr>{context}</tbody>'
        "</table></div>"
    )


def _score_html(row: ScoreRow) -> str:
    cells = []
    for value, error in zip(row.values, row.errors, strict=True):
        spread = f"<small> ± {error:.3f}</small>" if error is not None else ""
        cells.append(f"<td>{format_score(value)}{spread}</td>")
    return f"<tr><th>{escape(row.name)}</th>{''.join(cells)}</tr>"


def _curves_section(curves: Log) -> str:
    parts = []
    for stage, columns in curves.items():
        charts = [
            draw_curve(CURVE_TITLES.get(name, name), columns["step"], values)
            for name, values in columns.items()
            if name != "step" and np.isfinite(values).any()
        ]
        if charts:
            title = escape(STAGE_TITLES.get(stage, stage))
            parts.append(f'<h3>{title}</h3><div class="curves">{"".join(charts)}</div>')
    if not parts:
        return ""
    note = "Figures over training steps: as logged (pale) and averaged over neighbours (strong)."
    return f"<section><h2>Training</h2><p>{note}</p>{''.join(parts)}</section>"


def _time_section(metrics: dict[str, Any]) -> str:
    stages = second_rows(metrics)
    if not stages:
        return ""
    longest = max((seconds for stage, seconds in stages if stage != "total"), default=0) or 1
    rows = "".join(
        f"<tr{_TOTAL if stage == 'total' else ''}><th>{escape(stage)}</th>"
        f"<td>{seconds:.1f} s</td><td>"
        + ("" if stage == "total" else f'<i style="width:{100 * seconds / longest:.1f}%"></i>')
        + "</td></tr>"
        for stage, seconds in stages
    )
    return f'<section><h2>Seconds per stage</h2><table class="bars">{rows}</table></section>'


def _settings_section(report: Report) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in _flat(report.settings)
    )
    if not rows:
        return ""
    return (
        "<section><details><summary>Settings of this run</summary>"
        f'<table class="facts settings">{rows}</table></details></section>'
    )


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as dotted names."""
    rows = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows.extend(_flat(value, f"{prefix}{name}."))
        else:
            rows.append((f"{prefix}{name}", value))
    return rows


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


_TOTAL = ' class="total"'

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
{script}</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #626b76; --line: #dfe3e8;
  --ground: #ffffff; --card: #f5f7f9; --accent: #2563c9; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #98a2ae; --line: #30363d;
  --ground: #13171c; --card: #1c2128; --accent: #74a7ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 34px; line-height: 1.2; margin: 0; letter-spacing: -0.02em;
  overflow-wrap: anywhere; }
h2 { font-size: 21px; margin: 0 0 4px; letter-spacing: -0.01em; }
h3 { font-size: 14px; margin: 18px 0 6px; color: var(--soft); font-weight: 600;
  overflow-wrap: anywhere; }
p { margin: 4px 0 12px; color: var(--soft); max-width: 72ch; }
section { margin-top: 44px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 20px; }
.tiles div { background: var(--card); border-radius: 10px; padding: 12px 20px; min-width: 132px; }
.tiles b { display: block; font-size: 25px; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 14px; }
.row { display: grid; grid-template-columns: repeat(var(--columns), 1fr); gap: 10px; }
@media (max-width: 1100px) { .row { grid-template-columns: repeat(4, 1fr); } }
@media (max-width: 640px) { .row { grid-template-columns: repeat(2, 1fr); } }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border-radius: 8px; background: #fff; }
img[hidden] { display: none; }
img.flat { image-rendering: pixelated; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px; }
.slider { display: flex; align-items: center; gap: 12px; margin: 4px 0 14px; color: var(--soft);
  font-size: 14px; }
.slider input { flex: 0 1 420px; min-width: 0; accent-color: var(--accent); }
.slider output { color: var(--text); font-weight: 600; font-variant-numeric: tabular-nums;
  white-space: nowrap; margin-left: 8px; }
.wide { overflow-x: auto; }
.wide + p { margin-top: 28px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { font-weight: 500; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-size: 14px; }
.scores tbody:not(.context) tr:first-child > * { font-weight: 650; }
.scores small { color: var(--soft); font-weight: 400; }
.context td, .context th { color: var(--soft); }
.context tr:first-child th { padding-top: 18px; font-size: 14px; white-space: normal; }
.facts { margin-top: 20px; }
.settings th, .settings td { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace;
  white-space: normal; overflow-wrap: anywhere; }
.settings td { text-align: left; }
.bars { width: 100%; max-width: 640px; }
.bars td:last-child { width: 60%; }
.bars i { display: block; height: 10px; min-width: 2px; border-radius: 5px;
  background: var(--accent); }
.bars .total > * { font-weight: 650; border-bottom: 0; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr));
  gap: 28px; }
.curve { width: 100%; height: auto; }
.curve text { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums; }
.curve .title { fill: var(--text); font-size: 14px; font-weight: 600; }
.curve .grid { stroke: var(--line); stroke-width: 1; }
.curve polyline { fill: none; stroke: var(--accent); stroke-linejoin: round; }
.curve .raw { opacity: 0.3; stroke-width: 1; }
.curve .line { stroke-width: 2; }
.curve .dot { fill: var(--accent); }
summary { cursor: pointer; font-size: 17px; font-weight: 600; }
@media print { details > table { display: table; } .slider { display: none; } }
"""

_SCRIPT = """<script>
const slider = document.getElementById("granularity");
if (slider) {
  const words = slider.dataset.words.split(",");
  const show = () => {
    document.getElementById("segments").textContent = words[slider.value];
    for (const stack of document.querySelectorAll(".stack")) {
      const images = [...stack.querySelectorAll("img")];
      images.forEach((image, place) => { image.hidden = place != slider.value; });
    }
  };
  slider.addEventListener("input", show);
  show();
}
</script>
"""
