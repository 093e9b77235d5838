"""Codebooks: few numbers, or few rows of numbers, that stand for many."""

import heapq

import numpy as np
from jaxtyping import Float, Int, UInt8

SIZE = 256
"""Numbers in a codebook, which a byte tells apart."""
ROUNDS = 200
"""Most rounds of k-means on numbers; most codebooks settle before."""
CELL_CENTRES = 512
"""Rows of the palette that rows of one cell are compared with, on average."""
PALETTE_ROUNDS = 4
SAMPLE = 2048
"""Rows, at even distances, from which the longest axis of a larger cell is found."""
BLOCK = 1 << 22
"""Most distances that are held at once."""


def codebook_of(values: Float[np.ndarray, "N"]) -> Float[np.ndarray, "256"]:
    """Choose 256 numbers so that the nearest to each value is near, in least squares.

    Values of which there are at most 256 are kept exactly. Others are grouped by k-means (Lloyd
    1982) from where high-resolution theory puts the numbers: with a density that goes with the cube
    root of that of the values (Panter & Dite 1951).

    Returns:
        Codebook, rising; the last number fills what is left over. As float32 numbers.
    """
    values = np.sort(values.astype(np.float64), axis=None)
    distinct = np.unique(values)
    if len(distinct) <= SIZE:
        filled = np.concatenate([distinct, np.full(SIZE - len(distinct), distinct[-1])])
        return filled.astype(np.float32)
    middle = values[len(values) // 2]
    sums = np.concatenate([[0.0], np.cumsum(values - middle)])
    squares = np.concatenate([[0.0], np.cumsum((values - middle) ** 2)])
    book = _by_density(values) - middle
    for _ in range(ROUNDS):
        ends = np.searchsorted(values, (book[1:] + book[:-1]) / 2 + middle)
        ends = np.concatenate([[0], ends, [len(values)]])
        counts = np.diff(ends)
        used = counts > 0
        means = np.diff(sums[ends])[used] / counts[used]
        spreads = np.diff(squares[ends])[used] - counts[used] * means**2
        widest = np.argsort(-spreads, kind="stable")[: SIZE - len(means)]
        apart = np.sqrt(np.maximum(spreads, 0) / counts[used])[widest]
        before = book  # Numbers that stand for nothing go to where they help most.
        book = np.sort(
            np.concatenate([np.delete(means, widest), means[widest] - apart, means[widest] + apart])
        )
        if np.array_equal(before, book):
            break
    book = book + middle
    return book.astype(np.float32)


def nearest_in(
    book: Float[np.ndarray, "256"], values: Float[np.ndarray, "*shape"]
) -> UInt8[np.ndarray, "*shape"]:
    """Index of the number of a rising codebook that is nearest to each value."""
    book = book.astype(np.float64)
    return np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.uint8)


