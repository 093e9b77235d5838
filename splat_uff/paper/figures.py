"""The paper's figures for one scene: Figure 7, VC by angle, and the qualitative sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy
from scipy.optimize import isotonic_regression

from splat_uff.capture import View
from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.levels import LEVELS
from splat_uff.evaluate.score import label_view, make_cuts, scored_camera
from splat_uff.render.compositing import WHITE, blend_over_white
from splat_uff.report.paint import feature_colours, nested_colours, paint
from splat_uff.report.pictures import Picture, segments_in_words, write_sheet
from splat_uff.report.tables import VC_ANGLES
from splat_uff.report.write import gaussian_colours
from splat_uff.run.open import Run
from splat_uff.system.files import replacing

VIEWS = 4
"""Number of held-out views on the sheets."""
NAMES = ("fine", "medium", "coarse")
"""Names of the granularities that fit the true levels best."""
AXES_INCHES = (5.0, 3.3)
"""Width and minimum height of a figure's axes, in inches."""
FONT_POINTS = 8
NAME_INCHES = 1.5 * FONT_POINTS / 72
"""Distance between the names of two lines, in inches."""
TOP = 1.02
"""Upper limit of the axes, for values in [0, 1]."""
DARK = "#222"
STYLES = ("-", "--", ":", "-.")
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#4a5568", "#975a16")


@dataclass(frozen=True)
class LineEnd:
    """Last point of a line, beside which its name is written."""

    name: str
    place: float
    """Position on the horizontal axis."""
    height: float
    """Position on the vertical axis, in [0, 1]."""
    colour: str


def write_segments(
    path: Path, run: Run, truths: Sequence[GroundTruth], cuts: dict[str, int]
) -> None:
    """Write a sheet of true segments at three levels and of ours at three granularities.

    A segment has the same colour in all views, and its largest part keeps it from coarse to fine.

    Args:
        path: PNG file to write.
        run: Finished run.
        truths: Ground truth of its held-out views.
        cuts: Index of the cut that fits each level best.
    """
    config = run.provenance.settings.evaluate
    every = make_cuts(run.hierarchy, config)
    places = [cuts[level] for level in LEVELS]
    chosen = every[places]
    tables = nested_colours(list(chosen))
    truth_tables = nested_colours(_true_cuts(truths))
    rows = []
    for index in _shown(len(truths)):
        view, truth = run.capture.val[index], truths[index]
        row = [Picture("photo", view.composite(WHITE))]
        foreground = (truth.objects > 0).astype(np.int64)
        levels = (truth.objects, truth.collections, foreground)
        for level, labels, table in zip(LEVELS, levels, truth_tables, strict=True):
            row.append(Picture(f"true {level}", paint(labels, table), True))
        maps = label_view(run.gaussians, run.hierarchy, scored_camera(view), chosen, config)
        for name, labels, table in zip(NAMES, maps, tables, strict=True):
            title = f"{name}, {segments_in_words(len(table) - 1)}"
            row.append(Picture(title, paint(labels, table), True))
        rows.append(row)
    write_sheet(path, rows)


def write_features(
    path: Path,
    run: Run,
    distilled: Float[np.ndarray, "N C"],
    dense: Sequence[Float[np.ndarray, "_ _ C"]],
) -> None:
    """Write a sheet of features as colours: ours, DFF's, and those DFF was distilled from.

    Args:
        path: PNG file to write.
        run: Finished run.
        distilled: Dense features, distilled into its Gaussians.
        dense: Dense features of the held-out views; empty if they are unknown.
    """
    colours = {
        "ours (PCA)": gaussian_colours(run.features, run.hierarchy),
        "DFF (PCA)": gaussian_colours(distilled, run.hierarchy),
    }
    shown = _shown(len(run.capture.val))
    truths = [run.capture.val[index].truth for index in shown]
    painted = _paint_dense([dense[index] for index in shown], truths) if dense else []
    rows = []
    for place, index in enumerate(shown):
        view: View = run.capture.val[index]
        row = [Picture("photo", view.composite(WHITE))]
        row += [
            Picture(title, blend_over_white(each, run.gaussians, view.camera))
            for title, each in colours.items()
        ]
        if painted:
            row.append(Picture("2D features (PCA)", painted[place]))
        rows.append(row)
    write_sheet(path, rows)


def draw_by_views(path: Path, by_views: Sequence[dict[str, float]], ours: dict[str, float]) -> None:
    """Write Figure 7 (see `by_views_figure`) as a PNG to `path`."""
    _save(path, by_views_figure(by_views, ours))


def draw_consistency(path: Path, methods: dict[str, dict[str, Any]]) -> None:
    """Write VC by angle (see `consistency_figure`) as a PNG to `path`."""
    _save(path, consistency_figure(methods))


def by_views_figure(by_views: Sequence[dict[str, float]], ours: dict[str, float]) -> Figure:
    """Draw Figure 7: NC of SAM3D against the number of views whose masks are lifted, and our NC.

    Args:
        by_views: NC in [0, 1] by level, and `mean`, of the masks of the first 1, 2 ... views.
        ours: NC of our own run, under the same names.
    """
    shown = (*LEVELS, "mean")
    figure, axes = _figure(len(shown) + 1)
    numbers = list(range(1, len(by_views) + 1))
    ends = []
    for level, colour in zip(shown, COLOURS, strict=False):
        width = 2.4 if level == "mean" else 1.4
        values = [each[level] for each in by_views]
        axes.plot(numbers, values, color=colour, linewidth=width, marker="o", markersize=3)
        ends.append(LineEnd(f"SAM3D, {level}", numbers[-1], values[-1], colour))
    axes.axhline(ours["mean"], color=DARK, linestyle="--", linewidth=1.2)
    ends.append(LineEnd("ours, mean", numbers[-1], ours["mean"], DARK))
    axes.set(xlabel="views whose masks are lifted", ylabel="NC", ylim=(0, TOP))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name_lines(figure, axes, ends)
    return figure


