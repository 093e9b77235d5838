"""Training curves: read from the run's log, drawn as inline SVG."""

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Float

from splat_uff.errors import InputError

Log = dict[str, dict[str, np.ndarray]]
"""Per stage, equally long arrays by name, always with `step`; NaN where a line had no figure."""

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 40, 26
"""Margins of a chart around its axes, in SVG units."""
MOST_POINTS = 300
"""Longer curves are averaged to this many points, about one for each unit of width."""
MOST_TICKS = 8
"""Of a logarithmic axis, whose numbers then stand clear of each other."""
LOG_RATIO = 15
"""Positive values that span more than this factor are drawn on a logarithmic axis."""


def read_log(path: Path) -> Log:
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
    """Draw one curve as an SVG element that follows the text colour of the page.

    Values that are not finite are left out. The axis is logarithmic where positive values span
    more than a factor of `LOG_RATIO`.

    Args:
        title: Heading of the chart, escaped here.
        steps: Position of each value on the horizontal axis, rising.
        values: What to draw.
    """
    finite = np.isfinite(values)
    steps, values = steps[finite].astype(np.float64), values[finite].astype(np.float64)
    head = (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><text class="title" x="0" y="15">{escape(title)}</text>'
    )
    if len(values) < 2:
        return f'{head}<text class="tick" x="0" y="60">too few steps to draw</text></svg>'
    axes = _Axes.around(steps, values)
    facts = f"last {_whole_or_short(values[-1])} · lowest {_whole_or_short(values.min())}"
    facts += f" · highest {_whole_or_short(values.max())}{' · log axis' if axes.is_log else ''}"
    x, y = axes.place_x(_thinned(steps)), axes.place_y(_thinned(values))
    raw = ""
    if len(y) > 30:
        # Smoothed as it is seen, so that a logarithmic axis averages logarithms.
        raw, y = _polyline("raw", x, y), _smoothed(y)
    return (
        f'{head}<text class="tick" x="0" y="29">{facts}</text>{_grid(axes)}'
        f"{raw}{_polyline('line', x, y)}"
        f'<circle class="dot" cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="3"/></svg>'
    )


@dataclass(frozen=True)
class _Axes:
    """Where steps and values lie in the picture."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    """In values, or in their logarithms to base 10."""
    x_ticks: list[float]
    y_ticks: list[float]
    is_log: bool

    @staticmethod
    def around(steps: Float[np.ndarray, "S"], values: Float[np.ndarray, "S"]) -> "_Axes":
        low, high = float(values.min()), float(values.max())
        first, last = float(steps[0]), float(steps[-1])
        is_log = low > 0 and high > LOG_RATIO * low
        if is_log:
            ticks = _log_ticks(low, high)
            y_range = (float(np.log10(low)), float(np.log10(high)))
        else:
            ticks = _nice_ticks(low, high)
            y_range = (min(low, ticks[0]), max(high, ticks[-1]))
        x_ticks = [tick for tick in _nice_ticks(first, last) if first <= tick <= last]
        return _Axes((first, last), y_range, x_ticks, ticks, is_log)

    def place_x(self, steps: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
        first, last = self.x_range
        return LEFT + (steps - first) / max(last - first, 1e-12) * (WIDTH - RIGHT - LEFT)

    def place_y(self, values: Float[np.ndarray, "S"]) -> Float[np.ndarray, "S"]:
        low, high = self.y_range
        heights = np.log10(values) if self.is_log else values
        share = (heights - low) / max(high - low, 1e-12)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _grid(axes: _Axes) -> str:
    """Lines and numbers of both axes."""
    parts = []
    right = WIDTH - RIGHT
    for tick, y in zip(axes.y_ticks, axes.place_y(np.array(axes.y_ticks)), strict=True):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">'
            f"{_short(tick)}</text>"
        )
    for tick, x in zip(axes.x_ticks, axes.place_x(np.array(axes.x_ticks)), strict=True):
        # A label in the middle of the right edge would leave the picture.
        anchor = "end" if x > right - 12 else "middle"
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">'
            f"{_short(tick)}</text>"
        )
    return "".join(parts)


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


def _nice_ticks(low: float, high: float) -> list[float]:
    """Three to six round values that span `low` to `high`."""
    span = max(high - low, 1e-9 * max(abs(high), 1.0))
    power = 10.0 ** np.floor(np.log10(span / 3))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 4.5)
    return [
        float(tick) for tick in step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)
    ]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from `low` to `high`, with round values between where there are few."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    factors = (1, 2, 5) if high < 100 * low else (1, 3) if high < 1000 * low else (1,)
    ticks = [float(power * factor) for power in powers for factor in factors]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside[:: -(-len(inside) // MOST_TICKS)]


def _polyline(kind: str, x: Float[np.ndarray, "S"], y: Float[np.ndarray, "S"]) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{kind}" points="{points}"/>'


def _whole_or_short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else _short(value)


def _short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
