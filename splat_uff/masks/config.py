"""Settings of the generator of masks."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from splat_uff.system.setting_types import Count, Natural, Share

SamModel: TypeAlias = Literal["vit_h", "vit_l", "vit_b"]
"""Models of the package `segment_anything`."""
MADE_BY = "made_by.json"
"""File in each view's folder that records what `splat-uff masks` made its masks from."""


@dataclass(frozen=True)
class SamSettings:
    """Settings of SAM's automatic mask generator, with its own names and defaults."""

    points_per_side: Annotated[int, Meta(ge=1, le=512)] = 32
    """Number of prompts along each side of the image."""
    points_per_batch: Count = 64
    """Number of prompts processed at a time; more take more memory."""
    pred_iou_thresh: Share = 0.88
    """Least quality, predicted by the model, of a mask that is kept."""
    stability_score_thresh: Share = 0.95
    """Least overlap of a mask that is kept with itself at a lower and at a higher threshold."""
    stability_score_offset: Annotated[float, Meta(ge=0, le=100)] = 1.0
    """Distance of those thresholds from the one in the middle."""
    box_nms_thresh: Share = 0.7
    """Overlap of boxes above which two masks are duplicates."""
    crop_n_layers: Annotated[int, Meta(ge=0, le=8)] = 0
    """Number of layers of crops that are prompted in addition to the image."""
    crop_nms_thresh: Share = 0.7
    """Overlap of boxes above which masks of different crops are duplicates."""
    crop_overlap_ratio: Share = 512 / 1500
    """Overlap of the crops in the first layer, as a share of the image's side."""
    crop_n_points_downscale_factor: Count = 1
    """Factor by which the number of prompts along a side falls with each layer of crops."""
    min_mask_region_area: Natural = 0
    """Size, in pixels, below which holes and islands are removed."""


@dataclass(frozen=True)
class Prompting:
    """Settings of where the clicks fall."""

    clicks: Literal["adaptive", "grid"] = "adaptive"
    """Clicks where no fine mask answers yet (adaptive), or a regular grid of `points_per_side`."""
    prompts: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    """Most adaptive clicks a photo; they end earlier if they find nothing new."""
    seconds_per_photo: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """Seconds after which no more adaptive clicks begin, counted from when the model has seen the
    photo; 0 is no limit. With a limit, masks depend on the machine's speed."""


GRID = Prompting("grid")
"""Clicks of `segment_anything`'s own generator."""
