"""The label map of what is on the screen, in the panel and as a file."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import viser
from jaxtyping import Bool, Int

from splat_uff.cameras import Camera
from splat_uff.errors import InputError
from splat_uff.export.labels import preview_names, write_label_pngs
from splat_uff.export.tree import largest_first
from splat_uff.files import folded, inside_folder
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.view.debounce import Debounced
from splat_uff.view.scene import client_camera

if TYPE_CHECKING:
    from splat_uff.view.run_page import RunPage

PREVIEW, SAVED = 320, 1024
"""Pixels of the longer side of the map in the panel, and of the one that is saved."""
QUIET = 0.5
FOLDER = "saved"


class LabelsPanel:
    """Handles of the panel; the map is that of the browser whose camera moved last."""

    def __init__(self, page: "RunPage") -> None:
        self._page, gui = page, page.server.gui
        self._client: viser.ClientHandle | None = None
        gui.add_markdown("What is on the screen, each pixel in the colour of its segment.")
        self._picture = gui.add_image(np.full((2, 2, 3), 255, np.uint8))
        self._follow = gui.add_checkbox("follow the camera", True)
        self._name = gui.add_text("file name", "labels")
        self._button = gui.add_button(
            "Save label map", hint="16-bit numbers, and a preview in colour."
        )
        self._debounced = Debounced(self._draw, seconds=QUIET)
        self.close = self._debounced.close
        # Not alone: the page goes on while the map waits for its turn to be rendered.
        self._button.on_click(page.guarded(self._save, alone=False))
        self._follow.on_update(page.guarded(lambda _: self.ask()))
        page.server.on_client_connect(self._connected)

    def ask(self) -> None:
        """Let the map follow."""
        if self._follow.value:
            self._debounced.ask()

    def label(self, camera: Camera) -> Int[np.ndarray, "H W"]:
        """Node of the segment that each pixel shows; 0 is none."""
        with self._page.lock:
            visible, nodes = self._page.visible, self._page.nodes
        return self._label(camera, visible, nodes)

    def _label(
        self, camera: Camera, visible: Bool[np.ndarray, "N"], nodes: Int[np.ndarray, "N"]
    ) -> Int[np.ndarray, "H W"]:
        shown = np.flatnonzero(visible)
        if len(shown) == 0:
            return np.zeros((camera.height, camera.width), np.int32)
        opened = self._page.opened
        gaussians = opened.gaussians.subset(torch.from_numpy(shown))
        with opened.rendering:
            return label_maps(blended_votes(gaussians, camera), nodes[shown][None])[0]

    def _connected(self, client: viser.ClientHandle) -> None:
        self._client = client

        def moved(_: viser.CameraHandle) -> None:
            self._client = client
            self.ask()

        client.camera.on_update(moved)
        self.ask()

    def _draw(self) -> None:
        client = self._client
        if client is None or client.client_id not in self._page.server.get_clients():
            return
        nodes = self.label(client_camera(client.camera, longest=PREVIEW))
        self._picture.image = self._painted(nodes)

    def _painted(self, nodes: Int[np.ndarray, "H W"]) -> np.ndarray:
        return np.where(nodes[..., None] > 0, self._page.colours.of_nodes[nodes], 255).astype(
            np.uint8
        )

    def _save(self, event: Any) -> None:
        page = self._page
        if event.client is None:
            return
        folder = page.opened.run.folder / FOLDER
        name = inside_folder(folder, self._name.value).name
        with page.lock:
            visible, nodes = page.visible, page.nodes
        labels = self._label(client_camera(event.client.camera, longest=SAVED), visible, nodes)
        order = largest_first(nodes)
        number = np.zeros(page.walk.root + 1, np.int32)
        number[order] = np.arange(1, len(order) + 1)
        colours = np.concatenate([np.full((1, 3), 255), page.colours.of_nodes[order]]) / 255
        with page.lock:  # So that of two maps that are saved at once none takes another's name.
            taken = [file.stem for file in folder.glob("*.png")]
            if folded(name) in map(folded, taken):
                raise InputError(f"{name}.png is there already; type another name.")
            preview = preview_names([name], taken=taken)[name]
            write_label_pngs(folder, name, number[labels], colours, preview=preview)
        page.say(event.client, f"Saved as {folder / name}.png, with a preview beside it.")
