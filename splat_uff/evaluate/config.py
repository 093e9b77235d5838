"""Settings of the evaluation."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.ranges import Count


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the evaluation."""

    cuts: Count = 50
    """Nested cuts that are scored; NC grows with their number, so headline figures use 50."""
    cut_by: Literal["segments", "heights"] = "segments"
    """Even in the logarithm of the number of segments, or the paper's heights 0.01, 0.02 ..."""
    most_segments: Count = 300
    """Segments of the finest cut, where cuts are by segments."""
    labels: Literal["blended", "nearest"] = "blended"
    """Label of a pixel: largest blended share, or the commonest of the 5 nearest Gaussians."""
    clicks: Count = 100
    """Random clicks on each true segment; more make the scores steadier, and slower."""