def palette_of(
    rows: Float[np.ndarray, "N D"], size: int
) -> tuple[Float[np.ndarray, "P D"], Int[np.ndarray, "N"]]:
    """Choose at most `size` rows so that the one for each row is near, in least squares.

    The cell with the greatest sum of squared distances from its mean is cut in two, across its
    longest axis, until there are enough (as in Orchard & Bouman 1991, Color quantization of
    images); then k-means improves the means within larger cells, in which an exact search is quick.

    Args:
        rows: Rows of numbers, float32.
        size: Most rows of the palette.

    Returns:
        Palette, with fewer than `size` rows if there are fewer distinct ones, and the index in it
        for each row.
    """
    rows = np.ascontiguousarray(rows, np.float32)
    order = np.arange(len(rows))
    coarse = _cut(rows, order, [(0, len(rows))], max(1, size // CELL_CENTRES))
    cells = _cut(rows, order, coarse, size)
    firsts = np.array([start for start, _ in cells])
    sizes = np.diff([*firsts, len(rows)])
    palette = np.add.reduceat(rows[order], firsts, axis=0, dtype=np.float64) / sizes[:, None]
    palette = palette.astype(np.float32)
    labels = np.empty(len(rows), np.int64)
    for start, stop in coarse:
        first, last = np.searchsorted(firsts, [start, stop])
        members = order[start:stop]
        found, centres = _settle(rows[members], palette[first:last])
        palette[first:last] = centres
        labels[members] = first + found
    return palette, labels


def _cut(
    rows: Float[np.ndarray, "N D"],
    order: Int[np.ndarray, "N"],
    cells: list[tuple[int, int]],
    size: int,
) -> list[tuple[int, int]]:
    """Cut cells, which are slices of `order`, until there are `size` or each is of equal rows.

    `order` is rearranged within the cells.
    """
    from splat_uff.formats.cutting import spread_of  # Compiling takes seconds.

    waiting = [(-spread_of(rows, order[start:stop]), start, stop) for start, stop in cells]
    heapq.heapify(waiting)
    while len(waiting) < size and waiting[0][0] < 0:
        _, start, stop = heapq.heappop(waiting)
        middle = start + _cut_in_two(rows, order[start:stop])
        for first, last in ((start, middle), (middle, stop)):
            spread = -spread_of(rows, order[first:last]) if last - first > 1 else 0.0
            heapq.heappush(waiting, (spread, first, last))
    return sorted((start, stop) for _, start, stop in waiting)


def _cut_in_two(rows: Float[np.ndarray, "N D"], order: Int[np.ndarray, "n"]) -> int:
    """Sort a cell along its longest axis and find the cut there that leaves the least spread."""
    from splat_uff.formats.cutting import place_along

    along = np.empty(len(order))
    place_along(rows, order, max(1, len(order) // SAMPLE), along)
    placed = np.argsort(along, kind="stable")
    order[:] = order[placed]
    sums = np.cumsum((along - along.mean())[placed])[:-1]  # Of all together, 0.
    before = np.arange(1, len(order))
    return int((sums**2 / before + sums**2 / before[::-1]).argmax()) + 1


def _settle(
    rows: Float[np.ndarray, "n D"], centres: Float[np.ndarray, "k D"]
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "k D"]]:
    """Improve centres by k-means; one without rows stays where it is."""
    origin = np.median(centres, axis=0)  # Distances from afar would cancel.
    near = rows - origin
    labels = _nearest(near, centres - origin)
    for _ in range(PALETTE_ROUNDS if len(rows) > len(centres) > 1 else 0):
        counts = np.bincount(labels, minlength=len(centres))
        sums = np.stack(
            [np.bincount(labels, column, len(centres)) for column in rows.T.astype(np.float64)], 1
        )
        means = sums / np.maximum(counts, 1)[:, None]
        centres = np.where(counts[:, None] > 0, means, centres).astype(np.float32)
        before, labels = labels, _nearest(near, centres - origin)
        if np.array_equal(before, labels):
            break
    return labels, centres


def _nearest(
    rows: Float[np.ndarray, "n D"], centres: Float[np.ndarray, "k D"]
) -> Int[np.ndarray, "n"]:
    """Index of the nearest centre for each row."""
    lengths = np.einsum("kd,kd->k", centres, centres) / 2
    step = max(1, BLOCK // len(centres))
    found = [
        (lengths - rows[start : start + step] @ centres.T).argmin(axis=1)
        for start in range(0, len(rows), step)
    ]
    return np.concatenate(found)


def _by_density(values: Float[np.ndarray, "N"]) -> Float[np.ndarray, "256"]:
    """Numbers whose density goes with the cube root of that of sorted values."""
    edges = np.unique(values[np.linspace(0, len(values) - 1, 4 * SIZE).astype(np.int64)])
    counts = np.diff(np.searchsorted(values, edges)).astype(np.float64)
    shares = np.cumsum(np.cbrt(counts * np.diff(edges) ** 2))
    shares = np.concatenate([[0.0], shares / shares[-1]])
    return np.interp((np.arange(SIZE) + 0.5) / SIZE, shares, edges)
