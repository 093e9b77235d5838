"""The page of a finished run: what is shown, and what happens on a click."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import viser
from jaxtyping import Bool

from splat_uff.capture import View
from splat_uff.errors import InputError
from splat_uff.names import read_names, write_names
from splat_uff.opened import MOST_PARTS, OpenedRun
from splat_uff.progress import notice
from splat_uff.run import load_arrays
from splat_uff.view.colours import Colours, light_up
from splat_uff.view.panels.export import ExportPanel
from splat_uff.view.panels.labels import LabelsPanel
from splat_uff.view.panels.look import LookPanel
from splat_uff.view.panels.photos import PhotosPanel
from splat_uff.view.panels.segments import SegmentsPanel
from splat_uff.view.picking import nodes_in_box, pick, pixel_camera
from splat_uff.view.scene import Splats, aim, client_camera
from splat_uff.view.selection import Selection, SelectionMode

START_SEGMENTS = 20
FRUSTUM_SECONDS = 0.3
"""A click on a camera also arrives as one on the scene, within this time."""


class RunPage:
    """One page on one server; all browsers see the same.

    Callbacks come on threads of the server; `lock` lets one at a time change anything. Whoever
    holds `lock` never waits for `opened.rendering`: an export holds that for as long as a view
    takes, and the page goes on meanwhile.

    Args:
        server: Whose scene and panels are empty.
        opened: The run.
        views: Of its photos; none where they are not at hand.
    """

    def __init__(self, server: viser.ViserServer, opened: OpenedRun, views: Sequence[View]) -> None:
        self.server, self.opened, self.views = server, opened, views
        self.lock = threading.RLock()
        self.walk = opened.walk
        self.selection = Selection(self.walk, read_names(opened.run))
        self.colours = Colours(opened, _features_of(opened))
        self.most_segments = min(self.walk.most_segments, MOST_PARTS)
        self.num_segments = min(START_SEGMENTS, self.most_segments)
        self.nodes = self.walk.cut(self.num_segments)
        self._means = opened.gaussians.means.numpy().astype(np.float64)
        self._entered_at = 0.0
        self._closing: list[Callable[[], None]] = []
        self.focus = aim(server, [view.camera for view in views])
        self._splats = Splats(server, opened.gaussians)
        tabs = server.gui.add_tab_group()
        with tabs.add_tab("Segments"):
            self.tree_panel = SegmentsPanel(self)
        with tabs.add_tab("Look"):
            self.look_panel = LookPanel(self)
        with tabs.add_tab("Photos"):
            self.camera_panel = PhotosPanel(self)
        with tabs.add_tab("Labels"):
            self.label_panel = LabelsPanel(self)
        with tabs.add_tab("Export"):
            self.export_panel = ExportPanel(self)
        self._closing += [self.tree_panel.close, self.label_panel.close, self.camera_panel.close]
        self._on_scene(None, "replace")
        self._on_scene("shift", "add")
        self._on_scene("cmd/ctrl", "remove")
        self.changed()

    def close(self) -> None:
        """End the threads of the page; the server stays."""
        for close in self._closing:
            close()

    @property
    def visible(self) -> Bool[np.ndarray, "N"]:
        """Which Gaussians are drawn."""
        return self.selection.shown & self.look_panel.kept

    def cut(self, num_segments: int) -> None:
        """Change the granularity."""
        number = max(1, min(int(num_segments), self.most_segments))
        if number == self.num_segments:
            return
        self.num_segments = number
        self.nodes = self.walk.cut(number)
        self.recolour()
        self.tree_panel.update()
        self.label_panel.ask()
        self.camera_panel.ask()

    def changed(self) -> None:
        """Bring everything up to date after a step of the selection."""
        self.recolour()
        self.tree_panel.update()
        self.export_panel.update()
        self.label_panel.ask()
        self.camera_panel.ask()

    def recolour(self) -> None:
        """Send the colours that belong to the present state."""
        look = self.look_panel
        colours = self.colours.of(look.mode, self.nodes)
        colours = light_up(colours, self.selection.selected, look.background)
        visible = self.visible
        self._splats.show(colours, visible)
        look.tell(int(visible.sum()))

    def rename(self, text: str) -> None:
        """Name what is selected, here and in the run."""
        if self.selection.rename(text):
            write_names(self.opened.run, self.selection.marks.names)

    def travel(self, back: bool) -> None:
        """Undo or redo one step, of which names are kept."""
        names = self.selection.marks.names
        if not (self.selection.undo() if back else self.selection.redo()):
            raise InputError(f"there is nothing to {'undo' if back else 'redo'}.")
        if self.selection.marks.names != names:
            write_names(self.opened.run, self.selection.marks.names)
        self.changed()

    def entered(self) -> None:
        """A camera was clicked, so the click that comes next is no other's."""
        self._entered_at = time.monotonic()

    def guarded(self, act: Callable[[Any], None], *, alone: bool = True) -> Callable[[Any], None]:
        """A callback that runs alone, or not, and tells mistakes to the one who made them."""

        def callback(event: Any) -> None:
            with self.lock if alone else nullcontext():
                try:
                    act(event)
                except InputError as error:
                    self.say(event.client, str(error), failed=True)
                except OSError as error:  # A full disk, a folder without permission.
                    self.say(event.client, f"{error}; make room.", failed=True)

        return callback

    def say(self, client: viser.ClientHandle | None, text: str, *, failed: bool = False) -> None:
        """Tell one browser something; the terminal where it has gone."""
        if client is None or client.client_id not in self.server.get_clients():
            notice(text)
            return
        client.add_notification(
            "Not done" if failed else "Done",
            text,
            auto_close_seconds=10.0,
            color="red" if failed else "green",
        )

    def _on_scene(self, modifier: Any, mode: SelectionMode) -> None:
        def clicked(event: viser.SceneClickEvent) -> None:
            if time.monotonic() - self._entered_at < FRUSTUM_SECONDS:
                return
            self.select_at(event.client.camera, event.ray_origin, event.ray_direction, mode)

        self.server.scene.on_click(modifier=modifier)(self.guarded(clicked, alone=False))
        if modifier is not None:
            self.server.scene.on_rect_select(modifier=modifier)(self.box_selector(mode))

    def box_selector(self, mode: SelectionMode) -> Callable[[viser.SceneRectSelectEvent], None]:
        """A callback that selects what a box holds."""

        def boxed(event: viser.SceneRectSelectEvent) -> None:
            camera = client_camera(event.client.camera)
            found = nodes_in_box(
                self._means, self.visible, self.nodes, camera, event.screen_min, event.screen_max
            )
            if not found:
                raise InputError("the box holds no segment for the most part; draw a larger one.")
            self.selection.select(found, mode)
            self.changed()

        return self.guarded(boxed)

    def select_at(
        self,
        camera: viser.CameraHandle,
        origin: Sequence[float],
        direction: Sequence[float],
        mode: SelectionMode,
    ) -> None:
        """Select the segment that is seen along a ray; with `replace`, nothing where none is."""
        ray = np.array([*origin, *direction], np.float64)
        if not (np.isfinite(ray).all() and ray[3:].any() and 0 < camera.fov < np.pi):
            return  # No browser sends this.
        focal = 0.5 * max(camera.image_height, 1) / np.tan(0.5 * camera.fov)
        pixel = pixel_camera(ray[:3], ray[3:], float(focal))
        with self.lock:
            visible, nodes = self.visible, self.nodes
        with self.opened.rendering:
            found = pick(self.opened.gaussians, visible, nodes, pixel)
        with self.lock:
            if found is None:
                if mode == "replace":
                    self.selection.select(())
            else:
                self.selection.select([found[0]], mode, anchor=found[1])
            self.changed()


def _features_of(opened: OpenedRun) -> np.ndarray | None:
    """Features of a run, where it still has those that belong to its Gaussians."""
    try:
        features = load_arrays(opened.run.features, ("features",))["features"]
    except InputError as error:
        notice(f"no colours of features and confidence: {error}")
        return None
    fits = features.ndim == 2 and len(features) == len(opened.gaussians)
    if not (fits and features.dtype.kind == "f" and np.isfinite(features).all()):
        notice(
            f"no colours of features and confidence: {opened.run.features} is damaged or of "
            "another run."
        )
        return None
    return features


def views_of(opened: OpenedRun) -> Sequence[View]:
    """Training views of a run; none, and a line that says so, where they cannot be read."""
    try:
        return opened.capture.train
    except InputError as error:
        notice(f"no photos: {error}")
        return ()
