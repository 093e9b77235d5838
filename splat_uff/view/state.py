"""State of a finished run's page, independent of the page; listeners are called on every change."""

import threading
from collections.abc import Callable, Iterable
from typing import Literal, SupportsIndex

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8

from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.run.node_names import read_names, write_names
from splat_uff.run.open import MOST_PARTS, Run
from splat_uff.view.colours import ColourMode, Colours, light_up, read_features
from splat_uff.view.picking import nodes_in_box, pick
from splat_uff.view.selection import Selection, SelectionMode

START_SEGMENTS = 20
DARK = (24, 26, 30)

Change = Literal["cut", "selection", "kept", "look"]
"""Kind of a change: `cut` is the granularity; `selection` is what is selected, hidden, isolated or
named; `kept` is which Gaussians are left out; `look` is colours and background."""


class PageState:
    """State of a page; all browsers see the same.

    Many threads may change it, one at a time. Listeners are called in the order in which they were
    added, by the thread that made the change, while it holds `lock`. A thread that holds `lock`
    never waits for `run.rendering`: an export holds the latter for as long as a view takes, during
    which the page stays responsive.

    Args:
        run: Finished run to show.

    Raises:
        InputError: If the run's names are damaged.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.walk, self.lock = run, run.walk, threading.RLock()
        self.selection = Selection(self.walk, read_names(run.folder))
        self.colours = Colours(run, read_features(run))
        self.colour_mode: ColourMode = "segments"
        self.background: tuple[int, int, int] = DARK
        """Background colour, sRGB from 0 to 255."""
        self.most_segments = min(self.walk.most_segments, MOST_PARTS)
        self.num_segments = min(START_SEGMENTS, self.most_segments)
        self.nodes = self.walk.cut(self.num_segments)
        """Node of each Gaussian's segment, [N]."""
        self.kept = np.ones(len(run.gaussians), bool)
        """Whether each Gaussian is neither too faint nor too small to be drawn, [N]; see `keep`."""
        self.hides_floaters = False
        """Whether floaters are not drawn and not exported; see `hide_floaters`."""
        self._means = run.gaussians.means.numpy().astype(np.float64)
        self._opacities = run.gaussians.opacities.numpy()
        area = run.gaussians.log_scales.numpy().astype(np.float64).sum(axis=1) * 2 / 3
        # Sorted by the amount of a picture that each covers: opacity times area.
        self._order = np.argsort(-(np.log(self._opacities + 1e-9) + area), kind="stable")
        self._listeners: list[tuple[Callable[[], None], frozenset[Change]]] = []

    def listen(self, listener: Callable[[], None], *changes: Change) -> None:
        """Add a listener that is called after changes of the given kinds."""
        self._listeners.append((listener, frozenset(changes)))

    @property
    def visible(self) -> Bool[np.ndarray, "N"]:
        """Whether each Gaussian is drawn."""
        shown = self.selection.shown & self.kept
        return shown & ~self.run.floaters if self.hides_floaters else shown

    def seen(self) -> tuple[Bool[np.ndarray, "N"], Int[np.ndarray, "N"]]:
        """Snapshot of whether each Gaussian is drawn, and of the node of its segment."""
        with self.lock:
            return self.visible, self.nodes

    def painted(self) -> UInt8[np.ndarray, "N 3"]:
        """Colour of each Gaussian, with the selection lit up."""
        with self.lock:
            colours = self.colours.of(self.colour_mode, self.nodes)
            return light_up(colours, self.selection.selected, self.background)

    def cut(self, num_segments: int) -> None:
        """Change the granularity, to at most as many segments as the tree allows."""
        with self.lock:
            number = max(1, min(int(num_segments), self.most_segments))
            if number != self.num_segments:
                self.num_segments, self.nodes = number, self.walk.cut(number)
                self._tell("cut")

    def select(
        self,
        nodes: Iterable[SupportsIndex],
        mode: SelectionMode = "replace",
        *,
        anchor: int | None = None,
    ) -> None:
        """Select nodes with `Selection.select`."""
        self.step(lambda selection: selection.select(nodes, mode, anchor=anchor))

    def select_seen(self, pixel: Camera, mode: SelectionMode) -> None:
        """Select the segment seen in a pixel; if there is none, `replace` clears the selection.

        Args:
            pixel: Camera of the pixel, from `picking.pixel_camera`.
            mode: Whether to replace the selection, add to it or remove from it.
        """
        visible, nodes = self.seen()
        with self.run.rendering:
            found = pick(self.run.gaussians, visible, nodes, pixel)
        if found is not None:
            self.select([found[0]], mode, anchor=found[1])
        elif mode == "replace":
            self.select(())

    def select_in_box(
        self,
        camera: Camera,
        low: tuple[float, float],
        high: tuple[float, float],
        mode: SelectionMode,
    ) -> bool:
        """Select what a box on the screen holds (`picking.nodes_in_box`); False if nothing."""
        with self.lock:
            found = nodes_in_box(self._means, self.visible, self.nodes, camera, low, high)
            if found:
                self.select(found, mode)
        return bool(found)

    def step(self, step: Callable[[Selection], bool]) -> bool:
        """Take one step of the selection, for example `Selection.hide`, and save names in the run.

        Returns:
            Whether anything has changed.

        Raises:
            OSError: If names cannot be written; the page keeps them nevertheless.
        """
        with self.lock:
            names = self.selection.marks.names
            if not step(self.selection):
                return False
            self._tell("selection")
            if self.selection.marks.names != names:
                write_names(self.run.folder, self.selection.marks.names)
        return True

    def keep(self, *, share: float, least_opacity: float) -> None:
        """Leave out small or faint Gaussians.

        Args:
            share: Share of all Gaussians to keep, in [0, 1]; those that cover most are kept, at
                least one.
            least_opacity: Opacity below which Gaussians are left out.
        """
        kept = np.zeros(len(self._order), bool)
        kept[self._order[: max(1, round(len(kept) * share))]] = True
        with self.lock:
            self.kept = kept & (self._opacities >= least_opacity)
            self._tell("kept")

    def hide_floaters(self, hidden: bool) -> int:
        """Hide the floaters, or show them again; the first time, this takes a while.

        The thread must not hold `lock`.

        Returns:
            Number of floaters; 0 if they are shown.

        Raises:
            InputError: If the capture, whose cameras tell them, has moved or is damaged.
        """
        found = int(self.run.floaters.sum()) if hidden else 0
        with self.lock:
            self.hides_floaters = hidden
            self._tell("kept")
        return found

    def colour_by(self, mode: ColourMode) -> None:
        """Change the colour mode."""
        with self.lock:
            self.colour_mode = mode
            self._tell("look")

    def set_background(self, colour: tuple[int, int, int]) -> None:
        """Change the background colour, sRGB from 0 to 255."""
        with self.lock:
            self.background = colour
            self._tell("look")

    def label_map(self, camera: Camera) -> Int[np.ndarray, "H W"]:
        """Map of the node whose segment each pixel shows; 0 is none."""
        return self.label_map_of(camera, *self.seen())

    def label_map_of(
        self, camera: Camera, visible: Bool[np.ndarray, "N"], nodes: Int[np.ndarray, "N"]
    ) -> Int[np.ndarray, "H W"]:
        """Map as from `label_map`, for an earlier result of `seen`."""
        drawn = np.flatnonzero(visible)
        if len(drawn) == 0:
            return np.zeros((camera.height, camera.width), np.int32)
        gaussians = self.run.gaussians.subset(torch.from_numpy(drawn))
        with self.run.rendering:
            return label_maps(blended_votes(gaussians, camera), nodes[drawn][None])[0]

    def _tell(self, change: Change) -> None:
        for listener, changes in self._listeners:
            if change in changes:
                listener()
