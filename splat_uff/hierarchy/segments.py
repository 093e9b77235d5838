"""Segments by number: labels count from 1, the largest segment first."""

import numpy as np
from jaxtyping import Int


def largest_first(nodes: Int[np.ndarray, "N"]) -> list[int]:
    """The distinct nodes that leaves belong to, by number of leaves; of equal ones the lower."""
    known, sizes = np.unique(nodes, return_counts=True)
    return known[np.lexsort((known, -sizes))].tolist()


def ranked(nodes: Int[np.ndarray, "N"], order: list[int]) -> Int[np.ndarray, "N"]:
    """Labels from 1 in the given order of nodes."""
    known = np.array(order)
    at = np.argsort(known)
    return (at[np.searchsorted(known, nodes, sorter=at)] + 1).astype(np.int32)
