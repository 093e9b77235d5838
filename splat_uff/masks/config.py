"""Settings of Segment Anything."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from splat_uff.system.setting_types import Count, Natural, Share

MADE_BY = "made_by.json"
"""In the folder of each view's masks that `splat-uff masks` made: what they were made from."""


@dataclass(frozen=True)
class SamSettings:
    """Settings of the automatic mask generator, under SAM's own names and with its defaults."""

    points_per_side: Annotated[int, Meta(ge=1, le=512)] = 32
    """Prompts along each side of the image."""
    points_per_batch: Count = 64
    """Prompts answered at a time; more take more memory."""
    pred_iou_thresh: Share = 0.88
    """Least quality that the model predicts for a mask."""
    stability_score_thresh: Share = 0.95
    """Least overlap of a mask with itself under other thresholds."""
    stability_score_offset: Annotated[float, Meta(ge=0, le=100)] = 1.0
    """How far those thresholds are apart."""
    box_nms_thresh: Share = 0.7
    """Masks whose boxes overlap more are duplicates."""
    crop_n_layers: Annotated[int, Meta(ge=0, le=8)] = 0
    """Layers of crops that are prompted as well."""
    crop_nms_thresh: Share = 0.7
    """As `box_nms_thresh`, between crops."""
    crop_overlap_ratio: Share = 512 / 1500
    """How much crops overlap."""
    crop_n_points_downscale_factor: Count = 1
    """By how much crops have fewer prompts, layer after layer."""
    min_mask_region_area: Natural = 0
    """Smaller holes and islands are removed; needs OpenCV."""
