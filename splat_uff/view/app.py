"""Serving of pages: that of a finished run, or of a training that becomes one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import viser

from splat_uff.capture import View
from splat_uff.run.open import Run, open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.observer import Observer
from splat_uff.system.progress import notice
from splat_uff.view.run_page import RunPage, views_of
from splat_uff.view.server import (
    HOST,
    PORT,
    start_addressed,
    start_server,
    stop_server,
    wait_for_ctrl_c,
)
from splat_uff.view.training_page import TrainingPage


def show_run(run: Run, *, host: str, port: int) -> None:
    """Serve the page of a finished run until Ctrl-C."""
    views = views_of(run)  # Read before the page is served, because it takes a while.
    server = start_server(_title(run.provenance.scene), host=host, port=port)
    try:
        _stay(server, run, views)
    finally:
        stop_server(server)


def train_on_page(
    train: Callable[[Observer], None],
    output: Path,
    settings: TrainConfig,
    *,
    title: str,
    host: str,
    port: int,
) -> None:
    """Serve the page of a training, and then that of the resulting run, until Ctrl-C."""
    server = start_server(_title(title), host=host, port=port)
    try:
        page = TrainingPage(server, settings.hierarchy)
        try:
            train(page)
        finally:
            page.close()
        notice("The page now shows the run.")
        run = open_run(output)
        _stay(server, run, views_of(run))
    finally:
        stop_server(server)


def _stay(server: viser.ViserServer, run: Run, views: Sequence[View]) -> None:
    page = RunPage(server, run, views)
    try:
        wait_for_ctrl_c()
    finally:
        page.close()


def _title(scene: str) -> str:
    return f"splat-uff: {scene}"


@dataclass(frozen=True)
class Shown:
    """A page that is being served."""

    url: str
    """Address to open in a browser, with a token if other machines can reach the page."""
    page: RunPage
    server: viser.ViserServer

    def stop(self) -> None:
        """Close the page and stop its server."""
        self.page.close()
        stop_server(self.server)


def show(run: Run, *, host: str = HOST, port: int = PORT, block: bool = False) -> Shown:
    """Serve the page of a finished run, from a notebook or a script.

    It is served for as long as Python runs, or until `stop`.

    Args:
        run: Run from `open_run`.
        host: Address to listen on. Only this machine can reach 127.0.0.1; any other address
            requires the token that is part of `url`.
        port: First port to try; the next free one is used.
        block: Whether to wait for Ctrl-C and then stop.

    Returns:
        The page's address, and a method to close it.

    Raises:
        InputError: If the address is not one of this machine's, or no port is free.
    """
    views = views_of(run)  # Read before the page is served, because it takes a while.
    server, url = start_addressed(_title(run.provenance.scene), host=host, port=port)
    try:
        shown = Shown(url, RunPage(server, run, views), server)
    except BaseException:
        stop_server(server)
        raise
    if block:
        try:
            wait_for_ctrl_c()
        finally:
            shown.stop()
    return shown
