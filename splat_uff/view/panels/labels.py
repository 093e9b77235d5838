"""The label map of the current view, in the panel and as a file."""

import threading
from typing import Any

import numpy as np
import viser
from jaxtyping import Int

from splat_uff.export.labels import preview_names, write_label_pngs
from splat_uff.hierarchy.segments import largest_first, numbered
from splat_uff.system.errors import InputError
from splat_uff.system.files import folded, inside_folder
from splat_uff.view.callbacks import Callbacks
from splat_uff.view.debounce import Debounced
from splat_uff.view.scene import client_camera
from splat_uff.view.state import PageState

PREVIEW, SAVED = 320, 1024
"""Longer side, in pixels, of the map in the panel and of the saved one."""
QUIET = 0.5
FOLDER = "saved"


class LabelsPanel:
    """Handles of the panel; the map is for the browser whose camera moved last."""

    def __init__(self, callbacks: Callbacks, state: PageState) -> None:
        self._callbacks, self._state = callbacks, state
        gui, guarded = callbacks.server.gui, callbacks.guarded
        self._client: viser.ClientHandle | None = None
        gui.add_markdown("What is on the screen, each pixel in the colour of its segment.")
        self._picture = gui.add_image(np.full((2, 2, 3), 255, np.uint8))
        self._follow = gui.add_checkbox("follow the camera", True)
        self.file_name = gui.add_text("file name", "labels")
        self.button = gui.add_button(
            "Save label map", hint="16-bit numbers, and a preview in colour."
        )
        self._saving = threading.Lock()
        self._debounced = Debounced(self._draw, seconds=QUIET)
        self.close = self._debounced.close
        # Not alone, so that the page stays responsive while the map waits to be rendered.
        self.button.on_click(guarded(self.save, alone=False))
        self._follow.on_update(guarded(lambda _: self._ask()))
        callbacks.server.on_client_connect(self._connected)
        state.listen(self._ask, "cut", "selection", "kept")

    def _ask(self) -> None:
        """Request an update of the map, if it follows the camera."""
        if self._follow.value:
            self._debounced.ask()

    def _connected(self, client: viser.ClientHandle) -> None:
        self._client = client

        def moved(_: viser.CameraHandle) -> None:
            self._client = client
            self._ask()

        client.camera.on_update(moved)
        self._ask()

    def _draw(self) -> None:
        client = self._client
        if client is None or client.client_id not in self._callbacks.server.get_clients():
            return
        nodes = self._state.label_map(client_camera(client.camera, longest=PREVIEW))
        self._picture.image = self._painted(nodes)

    def _painted(self, nodes: Int[np.ndarray, "H W"]) -> np.ndarray:
        colours = self._state.colours.of_nodes[nodes]
        return np.where(nodes[..., None] > 0, colours, 255).astype(np.uint8)

    def save(self, event: Any) -> None:
        """Save the map of the requesting browser's view in the run folder."""
        state = self._state
        if event.client is None:
            return
        folder = state.run.folder.path / FOLDER
        name = inside_folder(folder, self.file_name.value).name
        visible, nodes = state.seen()
        camera = client_camera(event.client.camera, longest=SAVED)
        labels = state.label_map_of(camera, visible, nodes)
        order = largest_first(nodes)
        colours = np.concatenate([np.full((1, 3), 255), state.colours.of_nodes[order]]) / 255
        with self._saving:  # So that two maps saved at once cannot get the same name.
            taken = [file.stem for file in folder.glob("*.png")]
            if folded(name) in map(folded, taken):
                raise InputError(f"{name}.png is there already; type another name.")
            preview = preview_names([name], taken=taken)[name]
            write_label_pngs(folder, name, numbered(labels, order), colours, preview=preview)
        self._callbacks.say(
            event.client, f"Saved as {folder / name}.png, with a preview beside it."
        )
