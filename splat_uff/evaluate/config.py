"""Settings of the evaluation."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.system.setting_types import Count, Weight


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the evaluation."""

    cuts: Count = 50
    """Nested cuts that are scored; NC grows with their number, so headline figures use 50."""
    cut_by: Literal["segments", "heights"] = "segments"
    """Cuts even in the logarithm of the number of segments, or even in height."""
    most_segments: Count = 300
    """Segments of the finest cut, where cuts are by segments."""
    highest_cut: Weight = 0.0
    """Highest cut, where cuts are by heights; 0 is the root's, the paper's is 0.5."""
    labels: Literal["blended", "nearest"] = "blended"
    """Label of a pixel: largest blended share, or the commonest of the 5 nearest Gaussians."""
    clicks: Count = 100
    """Random clicks on each true segment; more make the scores steadier, and slower."""
