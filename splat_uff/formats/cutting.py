"""Kernels that measure cells of rows, for palettes: loops, which compile sooner than arrays."""

from typing import no_type_check

import numpy as np
from numba import njit

ROUNDS = 3
"""Rounds of the power iteration that finds the longest axis of a cell."""


@njit(cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def place_along(rows: np.ndarray, order: np.ndarray, step: int, along: np.ndarray) -> None:
    """Measure rows along the longest axis of their cell.

    Args:
        rows: Rows of numbers [N, D], float32.
        order: Indices of the rows of the cell [n], at least two of which differ.
        step: Step between the rows from which the axis is found.
        along: Place of each along the axis [n], from any origin, to be filled; float64.
    """
    width = rows.shape[1]
    first, size = rows[order[0]], 0.0
    mean, axis, turned = np.zeros(width), np.zeros(width), np.zeros(width)
    for again in range(ROUNDS + 1):
        count = 0
        for d in range(width):
            turned[d] = 0.0
        for i in range(0, len(order), step):
            row, length = rows[order[i]], 0.0
            count += 1
            for d in range(width):
                apart = float(row[d]) - float(first[d]) - mean[d]
                if again == 0:
                    turned[d] += apart
                else:
                    length += apart * axis[d]
            for d in range(width if again else 0):
                turned[d] += (float(row[d]) - float(first[d]) - mean[d]) * length
        if again == 0:
            widest = 0.0
            for d in range(width):
                mean[d] = turned[d] / count
            for i in range(0, len(order), step):  # The row that lies furthest is a fair start.
                square = 0.0
                for d in range(width):
                    square += (float(rows[order[i], d]) - float(first[d]) - mean[d]) ** 2
                if square > widest:
                    widest = square
                    for d in range(width):
                        axis[d] = float(rows[order[i], d]) - float(first[d]) - mean[d]
            for d in range(width):
                turned[d] = axis[d]
        size = 0.0
        for d in range(width):
            size += turned[d] ** 2
        if size > 0:
            for d in range(width):
                axis[d] = turned[d] / np.sqrt(size)
    i = 0
    while size == 0 and i < len(order):  # All in the sample are equal: towards one that differs.
        for d in range(width):
            axis[d] = float(rows[order[i], d]) - float(first[d])
            size += axis[d] ** 2
        i += 1
    for i in range(len(order)):
        length = 0.0
        for d in range(width):
            length += (float(rows[order[i], d]) - float(first[d])) * axis[d]
        along[i] = length


@njit(cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def spread_of(rows: np.ndarray, order: np.ndarray) -> float:
    """Sum of squared distances from the mean in a cell; exactly 0 for equal rows."""
    first, total = rows[order[0]], 0.0
    for d in range(rows.shape[1]):
        start, sums, squares = float(first[d]), 0.0, 0.0
        for i in range(len(order)):
            apart = float(rows[order[i], d]) - start
            sums += apart
            squares += apart * apart
        total += squares - sums * sums / len(order)
    return max(0.0, total)
