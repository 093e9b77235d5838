"""Settings of the tree."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from splat_uff.system.setting_types import Count, Draws, Share


@dataclass(frozen=True)
class HierarchyConfig:
    """Settings of the tree over all Gaussians."""

    linkage: Literal["average", "consensus", "watershed"] = "consensus"
    """Method that builds the tree: `consensus` merges superpoints by their features and by what the
    masks of all photos agree on, `average` by their features alone; `watershed` is the paper's."""
    neighbours: Count = 16
    """Nearest Gaussians to which each Gaussian is joined in the graph."""
    superpoints: Count = 2000
    """Most groups of neighbouring Gaussians (superpoints) that `consensus` and `average` merge."""
    blocks: Annotated[Count, tyro.conf.arg(aliases=("--blocks",))] = 1
    """Number of overlapping blocks of space in which superpoints grow, one after the other, for
    scenes that need too much memory at once; `watershed` has none."""
    consensus_share: Share = 0.5
    """Weight of the photos' agreement when `consensus` merges superpoints: 0 uses features alone, 1
    agreement alone."""
    min_weight: Share = 0.2
    """Gaussians whose blend weight never reaches this are attached to the nearest that does."""
    crumb_exponent: Share = 0.1
    """Exponent that keeps crumbs from becoming segments with `average`: merge heights are
    multiplied by the smaller side's size to this power. `consensus` leaves heights unchanged."""
    resamples: Draws = 16
    """Trees that `consensus` rebuilds from resampled photos and features, to measure how certain
    each node is; 0 skips this."""
