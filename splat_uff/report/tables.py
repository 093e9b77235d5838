"""The table of scores, for the terminal and as rows for the report."""

from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splat_uff.evaluate.levels import LEVELS
from splat_uff.system.observer import STAGES

COLUMNS = (*LEVELS, "mean")
SHARE = "share of the ceiling"
CONTEXT_TITLE = "Published figures: other scenes, real SAM masks, so not like for like"
MASK_ORIGINS = {
    "simulated": "simulated masks",
    "imported": "imported masks",
    "classical": "nested segments of colour, depth and normals (classical)",
    "none": "no masks",
}

Figures = tuple[float | None, float | None, float | None, float | None]


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one method, such as its NC; None for unknown values."""

    name: str
    values: Figures
    """Score in each column, such as those of `COLUMNS`."""
    errors: Figures = (None, None, None, None)
    """Standard error of each score over views."""
    is_context: bool = False
    """Whether the row is a published figure, from other scenes and masks."""


PUBLISHED = (
    ScoreRow("UFF on Blender-HS", (None, None, None, 0.709), is_context=True),
    ScoreRow("UFF, 4:1 negatives", (None, None, None, 0.720), is_context=True),
    ScoreRow("LSeg + DFF, rendered", (0.164, 0.427, 0.839, 0.477), is_context=True),
    ScoreRow("LSeg + DFF, on surfaces", (0.082, 0.286, 0.666, 0.345), is_context=True),
)
"""Published NC, from He et al., ECCV 2024, and its supplement."""


PUBLISHED_VC = {
    "UFF on Blender-HS": (0.789, 0.763, 0.742, 0.712),
    "LSeg + DFF": (0.827, 0.813, 0.810, 0.808),
    "SAM3D": (0.724, 0.601, 0.578, 0.539),
    "LSeg": (0.536, 0.522, 0.510, 0.498),
}
"""Published VC by angle, from He et al., ECCV 2024, Table 5."""
VC_ANGLES = ("10", "45", "90", "135")


def consistency_rows(metrics: dict[str, Any]) -> list[ScoreRow]:
    """VC of a run by angle, as means over the three levels, and the paper's; empty if unknown.

    Args:
        metrics: Content of `metrics.json`. Read here: `vc` by degrees, each with `published` and,
            if exact depth is known, `exact`; `vc_ceiling`, that of true labels, in the same form;
            `ratios`.
    """
    if not metrics.get("vc"):
        return []
    rows = []
    for kind, score, name in (
        ("published", "vc", "this run"),
        ("exact", "vc", "by exact depth"),
        ("published", "vc_ceiling", "ceiling"),
        ("exact", "vc_ceiling", "ceiling, exact depth"),
    ):
        scores = [metrics.get(score, {}).get(angle, {}).get(kind) for angle in VC_ANGLES]
        if any(scores):
            means = [score and score["mean"] for score in scores]
            errors = [score and score["standard_errors"].get("mean") for score in scores]
            rows.append(ScoreRow(name, tuple(means), tuple(errors)))
    shares = metrics.get("ratios", {}).get("vc", {})
    if shares:
        rows.append(ScoreRow(SHARE, tuple(shares.get(angle) for angle in VC_ANGLES)))
    return [
        *rows,
        *(ScoreRow(name, values, is_context=True) for name, values in PUBLISHED_VC.items()),
    ]


def score_rows(metrics: dict[str, Any]) -> list[ScoreRow]:
    """NC of a run, of its input masks and of the paper; empty without ground truth.

    Args:
        metrics: Content of `metrics.json`. Read here: `nc` and `nc_masks`, each with `objects`,
            `collections`, `scene`, `mean`; `nc_standard_errors` with the same names; `nc_fixed`,
            `nc_ceiling` and `nc_fixed_ceiling`; `num_cuts`; `masks`, the origin of the masks. All
            may be missing.
    """
    if "nc" not in metrics:
        return []
    cuts = metrics.get("num_cuts")
    ours = ScoreRow(
        f"this run, {cuts} nested cuts" if cuts else "this run",
        _row(metrics["nc"]),
        _row(metrics.get("nc_standard_errors", {})),
    )
    rows = [ours]
    if "nc_fixed" in metrics:
        rows.append(ScoreRow("one cut for all views", _row(metrics["nc_fixed"])))
    note = " (optimistic)" if metrics.get("nc_ceiling", {}).get("optimistic") else ""
    for score, name, share in (
        ("nc", f"ceiling{note}", SHARE),
        ("nc_fixed", "ceiling, one cut", "share, one cut"),
    ):
        if f"{score}_ceiling" in metrics:
            bounds = _row(metrics[f"{score}_ceiling"])
            rows.append(ScoreRow(name, bounds))
            rows.append(ScoreRow(share, _shares(_row(metrics.get(score, {})), bounds)))
    if "nc_masks" in metrics:
        origin = mask_origin(metrics.get("masks", ""))
        rows.append(ScoreRow(f"its input: {origin}", _row(metrics["nc_masks"])))
    return [*rows, *PUBLISHED]


def fact_rows(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Further facts about a run, as names and formatted values.

    Args:
        metrics: Content of `metrics.json`. Read here: `virtual_views`, `psnr` in dB, `ssim`,
            `num_gaussians`, `num_segments`, `natural_levels`, `peak_memory_gb`, `seconds` by stage.
            All may be missing.
    """
    rows = []
    if "virtual_views" in metrics:
        rows.append(("photos", "virtual: rendered from the splat"))
    if "psnr" in metrics:
        rows.append(("PSNR, held-out views", f"{metrics['psnr']:.2f} dB"))
    if "ssim" in metrics:
        rows.append(("SSIM, held-out views", f"{metrics['ssim']:.4f}"))
    for kind, value in metrics.get("depth_error", {}).items():
        rows.append((f"depth error, {kind} depth", f"{value:.4f}"))
    if "explained" in metrics:
        rows.append(("unseen masks explained (IoU)", f"{metrics['explained']:.3f}"))
    if "granularities" in metrics:
        rows.append(("distinct granularities", str(metrics["granularities"])))
        rows.append(("nesting violations", str(metrics["nesting_violations"])))
    if "num_gaussians" in metrics:
        rows.append(("Gaussians", format_count(metrics["num_gaussians"])))
    if "num_segments" in metrics:
        rows.append(("segments, finest", format_count(metrics["num_segments"])))
    if metrics.get("natural_levels"):
        numbers = ", ".join(str(level["segments"]) for level in metrics["natural_levels"])
        rows.append(("natural levels, segments", numbers))
    if "peak_memory_gb" in metrics:
        rows.append(("peak memory", f"{metrics['peak_memory_gb']:.1f} GB"))
    return rows


