"""The label map of what is on the screen, in the panel and as a file."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import viser
from jaxtyping import Int

from splat_uff.cameras import Camera
from splat_uff.errors import InputError
from splat_uff.export.labels import preview_names, write_label_pngs
from splat_uff.export.tree import largest_first
from splat_uff.files import folded, inside_folder
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.view.later import Later
from splat_uff.view.scene import client_camera

if TYPE_CHECKING:
    from splat_uff.view.page import Page

PREVIEW, SAVED = 320, 1024
"""Pixels of the longer side of the map in the panel, and of the one that is saved."""
QUIET = 0.5
FOLDER = "saved"


class LabelPanel:
    """Handles of the panel; the map is that of the browser whose camera moved last."""

    def __init__(self, page: "Page") -> None:
        self._page, gui = page, page.server.gui
        self._client: viser.ClientHandle | None = None
        gui.add_markdown("What is on the screen, each pixel in the colour of its segment.")
        self._picture = gui.add_image(np.full((2, 2, 3), 255, np.uint8))
        self._follow = gui.add_checkbox("follow the camera", True)
        self._name = gui.add_text("file name", "labels")
        save = gui.add_button("Save label map", hint="16-bit numbers, and a preview in colour.")
        self._later = Later(self._draw, seconds=QUIET)
        self.close = self._later.close
        save.on_click(page.guarded(self._save))
        self._follow.on_update(page.guarded(lambda _: self.ask()))
        page.server.on_client_connect(self._connected)

    def ask(self) -> None:
        """Let the map follow."""
        if self._follow.value:
            self._later.ask()

    def label(self, camera: Camera) -> Int[np.ndarray, "H W"]:
        """Node of the segment that each pixel shows; 0 is none."""
        page = self._page
        with page.lock:
            shown, nodes = np.flatnonzero(page.visible), page.nodes
        if len(shown) == 0:
            return np.zeros((camera.height, camera.width), np.int32)
        gaussians = page.opened.gaussians.subset(torch.from_numpy(shown))
        with page.rendering:
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
        path = inside_folder(folder, self._name.value)
        taken = [file.stem for file in folder.glob("*.png")]
        if folded(path.name) in map(folded, taken):
            raise InputError(f"{path.name}.png is there already; type another name.")
        nodes = self.label(client_camera(event.client.camera, longest=SAVED))
        order = largest_first(page.nodes)
        number = np.zeros(page.walk.root + 1, np.int32)
        number[order] = np.arange(1, len(order) + 1)
        colours = np.concatenate([np.full((1, 3), 255), page.colours.of_nodes[order]]) / 255
        preview = preview_names([path.name], taken=taken)[path.name]
        write_label_pngs(folder, path.name, number[nodes], colours, preview=preview)
        page.say(event.client, f"Saved as {folder / path.name}.png, with a preview beside it.")
