"""Settings of the tree."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.ranges import Count, Share


@dataclass(frozen=True)
class HierarchyConfig:
    """Settings of the tree over all Gaussians."""

    linkage: Literal["average", "watershed"] = "average"
    """Average linkage of superpoints, or the paper's watershed (single linkage)."""
    neighbours: Count = 16
    """Neighbours of each Gaussian in the graph."""
    superpoints: Count = 2000
    """Most groups of neighbouring Gaussians (superpoints) that average linkage starts from."""
    min_weight: Share = 0.1
    """Gaussians that never contribute this share of a pixel do not shape the tree; they join the
    nearest that does."""
    crumb_exponent: Share = 0.1
    """Merges are ranked by distance times the size of the smaller side to this power; 0 is distance
    alone, more keeps small crumbs from counting as segments."""
