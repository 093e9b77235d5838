"""Settings of the contrastive fit."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FeaturesConfig:
    """Settings of the contrastive fit."""

    steps: int = 1500
    """Optimisation steps, one image each."""
    dimension: int = 32
    """Numbers per Gaussian."""
    pixels: int = 1024
    """Pixels drawn per step."""
    foreground: float = 0.9
    """Share of them drawn from opaque pixels; the rest come from the whole image."""
    pairs_per_group: int = 64
    """Positive pairs per mask, remainder and step of a climb."""
    neg_ratio: int = 1
    """Negative pairs per positive pair."""
    tau: float = 0.1
    """Temperature of the contrastive losses."""
    euclidean_weight: float = 1.0
    """Weight of the loss on plain cosine similarity."""
    ultrametric_weight: float = 0.0
    """Weight of the loss on ultrametric similarity."""
    ultrametric: Literal["spanning-tree", "average-linkage"] = "spanning-tree"
    """Which ultrametric: the paper's minimum spanning tree, or average linkage."""
    norm_weight: float = 1.0
    """Weight of the loss that keeps blended features near length 1."""
    lr: float = 1e-2
    """Learning rate at the start; falls along a cosine to a thirtieth."""
