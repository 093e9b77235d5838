"""The photos in the panel: look from where one was taken, and overlay it or its labels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import viser
from jaxtyping import Float, UInt8

from splat_uff.capture import View
from splat_uff.capture.images import area_resize, reduced_size, to_bytes
from splat_uff.system.errors import InputError
from splat_uff.view.callbacks import Callbacks
from splat_uff.view.debounce import Debounced
from splat_uff.view.scene import Cameras, look_through, overlay
from splat_uff.view.state import PageState

LONGEST = 480
"""Longer side of the overlay, in pixels."""
QUIET = 0.3
NO_VIEW = "none"


class PhotosPanel:
    """Handles of the panel, and the picture laid over the scene.

    Args:
        callbacks: Callbacks of the page.
        state: State of the page.
        views: Views of the photos; empty if they are not available.
        focus: Point about which cameras turn.
        on_press: Function called when a camera is clicked, before the click reaches the scene.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        state: PageState,
        views: Sequence[View],
        *,
        focus: Float[np.ndarray, "3"],
        on_press: Callable[[], None],
    ) -> None:
        self._callbacks, self._state, self._views, self._focus = callbacks, state, views, focus
        gui, guarded = callbacks.server.gui, callbacks.guarded
        self._entered: int | None = None
        self._overlay: viser.ImageHandle | None = None
        self._debounced = Debounced(self._draw, seconds=QUIET)
        self.close = self._debounced.close
        if not views:
            gui.add_markdown("The photos of this run are not where they were, so there are none.")
            return
        self._names = [view.name for view in views]
        self._cameras = Cameras(callbacks.server, views, on_press, self._clicked)
        shown = gui.add_checkbox("cameras", False, hint="Click one to look through it.")
        self.choice = gui.add_dropdown(
            "look through", (NO_VIEW, *self._names), initial_value=NO_VIEW
        )
        self._kind = gui.add_dropdown("lay over it", ("nothing", "photo", "labels"))
        self._strength = gui.add_slider("strength", 0.0, 1.0, 0.05, 0.6)
        self._picture = gui.add_image(np.full((2, 2, 3), 255, np.uint8), visible=False)
        shown.on_update(guarded(lambda _: self._cameras.show(shown.value)))
        self.choice.on_update(guarded(self._chosen))
        self._kind.on_update(guarded(lambda _: self._debounced.ask()))
        self._strength.on_update(guarded(lambda _: self._debounced.ask()))
        state.listen(self._debounced.ask, "cut", "selection", "kept")

    def _clicked(self, event: Any, index: int) -> None:
        self._callbacks.guarded(lambda event: self._enter(event.client, index))(event)

    def _chosen(self, event: Any) -> None:
        if event.client is None:
            return
        if self.choice.value == NO_VIEW:
            self._entered = None
            self._cameras.enter(None)
            self._debounced.ask()
            return
        if self.choice.value not in self._names:
            raise InputError(f"there is no photo {self.choice.value}.")
        self._enter(event.client, self._names.index(self.choice.value))

    def _enter(self, client: viser.ClientHandle, index: int) -> None:
        self._entered = index
        self.choice.value = self._names[index]
        self._cameras.enter(index)
        look_through(client, self._views[index].camera, self._focus)
        self._debounced.ask()

    def _draw(self) -> None:
        index = self._entered
        kind = self._kind.value if index is not None else "nothing"
        if index is None or kind == "nothing":
            if self._overlay is not None:
                self._overlay.remove()
                self._overlay = None
            self._picture.visible = False
            return
        view = self._views[index]
        height, width = reduced_size(view.camera.height, view.camera.width, LONGEST)
        camera = view.camera.resized(width, height)
        photo = to_bytes(area_resize(view.composite(np.ones(3)), height, width))
        if kind == "photo":
            shown = photo
            opaque = np.ones((height, width), bool)
        else:
            labels = self._state.label_map(camera)
            shown, opaque = self._state.colours.of_nodes[labels], labels > 0
        alpha = np.where(opaque, round(self._strength.value * 255), 0).astype(np.uint8)
        picture = np.concatenate([shown, alpha[..., None]], axis=2)
        if self._overlay is not None:
            self._overlay.remove()
        self._overlay = overlay(self._callbacks.server, camera, picture)
        self._picture.image = _mixed(photo, picture)
        self._picture.visible = True


def _mixed(
    photo: UInt8[np.ndarray, "H W 3"], picture: UInt8[np.ndarray, "H W 4"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Blend a picture over the photo."""
    share = picture[..., 3:] / 255
    return (share * picture[..., :3] + (1 - share) * photo).astype(np.uint8)
