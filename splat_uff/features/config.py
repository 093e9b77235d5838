"""Settings of the contrastive fit."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from splat_uff.system.setting_types import Count, Natural, Positive, Share, Weight


@dataclass(frozen=True)
class FeaturesConfig:
    """Settings of the contrastive fit: one feature per Gaussian, from the masks."""

    steps: Annotated[int, Meta(ge=0, le=100_000_000)] = 500
    """Optimiser steps, one image each; the running time grows with them. 0 trains nothing: the
    features stay those of the start, and a `consensus` tree depends on the masks alone."""
    start: Literal["consensus", "noise"] = "consensus"
    """Features before the first step: `consensus` computes them in closed form from the tree that
    the masks of all photos agree on; `noise` is random and takes 1500 steps or more."""
    dimension: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Length of the feature vectors."""
    pixels: Count = 4096
    """Pixels drawn per step, all from one image."""
    foreground: Share = 0.9
    """Share of the pixels drawn where the scene is; the rest come from the whole image."""
    pairs_per_group: Count = 64
    """Pairs of pixels drawn from each mask, and as many for each step up the mask tree."""
    neg_ratio: Count = 4
    """Negative pairs (pixels that should differ) for each positive pair."""
    tau: Positive = 0.1
    """Temperature of the contrastive losses; lower values weigh the hardest pairs more."""
    euclidean_weight: Weight = 1.0
    """Weight of the loss on the cosine similarity of two pixels."""
    ultrametric_weight: Weight = 0.1
    """Weight of the loss on the similarity of two pixels in a tree; 0 leaves it out."""
    ultrametric: Literal["scene-tree", "spanning-tree", "average-linkage"] = "scene-tree"
    """Tree of the ultrametric loss: `scene-tree`, which the masks of all photos agree on, or a tree
    of the drawn pixels, built as the paper's minimum spanning tree or by average linkage."""
    ultrametric_refresh: Natural = 0
    """Steps between rebuilds of the scene's tree from the current features; 0 never rebuilds it."""
    norm_weight: Weight = 1.0
    """Weight of the loss that keeps blended features near length 1."""
    lr: Positive = 1e-2
    """Initial learning rate; it falls along a cosine to a thirtieth."""
