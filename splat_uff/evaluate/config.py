"""Settings of the evaluation."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.ranges import Count


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the evaluation."""

    cuts: Count = 50
    """Nested cuts that are scored; NC grows with their number, so headline figures use 50."""
    most_segments: Count = 300
    """Segments of the finest cut; the cuts are even in the logarithm of their number."""
    labels: Literal["blended", "nearest"] = "blended"
    """Label of a pixel: largest blended share, or the commonest of the 5 nearest Gaussians."""
    clicks: Count = 100
    """Random clicks on each true segment; more make the scores steadier, and slower."""
