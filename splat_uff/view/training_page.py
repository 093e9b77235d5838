"""The page that follows a training: its progress, its curves and its results so far."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import viser
from jaxtyping import Float, UInt8
from viser import uplot

from splat_uff.capture.images import to_bytes
from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.walk import Walk
from splat_uff.render import Gaussians
from splat_uff.report.paint import feature_colours
from splat_uff.system.errors import argument
from splat_uff.system.observer import Observer, TrainingStopped
from splat_uff.system.progress import FIGURE_NAMES, format_figure
from splat_uff.view.colours import photo_colours
from splat_uff.view.debounce import Debounced
from splat_uff.view.scene import Splats, aim

LOOK_SECONDS = 2.0
"""Shortest time between two updates of the scene, in seconds."""
SHARE = 0.04
"""Share of the training time that updates may take, approximately."""
CURVES = {"loss": "#d9480f", "psnr": "#1c7ed6"}
MOST_SEGMENTS = 200
START_SEGMENTS = 20


class TrainingPage(Observer):
    """A page that shows a training.

    Args:
        server: Server with an empty scene and empty panels.
        hierarchy: Settings of the tree whose segments are shown. During training that tree uses
            features alone; the run's final tree may use the photos' masks as well.
    """

    def __init__(self, server: viser.ViserServer, hierarchy: HierarchyConfig) -> None:
        self._server = server
        self._hierarchy = replace(hierarchy, linkage="average")  # Photos are not available here.
        self._go, self._stopping, self._saved = threading.Event(), False, False
        self._go.set()
        self._next_look, self._pauses = 0.0, 0.0
        self._seen: Any = None
        self._gaussians: Gaussians | None = None
        self._walk: Walk | None = None
        self._splats: Splats | None = None
        self._curves: dict[str, list[tuple[int, float]]] = {}
        self._now = ""
        gui = server.gui
        self._said = gui.add_markdown("reading")
        self._bar = gui.add_progress_bar(0.0, animated=True)
        self._pause = gui.add_button("Pause")
        goes_on = f"{argument('resume', True)} goes on"
        stop = gui.add_button("Stop", color="red", hint=f"What is done is kept; {goes_on}.")
        self._colour_choice = gui.add_dropdown(
            "colours of the features", ("features", "segments"), hint="Once there are some."
        )
        self._segments = gui.add_slider("segments", 1, MOST_SEGMENTS, 1, START_SEGMENTS)
        with gui.add_folder("curves"):
            self._plots = {
                name: gui.add_uplot(
                    (np.zeros(1), np.zeros(1)),
                    (uplot.Series(label="step"), uplot.Series(label=name, stroke=stroke, width=2)),
                    title=FIGURE_NAMES.get(name, name),
                    scales={"x": uplot.Scale(time=False)},
                    height=170,
                    visible=False,
                )
                for name, stroke in CURVES.items()
            }
        self._debounced = Debounced(self._show, seconds=0.0)
        self._pause.on_click(self._paused)
        stop.on_click(self._stopped)
        self._colour_choice.on_update(lambda _: self._look_soon())
        self._segments.on_update(lambda _: self._recolour())

    def close(self) -> None:
        """Remove the page; the server keeps running."""
        self._debounced.close()
        self._server.scene.reset()
        self._server.gui.reset()

    @property
    def holding(self) -> bool:
        """Whether someone has requested to pause or to stop."""
        self._saved = self._saved or self._stopping
        return self._stopping or not self._go.is_set()

    def take_pauses(self) -> float:
        """Return the seconds of pauses since the last call."""
        taken, self._pauses = self._pauses, 0.0
        return taken

    def cameras(self, cameras: Sequence[Camera]) -> None:
        """Aim the browsers' cameras like those of the photos."""
        aim(self._server, cameras)

    def stage(self, name: str) -> None:
        """Show the stage that begins, or stop here if someone has requested it."""
        self._now = name
        self._said.content = f"**{name}**"
        self._bar.value = 0.0
        self._curves = {}
        if self._stopping:
            raise TrainingStopped

    def figures(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Add figures to the curves."""
        for name, value in figures.items():
            self._curves.setdefault(name, []).append((step, float(value)))
        shown = ", ".join(
            f"{FIGURE_NAMES.get(name, name)} {format_figure(value)}"
            for name, value in figures.items()
        )
        self._said.content = f"**{stage}**, step {step:,}: {shown}"
        for name, plot in self._plots.items():
            points = np.array(self._curves.get(name, []))
            plot.visible = len(points) > 1
            if plot.visible:
                plot.data = (points[:, 0].copy(), points[:, 1].copy())

    def after_step(self, stage: str, step: int, total: int, look: Callable[[], Any]) -> None:
        """Update the scene if it is time and a browser is connected; wait while paused."""
        if time.monotonic() >= self._next_look and self._server.get_clients():
            self._bar.value = 100 * step / total
            self._take(look())
        if not self._go.is_set() and not self._stopping:
            self._take(look())
            self._said.content = f"**{stage}**, step {step:,}, paused"
            since = time.monotonic()
            self._go.wait()
            self._pauses += time.monotonic() - since
        if self._stopping and self._saved:
            raise TrainingStopped

    def gaussians(self, gaussians: Gaussians) -> None:
        """Show the Gaussians until there are features."""
        self._take(gaussians)

    def _take(self, seen: Any) -> None:
        """Copy the current result, and have it shown on another thread."""
        self._next_look = float("inf")  # Until it is shown.
        if isinstance(seen, Gaussians):
            copies = {name: each.detach().clone().cpu() for name, each in seen.tensors().items()}
            self._seen = replace(seen, **copies)
        else:
            self._seen = seen.detach().clone().cpu().numpy()
        self._debounced.ask()

    def _show(self) -> None:
        begun = time.monotonic()
        try:
            if isinstance(self._seen, Gaussians):
                self._show_gaussians(self._seen)
            elif self._gaussians is not None and len(self._seen) == len(self._gaussians):
                self._show_features(self._seen, self._gaussians)
        finally:
            spent = time.monotonic() - begun
            self._next_look = time.monotonic() + max(LOOK_SECONDS, spent / SHARE)

    def _show_gaussians(self, gaussians: Gaussians) -> None:
        if self._splats is not None and self._gaussians is not None:
            self._splats.replace(gaussians, photo_colours(gaussians))
        else:
            self._splats = Splats(self._server, gaussians)
            self._splats.show(photo_colours(gaussians), np.ones(len(gaussians), bool))
        self._gaussians = gaussians

    def _show_features(self, features: Float[np.ndarray, "N D"], gaussians: Gaussians) -> None:
        if self._colour_choice.value == "segments":
            weights = gaussians.opacities.numpy()  # Blend weights are not known yet.
            means = gaussians.means.numpy().astype(np.float64)
            tree = build_hierarchy(means, features, weights, self._hierarchy).tree
            self._walk = Walk(tree)
            self._recolour()
        else:
            self._walk = None
            self._colour(to_bytes(feature_colours(features)))

    def _recolour(self) -> None:
        walk = self._walk
        if walk is not None:
            self._colour(to_bytes(walk.colours[walk.cut(max(1, int(self._segments.value)))]))

    def _colour(self, colours: UInt8[np.ndarray, "N 3"]) -> None:
        if self._splats is not None:
            self._splats.show(colours, np.ones(len(colours), bool))

    def _look_soon(self) -> None:
        if self._next_look != float("inf"):
            self._next_look = 0.0

    def _paused(self, _: object) -> None:
        if self._go.is_set():
            self._go.clear()
            self._pause.label = "Continue"
            self._said.content = f"**{self._now}**, pausing after this step"
        else:
            self._go.set()
            self._pause.label = "Pause"

    def _stopped(self, _: object) -> None:
        self._stopping = True
        self._said.content = "stopping; what is done is kept"
        self._go.set()
