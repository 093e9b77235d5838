"""Selection by clicks and boxes on the scene."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import viser

from splat_uff.system.errors import InputError
from splat_uff.view.callbacks import Callbacks
from splat_uff.view.picking import pixel_camera
from splat_uff.view.scene import client_camera
from splat_uff.view.selection import SelectionMode
from splat_uff.view.state import PageState

FRUSTUM_SECONDS = 0.3
"""Time in seconds within which a click on a camera also arrives as one on the scene."""


class Pointer:
    """Selection by clicks, and by boxes while shift or ctrl is held."""

    def __init__(self, callbacks: Callbacks, state: PageState) -> None:
        self._callbacks, self._state = callbacks, state
        self._taken_at = 0.0
        self._listen(None, "replace")
        self._listen("shift", "add")
        self._listen("cmd/ctrl", "remove")

    def take(self) -> None:
        """Note that a camera was clicked, so that the scene ignores the same click."""
        self._taken_at = time.monotonic()

    def select_at(
        self,
        camera: viser.CameraHandle,
        origin: Sequence[float],
        direction: Sequence[float],
        mode: SelectionMode,
    ) -> None:
        """Select the segment seen along a ray; if there is none, `replace` clears the selection."""
        ray = np.array([*origin, *direction], np.float64)
        if not (np.isfinite(ray).all() and ray[3:].any() and 0 < camera.fov < np.pi):
            return  # No browser sends such a ray.
        focal = 0.5 * max(camera.image_height, 1) / np.tan(0.5 * camera.fov)
        self._state.select_seen(pixel_camera(ray[:3], ray[3:], float(focal)), mode)

    def box_selector(self, mode: SelectionMode) -> Callable[[viser.SceneRectSelectEvent], None]:
        """Return a callback that selects what a box holds."""

        def boxed(event: viser.SceneRectSelectEvent) -> None:
            camera = client_camera(event.client.camera)
            if not self._state.select_in_box(camera, event.screen_min, event.screen_max, mode):
                raise InputError("the box holds no segment for the most part; draw a larger one.")

        return self._callbacks.guarded(boxed)

    def _listen(self, modifier: Any, mode: SelectionMode) -> None:
        def clicked(event: viser.SceneClickEvent) -> None:
            if time.monotonic() - self._taken_at >= FRUSTUM_SECONDS:
                self.select_at(event.client.camera, event.ray_origin, event.ray_direction, mode)

        scene = self._callbacks.server.scene
        # Not alone, so that the page stays responsive while a click waits to be rendered.
        scene.on_click(modifier=modifier)(self._callbacks.guarded(clicked, alone=False))
        if modifier is not None:
            scene.on_rect_select(modifier=modifier)(self.box_selector(mode))
