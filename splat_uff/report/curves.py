"""Training curves: read from the run's log, drawn as inline SVG."""

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
"""Per stage, equally long arrays by name, always with `step`; NaN where a line had no figure."""

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 18, 40, 26
"""Margins of a chart around its axes, in SVG units, which are matplotlib's points."""
MOST_POINTS = 300
"""Longer curves are averaged to this many points, about one for each unit of width."""
MOST_TICKS = 8
"""Of a logarithmic axis, whose numbers then stand clear of each other."""
LOG_RATIO = 15
"""Positive values that span more than this factor are drawn on a logarithmic axis."""
COLOURS = {"#1b1f24": "text", "#626b76": "soft", "#dfe3e8": "line", "#2563c9": "accent"}
"""Colours that are drawn with, and the variables of the page that take their place."""
TEXT, SOFT, LINE, ACCENT = COLOURS
GROUPS = ("title", "facts", "raw", "line", "end")
"""Parts of a chart that the page's style knows by these names."""


def read_log(path: Path) -> Curves:
    """Read `log.jsonl`: one JSON object a line, each with `stage`, `step` and some figures.

    A run that was killed leaves its last line cut short, and one that was resumed repeats the
    steps since its checkpoint. Unreadable lines are skipped; of repeated steps the last counts.

    Args:
        path: The log; the lines of a stage are in the order in which they were written.

    Returns:
        The figures of each stage, ordered by step.

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
            steps.popitem()  # Training went back to a checkpoint: what followed never happened.
        steps[step] = {
            name: float(value)
            for name, value in record.items()
            if isinstance(value, (int, float)) and name != "step"
        }
    return {stage: _columns(steps) for stage, steps in stages.items() if steps}


def draw_curve(title: str, steps: Float[np.ndarray, "S"], values: Float[np.ndarray, "S"]) -> str:
    """Draw one curve as an SVG element that follows the colours of the page.

    Values that are not finite are left out. The axis is logarithmic where positive values span
    more than a factor of `LOG_RATIO`. The same values give the same text.

    Args:
        title: Heading of the chart, escaped here.
        steps: Position of each value on the horizontal axis, rising.
        values: What to draw.
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
        # Smoothed as it is seen, so that a logarithmic axis averages logarithms.
        axes.plot(x, y, color=ACCENT, linewidth=1, clip_on=False, gid="raw")
        to_axis = axes.yaxis.get_transform()
        y = to_axis.inverted().transform(_smoothed(to_axis.transform(y)))
    axes.plot(x, y, color=ACCENT, linewidth=2, clip_on=False, gid="line")
    # A dot, as a line with round ends and no length: a marker would be a shape with an id.
    end = {"linewidth": 6, "solid_capstyle": "round"}
    axes.plot(x[[-1, -1]], y[[-1, -1]], color=ACCENT, clip_on=False, gid="end", **end)
    return _inline(figure, title)


def _write(figure: Figure, below: float, text: str, colour: str, size: float) -> None:
    """Write a line at the left edge, its foot so many points below the upper one."""
    figure.text(
        0, 1 - below / HEIGHT, text, color=colour, fontsize=size, parse_math=False,
        gid="title" if colour == TEXT else "facts",
    )  # fmt: skip


def _scale(axes: Axes, steps: Float[np.ndarray, "S"], values: Float[np.ndarray, "S"]) -> None:
    """Fit the axes to what they show, and draw their numbers and the lines behind it."""
    low, high = float(values.min()), float(values.max())
    axes.set_xlim(steps[0], steps[-1])
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if low > 0 and high > LOG_RATIO * low:
        axes.set_yscale("log")
        # Round values stand between the powers of ten where there are few of these.
        between = (1, 2, 5) if high < 100 * low else (1, 3) if high < 1000 * low else (1,)
        axes.yaxis.set_major_locator(LogLocator(subs=between, numticks=MOST_TICKS))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(low, high)
    else:
        size = max(abs(low), abs(high))
        if high - low <= 1e-9 * size:  # A level line lies in the middle.
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
    """A figure as an SVG element for the middle of a page.

    What matplotlib writes is a file of its own: names of namespaces, rules of style and ids would
    reach out into the page.
    """
    written = io.BytesIO()
    silent = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "splat-uff",
            "font.sans-serif": ["DejaVu Sans"],  # To measure by; the page sets its own.
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
