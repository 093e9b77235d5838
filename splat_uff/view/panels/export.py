"""Taking parts away from the page, as `splat-uff export` does from the command line."""

import threading
from typing import TYPE_CHECKING, Any, cast

import viser

from splat_uff.errors import InputError
from splat_uff.export.splats import FORMATS, Format
from splat_uff.files import inside_folder
from splat_uff.opened import KINDS, export_run

if TYPE_CHECKING:
    from splat_uff.view.run_page import RunPage

FOLDER = "exports"
SELECTED, ALL = "what is selected", "all segments"


class ExportPanel:
    """Handles of the panel."""

    def __init__(self, page: "RunPage") -> None:
        self._page, gui = page, page.server.gui
        self._what = gui.add_dropdown("export", (SELECTED, ALL))
        self._said = gui.add_markdown("")
        self._format = gui.add_dropdown("format", FORMATS)
        self._more = gui.add_checkbox(
            "scene, clouds and labels, too", False, hint="As splat-uff export writes them."
        )
        self._name = gui.add_text("folder name", "export")
        self._button = gui.add_button("Export")
        self._what.on_update(page.guarded(lambda _: self.update()))
        self._busy = threading.Lock()
        # Not alone: the page goes on while files are written.
        self._button.on_click(page.guarded(self._export, alone=False))

    def update(self) -> None:
        """Say what would be exported."""
        selected = self._page.selection.marks.selected
        if self._what.value == ALL:
            self._said.content = "One file for each segment of the present granularity."
        elif selected:
            self._said.content = f"One file for each of {len(selected)} selected parts."
        else:
            self._said.content = "Nothing is selected."

    def _export(self, event: Any) -> None:
        if event.client is None:
            return
        if not self._busy.acquire(blocking=False):
            raise InputError("an export is under way; wait for it.")
        try:
            self._write(event.client)
        finally:
            self._busy.release()

    def _write(self, client: viser.ClientHandle) -> None:
        page = self._page
        with page.lock:
            segments = page.num_segments
            nodes = page.selection.marks.selected if self._what.value != ALL else ()
        if self._what.value != ALL and not nodes:
            raise InputError("nothing is selected; click a part first, or export all segments.")
        if self._format.value not in FORMATS:
            raise InputError(f"there is no format {self._format.value}.")
        output = inside_folder(page.opened.run.folder / FOLDER, self._name.value)
        if output.exists():
            raise InputError(f"{output.name} is there already; type another folder name.")
        waiting = client.add_notification(
            "Exporting", str(output), loading=True, with_close_button=False
        )
        try:
            written = export_run(
                page.opened,
                output,
                segments=segments,
                nodes=nodes,
                levels=(segments,),
                format=cast("Format", self._format.value),
                kinds=KINDS if self._more.value else ("parts",),
            )
        finally:
            waiting.remove()
        page.say(client, f"{len(written)} files in {output}.")
