"""How well a hierarchy explains masks that it never saw; needs no ground truth."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from splat_uff.errors import InputError
from splat_uff.masks.records import MaskSet


def explain_masks(
    label_maps: Sequence[Int[np.ndarray, "K _ _"]], masks: Sequence[MaskSet]
) -> Float[np.ndarray, "M"]:
    """The best IoU, over all segments of all cuts, with each mask of each view.

    Args:
        label_maps: Predicted segment of each pixel, by view and cut; 0 is none, and no segment.
        masks: Of the same views, at the size of the maps.

    Returns:
        One value in [0, 1] a mask, view after view; empty masks are left out.

    Raises:
        InputError: If numbers or sizes differ.

    Example:
        >>> labels = np.array([[[1, 1, 2, 2]]])
        >>> explain_masks([labels], [MaskSet.of(np.array([[[True, True, True, False]]]))]).round(2)
        array([0.67])
    """
    found = []
    if len(label_maps) != len(masks):
        raise InputError(f"label maps of {len(label_maps)} views for masks of {len(masks)}.")
    for view, (maps, bag) in enumerate(zip(label_maps, masks, strict=True)):
        if maps.shape[1:] != (bag.height, bag.width):
            raise InputError(
                f"view {view} has labels of {maps.shape[1]} x {maps.shape[2]} and masks of "
                f"{bag.height} x {bag.width} pixels; expected one size."
            )
        sizes = [np.bincount(labels.ravel()) for labels in maps]
        for mask in bag.unpack():
            area = mask.sum()
            if area == 0:
                continue
            best = 0.0
            for labels, size in zip(maps, sizes, strict=True):
                joint = np.bincount(labels[mask], minlength=len(size))
                ious = joint[1:] / np.maximum(size[1:] + area - joint[1:], 1)
                best = max(best, float(ious.max(initial=0)))
            found.append(best)
    return np.array(found)
