"""Masks damaged on purpose, to see whether anybody notices."""

from collections.abc import Sequence

import numpy as np

from splat_uff.masks.bags import Bags
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.tree import build_tree

KINDS = ("shifted", "merged", "rectangles", "dropped", "swapped")
Bag = tuple[MaskSet, MaskTree]


def damaged(bags: Bags | Sequence[Bag], view: int, kind: str, rng: np.random.Generator) -> Bag:
    """Masks of one view after damage of one of `KINDS`.

    A shift is by a tenth of the width; of ten masks, eight are dropped; rectangles are as many as
    the masks; a view's masks are swapped with those of the view half-way round the capture.
    """
    masks = bags[view][0].unpack()
    if kind == "shifted":
        masks = np.roll(masks, masks.shape[2] // 10, axis=2)
    elif kind == "merged":
        masks = masks.any(axis=0)[None]
    elif kind == "rectangles":
        masks = np.stack([_rectangle(masks.shape[1:], rng) for _ in masks])
    elif kind == "dropped":
        masks = masks[rng.permutation(len(masks))[: max(len(masks) // 5, 1)]]
    elif kind == "swapped":
        masks = bags[(view + len(bags) // 2) % len(bags)][0].unpack()
    else:
        raise ValueError(kind)
    packed = MaskSet.of(masks)
    return packed, build_tree(packed)


def _rectangle(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    filled = np.zeros(shape, bool)
    top, bottom = np.sort(rng.integers(0, shape[0] + 1, 2))
    left, right = np.sort(rng.integers(0, shape[1] + 1, 2))
    filled[top:bottom, left:right] = True
    return filled
