"""Settings of the tree."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.system.setting_types import Count, Draws, Share


@dataclass(frozen=True)
class HierarchyConfig:
    """Settings of the tree over all Gaussians."""

    linkage: Literal["average", "consensus", "watershed"] = "consensus"
    """How the tree is built: `consensus` merges superpoints by their features and by what the masks
    of all photos agree on, `average` by their features alone, `watershed` is the paper's."""
    neighbours: Count = 16
    """Neighbours of each Gaussian in the graph."""
    superpoints: Count = 2000
    """Most groups of neighbouring Gaussians (superpoints) that `consensus` and `average` merge."""
    consensus_share: Share = 0.5
    """Weight of the photos' agreement when superpoints merge by `consensus`: 0 is features alone, 1
    is agreement alone."""
    min_weight: Share = 0.2
    """Gaussians that are nowhere this share of a pixel join the nearest one that is."""
    crumb_exponent: Share = 0.1
    """Keeps crumbs from being segments by `average`: merge heights grow as the smaller side to this
    power. By `consensus` heights are as they are."""
    resamples: Draws = 16
    """Trees that are built again, by `consensus`, from other draws of the photos and features, to
    tell how sure each node is; 0 for none."""
