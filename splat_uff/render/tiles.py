"""Lists of the Gaussians that touch each tile, front to back."""

from typing import no_type_check

import numpy as np
from numba import njit, prange

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@njit(parallel=True, **_options)
@no_type_check
def bin_into_tiles(means2d, extents, depths, width, height, tile_size, threads):
    """List the visible Gaussians of each tile, nearest first.

    One global stable sort by depth is followed by a counting sort into tiles, in which each thread
    counts and writes one stretch of the Gaussians. The time is linear in the number of entries, and
    equal depths keep the order of their indices.

    Args:
        means2d: float32 [N, 2], in pixels.
        extents: float32 [N, 2], half sizes as drawn, 0 for invisible Gaussians.
        depths: float32 [N].
        width: Image width in pixels.
        height: Image height in pixels.
        tile_size: Side of a tile, in pixels.
        threads: Number of threads.

    Returns:
        tile_starts: int64 [tiles + 1], index in `entries` of each row-major tile's first entry.
        entries: int32 [E], Gaussian of each entry.
        slots: int64 [E], position of each entry among the entries sorted by Gaussian.
        slot_starts: int64 [N + 1], position of each Gaussian's first entry among these.
    """
    count = means2d.shape[0]
    tiles_x, tiles_y = -(-width // tile_size), -(-height // tile_size)
    spans = _spans(means2d, extents, width, height, tile_size)
    order = _front_to_back(depths, spans)
    listed = len(order)
    cursors = np.empty((threads, tiles_x * tiles_y), np.int64)  # Not zeros: see `project_forward`.
    for part in prange(threads):
        for tile in range(tiles_x * tiles_y):
            cursors[part, tile] = 0
        for n in order[part * listed // threads : (part + 1) * listed // threads]:
            for y in range(spans[n, 2], spans[n, 3] + 1):
                for x in range(spans[n, 0], spans[n, 1] + 1):
                    cursors[part, y * tiles_x + x] += 1
    tile_starts = counts_to_starts(cursors)
    slot_starts = np.empty(count + 1, np.int64)
    slot_starts[0] = 0
    for n in range(count):
        tiles = (spans[n, 1] - spans[n, 0] + 1) * (spans[n, 3] - spans[n, 2] + 1)
        slot_starts[n + 1] = slot_starts[n] + tiles
    entries = np.empty(tile_starts[-1], np.int32)
    slots = np.empty(tile_starts[-1], np.int64)
    for part in prange(threads):
        for n in order[part * listed // threads : (part + 1) * listed // threads]:
            slot = slot_starts[n]
            for y in range(spans[n, 2], spans[n, 3] + 1):
                for x in range(spans[n, 0], spans[n, 1] + 1):
                    at = cursors[part, y * tiles_x + x]
                    cursors[part, y * tiles_x + x] = at + 1
                    entries[at] = n
                    slots[at] = slot
                    slot += 1
    return tile_starts, entries, slots, slot_starts


@njit(**_options)
@no_type_check
def counts_to_starts(counts):
    """Replace the counts of each part and bin by where that part begins in that bin.

    Bins follow each other, and so do the parts of a bin. Returns the bins' starts, and the total.
    """
    parts, bins = counts.shape
    starts = np.zeros(bins + 1, np.int64)
    total = 0
    for each in range(bins):
        for part in range(parts):
            before = total
            total += counts[part, each]
            counts[part, each] = before
        starts[each + 1] = total
    return starts


@njit(parallel=True, **_options)
@no_type_check
def _spans(means2d, extents, width, height, tile_size):
    """First and last tile of each Gaussian, in x and in y, int32 [N, 4]; 0, -1, 0, 0 for none."""
    spans = np.empty((len(means2d), 4), np.int32)
    for n in prange(len(means2d)):
        spans[n, 0], spans[n, 1], spans[n, 2], spans[n, 3] = 0, -1, 0, 0
        if extents[n, 0] > 0:
            # A pixel counts if its centre, at +0.5, lies within the extent (possibly infinite).
            x, y, reach_x, reach_y = means2d[n, 0], means2d[n, 1], extents[n, 0], extents[n, 1]
            left = int(max(0.0, np.ceil(x - reach_x - 0.5)))
            right = int(min(width - 1.0, np.floor(x + reach_x - 0.5)))
            top = int(max(0.0, np.ceil(y - reach_y - 0.5)))
            bottom = int(min(height - 1.0, np.floor(y + reach_y - 0.5)))
            if left <= right and top <= bottom:
                # In floats: exact for pixels, and faster than dividing integers.
                spans[n, 0], spans[n, 1] = int(left / tile_size), int(right / tile_size)
                spans[n, 2], spans[n, 3] = int(top / tile_size), int(bottom / tile_size)
    return spans


@njit(parallel=True, **_options)
@no_type_check
def drop_unfinite(extents, values, rows):
    """Extents [n, 2] with 0 for Gaussians of non-finite values, which would spoil those nearby."""
    kept = extents.copy()
    for n in prange(len(rows)):
        for c in range(values.shape[1]):
            if not np.isfinite(values[rows[n], c]):
                kept[n] = 0
    return kept


@njit(**_options)
@no_type_check
def _front_to_back(depths, spans):
    """Sort the visible Gaussians by depth with a stable radix sort, 11 bits at a time.

    Positive floats order like the integers that share their bits.
    """
    visible = np.flatnonzero(spans[:, 1] >= 0)
    order = visible.astype(np.int32)
    keys = depths[visible].view(np.uint32)
    spare_order, spare_keys = np.empty_like(order), np.empty_like(keys)
    for shift in (0, 11, 22):
        starts = np.zeros(2049, np.int64)
        for key in keys:
            starts[((key >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        starts = np.cumsum(starts)
        for position in range(len(keys)):
            digit = (keys[position] >> np.uint32(shift)) & np.uint32(2047)
            to = starts[digit]
            starts[digit] += 1
            spare_keys[to], spare_order[to] = keys[position], order[position]
        keys, spare_keys = spare_keys, keys
        order, spare_order = spare_order, order
    return order
