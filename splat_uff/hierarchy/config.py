"""Settings of the tree."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.ranges import Count, Share


@dataclass(frozen=True)
class HierarchyConfig:
    """Settings of the tree over all Gaussians."""

    linkage: Literal["average", "consensus", "watershed"] = "average"
    """How the tree is built: `average` merges superpoints by their features, `consensus` by their
    features and by what the masks of all photos agree on, `watershed` is the paper's."""
    neighbours: Count = 16
    """Neighbours of each Gaussian in the graph."""
    superpoints: Count = 2000
    """Most groups of neighbouring Gaussians (superpoints) that average linkage starts from."""
    consensus_share: Share = 0.5
    """Weight of the photos' agreement when superpoints merge by `consensus`: 0 is features alone, 1
    is agreement alone."""
    min_weight: Share = 0.2
    """Gaussians that are nowhere this share of a pixel join the nearest one that is."""
    crumb_exponent: Share = 0.1
    """Keeps crumbs from being segments: merge heights grow as the smaller side to this power; by
    `consensus` there are few, and heights are as they are."""
