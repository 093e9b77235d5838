"""What a batch shows while it runs: one live table, or lines where no table can be drawn."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.live import Live
from rich.table import Table
from rich.text import Text

from splat_uff.batch.notes import Row
from splat_uff.system.progress import console, notice

ORDER = ("running", "failed", "cut off", "waiting", "finished")
"""Order of captures in the table by where they stand."""
STYLES = {"running": "bold", "failed": "red", "finished": "green", "waiting": "dim"}
AROUND = 8
"""Lines of a terminal that the table does not use for captures."""


class Board:
    """A live table of the captures of a batch."""

    def __init__(self) -> None:
        drawn = console.is_terminal and not console.is_dumb_terminal and not console.quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if drawn else None
        self._told: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> "Board":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Show where all captures stand now."""
        if self._live is not None:
            self._live.update(self._table(rows), refresh=True)
            return
        # What was finished before is told by the counts at the end.
        quiet = {"waiting"} if self._told else {"waiting", "finished"}
        for row in rows:
            standing = row.standing, len(row.state.attempts)
            if self._told.get(row.name) != standing and row.standing not in quiet:
                notice(f"{row.name}: {in_words(row)}")
        self._told = {row.name: (row.standing, len(row.state.attempts)) for row in rows}

    def _table(self, rows: Sequence[Row]) -> Table:
        table = Table(title=counts_in_words(rows), title_justify="left", expand=False)
        for title in ("capture", "", "", "on", "NC"):
            table.add_column(title, justify="right" if title == "NC" else "left", no_wrap=True)
        most = max(4, console.height - AROUND)
        ordered = sorted(rows, key=lambda row: ORDER.index(row.standing))
        for row in ordered[:most]:
            style = STYLES.get(row.standing, "")
            nc = row.score("nc", "mean")
            cells = (
                *(row.name, row.standing, details(row), row.host),
                "" if nc is None else f"{nc:.3f}",
            )
            table.add_row(*(Text(cell, style) for cell in cells))
        if len(rows) > most:
            table.add_row(Text(f"and {len(rows) - most} more", "dim"))
        return table


def details(row: Row) -> str:
    """What a running capture does, how long a finished one took, or why one failed."""
    state = row.state
    if row.standing == "running":
        return f"{state.stage} {state.done:,}/{state.total:,}" if state.total else state.stage
    if row.standing == "failed":
        return state.failure
    return "" if row.seconds is None else f"{row.seconds:.0f} s"


def in_words(row: Row) -> str:
    """State of a capture in a few words."""
    if row.standing == "running":
        again = len(row.state.attempts) > 1
        return f"{'goes on' if again else 'begins'} on {row.host}"
    if row.standing == "finished":
        nc = row.score("nc", "mean")
        return f"finished in {details(row)}" + ("" if nc is None else f", NC {nc:.3f}")
    return ": ".join(filter(None, [row.standing, details(row)]))


def counts_in_words(rows: Sequence[Row]) -> str:
    """Numbers of captures by their state, as in `2 of 4 finished, 1 running, 1 failed`."""
    counts = Counter(row.standing for row in rows)
    parts = [f"{counts['finished']} of {len(rows)} finished"]
    parts += [f"{counts[each]} {each}" for each in ORDER if counts[each] and each != "finished"]
    return ", ".join(parts)
