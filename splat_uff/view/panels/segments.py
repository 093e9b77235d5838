"""The hierarchy in the panel: granularity, what is selected and what is around it in the tree."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from splat_uff.errors import InputError
from splat_uff.hierarchy.dendrogram import height_of, segment_counts
from splat_uff.hierarchy.natural import natural_levels
from splat_uff.view.debounce import Debounced
from splat_uff.view.dendrogram import dendrogram_figure, largest_nodes

if TYPE_CHECKING:
    from viser._messages import HotkeyKey, KeyModifier

    from splat_uff.view.run_page import RunPage

PACES = 80
"""Steps of the slider: each has about the same ratio of segments more than the last."""
ABOVE, BELOW, LISTED = 6, 4, 24
"""Nodes that are offered above and below what is selected, and of the whole cut."""
QUIET = 0.4
"""Seconds before the plot follows."""


class SegmentsPanel:
    """Handles of the panel; `update` brings them to the state of the selection."""

    def __init__(self, page: "RunPage") -> None:
        self._page, gui = page, page.server.gui
        self._counts = segment_counts(most=page.most_segments, count=PACES).tolist()
        self._slider = gui.add_slider(
            "granularity",
            0,
            max(len(self._counts) - 1, 1),
            1,
            self._pace(page.num_segments),
            marks=self._marks(),
        )
        self._number = gui.add_number(
            "segments", page.num_segments, min=1, max=page.most_segments, step=1
        )
        opened = page.opened
        levels = natural_levels(
            page.walk.tree, opened.hierarchy.support,
            most_segments=opened.provenance.settings.evaluate.most_segments,
        )  # fmt: skip
        if levels:
            cuts = {str(each.segments): partial(page.cut, each.segments) for each in levels}
            self._group("natural levels", cuts)
        self._cut = gui.add_markdown("")
        self._said = gui.add_markdown("")
        self._group("walk", {"wider": self._wider, "narrower": self._narrower})
        self._group(
            "show",
            {"hide": self._hide, "isolate": self._isolate, "show all": self._show_all},
        )
        self._group(
            "steps",
            {"undo": lambda: page.travel(True), "redo": lambda: page.travel(False)},
        )
        self._name = gui.add_text("name", "", hint="Of what is selected; Enter keeps it.")
        self._box = gui.add_checkbox(
            "draw a box to select", False, hint="Or hold shift (adds) or ctrl (removes) and drag."
        )
        with gui.add_folder("above and below"):
            self._near = [_Row(page) for _ in range(ABOVE + BELOW)]
        with gui.add_folder("dendrogram"):
            figure = dendrogram_figure(page.selection, page.colours.of_nodes, page.num_segments)
            self._plot = gui.add_plotly(figure, config={"displayModeBar": False}, aspect=1.1)
        with gui.add_folder("segments, the largest first"):
            self._list = [_Row(page) for _ in range(LISTED)]
        self._debounced = Debounced(self._draw, seconds=QUIET)
        self.close = self._debounced.close
        self._slider.on_update(page.guarded(self._slid))
        self._number.on_update(page.guarded(self._typed))
        self._name.on_update(page.guarded(self._named))
        self._box.on_update(page.guarded(self._boxed))
        shortcuts: list[tuple[str, HotkeyKey, KeyModifier | None, Callable[[], None]]] = [
            ("Undo", "Z", "cmd/ctrl", lambda: page.travel(True)),
            ("Redo", "Z", "cmd/ctrl+shift", lambda: page.travel(False)),
            ("Hide what is selected", "H", None, self._hide),
            ("Isolate what is selected", "I", None, self._isolate),
            ("Show everything", "U", None, self._show_all),
            ("Wider", "P", None, self._wider),
            ("Narrower", "N", None, self._narrower),
        ]
        for title, hotkey, modifier, act in shortcuts:
            command = gui.add_command(title, hotkey=hotkey, modifier=modifier)
            command.on_trigger(page.guarded(lambda _, act=act: act()))

    def update(self) -> None:
        """Show the state of the selection."""
        page, selection = self._page, self._page.selection
        self._slider.value = self._pace(page.num_segments)
        self._number.value = page.num_segments
        height = height_of(page.walk.tree, page.num_segments)
        number = page.num_segments
        self._cut.content = f"**{number} segment{'s' * (number != 1)}**, cut at height {height:.3g}"
        self._said.content = self._describe()
        node = selection.current
        self._name.value = "" if node is None else selection.marks.names.get(node, "")
        above = [] if node is None else page.walk.ancestors(node)
        if len(above) > ABOVE:  # The root is always of interest.
            above = [*above[: ABOVE - 1], above[-1]]
        below = [] if node is None else page.walk.children(node)[:BELOW]
        for row, at in zip(self._near[:ABOVE], reversed(_filled(above, ABOVE)), strict=True):
            row.show(at, "▲")
        for row, at in zip(self._near[ABOVE:], _filled(below, BELOW), strict=True):
            row.show(at, "▼")
        listed = [node for node, _ in largest_nodes(page.nodes, LISTED)]
        for row, at in zip(self._list, _filled(listed, LISTED), strict=True):
            row.show(at, "")
        self._debounced.ask()

    def _describe(self) -> str:
        page, selection = self._page, self._page.selection
        node = selection.current
        if node is None:
            return "Nothing selected. Click a part; shift adds to it, ctrl removes."
        walk, number = page.walk, len(selection.marks.selected)
        first, last = walk.levels(node)
        total = int(selection.selected.sum())
        support = page.opened.hierarchy.support
        sure = "" if support is None else f"; in {support[node]:.0%} of resampled trees"
        more = f"{number} parts, {total:,} Gaussians selected; the last: " if number > 1 else ""
        return (
            f"{more}**{escape(selection.called(node))}**, {int(walk.sizes[node]):,} Gaussians, a "
            f"segment at {first} to {last} segments, formed at height "
            f"{walk.tree.altitudes[node]:.3g}; {len(walk.ancestors(node))} above, "
            f"{len(walk.children(node))} below{sure}"
        )

    def _draw(self) -> None:
        page = self._page
        with page.lock:
            figure = dendrogram_figure(page.selection, page.colours.of_nodes, page.num_segments)
        self._plot.figure = figure

    def _marks(self) -> tuple[tuple[int, str], ...]:
        """Numbers of segments below the slider: powers of ten, and the last."""
        last = self._counts[-1]
        powers = [10**each for each in range(6) if 10**each <= last / 3]
        return tuple((self._pace(number), str(number)) for number in [*powers, last])

    def _pace(self, number: int) -> int:
        """The step of the slider that is nearest to a number of segments."""
        return int(np.abs(np.log(self._counts) - np.log(number)).argmin())

    def _slid(self, event: viser.GuiEvent) -> None:
        if event.client is not None:  # Else it is `update` that moved it.
            self._page.cut(
                self._counts[min(max(int(self._slider.value), 0), len(self._counts) - 1)]
            )

    def _typed(self, event: viser.GuiEvent) -> None:
        if event.client is not None:
            self._page.cut(int(self._number.value))

    def _named(self, event: viser.GuiEvent) -> None:
        if event.client is None:
            return
        if self._page.selection.current is None:
            raise InputError("nothing is selected that could have a name; click a part first.")
        self._page.rename(self._name.value)
        self._page.tree_panel.update()

    def _boxed(self, _: object) -> None:
        scene = self._page.server.scene
        if self._box.value:
            self._selector = self._page.box_selector("replace")
            scene.on_rect_select()(self._selector)
        else:
            scene.remove_rect_select_callback(self._selector)

    def _wider(self) -> None:
        self._step(self._page.selection.wider, "select a part first; nothing is wider than all.")

    def _narrower(self) -> None:
        self._step(self._page.selection.narrower, "select a part first; the finest do not split.")

    def _hide(self) -> None:
        self._step(self._page.selection.hide, "select what is to be hidden first.")

    def _isolate(self) -> None:
        self._step(self._page.selection.isolate, "select what is to be seen alone first.")

    def _show_all(self) -> None:
        self._step(self._page.selection.show_all, "everything is shown already.")

    def _step(self, step: Callable[[], bool], otherwise: str) -> None:
        if not step():
            raise InputError(otherwise)
        self._page.changed()

    def _group(self, title: str, acts: dict[str, Callable[[], None]]) -> None:
        group = self._page.server.gui.add_button_group(title, tuple(acts))

        def clicked(event: Any) -> None:
            act = acts.get(event.target.value)
            if act is not None:
                act()

        group.on_click(self._page.guarded(clicked))


class _Row:
    """A button that stands for a node."""

    def __init__(self, page: "RunPage") -> None:
        self._page, self._node = page, None
        self._button = page.server.gui.add_button("", visible=False)
        self._button.on_click(page.guarded(self._clicked))

    def show(self, node: int | None, mark: str) -> None:
        """Stand for a node, or for none."""
        self._node = node
        if node is None:
            self._button.visible = False
            return
        page = self._page
        name = page.selection.called(node)
        self._button.label = f"{mark} {name} · {int(page.walk.sizes[node]):,}".strip()
        red, green, blue = (int(value) for value in page.colours.of_nodes[node])
        self._button.color = (red, green, blue)
        self._button.visible = True

    def _clicked(self, _: object) -> None:
        if self._node is not None:
            self._page.selection.select([self._node])
            self._page.changed()


def escape(text: str) -> str:
    """Text as Markdown shows it, whatever is in it."""
    return "".join(f"\\{c}" if not (c.isalnum() or c.isspace()) else c for c in text)


def _filled(nodes: list[int], length: int) -> list[int | None]:
    return [*nodes, *[None] * (length - len(nodes))]
