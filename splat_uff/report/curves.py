"""Training curves, read from the run's log and drawn as inline SVG."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from splat_uff.system.errors import InputError

Curves = dict[str, dict[str, np.ndarray]]
"""Arrays of equal length by stage and name, always with `step`; NaN marks a missing figure."""

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 18, 40, 26
"""Margins of a chart around its axes, in SVG units, which are matplotlib's points."""
MOST_POINTS = 300
"""Points to which longer curves are averaged, about one for each unit of width."""
MOST_TICKS = 8
"""Most ticks on a logarithmic axis, so that their numbers do not overlap."""
LOG_RATIO = 15
"""Ratio of positive values above which the axis is logarithmic."""
COLOURS = {"#1b1f24": "text", "#626b76": "soft", "#dfe3e8": "line", "#2563c9": "accent"}
"""Colours used in drawing, and the page's variables that replace them."""
TEXT, SOFT, LINE, ACCENT = COLOURS
GROUPS = ("title", "facts", "raw", "line", "end")
"""Names of the parts of a chart, used by the page's style."""


def read_log(path: Path) -> Curves:
    """Read `log.jsonl`: one JSON object per line, each with `stage`, `step` and some figures.

    A run that was killed leaves its last line cut short, and one that was resumed repeats the steps
    since its checkpoint. Unreadable lines are skipped; the last record of a repeated step counts.

    Args:
        path: Log to read; the lines of a stage are in the order in which they were written.

    Returns:
        Figures of each stage, ordered by step.

    Raises:
        InputError: If there is no such file.
    """
    if not path.is_file():
        raise InputError(f"no log at {path}; expected the log.jsonl of a run folder.")
    stages: dict[str, dict[float, dict[str, float]]] = {}
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        try:
            record = json.loads(line)
            steps = stages.setdefault(str(record["stage"]), {})
            step = float(record["step"])
        except (ValueError, KeyError, TypeError):
            continue
        while steps and next(reversed(steps)) >= step:
            steps.popitem()  # Training went back to a checkpoint, so later steps do not count.
        steps[step] = {
            name: float(value)
            for name, value in record.items()
            if isinstance(value, (int, float)) and name != "step"
        }
    return {stage: _columns(steps) for stage, steps in stages.items() if steps}


def draw_curve(title: str, steps: Float[np.ndarray, "S"], values: Float[np.ndarray, "S"]) -> str:
    """Draw one curve as an SVG element that follows the colours of the page.

    Values that are not finite are left out. The axis is logarithmic if positive values span more
    than a factor of `LOG_RATIO`. The same values give the same text.

    Args:
        title: Heading of the chart, escaped here.
        steps: Position of each value on the horizontal axis, rising.
        values: Values to draw.
    """
    finite = np.isfinite(values)
    steps, values = steps[finite].astype(np.float64), values[finite].astype(np.float64)
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="none")
    _write(figure, 15, title, TEXT, 14)
    if len(values) < 2:
        _write(figure, 60, "too few steps to draw", SOFT, 11.5)
        return _inline(figure, title)
    axes = figure.add_axes(
        (LEFT / WIDTH, BOTTOM / HEIGHT, 1 - (LEFT + RIGHT) / WIDTH, 1 - (TOP + BOTTOM) / HEIGHT)
    )
    _scale(axes, steps, values)
    facts = f"last {_whole_or_short(values[-1])} · lowest {_whole_or_short(values.min())}"
    facts += f" · highest {_whole_or_short(values.max())}"
    facts += " · log axis" if axes.get_yscale() == "log" else ""
    _write(figure, 29, facts, SOFT, 11.5)
    x, y = _thinned(steps), _thinned(values)
    if len(y) > 30:
        # Smoothed in axis coordinates, so that a logarithmic axis averages logarithms.
        axes.plot(x, y, color=ACCENT, linewidth=1, clip_on=False, gid="raw")
        to_axis = axes.yaxis.get_transform()
        y = to_axis.inverted().transform(_smoothed(to_axis.transform(y)))
    axes.plot(x, y, color=ACCENT, linewidth=2, clip_on=False, gid="line")
    # The dot is a line with round ends and no length: a marker would be a shape with an id.
    end = {"linewidth": 6, "solid_capstyle": "round"}
    axes.plot(x[[-1, -1]], y[[-1, -1]], color=ACCENT, clip_on=False, gid="end", **end)
    return _inline(figure, title)


