"""Settings of the tree."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.ranges import Count, Share


@dataclass(frozen=True)
class HierarchyConfig:
    """Settings of the tree over all Gaussians."""

    linkage: Literal["average", "consensus", "watershed"] = "average"
    """Average linkage of superpoints by their features, or by these and by what the masks of all
    photos agree on (consensus); or the paper's watershed (single linkage)."""
    neighbours: Count = 16
    """Neighbours of each Gaussian in the graph."""
    superpoints: Count = 2000
    """Most groups of neighbouring Gaussians (superpoints) that average linkage starts from."""
    consensus_share: Share = 0.5
    """How much consensus counts between superpoints, beside features; 1 is consensus alone."""
    min_weight: Share = 0.2
    """Gaussians that are nowhere this share of a pixel join the nearest one that is."""
    crumb_exponent: Share = 0.1
    """Keeps crumbs from being segments: merge heights grow as the smaller side to this power."""
