"""Settings of the contrastive fit."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from splat_uff.system.setting_types import Count, Natural, Positive, Share, Weight


@dataclass(frozen=True)
class FeaturesConfig:
    """Settings of the contrastive fit: one feature per Gaussian, from the masks."""

    steps: Annotated[int, Meta(ge=0, le=100_000_000)] = 750
    """Steps of the optimiser, one image each; time grows with them. 0 trains nothing: features are
    those of the start, and a tree by `consensus` is that of the masks alone."""
    start: Literal["consensus", "noise"] = "consensus"
    """Features before the first step: those of the tree that the masks of all photos agree on, in
    closed form, or noise, which takes 1500 steps or more."""
    dimension: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Length of the feature vectors."""
    pixels: Count = 4096
    """Pixels drawn from the image of a step."""
    foreground: Share = 0.9
    """Share of them drawn from where the scene is; the rest come from the whole image."""
    pairs_per_group: Count = 64
    """Pairs of pixels drawn from each mask, and as many from each step up the tree of masks."""
    neg_ratio: Count = 4
    """Pairs that should differ, for each pair that should be alike."""
    tau: Positive = 0.1
    """Temperature of the contrastive losses; lower is stricter with the hardest pairs."""
    euclidean_weight: Weight = 1.0
    """Weight of the loss on the cosine similarity of two pixels."""
    ultrametric_weight: Weight = 0.1
    """Weight of the loss on their similarity in a tree; 0 leaves it out."""
    ultrametric: Literal["scene-tree", "spanning-tree", "average-linkage"] = "scene-tree"
    """Which tree that is: that of the scene, which the masks of all photos agree on; or a tree of
    the drawn pixels, by the paper's minimum spanning tree or by average linkage."""
    ultrametric_refresh: Natural = 0
    """Steps after which the scene's tree is made anew from the present features; 0: never."""
    norm_weight: Weight = 1.0
    """Weight of the loss that keeps blended features near length 1."""
    lr: Positive = 1e-2
    """Learning rate at the start; falls along a cosine to a thirtieth."""
