"""The photos in the panel: go to where one was taken, and lay it or its labels over the scene."""

from typing import TYPE_CHECKING, Any

import numpy as np
import viser
from jaxtyping import UInt8

from splat_uff.capture.images import area_resize, reduced_size
from splat_uff.colours import to_bytes
from splat_uff.errors import InputError
from splat_uff.view.debounce import Debounced
from splat_uff.view.scene import Cameras, look_through, overlay

if TYPE_CHECKING:
    from splat_uff.view.run_page import RunPage

LONGEST = 480
"""Pixels of the longer side of what is laid over the scene."""
QUIET = 0.3
NO_VIEW = "none"


class PhotosPanel:
    """Handles of the panel, and the picture over the scene."""

    def __init__(self, page: "RunPage") -> None:
        self._page, gui = page, page.server.gui
        self._entered: int | None = None
        self._overlay: viser.ImageHandle | None = None
        self._debounced = Debounced(self._draw, seconds=QUIET)
        self.ask, self.close = self._debounced.ask, self._debounced.close
        if not page.views:
            gui.add_markdown("The photos of this run are not where they were, so there are none.")
            return
        self._names = [view.name for view in page.views]
        self._cameras = Cameras(page.server, page.views, page.entered, self._clicked)
        shown = gui.add_checkbox("cameras", False, hint="Click one to look through it.")
        self._choice = gui.add_dropdown(
            "look through", (NO_VIEW, *self._names), initial_value=NO_VIEW
        )
        self._kind = gui.add_dropdown("lay over it", ("nothing", "photo", "labels"))
        self._strength = gui.add_slider("strength", 0.0, 1.0, 0.05, 0.6)
        self._picture = gui.add_image(np.full((2, 2, 3), 255, np.uint8), visible=False)
        shown.on_update(page.guarded(lambda _: self._cameras.show(shown.value)))
        self._choice.on_update(page.guarded(self._chosen))
        self._kind.on_update(page.guarded(lambda _: self.ask()))
        self._strength.on_update(page.guarded(lambda _: self.ask()))

    def _clicked(self, event: Any, index: int) -> None:
        self._page.guarded(lambda event: self._enter(event.client, index))(event)

    def _chosen(self, event: Any) -> None:
        if event.client is None:
            return
        if self._choice.value == NO_VIEW:
            self._entered = None
            self._cameras.enter(None)
            self.ask()
            return
        if self._choice.value not in self._names:
            raise InputError(f"there is no photo {self._choice.value}.")
        self._enter(event.client, self._names.index(self._choice.value))

    def _enter(self, client: viser.ClientHandle, index: int) -> None:
        self._entered = index
        self._choice.value = self._names[index]
        self._cameras.enter(index)
        look_through(client, self._page.views[index].camera, self._page.focus)
        self.ask()

    def _draw(self) -> None:
        page, index = self._page, self._entered
        if not page.views:
            return
        kind = self._kind.value if index is not None else "nothing"
        if index is None or kind == "nothing":
            if self._overlay is not None:
                self._overlay.remove()
                self._overlay = None
            self._picture.visible = False
            return
        view = page.views[index]
        height, width = reduced_size(view.camera.height, view.camera.width, LONGEST)
        camera = view.camera.resized(width, height)
        photo = to_bytes(area_resize(view.composite(np.ones(3)), height, width))
        if kind == "photo":
            shown = photo
            opaque = np.ones((height, width), bool)
        else:
            labels = page.label_panel.label(camera)
            shown, opaque = page.colours.of_nodes[labels], labels > 0
        alpha = np.where(opaque, round(self._strength.value * 255), 0).astype(np.uint8)
        picture = np.concatenate([shown, alpha[..., None]], axis=2)
        if self._overlay is not None:
            self._overlay.remove()
        self._overlay = overlay(page.server, camera, picture)
        self._picture.image = _mixed(photo, picture)
        self._picture.visible = True


def _mixed(
    photo: UInt8[np.ndarray, "H W 3"], picture: UInt8[np.ndarray, "H W 4"]
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture laid over the photo."""
    share = picture[..., 3:] / 255
    return (share * picture[..., :3] + (1 - share) * photo).astype(np.uint8)
