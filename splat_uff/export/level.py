"""Cut of a run into a number of segments, with their labels and colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from splat_uff.hierarchy.segments import largest_first, numbered
from splat_uff.report.paint import NONE_COLOUR
from splat_uff.run.open import Run
from splat_uff.system.records import array_record


@array_record
class Level:
    """Cut into a number of segments, the largest first."""

    level: int
    """Requested number of segments."""
    nodes: Sequence[int]
    """Node of each segment."""
    node_of_each: Int[np.ndarray, "N"]
    """Node of each Gaussian's segment."""
    labels: Int[np.ndarray, "N"]
    """Segment of each Gaussian, from 1."""
    colours: Float[np.ndarray, "_ 3"]
    """Colour of each label, including 0."""

    @staticmethod
    def of(run: Run, level: int) -> "Level":
        """Cut the tree of a run."""
        nodes = run.nodes(level)
        order = largest_first(nodes)
        colours = np.concatenate([NONE_COLOUR[None], run.walk.colours[order]])
        return Level(level, order, nodes, numbered(nodes, order), colours)

    def describe(self) -> list[dict[str, Any]]:
        """Label, node and colour of each segment, for `hierarchy.json`."""
        return [
            {"label": rank, "node": node, "colour": self.colours[rank].round(4).tolist()}
            for rank, node in enumerate(self.nodes, start=1)
        ]
