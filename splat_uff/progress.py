"""Progress bars for people, silence for pipes."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

console = Console(stderr=True)
"""Progress and notices go to stderr, so that stdout carries only results."""


class Bar:
    """One running bar: `bar.advance(loss=0.12)` moves it one step and updates its figures."""

    def __init__(self, progress: Progress, task: "object") -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1, **figures: float | int | str) -> None:
        """Move `steps` on; `figures` replace what is shown behind the bar."""
        shown = "  ".join(f"{name} {_short(value)}" for name, value in figures.items())
        fields = {"figures": shown} if figures else {}
        self._progress.update(self._task, advance=steps, **fields)  # pyright: ignore


@contextmanager
def progress_bar(title: str, total: int, *, done: int = 0) -> Iterator[Bar]:
    """Show a bar of `total` steps, `done` of them taken already; nothing when not a terminal."""
    columns = (
        TextColumn("[bold]{task.description:<14}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    hidden = not sys.stderr.isatty()
    with Progress(*columns, console=console, disable=hidden) as progress:
        task = progress.add_task(title, total=total, completed=done, figures="")
        yield Bar(progress, task)


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Iterate over `items` behind a bar of `total` steps."""
    with progress_bar(title, total) as bar:
        for item in items:
            yield item
            bar.advance()


def print_result(renderable: RenderableType) -> None:
    """Print a result on stdout."""
    Console(width=max(80, min(120, console.width))).print(renderable)


def notice(message: str) -> None:
    """Print one line about what is going on."""
    console.print(message, highlight=False, soft_wrap=True, markup=False)


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
