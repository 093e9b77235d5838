"""Appearance of the Gaussians: their colours, the background, and which are left out."""

import threading
from typing import Any

import numpy as np

from splat_uff.system.errors import InputError
from splat_uff.system.progress import followed
from splat_uff.view.callbacks import Callbacks
from splat_uff.view.state import PageState


class LookPanel:
    """Handles of the panel, and their effects."""

    def __init__(self, callbacks: Callbacks, state: PageState) -> None:
        self._state, self._scene = state, callbacks.server.scene
        gui = callbacks.server.gui
        self._mode = gui.add_dropdown(
            "colours", state.colours.modes, initial_value=state.colour_mode
        )
        self._background = gui.add_rgb("background", state.background)
        self._opacity = gui.add_slider(
            "least opacity", 0.0, 1.0, 0.01, 0.0, hint="Gaussians below are not drawn."
        )
        self._share = gui.add_slider(
            "Gaussians, %", 1, 100, 1, 100, hint="Those that cover most are drawn."
        )
        self.floaters = gui.add_checkbox(
            "hide floaters",
            False,
            hint="Gaussians by themselves in front of the scene; not exported.",
        )
        self.floaters_said = gui.add_markdown("", visible=False)
        self.count = gui.add_markdown("")
        self._mode.on_update(callbacks.guarded(self._choose_mode))
        self._background.on_update(callbacks.guarded(self._choose_background))
        self._opacity.on_update(callbacks.guarded(self._keep))
        self._share.on_update(callbacks.guarded(self._keep))
        self._finding = threading.Lock()
        # Not alone, so that the page stays responsive while they are looked for.
        self.floaters.on_update(callbacks.guarded(self._hide_floaters, alone=False))
        state.listen(self._tell, "selection", "kept")
        self._tell()
        self._send_background()

    def _choose_mode(self, _: object) -> None:
        if self._mode.value in self._state.colours.modes:
            self._state.colour_by(self._mode.value)

    def _choose_background(self, _: object) -> None:
        self._state.set_background(self._background.value)
        self._send_background()

    def _keep(self, _: object) -> None:
        self._state.keep(share=self._share.value / 100, least_opacity=self._opacity.value)

    def _hide_floaters(self, event: Any) -> None:
        if event.client is None:
            return
        with self._finding:  # Those who tick it meanwhile wait for the same search.
            try:
                with followed(self._follow):
                    found = self._state.hide_floaters(self.floaters.value)
            except InputError:
                self.floaters.value = False
                self._say("")
                raise
            self._say(f"{found:,} floaters hidden" if self._state.hides_floaters else "")

    def _follow(self, title: str, done: int, total: int) -> None:
        """Show the progress of the search."""
        self._say(f"{title}: {done:,} of {total:,}")

    def _say(self, text: str) -> None:
        self.floaters_said.content, self.floaters_said.visible = text, bool(text)

    def _tell(self) -> None:
        """Show how many Gaussians are drawn."""
        visible = self._state.visible
        self.count.content = f"{int(visible.sum()):,} of {len(visible):,} Gaussians shown"

    def _send_background(self) -> None:
        pixel = np.array(self._state.background, np.uint8).reshape(1, 1, 3)
        self._scene.set_background_image(np.tile(pixel, (4, 4, 1)), format="png")
