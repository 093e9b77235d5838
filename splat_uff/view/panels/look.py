"""Appearance of the Gaussians: their colours, the background, and which are left out."""

import numpy as np

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
        self.count = gui.add_markdown("")
        self._mode.on_update(callbacks.guarded(self._choose_mode))
        self._background.on_update(callbacks.guarded(self._choose_background))
        self._opacity.on_update(callbacks.guarded(self._keep))
        self._share.on_update(callbacks.guarded(self._keep))
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

    def _tell(self) -> None:
        """Show how many Gaussians are drawn."""
        visible = self._state.visible
        self.count.content = f"{int(visible.sum()):,} of {len(visible):,} Gaussians shown"

    def _send_background(self) -> None:
        pixel = np.array(self._state.background, np.uint8).reshape(1, 1, 3)
        self._scene.set_background_image(np.tile(pixel, (4, 4, 1)), format="png")
