"""The nodes that are selected, hidden, isolated and named, with undo."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, SupportsIndex

import numpy as np
from jaxtyping import Bool

from splat_uff.hierarchy.walk import Walk
from splat_uff.run.node_names import tidy_name

SelectionMode = Literal["replace", "add", "remove"]
MOST_UNDONE = 200


@dataclass(frozen=True)
class Marks:
    """Marks on nodes; no node in a set is above another one in it."""

    selected: tuple[int, ...] = ()
    """Selected nodes, in order of selection; `wider` and `narrower` start from the last."""
    anchor: int | None = None
    """Leaf that was clicked last, towards which `narrower` goes."""
    hidden: tuple[int, ...] = ()
    isolated: tuple[int, ...] = ()
    """Isolated nodes; if there are any, nothing else is shown."""
    names: Mapping[int, str] = field(default_factory=dict)


class Selection:
    """Marks on the nodes of a tree, changed one step at a time; every step can be undone."""

    def __init__(self, walk: Walk, names: Mapping[int, str] | None = None) -> None:
        self.walk = walk
        known = {node: name for node, name in (names or {}).items() if walk.holds(node)}
        self.marks = Marks(names=known)
        self._past: list[Marks] = []
        self._future: list[Marks] = []

    def select(
        self,
        nodes: Iterable[SupportsIndex],
        mode: SelectionMode = "replace",
        *,
        anchor: int | None = None,
    ) -> bool:
        """Select nodes, `add` them to the selection or `remove` them; False if nothing changes.

        Removing a part of a selected node leaves the rest of that node selected.
        """
        chosen: tuple[int, ...] = () if mode == "replace" else self.marks.selected
        for node in nodes:
            if mode == "remove":
                chosen = self._without(chosen, int(node))
            else:
                chosen = self._with(chosen, int(node))
        return self._change(selected=chosen, anchor=anchor)

    def wider(self) -> bool:
        """Replace the node selected last by its parent; False if there is none."""
        node = self.current
        above = None if node is None else self.walk.parent(node)
        if node is None or above is None:
            return False
        kept = tuple(each for each in self.marks.selected if each != node)
        self._change(selected=self._with(kept, above))
        return True

    def narrower(self) -> bool:
        """Replace the node selected last by its clicked or largest child; False if it has none."""
        node, anchor = self.current, self.marks.anchor
        if node is None:
            return False
        child = None if anchor is None else self.walk.child_towards(node, anchor)
        if child is None:
            child = next(iter(self.walk.children(node)), None)
        if child is None:
            return False
        self._change(selected=(*(each for each in self.marks.selected if each != node), child))
        return True

    def hide(self) -> bool:
        """Hide the selection; False if nothing is selected."""
        hidden = self.marks.hidden
        for node in self.marks.selected:
            hidden = self._with(hidden, node)
        return self._change(hidden=hidden, selected=())

    def isolate(self) -> bool:
        """Show only the selection; False if nothing is selected."""
        if not self.marks.selected:
            return False
        hidden = self.marks.hidden
        for node in self.marks.selected:  # Isolated nodes must be visible.
            hidden = self._without(hidden, node)
        return self._change(isolated=self.marks.selected, hidden=hidden)

    def show_all(self) -> bool:
        """Undo all hiding and isolating; False if there is none."""
        return self._change(hidden=(), isolated=())

    def rename(self, text: str) -> bool:
        """Name the node selected last; an empty text removes its name."""
        if self.current is None:
            return False
        names = {node: name for node, name in self.marks.names.items() if node != self.current}
        if tidy_name(text):
            names[self.current] = tidy_name(text)
        return self._change(names=names)

    def undo(self) -> bool:
        """Undo the last step; False if there is none."""
        return self._travel(self._past, self._future)

    def redo(self) -> bool:
        """Redo the last undone step; False if there is none."""
        return self._travel(self._future, self._past)

    @property
    def current(self) -> int | None:
        """Node selected last."""
        return self.marks.selected[-1] if self.marks.selected else None

    @property
    def shown(self) -> Bool[np.ndarray, "N"]:
        """Whether each leaf is neither hidden nor excluded by isolated nodes."""
        inside = self._members(self.marks.isolated)
        shown = inside if self.marks.isolated else ~inside
        return shown & ~self._members(self.marks.hidden)

    @property
    def selected(self) -> Bool[np.ndarray, "N"]:
        """Whether each leaf is selected."""
        return self._members(self.marks.selected)

    def called(self, node: SupportsIndex) -> str:
        """Name of a node, or its number."""
        return self.marks.names.get(int(node)) or f"#{int(node)}"

    def _members(self, nodes: tuple[int, ...]) -> Bool[np.ndarray, "N"]:
        inside = np.zeros(self.walk.tree.num_leaves, bool)
        for node in nodes:
            inside[self.walk.leaves(node)] = True
        return inside

    def _with(self, chosen: tuple[int, ...], node: int) -> tuple[int, ...]:
        """Add a node at the end of a set, replacing those below it."""
        if set(self.walk.ancestors(node)) & set(chosen):
            return chosen
        below = {each for each in chosen if each == node or node in self.walk.ancestors(each)}
        return (*(each for each in chosen if each not in below), node)

    def _without(self, chosen: tuple[int, ...], node: int) -> tuple[int, ...]:
        """Remove a node and all below it from a set; the other parts of a node above it remain."""
        path = [node, *self.walk.ancestors(node)]
        kept: list[int] = []
        for each in chosen:
            if each in path[1:]:
                on_path = set(path[: path.index(each)])
                for above in path[1 : path.index(each) + 1]:
                    kept += [child for child in self.walk.children(above) if child not in on_path]
            elif each != node and node not in self.walk.ancestors(each):
                kept.append(each)
        return tuple(kept)

    def _change(self, **changes: object) -> bool:
        changed = replace(self.marks, **changes)  # pyright: ignore[reportArgumentType]
        if changed == self.marks:
            return False
        self._past = [*self._past, self.marks][-MOST_UNDONE:]
        self._future = []
        self.marks = changed
        return True

    def _travel(self, start: list[Marks], end: list[Marks]) -> bool:
        if not start:
            return False
        end.append(self.marks)
        self.marks = start.pop()
        return True
