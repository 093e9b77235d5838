"""How Gaussians look: by which colours, on what background, and which are left out."""

from typing import TYPE_CHECKING

import numpy as np

from splat_uff.view.colours import ColourMode

if TYPE_CHECKING:
    from splat_uff.view.run_page import RunPage

DARK = (24, 26, 30)


class LookPanel:
    """Handles of the panel, and what they say."""

    def __init__(self, page: "RunPage") -> None:
        gui, gaussians = page.server.gui, page.opened.gaussians
        self._page = page
        self.mode: ColourMode = "segments"
        self.background: tuple[int, int, int] = DARK
        self._opacities = gaussians.opacities.numpy()
        size = gaussians.log_scales.numpy().astype(np.float64).sum(axis=1) * 2 / 3
        # By how much each covers of a picture: opacity times area.
        self._order = np.argsort(-(np.log(self._opacities + 1e-9) + size), kind="stable")
        self.kept = np.ones(len(gaussians), bool)
        mode = gui.add_dropdown("colours", page.colours.modes, initial_value=self.mode)
        background = gui.add_rgb("background", self.background)
        opacity = gui.add_slider(
            "least opacity", 0.0, 1.0, 0.01, 0.0, hint="Gaussians below are not drawn."
        )
        share = gui.add_slider(
            "Gaussians, %", 1, 100, 1, 100, hint="Those that cover most are drawn."
        )
        self._count = gui.add_markdown("")

        def set_mode(_: object) -> None:
            if mode.value in page.colours.modes:
                self.mode = mode.value
            page.recolour()

        def set_background(_: object) -> None:
            self.background = background.value
            self._send_background()
            page.recolour()

        def set_kept(_: object) -> None:
            self.kept[:] = False
            self.kept[self._order[: max(1, round(len(self._order) * share.value / 100))]] = True
            self.kept &= self._opacities >= opacity.value
            page.recolour()

        mode.on_update(page.guarded(set_mode))
        background.on_update(page.guarded(set_background))
        opacity.on_update(page.guarded(set_kept))
        share.on_update(page.guarded(set_kept))
        self._send_background()

    def tell(self, shown: int) -> None:
        """Say how many are drawn."""
        self._count.content = f"{shown:,} of {len(self.kept):,} Gaussians shown"

    def _send_background(self) -> None:
        pixel = np.array(self.background, np.uint8).reshape(1, 1, 3)
        self._page.server.scene.set_background_image(np.tile(pixel, (4, 4, 1)), format="png")
