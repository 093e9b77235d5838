"""Kernel that cuts cells of rows in two, for palettes."""

import numpy as np
from numba import njit

ROUNDS = 3
"""Rounds of the power iteration that finds the longest axis of a cell."""
SAMPLE = 2048
"""Rows of a cell, at even distances, from which its axis is found."""


@njit(cache=True, error_model="numpy")
def cut_in_two(rows: np.ndarray, order: np.ndarray, start: int, stop: int) -> tuple:
    """Cut a cell across its longest axis, where the least spread is left.

    Args:
        rows: Rows of numbers [N, D], float32.
        order: Indices of rows [N]; the slice from `start` to `stop` is the cell, and is sorted
            along the axis.
        start: First place of the cell.
        stop: Place after its last; the cell has at least two.

    Returns:
        First place of the second half, and the sum of squared distances from the mean in the first
        and in the second half.
    """
    count, width = stop - start, rows.shape[1]
    step = max(1, count // SAMPLE)
    mean = np.zeros(width, np.float32)
    for i in range(0, count, step):
        mean += rows[order[start + i]]
    apart = np.empty((-(-count // step), width), np.float32)
    mean /= len(apart)
    axis = np.zeros(width, np.float32)
    for i in range(len(apart)):
        row = rows[order[start + i * step]]
        for d in range(width):
            apart[i, d] = row[d] - mean[d]
            axis[d] += apart[i, d] ** 2
    widest = axis.argmax()
    axis[:] = 0
    axis[widest] = 1
    for _ in range(ROUNDS):
        turned = np.zeros(width, np.float32)
        for i in range(len(apart)):
            turned += apart[i] * _along(apart[i], axis)
        size = np.sqrt(_along(turned, turned))
        if size == 0:
            break
        axis = turned / size
    along = np.empty(count)
    for i in range(count):
        along[i] = _along(rows[order[start + i]], axis)
    along -= along.mean()
    placed = np.argsort(along, kind="mergesort")
    order[start:stop] = order[start:stop][placed]
    total, before, best, cut = along.sum(), 0.0, -1.0, 1
    for i in range(count - 1):
        before += along[placed[i]]
        gain = before**2 / (i + 1) + (total - before) ** 2 / (count - i - 1)
        if gain > best:
            best, cut = gain, i + 1
    middle = start + cut
    return middle, spread_of(rows, order, start, middle), spread_of(rows, order, middle, stop)


@njit(cache=True, error_model="numpy")
def spread_of(rows: np.ndarray, order: np.ndarray, start: int, stop: int) -> float:
    """Sum of squared distances from the mean in a cell; exactly 0 for equal rows."""
    width = rows.shape[1]
    first = rows[order[start]]
    sums, squares = np.zeros(width), np.zeros(width)
    for place in range(start, stop):  # Differences from a row, which are 0 if all are equal.
        row = rows[order[place]]
        for d in range(width):
            apart = float(row[d]) - float(first[d])
            sums[d] += apart
            squares[d] += apart * apart
    return max(0.0, (squares - sums**2 / (stop - start)).sum())


@njit(cache=True, error_model="numpy", fastmath=True)
def _along(row: np.ndarray, axis: np.ndarray) -> float:
    total = np.float32(0)
    for d in range(len(axis)):
        total += row[d] * axis[d]
    return total
