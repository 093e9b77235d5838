"""The hierarchy in the panel: the granularity, the selection and its surroundings in the tree."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import viser

from splat_uff.hierarchy.dendrogram import height_of, segment_counts
from splat_uff.hierarchy.natural import natural_levels
from splat_uff.hierarchy.segments import largest_first
from splat_uff.system.errors import InputError
from splat_uff.view.callbacks import Callbacks
from splat_uff.view.debounce import Debounced
from splat_uff.view.dendrogram import dendrogram_figure
from splat_uff.view.selection import Selection
from splat_uff.view.state import PageState

if TYPE_CHECKING:
    from viser._messages import HotkeyKey, KeyModifier

PACES = 80
"""Steps of the slider, each with about the same ratio of segments to the one before."""
ABOVE, BELOW, LISTED = 6, 4, 24
"""Number of nodes listed above the selection, below it, and from the whole cut."""
QUIET = 0.4
"""Delay before the plot is updated, in seconds."""


class SegmentsPanel:
    """Handles of the panel for segments.

    Args:
        callbacks: Callbacks of the page.
        state: State of the page.
        select_boxed: Callback that selects what a box holds, used while boxes can be drawn.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        state: PageState,
        select_boxed: Callable[[viser.SceneRectSelectEvent], None],
    ) -> None:
        self._callbacks, self._state, self._select_boxed = callbacks, state, select_boxed
        self._gui, self._scene = callbacks.server.gui, callbacks.server.scene
        self._acts = self._named_acts()
        self._add_granularity()
        self._add_steps()
        with self._gui.add_folder("above and below"):
            self._near = [_NodeButton(callbacks, state) for _ in range(ABOVE + BELOW)]
        with self._gui.add_folder("dendrogram"):
            figure = dendrogram_figure(state.selection, state.colours.of_nodes, state.num_segments)
            self._plot = self._gui.add_plotly(figure, config={"displayModeBar": False}, aspect=1.1)
        with self._gui.add_folder("segments, the largest first"):
            self._list = [_NodeButton(callbacks, state) for _ in range(LISTED)]
        self._add_shortcuts()
        self._debounced = Debounced(self._draw, seconds=QUIET)
        self.close = self._debounced.close
        state.listen(self._update, "cut", "selection")
        self._update()

    def _named_acts(self) -> dict[str, Callable[[], None]]:
        """Actions of the buttons and keys, by name."""
        return {
            "wider": self._step(Selection.wider, "select a part first; nothing is wider than all."),
            "narrower": self._step(
                Selection.narrower, "select a part first; the finest do not split."
            ),
            "hide": self._step(Selection.hide, "select what is to be hidden first."),
            "isolate": self._step(Selection.isolate, "select what is to be seen alone first."),
            "show all": self._step(Selection.show_all, "everything is shown already."),
            "undo": self._step(Selection.undo, "there is nothing to undo."),
            "redo": self._step(Selection.redo, "there is nothing to redo."),
        }

    def _step(self, step: Callable[[Selection], bool], otherwise: str) -> Callable[[], None]:
        def act() -> None:
            if not self._state.step(step):
                raise InputError(otherwise)

        return act

    def _add_granularity(self) -> None:
        gui, state, guarded = self._gui, self._state, self._callbacks.guarded
        self._counts = segment_counts(most=state.most_segments, count=PACES).tolist()
        self._slider = gui.add_slider(
            "granularity",
            0,
            max(len(self._counts) - 1, 1),
            1,
            self._pace(state.num_segments),
            marks=self._ticks(),
        )
        self.number = gui.add_number(
            "segments", state.num_segments, min=1, max=state.most_segments, step=1
        )
        levels = natural_levels(
            state.walk.tree, state.run.hierarchy.support,
            most_segments=state.run.provenance.settings.evaluate.most_segments,
        )  # fmt: skip
        if levels:
            cuts = {str(each.segments): partial(state.cut, each.segments) for each in levels}
            self._add_group("natural levels", cuts)
        self.cut_said = gui.add_markdown("")
        self.selection_said = gui.add_markdown("")
        self._slider.on_update(guarded(self._slid))
        self.number.on_update(guarded(self._typed))

    def _add_steps(self) -> None:
        gui, guarded = self._gui, self._callbacks.guarded
        groups = {
            "walk": ("wider", "narrower"),
            "show": ("hide", "isolate", "show all"),
            "steps": ("undo", "redo"),
        }
        for title, names in groups.items():
            self._add_group(title, {name: self._acts[name] for name in names})
        self._name = gui.add_text("name", "", hint="Of what is selected; Enter keeps it.")
        self.box = gui.add_checkbox(
            "draw a box to select", False, hint="Or hold shift (adds) or ctrl (removes) and drag."
        )
        self._name.on_update(guarded(self._named))
        self.box.on_update(guarded(self._boxed))

    def _add_shortcuts(self) -> None:
        shortcuts: list[tuple[str, HotkeyKey, KeyModifier | None, str]] = [
            ("Undo", "Z", "cmd/ctrl", "undo"),
            ("Redo", "Z", "cmd/ctrl+shift", "redo"),
            ("Hide what is selected", "H", None, "hide"),
            ("Isolate what is selected", "I", None, "isolate"),
            ("Show everything", "U", None, "show all"),
            ("Wider", "P", None, "wider"),
            ("Narrower", "N", None, "narrower"),
        ]
        for title, hotkey, modifier, name in shortcuts:
            command = self._gui.add_command(title, hotkey=hotkey, modifier=modifier)
            act = self._acts[name]
            command.on_trigger(self._callbacks.guarded(lambda _, act=act: act()))

    def _add_group(self, title: str, acts: dict[str, Callable[[], None]]) -> None:
        group = self._gui.add_button_group(title, tuple(acts))

        def clicked(event: Any) -> None:
            act = acts.get(event.target.value)
            if act is not None:
                act()

        group.on_click(self._callbacks.guarded(clicked))

    def _update(self) -> None:
        """Update the handles to match the state."""
        state, selection, walk = self._state, self._state.selection, self._state.walk
        number = state.num_segments
        self._slider.value = self._pace(number)
        self.number.value = number
        self.cut_said.content = (
            f"**{number} segment{'s' * (number != 1)}**, cut at height "
            f"{height_of(walk.tree, number):.3g}"
        )
        self.selection_said.content = self._describe()
        node = selection.current
        self._name.value = "" if node is None else selection.marks.names.get(node, "")
        above = [] if node is None else walk.ancestors(node)
        if len(above) > ABOVE:  # The root is always listed.
            above = [*above[: ABOVE - 1], above[-1]]
        below = [] if node is None else walk.children(node)[:BELOW]
        for row, at in zip(self._near[:ABOVE], reversed(_filled(above, ABOVE)), strict=True):
            row.show(at, "▲")
        for row, at in zip(self._near[ABOVE:], _filled(below, BELOW), strict=True):
            row.show(at, "▼")
        listed = largest_first(state.nodes)[:LISTED]
        for row, at in zip(self._list, _filled(listed, LISTED), strict=True):
            row.show(at, "")
        self._debounced.ask()

    def _describe(self) -> str:
        walk, selection = self._state.walk, self._state.selection
        node = selection.current
        if node is None:
            return "Nothing selected. Click a part; shift adds to it, ctrl removes."
        number = len(selection.marks.selected)
        first, last = walk.levels(node)
        total = int(selection.selected.sum())
        support = self._state.run.hierarchy.support
        sure = "" if support is None else f"; in {support[node]:.0%} of resampled trees"
        more = f"{number} parts, {total:,} Gaussians selected; the last: " if number > 1 else ""
        return (
            f"{more}**{escape(selection.called(node))}**, {int(walk.sizes[node]):,} Gaussians, a "
            f"segment at {first} to {last} segments, formed at height "
            f"{walk.tree.altitudes[node]:.3g}; {len(walk.ancestors(node))} above, "
            f"{len(walk.children(node))} below{sure}"
        )

    def _draw(self) -> None:
        state = self._state
        with state.lock:
            figure = dendrogram_figure(state.selection, state.colours.of_nodes, state.num_segments)
        self._plot.figure = figure

    def _ticks(self) -> tuple[tuple[int, str], ...]:
        """Numbers of segments marked on the slider: powers of ten, and the last."""
        last = self._counts[-1]
        powers = [10**each for each in range(6) if 10**each <= last / 3]
        return tuple((self._pace(number), str(number)) for number in [*powers, last])

    def _pace(self, number: int) -> int:
        """Step of the slider nearest to a number of segments."""
        return int(np.abs(np.log(self._counts) - np.log(number)).argmin())

    def _slid(self, event: viser.GuiEvent) -> None:
        if event.client is not None:  # Otherwise `_update` moved it.
            pace = min(max(int(self._slider.value), 0), len(self._counts) - 1)
            self._state.cut(self._counts[pace])

    def _typed(self, event: viser.GuiEvent) -> None:
        if event.client is not None:
            self._state.cut(int(self.number.value))

    def _named(self, event: viser.GuiEvent) -> None:
        if event.client is None:
            return
        if self._state.selection.current is None:
            raise InputError("nothing is selected that could have a name; click a part first.")
        text = self._name.value
        self._state.step(lambda selection: selection.rename(text))
        self._update()  # Shows the name as stored.

    def _boxed(self, _: object) -> None:
        if self.box.value:
            self._scene.on_rect_select()(self._select_boxed)
        else:
            self._scene.remove_rect_select_callback(self._select_boxed)


class _NodeButton:
    """A button that represents a node."""

    def __init__(self, callbacks: Callbacks, state: PageState) -> None:
        self._state, self._node = state, None
        self._button = callbacks.server.gui.add_button("", visible=False)
        self._button.on_click(callbacks.guarded(self._clicked))

    def show(self, node: int | None, mark: str) -> None:
        """Represent a node; hide the button if it is None."""
        self._node = node
        if node is None:
            self._button.visible = False
            return
        state = self._state
        name, size = state.selection.called(node), int(state.walk.sizes[node])
        self._button.label = f"{mark} {name} · {size:,}".strip()
        red, green, blue = (int(value) for value in state.colours.of_nodes[node])
        self._button.color = (red, green, blue)
        self._button.visible = True

    def _clicked(self, _: object) -> None:
        if self._node is not None:
            self._state.select([self._node])


def escape(text: str) -> str:
    """Escape text so that Markdown shows it literally."""
    return "".join(f"\\{c}" if not (c.isalnum() or c.isspace()) else c for c in text)


def _filled(nodes: list[int], length: int) -> list[int | None]:
    return [*nodes, *[None] * (length - len(nodes))]
