"""Fit of a hierarchy to masks that it was not built from; needs no ground truth."""

from collections.abc import Iterable
from itertools import zip_longest

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from splat_uff.masks.records import MaskSet, Regions
from splat_uff.system.errors import InputError


def explain_masks(
    label_maps: Iterable[Int[np.ndarray, "K _ _"]], masks: Iterable[MaskSet]
) -> Float[np.ndarray, "M"]:
    """Best IoU with each mask of each view, over all segments of all cuts.

    Args:
        label_maps: Predicted segment of each pixel, per view and cut; 0 is no segment.
        masks: Masks of the same views, at the size of the maps.

    Returns:
        One value in [0, 1] per mask, view after view; empty masks are left out.

    Raises:
        InputError: If numbers or sizes differ.

    Example:
        >>> labels = np.array([[[1, 1, 2, 2]]])
        >>> explain_masks([labels], [MaskSet.of(np.array([[[True, True, True, False]]]))]).round(2)
        array([0.67])
    """
    found = []
    for view, (maps, bag) in enumerate(zip_longest(label_maps, masks)):
        if maps is None or bag is None:
            kind = "masks" if maps is None else "label maps"
            raise InputError(f"view {view} has {kind} only; expected masks and label maps of each.")
        if maps.shape[1:] != (bag.height, bag.width):
            raise InputError(
                f"view {view} has labels of {maps.shape[1]} x {maps.shape[2]} and masks of "
                f"{bag.height} x {bag.width} pixels; expected one size."
            )
        found.append(_best_ious(maps.reshape(len(maps), -1), bag))
    return np.concatenate(found) if found else np.zeros(0)


def _best_ious(maps: Int[np.ndarray, "K P"], masks: MaskSet) -> Float[np.ndarray, "M"]:
    """Best IoU with each mask of one view; runs of pixels in the same segments and masks count
    together."""
    regions = Regions.of(masks)
    areas = regions.members @ regions.sizes
    members = csr_matrix(regions.members[areas > 0], dtype=np.int64)
    areas = areas[areas > 0, None]
    best = np.zeros(len(areas))
    starts = _run_starts(regions.of_pixel, maps)
    lengths, region = np.diff(np.append(starts, maps.shape[1])), regions.of_pixel[starts]
    for labels in maps[:, starts]:
        shape = (regions.members.shape[1], int(labels.max(initial=0)) + 1)
        pixels = csr_matrix((lengths, (region, labels)), shape=shape)
        joint = csr_matrix(members @ pixels).toarray()[:, 1:]
        sizes = np.bincount(labels, lengths, minlength=shape[1])[1:]
        ious = joint / np.maximum(sizes + areas - joint, 1)
        best = np.maximum(best, ious.max(axis=1, initial=0))
    return best


def _run_starts(region: Int[np.ndarray, "P"], maps: Int[np.ndarray, "K P"]) -> Int[np.ndarray, "R"]:
    """First pixels of runs that lie in one region and in one segment of every cut."""
    changed = np.ones(len(region), bool)
    changed[1:] = region[1:] != region[:-1]
    for labels in maps:
        changed[1:] |= labels[1:] != labels[:-1]
    return np.flatnonzero(changed)
