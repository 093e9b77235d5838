"""Segments of a cut sorted by size, and their numbers in that order."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def largest_first(segments: Int[np.ndarray, "N"]) -> list[int]:
    """Distinct segments sorted by their number of leaves, largest first; ties by lower number.

    Args:
        segments: Segment of each leaf, at least 0: a node of a tree or a label of a cut.

    Example:
        >>> largest_first(np.array([5, 9, 9, 4, 4, 7]))
        [4, 9, 5, 7]
    """
    sizes = np.bincount(segments)
    known = np.flatnonzero(sizes)
    return known[np.argsort(-sizes[known], kind="stable")].tolist()


def numbered(segments: Int[np.ndarray, "*_"], order: Sequence[int]) -> Int[np.ndarray, "*_"]:
    """Number segments from 1 in a given order; those not in it get 0.

    Args:
        segments: Segment of each leaf, or of each pixel of a map, at least 0.
        order: Distinct segments, for example from `largest_first`.

    Example:
        >>> numbered(np.array([5, 9, 9, 4, 4, 7]), [4, 9]).tolist()
        [0, 2, 2, 1, 1, 0]
    """
    number = np.zeros(max(segments.max(initial=0), max(order, default=0)) + 1, np.int32)
    number[list(order)] = np.arange(1, len(order) + 1)
    return number[segments]