def second_rows(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    """Seconds of each stage in the order of the pipeline, `total` last."""
    seconds = metrics.get("seconds", {})
    order = (*STAGES, "total")
    known = [stage for stage in order if stage in seconds]
    others = [stage for stage in seconds if stage not in order]
    ordered = sorted([*known, *others], key=lambda stage: stage == "total")
    return [(stage, float(seconds[stage])) for stage in ordered]


def score_table(metrics: dict[str, Any]) -> RenderableType:
    """Table of a run's scores for the terminal: NC above the paper's figures, then the facts.

    Args:
        metrics: Content of `metrics.json`, as for `score_rows` and `fact_rows`.
    """
    parts: list[RenderableType] = []
    rows = score_rows(metrics)
    if rows:
        title = "NC, normalized covering (1 is perfect)"
        parts.append(_score_table(title, COLUMNS, rows))
        if "si" in metrics:
            errors = _row(metrics.get("si_standard_errors", {}))
            row = ScoreRow("this run", _row(metrics["si"]), errors)
            parts.append(_score_table("SI, segmentation injectivity", COLUMNS, [row]))
        consistency = consistency_rows(metrics)
        if consistency:
            angles = tuple(f"{angle}°" for angle in VC_ANGLES)
            parts.append(_score_table("VC, view consistency, by angle", angles, consistency))
        parts.append(Text(f"{CONTEXT_TITLE}.", style="dim"))
    else:
        parts.append(Text("No ground truth, so no NC (normalized covering).", style="dim"))
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(min_width=32)
    facts.add_column(justify="right")
    for name, value in fact_rows(metrics):
        facts.add_row(Text(name), Text(value))
    for stage, seconds in second_rows(metrics):
        facts.add_row(Text(f"seconds, {stage}"), Text(f"{seconds:.1f}"))
    if facts.row_count:
        parts.extend([Text(""), facts])
    return Group(*parts)


def mask_origin(masks: str) -> str:
    """Name of the origin of 2D masks, for a reader."""
    return MASK_ORIGINS.get(masks, f"{masks} masks" if masks else "masks")


def format_count(number: int) -> str:
    """Format a whole number with spaces between thousands."""
    return f"{number:,}".replace(",", " ")


def format_score(value: float | None, error: float | None = None) -> str:
    """Format a score to 3 decimals with its standard error, or a dash."""
    if value is None:
        return "–"  # noqa: RUF001
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {error:.3f}"


def _shares(scores: Figures, bounds: Figures) -> Figures:
    """Scores as shares of their upper bounds."""
    objects, collections, scene, mean = (
        score / bound if score is not None and bound else None
        for score, bound in zip(scores, bounds, strict=True)
    )
    return objects, collections, scene, mean


def _row(scores: dict[str, float]) -> Figures:
    objects, collections, scene, mean = (scores.get(column) for column in COLUMNS)
    return objects, collections, scene, mean


def _score_table(title: str, columns: tuple[str, ...], rows: list[ScoreRow]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for row, following in zip(rows, [*rows[1:], rows[-1]], strict=True):
        style = "dim" if row.is_context else "bold" if row is rows[0] else None
        errors = row.errors
        if columns == COLUMNS:  # For levels, only the error of the mean is shown.
            errors = (None, None, None, row.errors[-1])
        scores = (format_score(*pair) for pair in zip(row.values, errors, strict=True))
        cells = [Text(score.replace(" ", "") if columns != COLUMNS else score) for score in scores]
        table.add_row(
            Text(row.name),
            *cells,
            style=style,
            end_section=row.is_context != following.is_context,
        )
    return table
