"""Settings of the evaluation."""

from dataclasses import dataclass
from typing import Literal

from splat_uff.system.setting_types import Count, Weight


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the evaluation."""

    cuts: Count = 50
    """Number of nested cuts to score; NC grows with it, so headline figures use 50."""
    cut_by: Literal["segments", "heights"] = "segments"
    """Spacing of the cuts: even in the logarithm of the number of segments, or even in height."""
    most_segments: Count = 300
    """Number of segments in the finest cut, if cuts are by segments."""
    highest_cut: Weight = 0.0
    """Height of the highest cut, if cuts are by heights; 0 means the root's, the paper uses 0.5."""
    labels: Literal["blended", "nearest"] = "blended"
    """Label of a pixel: the largest blended share, or the commonest of the 5 nearest Gaussians."""
    clicks: Count = 100
    """Number of random clicks on each true segment; more make scores less noisy, but slower."""
