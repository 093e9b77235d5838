"""Segments of a cut by their size, and their numbers in that order."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def largest_first(segments: Int[np.ndarray, "N"]) -> list[int]:
    """The distinct segments, by how many leaves each has; of equal ones the lower first.

    Args:
        segments: Of each leaf, at least 0: nodes of a tree or labels of a cut.

    Example:
        >>> largest_first(np.array([5, 9, 9, 4, 4, 7]))
        [4, 9, 5, 7]
    """
    sizes = np.bincount(segments)
    known = np.flatnonzero(sizes)
    return known[np.argsort(-sizes[known], kind="stable")].tolist()


def numbered(segments: Int[np.ndarray, "*_"], order: Sequence[int]) -> Int[np.ndarray, "*_"]:
    """Number segments from 1 in an order; 0 is any that is not in it.

    Args:
        segments: At least 0, of whatever has one: leaves, or the pixels of a map.
        order: Distinct segments, for example from `largest_first`.

    Example:
        >>> numbered(np.array([5, 9, 9, 4, 4, 7]), [4, 9]).tolist()
        [0, 2, 2, 1, 1, 0]
    """
    number = np.zeros(max(segments.max(initial=0), max(order, default=0)) + 1, np.int32)
    number[list(order)] = np.arange(1, len(order) + 1)
    return number[segments]