def consistency_figure(methods: dict[str, dict[str, Any]]) -> Figure:
    """Draw VC against the angle, with one line for each method that has VC.

    Args:
        methods: Scores by name of the method; only `vc`, by degrees, is used.
    """
    known = [(name, scores["vc"]) for name, scores in methods.items() if scores.get("vc")]
    figure, axes = _figure(len(known))
    ends = []
    for index, (name, found) in enumerate(known):
        # If there are more methods than colours, colours repeat with another line style.
        again, place = divmod(index, len(COLOURS))
        colour, style = COLOURS[place], STYLES[again % len(STYLES)]
        angles = [int(angle) for angle in VC_ANGLES if angle in found]
        means = [found[str(angle)]["published"]["mean"] for angle in angles]
        errors = [found[str(a)]["published"]["standard_errors"].get("mean", 0) for a in angles]
        axes.errorbar(
            angles, means, errors, color=colour, linestyle=style,
            linewidth=1.8, marker="o", markersize=4, capsize=2,
        )  # fmt: skip
        ends.append(LineEnd(name, angles[-1], means[-1], colour))
    axes.set(xlabel="rotation, degrees", ylabel="VC", ylim=(0, TOP))
    axes.set_xticks([int(angle) for angle in VC_ANGLES])
    _name_lines(figure, axes, ends)
    return figure


def spread_apart(
    heights: Sequence[float], gap: float, *, low: float = 0.0, high: float = 1.0
) -> list[float]:
    """Heights for names beside the ends of lines: in the order of the lines, without overlaps.

    The names move as little as possible, in the least squares sense.

    Args:
        heights: Heights of the ends.
        gap: Minimum distance between two names.
        low: Minimum height of a name.
        high: Maximum height of a name; the range must have room for all names.
    """
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(order))
    # Names are a gap apart exactly if their heights, with the gaps subtracted, never fall.
    level = isotonic_regression(np.asarray(heights, np.float64)[order] - steps).x
    placed = np.empty(len(order))
    placed[order] = np.clip(level, low, max(high - steps.max(initial=0), low)) + steps
    return placed.tolist()


def _figure(num_names: int) -> tuple[Figure, Axes]:
    """Axes at a fixed position, in a figure tall enough for its names."""
    tall = max(num_names * NAME_INCHES, AXES_INCHES[1])
    size = (AXES_INCHES[0] + 1, tall + 1)
    figure = Figure(figsize=size, dpi=150)
    frame = (0.7 / size[0], 0.6 / size[1], AXES_INCHES[0] / size[0], tall / size[1])
    axes = figure.add_axes(frame)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#ddd", linewidth=0.6)
    axes.margins(x=0.02)
    return figure, axes


def _name_lines(figure: Figure, axes: Axes, ends: Sequence[LineEnd]) -> None:
    """Write the name of each line to the right of the axes, with a thin line to its end."""
    tall = figure.get_size_inches()[1] * axes.get_position().height
    gap = NAME_INCHES * TOP / tall
    heights = spread_apart([end.height for end in ends], gap, low=gap / 2, high=TOP - gap / 2)
    beside = offset_copy(axes.get_yaxis_transform(), figure, x=14, units="points")
    for end, height in zip(ends, heights, strict=True):
        axes.annotate(
            end.name, (end.place, end.height), (1, height), textcoords=beside,
            color=end.colour, va="center", fontsize=FONT_POINTS, annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": end.colour, "linewidth": 0.5,
                "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5),
            },
        )  # fmt: skip


def _save(path: Path, figure: Figure) -> None:
    with replacing(path) as temporary:
        # The names lie outside the axes, so the picture grows to fit them.
        figure.savefig(temporary, format="png", bbox_inches="tight")


def _shown(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, VIEWS).round().astype(int)).tolist()


def _true_cuts(truths: Sequence[GroundTruth]) -> list[Int[np.ndarray, "P"]]:
    objects = np.concatenate([truth.objects.ravel() for truth in truths])
    collections = np.concatenate([truth.collections.ravel() for truth in truths])
    return [objects, collections, (objects > 0).astype(np.int64)]


def _paint_dense(
    maps: Sequence[Float[np.ndarray, "H W C"]], truths: Sequence[GroundTruth | None]
) -> list[Float[np.ndarray, "H W 3"]]:
    """Dense features of the foreground as colours, with the same PCA for all views."""
    solid = [
        np.ones(each.shape[:2], bool) if truth is None else truth.objects > 0
        for each, truth in zip(maps, truths, strict=True)
    ]
    rows = [each[inside] for each, inside in zip(maps, solid, strict=True)]
    flat = np.concatenate(rows).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    colours = feature_colours(flat / np.maximum(lengths, 1e-9))
    painted = []
    ends = np.cumsum([len(row) for row in rows])[:-1]
    for inside, part in zip(solid, np.split(colours, ends), strict=True):
        picture = np.ones((*inside.shape, 3))
        picture[inside] = part
        painted.append(picture)
    return painted
