"""The pixels that each step of the contrastive fit uses, drawn before the first step.

A step uses a few pixels of one view, so only the blend weights and masks that those pixels need
are kept: memory grows with the number of steps, not with the number of views or their size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.features.blend import BlendRows, row_sums
from splat_uff.features.config import FeaturesConfig
from splat_uff.masks.bags import mask_counts
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.render.frozen import FrozenViews
from splat_uff.system.memory import Kept
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

STAGE = 2
"""Number of this stage's random stream."""
OPAQUE = 0.5
"""Opacity above which a pixel counts as showing the scene."""


@array_record
class Sample:
    """Input of one step."""

    view: int
    pixels: Int[np.ndarray, "S"]
    """Flat indices of the pixels, distinct and in increasing order."""
    weights: BlendRows
    """Blend weights of every pixel of this view that any step uses."""
    rows: Int[np.ndarray, "S"]
    """Row of each pixel in `weights`."""
    through: Float[np.ndarray, "S"]
    """Share of the background that shows through each pixel, 1 - alpha."""
    members: Bool[np.ndarray, "M S"]
    """Whether each pixel lies in each mask."""
    inside: Bool[np.ndarray, "M M"]
    """Whether the row's mask lies inside the column's."""
    rng: np.random.Generator
    """The step's own random stream, as the draw of its pixels left it."""


class Samples:
    """The samples of all steps, within a memory budget."""

    def __init__(
        self,
        views: FrozenViews,
        bags: Sequence[tuple[MaskSet, MaskTree]],
        config: FeaturesConfig,
        *,
        seed: int,
    ) -> None:
        """Draw the pixels of every step, view after view.

        Views take turns in an order reshuffled every epoch; those without masks are left out.

        Args:
            views: Training views; what is kept here counts towards their memory budget.
            bags: Masks and mask tree of each training view; at least one view must have a mask.
            config: Settings of the fit.
            seed: Seed of all draws; every step draws from a stream of its own.
        """
        self._memory = views.memory
        self._blocks: dict[int, tuple[Kept, Kept, Kept, Kept]] = {}
        self._steps: dict[int, tuple[int, tuple[Kept, Kept, Kept, Kept], dict[str, Any]]] = {}
        due = _schedule(np.flatnonzero(mask_counts(bags)), config.steps, seed)
        for view, steps in track(due.items(), "blend weights", len(due)):
            matrix = views.matrix(view)
            masks, tree = bags[view]
            alpha = row_sums(matrix)
            draws = {}
            for step in steps:
                rng = np.random.default_rng([seed, STAGE, 1, step])
                draws[step] = _draw_pixels(alpha > OPAQUE, config, rng), rng
            wanted = np.unique(np.concatenate([pixels for pixels, _ in draws.values()]))
            block = matrix[wanted]
            parts = (block.indptr.astype(np.int64), block.indices, block.data, tree.inside)
            self._blocks[view] = self._keep(*parts)
            for step, (pixels, rng) in draws.items():
                members = np.packbits(masks.at(pixels), axis=1)
                rows = np.searchsorted(wanted, pixels)
                kept = self._keep(
                    pixels.astype(np.int32), rows.astype(np.int32), 1 - alpha[pixels], members
                )
                self._steps[step] = view, kept, dict(rng.bit_generator.state)
            del matrix, block  # Otherwise those of two views would be in memory at once.

    def __getitem__(self, step: int) -> Sample:
        """Return the sample of a step."""
        view, kept, state = self._steps[step]
        pixels, rows, through, members = (each.load() for each in kept)
        starts, indices, weights, inside = (each.load() for each in self._blocks[view])
        rng = np.random.default_rng()
        rng.bit_generator.state = state
        return Sample(
            view,
            pixels.astype(np.int64),
            BlendRows(starts, indices, weights, np.array([0, len(starts) - 1])),
            rows.astype(np.int64),
            through,
            np.unpackbits(members, axis=1, count=len(pixels)).astype(bool),
            inside,
            rng,
        )

    def _keep(self, *arrays: np.ndarray) -> tuple[Kept, Kept, Kept, Kept]:
        first, second, third, fourth = (self._memory.keep(array) for array in arrays)
        return first, second, third, fourth


def _schedule(usable: Int[np.ndarray, "U"], steps: int, seed: int) -> dict[int, list[int]]:
    """Steps that use each view."""
    due: dict[int, list[int]] = {}
    for epoch, first in enumerate(range(0, steps, len(usable))):
        order = np.random.default_rng([seed, STAGE, 2, epoch]).permutation(usable)
        for step, view in enumerate(order[: steps - first].tolist(), start=first):
            due.setdefault(view, []).append(step)
    return due


def _draw_pixels(
    opaque: Bool[np.ndarray, "P"], config: FeaturesConfig, rng: np.random.Generator
) -> Int[np.ndarray, "S"]:
    """Draw distinct pixels of one view, mostly opaque ones, in increasing order."""
    inside = np.flatnonzero(opaque)
    wanted = min(config.pixels, opaque.size)
    most = min(round(config.foreground * wanted), len(inside))
    chosen = rng.choice(inside, most, replace=False) if most else inside[:0]
    left = np.ones(opaque.size, dtype=bool)
    left[chosen] = False
    rest = rng.choice(np.flatnonzero(left), wanted - most, replace=False)
    return np.sort(np.concatenate([chosen, rest]))
