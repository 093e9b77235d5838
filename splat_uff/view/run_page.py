"""The page of a finished run: its scene, and the tabs beside it."""

from collections.abc import Sequence

import viser

from splat_uff.capture import View
from splat_uff.run.open import Run
from splat_uff.system.errors import InputError
from splat_uff.system.progress import notice
from splat_uff.view.callbacks import Callbacks
from splat_uff.view.panels.export import ExportPanel
from splat_uff.view.panels.labels import LabelsPanel
from splat_uff.view.panels.look import LookPanel
from splat_uff.view.panels.photos import PhotosPanel
from splat_uff.view.panels.segments import SegmentsPanel
from splat_uff.view.pointer import Pointer
from splat_uff.view.scene import Splats, aim
from splat_uff.view.state import PageState


class RunPage:
    """Page of a run on one server; all browsers see the same.

    Args:
        server: Server with an empty scene and empty panels.
        run: Run to show.
        views: Views of its photos; empty if they are not available.

    Raises:
        InputError: If the run's names are damaged.
    """

    def __init__(self, server: viser.ViserServer, run: Run, views: Sequence[View]) -> None:
        self.state = state = PageState(run)
        self.server, self.views = server, views
        self.callbacks = callbacks = Callbacks(server, state.lock)
        self.focus = aim(server, [view.camera for view in views])
        self.splats = Splats(server, run.gaussians)
        self.pointer = Pointer(callbacks, state)
        state.listen(self._recolour, "cut", "selection", "kept", "look")
        tabs = server.gui.add_tab_group()
        with tabs.add_tab("Segments"):
            self.segments = SegmentsPanel(callbacks, state, self.pointer.box_selector("replace"))
        with tabs.add_tab("Look"):
            self.look = LookPanel(callbacks, state)
        with tabs.add_tab("Photos"):
            self.photos = PhotosPanel(
                callbacks, state, views, focus=self.focus, on_press=self.pointer.take
            )
        with tabs.add_tab("Labels"):
            self.labels = LabelsPanel(callbacks, state)
        with tabs.add_tab("Export"):
            self.export = ExportPanel(callbacks, state)
        self._recolour()

    def close(self) -> None:
        """Stop the page's threads; the server keeps running."""
        for panel in (self.segments, self.labels, self.photos):
            panel.close()

    def _recolour(self) -> None:
        self.splats.show(self.state.painted(), self.state.visible)


def views_of(run: Run) -> Sequence[View]:
    """Training views of a run; empty, with a notice, if they cannot be read."""
    try:
        return run.capture.train
    except InputError as error:
        notice(f"no photos: {error}")
        return ()