def _write(figure: Figure, below: float, text: str, colour: str, size: float) -> None:
    """Write a line of text at the left edge, with its baseline `below` points from the top."""
    figure.text(
        0, 1 - below / HEIGHT, text, color=colour, fontsize=size, parse_math=False,
        gid="title" if colour == TEXT else "facts",
    )  # fmt: skip


def _scale(axes: Axes, steps: Float[np.ndarray, "S"], values: Float[np.ndarray, "S"]) -> None:
    """Fit the axes to the values, and draw their tick labels and grid lines."""
    low, high = float(values.min()), float(values.max())
    axes.set_xlim(steps[0], steps[-1])
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if low > 0 and high > LOG_RATIO * low:
        axes.set_yscale("log")
        # If there are few powers of ten, round values are added between them.
        between = (1, 2, 5) if high < 100 * low else (1, 3) if high < 1000 * low else (1,)
        axes.yaxis.set_major_locator(LogLocator(subs=between, numticks=MOST_TICKS))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(low, high)
    else:
        size = max(abs(low), abs(high))
        if high - low <= 1e-9 * size:  # A flat line is drawn in the middle.
            low, high = low - (0.05 * size or 0.05), high + (0.05 * size or 0.05)
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        axes.set_yticks(ticks)
        axes.set_ylim(ticks[0], ticks[-1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda tick, _: _short(tick)))
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=6, labelcolor=SOFT, labelsize=11.5)
    axes.grid(axis="y", color=LINE, linewidth=1, clip_on=False)


def _inline(figure: Figure, title: str) -> str:
    """Convert a figure to an SVG element for inclusion in a page.

    matplotlib writes a standalone file, whose namespaces, style rules and ids would affect the rest
    of the page.
    """
    written = io.BytesIO()
    silent = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "splat-uff",
            "font.sans-serif": ["DejaVu Sans"],  # For measuring only; the page sets its own.
        }
    ):
        figure.savefig(written, format="svg", metadata=silent)
    svg = ElementTree.fromstring(written.getvalue())
    for part in svg.iter():
        part.tag = part.tag.partition("}")[2]
        for name in list(part.attrib):
            part.set(name.partition("}")[2] or name, part.attrib.pop(name))
        gid = part.attrib.pop("id", "")
        if gid in GROUPS:
            part.set("class", gid)
    for parent in list(svg.iter()):
        for part in parent.findall("style"):
            parent.remove(part)
    svg.attrib = {
        "class": "curve", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": title,
    }  # fmt: skip
    text = ElementTree.tostring(svg, encoding="unicode")
    for colour, variable in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def _columns(steps: dict[float, dict[str, float]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for figures in steps.values() for name in figures)
    columns = {"step": np.array(list(steps))}
    for name in names:
        columns[name] = np.array([figures.get(name, np.nan) for figures in steps.values()])
    return columns


def _thinned(values: Float[np.ndarray, "S"]) -> Float[np.ndarray, "_"]:
    """Means of at most `MOST_POINTS` runs of neighbouring values."""
    starts = np.unique(np.linspace(0, len(values), MOST_POINTS, endpoint=False).astype(int))
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))


def _smoothed(values: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
    """Moving average over about a twentieth of the curve, shorter towards its ends."""
    reach = max(len(values) // 40, 1)
    sums = np.cumsum(np.append(0.0, values))
    index = np.arange(len(values))
    half = np.minimum(reach, np.minimum(index, len(values) - 1 - index))
    return (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)


def _whole_or_short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else _short(value)


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
