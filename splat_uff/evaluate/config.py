"""Settings of the evaluation."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the evaluation."""

    cuts: int = 50
    """Nested cuts that are scored; NC grows with their number, so headline figures use 50."""
    most_segments: int = 300
    """Segments of the finest cut; the cuts are even in the logarithm of their number."""
    labels: Literal["blended", "nearest"] = "blended"
    """Label of a pixel: argmax of blended one-hot labels, or the paper's mode of the 5 nearest."""
    clicks: int = 100
    """Random clicks per true segment."""
