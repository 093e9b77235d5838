"""Colours for segments that stay the same from one granularity to the next."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from splat_uff.hierarchy.colours import LOOKAHEAD, distinct_colours, furthest
from splat_uff.hierarchy.segments import largest_first

NONE_COLOUR = np.array([1.0, 1.0, 1.0])
"""Colour of label 0: the page's white, so that label maps look cut out like the photos."""


def nested_colours(cuts: Sequence[Int[np.ndarray, "N"]]) -> list[Float[np.ndarray, "_ 3"]]:
    """Choose one colour per segment for a nested set of cuts, the same in every view.

    From coarse to fine, the largest child keeps its parent's colour and the others get new ones,
    far from their parent and siblings. A segment that does not split therefore never changes.

    Args:
        cuts: Segment of each leaf, counted from 1 with 0 for none, from fine to coarse. If a fine
            segment straddles coarse ones, its parent is the one that holds most of it.

    Returns:
        For each cut, a table of sRGB colours in [0, 1] indexed by label; row 0 is `NONE_COLOUR`.

    Example:
        >>> fine, coarse = nested_colours([np.array([1, 2, 2, 3]), np.array([1, 1, 1, 2])])
        >>> bool((fine[2] == coarse[1]).all() and (fine[3] == coarse[2]).all())
        True
    """
    lab, srgb = distinct_colours()
    unused: list[int] = []
    tables: list[np.ndarray] = []
    coarser, chosen_of_coarser = None, np.zeros(1, np.int64)
    for cut in reversed(cuts):
        sizes = np.bincount(cut, minlength=1)
        chosen = np.full(len(sizes), -1)
        parents = _parents(cut, coarser) if coarser is not None else np.zeros_like(sizes)
        families: dict[int, list[int]] = {}
        # Large segments choose first, so that the most distinct colours cover the largest area.
        for label in largest_first(cut):
            if label == 0:
                continue
            parent = int(parents[label])
            family = families.setdefault(parent, [])
            if parent and not family:
                chosen[label] = chosen_of_coarser[parent]
            else:
                unused = unused or list(range(len(lab)))
                chosen[label] = furthest(lab, unused[:LOOKAHEAD], family)
                unused.remove(int(chosen[label]))
            family.append(int(chosen[label]))
        tables.append(np.where(chosen[:, None] >= 0, srgb[chosen], NONE_COLOUR))
        coarser, chosen_of_coarser = cut, chosen
    return tables[::-1]


def paint(
    labels: Int[np.ndarray, "H W"], colours: Float[np.ndarray, "_ 3"]
) -> Float[np.ndarray, "H W 3"]:
    """Colour a label map with a table from `nested_colours`."""
    return colours[labels]


def feature_colours(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N 3"]:
    """Show features as colours: their three main directions of variation are R, G and B.

    Each direction is scaled so that its 2nd to 98th percentiles fill [0, 1], and signed so that its
    largest loading is positive, so equal features always have equal colours.

    Args:
        features: One vector per row, of any length; rows may be Gaussians or pixels. Leave out the
            background, which would take up one of the three directions.

    Returns:
        sRGB colours in [0, 1]; mid grey for directions that do not vary.
    """
    colours = np.full((len(features), 3), 0.5)
    if len(features) == 0:
        return colours
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(features))
    floor = 1e-9 * max(variances[-1], 1e-30)
    for channel in range(min(3, features.shape[1])):
        direction = directions[:, -1 - channel]
        if variances[-1 - channel] <= floor:
            continue
        values = centred @ (direction * np.sign(direction[np.abs(direction).argmax()]))
        low, high = np.percentile(values, [2, 98])
        if high > low:
            colours[:, channel] = np.clip((values - low) / (high - low), 0, 1)
    return colours


def _parents(fine: Int[np.ndarray, "N"], coarse: Int[np.ndarray, "N"]) -> Int[np.ndarray, "_"]:
    """Coarse label that holds most leaves of each fine label."""
    base = int(coarse.max(initial=0)) + 1
    joint, counts = np.unique(fine.astype(np.int64) * base + coarse, return_counts=True)
    joint = joint[np.argsort(counts, kind="stable")]
    parents = np.zeros(int(fine.max(initial=0)) + 1, np.int64)
    parents[joint // base] = joint % base  # For repeated indices, the last and largest wins.
    return parents
