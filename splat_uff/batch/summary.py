"""The summary of a batch: `batch.json` for programs, and `batch.html` with pictures for people."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from rich.table import Table
from rich.text import Text

from splat_uff import __version__
from splat_uff.batch.board import counts_in_words, details
from splat_uff.batch.notes import FOLDER, Notes, Row
from splat_uff.run.folder import RunFolder
from splat_uff.system.files import replacing, write_json
from splat_uff.system.lock import FolderLocked, folder_lock
from splat_uff.system.progress import silenced

JSON, PAGE = "batch.json", "batch.html"
SCORES = {
    "NC mean": ("nc", "mean"),
    "NC mean, one cut": ("nc_fixed", "mean"),
    "PSNR in dB": ("psnr",),
    "Gaussians": ("num_gaussians",),
    "peak memory in GB": ("peak_memory_gb",),
}
"""Scores of a run that the summary has, by their path in `metrics.json`."""
LOCK_SECONDS = 10.0
"""Time in seconds to wait for the lock of another process that writes the same summary."""


def write_summary(output: Path, rows: Sequence[Row]) -> None:
    """Write `batch.json` and `batch.html`; each is replaced whole.

    Args:
        output: Output folder of the batch.
        rows: State of each capture.
    """
    write_json(output / JSON, summary_record(output, rows))
    page = _template().render(
        counts=counts_in_words(rows),
        version=__version__,
        scores=list(SCORES),
        failed=[row for row in rows if row.standing == "failed"],
        cards=[_card(output, row) for row in rows],
    )
    with replacing(output / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")


@contextmanager
def summary_lock(output: Path) -> Iterator[None]:
    """Keep other processes of the same batch from writing its summary meanwhile.

    Each reads all captures and writes while it holds the lock, so that the last one tells of all.
    """
    end = time.monotonic() + LOCK_SECONDS
    with ExitStack() as held:
        while time.monotonic() < end:  # Afterwards without the lock: the next one writes it anew.
            try:
                with silenced():  # A disk without locks is told of by each run.
                    held.enter_context(folder_lock(output / FOLDER))
                break
            except FolderLocked:
                continue
        yield


def summary_record(output: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """Content of `batch.json`."""
    counts = Counter(row.standing for row in rows)
    return {
        "version": __version__,
        "counts": {"captures": len(rows), **counts},
        "captures": [_record(output, row) for row in rows],
    }


def summary_table(rows: Sequence[Row]) -> Table:
    """Table of all captures with their scores, for a terminal."""
    table = Table(title=counts_in_words(rows), title_justify="left")
    table.add_column("capture")
    table.add_column("")
    for title in ("seconds", "NC mean", "one cut", "PSNR"):
        table.add_column(title, justify="right")
    for row in rows:
        nc, fixed, psnr = row.score("nc", "mean"), row.score("nc_fixed", "mean"), row.score("psnr")
        figures = [(row.seconds, ".1f"), (nc, ".3f"), (fixed, ".3f"), (psnr, ".1f")]
        cells = ("" if value is None else format(value, form) for value, form in figures)
        table.add_row(Text(row.name), row.standing, *cells)
    return table


def _record(output: Path, row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": row.name,
        "source": row.source,
        "standing": row.standing,
        "run": row.name,
        "log": str(Notes.of(output, row.name).log.relative_to(output)),
        "attempts": msgspec.to_builtins(row.state.attempts),
    }
    if row.standing == "failed":
        record["failure"] = row.state.failure
    if row.standing == "finished":
        record["seconds"] = row.metrics.get("seconds", {})
        record["scores"] = {
            ".".join(names): value
            for names in SCORES.values()
            if (value := row.score(*names)) is not None
        }
    return record


def _card(output: Path, row: Row) -> dict[str, Any]:
    """What the page shows of one capture; pictures and reports are linked, not copied."""
    run = RunFolder(output / row.name)
    place = quote(row.name)
    scores = [row.score(*names) for names in SCORES.values()]
    finished = row.standing == "finished"
    return {
        "name": row.name,
        "source": row.source,
        "standing": row.standing,
        "details": details(row),
        "picture": f"{place}/{run.overview.name}" if finished and run.overview.is_file() else "",
        "report": f"{place}/{run.report.name}" if finished and run.report.is_file() else "",
        "log": f"{FOLDER}/{place}/log.txt" if Notes.of(output, row.name).log.is_file() else "",
        "seconds": "" if row.seconds is None else f"{row.seconds:.1f}",
        "scores": ["" if value is None else _shown(value) for value in scores],
    }


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value > 2 else f"{value:.3f}"


def _template() -> Any:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("splat_uff.batch"), PackageLoader("splat_uff.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("batch.html")
