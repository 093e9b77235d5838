"""Settings of the tree."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class HierarchyConfig:
    """Settings of the tree."""

    linkage: Literal["average", "watershed"] = "average"
    """Average linkage of superpoints, or the paper's watershed (single linkage)."""
    neighbours: int = 16
    """Neighbours of each Gaussian in the graph."""
    superpoints: int = 2000
    """Most superpoints that average linkage starts from."""
    min_weight: float = 0.1
    """Gaussians that reach no such blend weight in any view do not shape the tree."""
    crumb_exponent: float = 0.1
    """Merges are ranked by distance times the size of the smaller side to this power."""
