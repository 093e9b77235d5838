"""Progress bars for people, and occasional lines for pipes and log files."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from splat_uff.system.errors import on_one_line

T = TypeVar("T")

LINE_EVERY = 30.0
"""Seconds between two lines about the same bar if bars cannot be drawn."""
WORTH_A_LINE = 1.0
"""Time in seconds within which a finished bar gets no line."""
FIGURE_NAMES = {"psnr": "PSNR", "num_gaussians": "Gaussians"}

console = Console(stderr=True)
"""Console for progress and notices: stderr, so that stdout carries only results."""

Follower = Callable[[str, int, int], None]
"""Function that receives a bar's title, the number of steps done, and the total."""
_follower: ContextVar[Follower | None] = ContextVar("_follower", default=None)


class Bar:
    """One running bar: `bar.advance(loss=0.12)` moves it one step and updates its figures."""

    def __init__(self, title: str, total: int, done: int, progress: Progress) -> None:
        self._title, self._total, self._done, self._progress = title, total, done, progress
        self._task = progress.add_task(title, total=total, completed=done, figures="")
        self._figures: dict[str, float | int | str] = {}
        self._start = self._last_line = time.monotonic()
        self._said = -1
        self._tell_follower()

    def advance(self, steps: int = 1, **figures: float | int | str) -> None:
        """Advance by `steps`; `figures` replace those shown after the bar."""
        self._done = min(self._total, self._done + steps)
        self._figures = figures or self._figures
        shown = "  ".join(self._named_figures())
        self._progress.update(self._task, completed=self._done, figures=shown)
        self._tell_follower()
        if self._progress.disable and time.monotonic() - self._last_line > LINE_EVERY:
            self.say()

    def finish(self) -> None:
        """Print a final line if no bar could be drawn."""
        said = self._said == self._done
        if self._progress.disable and not said and time.monotonic() - self._start > WORTH_A_LINE:
            self.say()

    def say(self) -> None:
        """Print the bar's progress as a line."""
        self._last_line, self._said = time.monotonic(), self._done
        seconds = self._last_line - self._start
        steps = f"{self._done:,} of {self._total:,} in {seconds:.0f} s"
        notice(f"{self._title}: {', '.join([steps, *self._named_figures()])}")

    def _tell_follower(self) -> None:
        follower = _follower.get()
        if follower is not None:
            follower(self._title, self._done, self._total)

    def _named_figures(self) -> list[str]:
        return [
            f"{FIGURE_NAMES.get(name, name)} {format_figure(value)}"
            for name, value in self._figures.items()
        ]


@contextmanager
def progress_bar(title: str, total: int, *, done: int = 0) -> Iterator[Bar]:
    """Show a bar of `total` steps, `done` of them already taken; a few lines if not a terminal."""
    columns = (
        TextColumn("[bold]{task.description:<12}"),
        BarColumn(bar_width=max(8, min(30, console.width - 72))),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True)),
    )
    hidden = not sys.stderr.isatty() or console.is_dumb_terminal
    with Progress(*columns, console=console, disable=hidden) as progress:
        bar = Bar(title, total, done, progress)
        yield bar
    bar.finish()


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Iterate over `items` behind a bar of `total` steps."""
    with progress_bar(title, total) as bar:
        for item in items:
            yield item
            bar.advance()


@contextmanager
def followed(follower: Follower) -> Iterator[None]:
    """Report the progress of this thread's bars to a function as well during the block."""
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


@contextmanager
def silenced() -> Iterator[None]:
    """Show no bars and no notices during the block."""
    was, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = was


def print_result(renderable: RenderableType) -> None:
    """Print a result on stdout."""
    Console(width=max(80, min(120, console.width))).print(renderable)


def notice(message: str) -> None:
    """Print a one-line message about what is happening."""
    console.print(on_one_line(message), highlight=False, soft_wrap=True, markup=False)


def format_figure(value: float | int | str) -> str:
    """Format a figure to 4 digits; counts and values from 10,000 on are written as whole numbers.

    Example:
        >>> format_figure(29990), format_figure(29990.4), format_figure(0.123456), format_figure(12)
        ('29,990', '29,990', '0.1235', '12')
    """
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if isinstance(value, Integral) or abs(value) >= 1e4 else f"{value:.4g}"
