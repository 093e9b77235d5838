"""Export of parts from the page, like `splat-uff export` on the command line."""

import threading
from typing import Any, cast

import viser

from splat_uff.export.config import KINDS, PART_FORMATS, Export, PartFormat
from splat_uff.export.run import export_run
from splat_uff.system.errors import InputError
from splat_uff.system.files import inside_folder
from splat_uff.system.progress import followed
from splat_uff.view.callbacks import Callbacks
from splat_uff.view.state import PageState

FOLDER = "exports"
SELECTED, ALL = "what is selected", "all segments"


class ExportPanel:
    """Handles of the panel for exports."""

    def __init__(self, callbacks: Callbacks, state: PageState) -> None:
        self._callbacks, self._state = callbacks, state
        gui, guarded = callbacks.server.gui, callbacks.guarded
        self.what = gui.add_dropdown("export", (SELECTED, ALL))
        self.said = gui.add_markdown("")
        self.format = gui.add_dropdown("format", PART_FORMATS)
        self.more = gui.add_checkbox(
            "scene, clouds and labels, too", False, hint="As splat-uff export writes them."
        )
        self.folder_name = gui.add_text("folder name", "export")
        self.button = gui.add_button("Export")
        self.progress_said = gui.add_markdown("", visible=False)
        self.progress = gui.add_progress_bar(0.0, visible=False)
        self.what.on_update(guarded(lambda _: self._tell()))
        self._busy = threading.Lock()
        # Not alone, so that the page stays responsive while files are written.
        self.button.on_click(guarded(self.export, alone=False))
        state.listen(self._tell, "selection")
        self._tell()

    @property
    def busy(self) -> bool:
        """Whether an export is in progress."""
        return self._busy.locked()

    def export(self, event: Any) -> None:
        """Export what is chosen into the run folder, for the browser that requests it.

        The page's lock is held only briefly, to read the choice, and `run.rendering` for one view
        at a time.

        Raises:
            InputError: If nothing is selected, the name is invalid, or an export is in progress.
        """
        if event.client is None:
            return
        if not self._busy.acquire(blocking=False):
            raise InputError(f"an export is under way ({self.progress_said.content}); wait for it.")
        try:
            self._write(event.client)
        finally:
            self._follow("", 0, 0)
            self._busy.release()

    def _write(self, client: viser.ClientHandle) -> None:
        run, whole = self._state.run, self.what.value == ALL
        with self._state.lock:
            segments = self._state.num_segments
            nodes = () if whole else self._state.selection.marks.selected
        if not (whole or nodes):
            raise InputError("nothing is selected; click a part first, or export all segments.")
        if self.format.value not in PART_FORMATS:
            raise InputError(f"there is no format {self.format.value}.")
        output = inside_folder(run.folder.path / FOLDER, self.folder_name.value)
        if output.exists():
            raise InputError(f"{output.name} is there already; type another folder name.")
        waiting = client.add_notification(
            "Exporting", str(output), loading=True, with_close_button=False
        )
        try:
            with followed(self._follow):
                wanted = Export(
                    segments=segments,
                    nodes=tuple(nodes),
                    levels=(segments,),
                    format=cast("PartFormat", self.format.value),
                    only=KINDS if self.more.value else ("parts",),
                    without_floaters=self._state.hides_floaters,
                )
                written = export_run(run, output, wanted)
        finally:
            waiting.remove()
        self._callbacks.say(client, f"{len(written)} files in {output}.")

    def _follow(self, title: str, done: int, total: int) -> None:
        """Show all browsers the progress of the export; a total of 0 means that none is running."""
        self.progress_said.content = f"{title}: {done:,} of {total:,}" if total else ""
        self.progress.value = 100 * done / max(total, 1)
        self.progress_said.visible = self.progress.visible = total > 0

    def _tell(self) -> None:
        """Show what would be exported."""
        selected = self._state.selection.marks.selected
        if self.what.value == ALL:
            self.said.content = "One file for each segment of the present granularity."
        elif selected:
            self.said.content = f"One file for each of {len(selected)} selected parts."
        else:
            self.said.content = "Nothing is selected."
