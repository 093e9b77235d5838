"""The paper's figures for one scene: Figure 7, VC by angle, and the qualitative sheets."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture import View
from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.levels import LEVELS
from splat_uff.evaluate.palette import feature_colours, nested_colours, paint
from splat_uff.evaluate.pictures import Picture, segments_in_words, write_sheet
from splat_uff.evaluate.score import WHITE, label_view, make_cuts, scored_camera
from splat_uff.evaluate.summary import blend_over_white, gaussian_colours
from splat_uff.evaluate.tables import VC_ANGLES
from splat_uff.files import replacing
from splat_uff.stages import Finished

VIEWS = 4
"""Held-out views on the sheets."""
NAMES = ("fine", "medium", "coarse")
"""Of the granularities that fit the true levels best."""
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#4a5568", "#975a16")


def write_segments(
    path: Path, found: Finished, truths: Sequence[GroundTruth], cuts: dict[str, int]
):
    """Sheet of true segments at three levels and of ours at three granularities.

    A segment has one colour in all views, and its largest part keeps it from coarse to fine.

    Args:
        path: Where the PNG goes.
        found: A finished run.
        truths: Of its held-out views.
        cuts: For each level the cut that fits it best, by its place among the cuts.
    """
    config = found.provenance.settings.evaluate
    every = make_cuts(found.hierarchy, config)
    places = [cuts[level] for level in LEVELS]
    chosen = every[places]
    tables = nested_colours(list(chosen))
    truth_tables = nested_colours(_true_cuts(truths))
    rows = []
    for index in _shown(len(truths)):
        view, truth = found.capture.val[index], truths[index]
        row = [Picture("photo", view.composite(WHITE))]
        foreground = (truth.objects > 0).astype(np.int64)
        levels = (truth.objects, truth.collections, foreground)
        for level, labels, table in zip(LEVELS, levels, truth_tables, strict=True):
            row.append(Picture(f"true {level}", paint(labels, table), True))
        maps = label_view(found.gaussians, found.hierarchy, scored_camera(view), chosen, config)
        for name, labels, table in zip(NAMES, maps, tables, strict=True):
            title = f"{name}, {segments_in_words(len(table) - 1)}"
            row.append(Picture(title, paint(labels, table), True))
        rows.append(row)
    write_sheet(path, rows)


def write_features(
    path: Path,
    found: Finished,
    ours: Float[np.ndarray, "N D"],
    distilled: Float[np.ndarray, "N C"],
    dense: Sequence[Float[np.ndarray, "_ _ C"]],
) -> None:
    """Sheet of features as colours: ours, those of DFF, and those it was distilled from.

    Args:
        path: Where the PNG goes.
        found: A finished run.
        ours: Features of its Gaussians.
        distilled: Dense features, distilled into them.
        dense: The dense features of the held-out views; empty where they are not known.
    """
    colours = {
        "ours (PCA)": gaussian_colours(ours, found.hierarchy),
        "DFF (PCA)": gaussian_colours(distilled, found.hierarchy),
    }
    shown = _shown(len(found.capture.val))
    truths = [found.capture.val[index].truth for index in shown]
    painted = _paint_dense([dense[index] for index in shown], truths) if dense else []
    rows = []
    for place, index in enumerate(shown):
        view: View = found.capture.val[index]
        row = [Picture("photo", view.composite(WHITE))]
        row += [
            Picture(title, blend_over_white(each, found.gaussians, view.camera))
            for title, each in colours.items()
        ]
        if painted:
            row.append(Picture("2D features (PCA)", painted[place]))
        rows.append(row)
    write_sheet(path, rows)


def draw_by_views(path: Path, by_views: Sequence[dict[str, float]], ours: dict[str, float]) -> None:
    """Figure 7: NC of SAM3D by the number of views whose masks are lifted, and ours beside it."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure()
    numbers = np.arange(1, len(by_views) + 1)
    for level, colour in zip((*LEVELS, "mean"), COLOURS, strict=False):
        width = 2.4 if level == "mean" else 1.4
        values = [each[level] for each in by_views]
        axes.plot(numbers, values, color=colour, linewidth=width, marker="o", markersize=3)
        axes.annotate(
            f"SAM3D, {level}", (numbers[-1], values[-1]), (5, 0), textcoords="offset points",
            color=colour, va="center", fontsize=8,
        )  # fmt: skip
    axes.axhline(ours["mean"], color="#222", linestyle="--", linewidth=1.2)
    axes.annotate(
        "ours, mean", (numbers[-1], ours["mean"]), (5, 0), textcoords="offset points",
        color="#222", va="center", fontsize=8,
    )  # fmt: skip
    axes.set(xlabel="views whose masks are lifted", ylabel="NC", ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _save(path, figure)


def draw_consistency(path: Path, methods: dict[str, dict[str, Any]]) -> None:
    """VC by angle, one line a method."""
    figure, axes = _figure()
    known = [(name, scores["vc"]) for name, scores in methods.items() if scores.get("vc")]
    ends = []
    for (_, found), colour in zip(known, COLOURS, strict=False):
        angles = [int(angle) for angle in VC_ANGLES if angle in found]
        means = [found[str(angle)]["published"]["mean"] for angle in angles]
        errors = [found[str(a)]["published"]["standard_errors"].get("mean", 0) for a in angles]
        axes.errorbar(
            angles, means, errors, color=colour, linewidth=1.8, marker="o", markersize=4, capsize=2
        )
        ends.append((angles[-1], means[-1]))
    heights = spread_apart([height for _, height in ends])
    for (name, _), (angle, _), height, colour in zip(known, ends, heights, COLOURS, strict=False):
        axes.annotate(
            name, (angle, height), (6, 0), textcoords="offset points",
            color=colour, va="center", fontsize=8,
        )  # fmt: skip
    axes.set(xlabel="rotation, degrees", ylabel="VC", ylim=(0, 1.02))
    axes.set_xticks([int(angle) for angle in VC_ANGLES])
    _save(path, figure)


def spread_apart(heights: Sequence[float], gap: float = 0.045) -> list[float]:
    """Heights for names beside the ends of lines: in the order of the lines, none on another.

    Args:
        heights: Of the ends, in [0, 1].
        gap: Least distance between two names.
    """
    order = np.argsort(heights, kind="stable")
    placed = np.array(heights, dtype=np.float64)
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    if len(placed):
        placed[order[-1]] = min(placed[order[-1]], 1.0)
    for above, below in pairwise(order[::-1]):
        placed[below] = min(placed[below], placed[above] - gap)
    return placed.tolist()


def _figure():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#ddd", linewidth=0.6)
    axes.margins(x=0.02)
    return figure, axes


def _save(path: Path, figure) -> None:
    with replacing(path) as temporary:
        # Names behind the last point lie outside of the axes.
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
    """Dense features of the foreground as colours, by the same directions in all views."""
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
