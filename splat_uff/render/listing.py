"""Lists of the Gaussians that a block of 4x4 pixels blends, front to back, with their weights.

The semantics are gsplat's: alpha = min(0.999, opacity * exp(-sigma)), skipped below 1/255; a pixel
stops before its transmittance would fall to 1e-4; pixel centres are at +0.5.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

from splat_uff.render.lanes import (
    any_of,
    bits_of,
    fill16,
    fused,
    item,
    limited,
    load16,
    lowest_bit,
    root,
    select,
    store,
)

BLOCK_WIDTH, BLOCK_HEIGHT = 4, 4
"""Sides of a block in pixels; tiles are multiples of it."""
LANES = BLOCK_WIDTH * BLOCK_HEIGHT

_f = np.float32
ZERO, HALF, ONE = _f(0), _f(0.5), _f(1)
ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN = _f(1 / 255), _f(0.999), _f(1e-4)
NEVER = _f(2)
"""Threshold above any alpha, for pixels that are finished."""

# exp(-sigma) on [0, ln(255)] is p(sigma / 8)**8, p of degree 5 (Chebyshev fit, error 4e-8).
# Parameters are stored such that the quadratic form gives sigma / 8.
EIGHTH_MAX = _f(5.5413 / 8)  # Slightly beyond, where alpha is below 1/255 for any opacity.
E0, E1, E2, E3, E4, E5 = (
    _f(c) for c in (0.99999993, -0.99999291, 0.49988725, -0.1659942, 0.03980829, -0.00586878)
)

# Rows of the parameters gathered for a tile: centre, conic / (16, 8, 16), opacity, extents.
X, Y, XX, XY, YY, OPACITY, REACH_X, REACH_Y, PARAMETERS = 0, 1, 2, 3, 4, 5, 6, 7, 8
WORD = 64
"""Gaussians of a tile that share one word of bits."""
SLACK, SHARE_SLACK = _f(0.01), _f(1e-6)
"""Widening of the reach, in pixels and as a share of squares, which covers float32's rounding."""
NO_BITS, ONE_BIT = np.uint64(0), np.uint64(1)
# Columns of one row in a block's list.
WEIGHT, ALPHA, LIST_ROW = 0, LANES, 2 * LANES
_options = {
    "cache": True,
    "error_model": "numpy",
    "boundscheck": False,
}


@njit(parallel=True, **_options)
@no_type_check
def list_weights(
    means2d, conics, opacities, extents, tile_starts, entries, tile_size, width, height,
    word_starts, words, pixel_starts, indices, weights, threads,
):  # fmt: skip
    """Count the blend weights of every pixel and, if there is room, write them.

    Call it once with empty `indices` to count, then with the same `words` and with room for the
    running sum of the counts.

    Args:
        means2d, conics, opacities, extents, tile_starts, entries, tile_size: Inputs of
            `blend_forward`.
        word_starts, words: Results of `room_for_bits`; the first call notes in them what each block
            blends.
        width: Image width in pixels.
        height: Image height in pixels.
        pixel_starts: int64 [height * width + 1], index of each pixel's first weight.
        indices: int32, receives the Gaussian of each weight, front to back; or empty.
        weights: float32, receives the weights; or empty.
        threads: Number of threads among which the tiles are divided.

    Returns:
        Number of weights of each pixel, int64 [height * width].
    """
    counts = np.zeros(height * width, np.int64)
    packed = pack(means2d, conics, opacities, extents)
    writing = len(indices) > 0
    tiles_x = (width + tile_size - 1) // tile_size
    tiles = len(tile_starts) - 1
    pixel_x, pixel_y = pixels_of_a_block()
    stretch = (tiles + threads - 1) // threads
    for turn in prange(stretch * threads):
        tile = (turn % stretch) * threads + turn // stretch  # As in `blend_forward`.
        if tile >= tiles:
            continue
        first, length = tile_starts[tile], tile_starts[tile + 1] - tile_starts[tile]
        if length == 0:
            continue
        top, left = (tile // tiles_x) * tile_size, (tile % tiles_x) * tile_size
        bottom, right = min(top + tile_size, height), min(left + tile_size, width)
        per_block = words_of(length)
        parameters = np.empty(per_block * WORD * PARAMETERS, np.float32)
        gather(packed, entries, first, length, parameters)
        if not writing:
            mark_reached(parameters, left, top, tile_size, words, word_starts[tile])
        chosen = np.empty(length, np.int32)
        listed = np.empty(length * LIST_ROW, np.float32)
        totals = np.empty(LANES, np.float32)
        own_indices = np.empty((LANES, length), np.int32)
        own_weights = np.empty((LANES, length), np.float32)
        for y in range(top, bottom, BLOCK_HEIGHT):
            for x in range(left, right, BLOCK_WIDTH):
                at_x, at_y = load16(pixel_x, 0) + _f(x), load16(pixel_y, 0) + _f(y)
                begin = word_starts[tile] + block_of(x - left, y - top, tile_size) * per_block
                candidates = list_marked(words, begin, per_block, chosen)
                hits, _ = list_hits(
                    parameters, at_x, at_y, right, bottom, candidates, chosen, listed
                )
                if writing:
                    for lane in range(LANES):
                        total = 0
                        for hit in range(hits):  # Without a branch, as in `list_candidates`.
                            weight = listed[hit * LIST_ROW + WEIGHT + lane]
                            own_indices[lane, total] = entries[first + chosen[hit]]
                            own_weights[lane, total] = weight
                            total += weight > ZERO
                        totals[lane] = total
                else:
                    mark_hits(words, begin, per_block, chosen, hits)
                    some = fill16(ZERO)
                    for hit in range(hits):
                        weight = load16(listed, hit * LIST_ROW + WEIGHT)
                        some = some + select(weight <= ZERO, fill16(ZERO), ONE)
                    store(totals, 0, some)
                for row in range(y, min(y + BLOCK_HEIGHT, bottom)):
                    for column in range(x, min(x + BLOCK_WIDTH, right)):
                        lane = (row - y) * BLOCK_WIDTH + column - x
                        pixel, total = row * width + column, int(totals[lane])
                        counts[pixel] = total
                        if writing:
                            start = pixel_starts[pixel]
                            for k in range(total):
                                indices[start + k] = own_indices[lane, k]
                                weights[start + k] = own_weights[lane, k]
    return counts


@njit(**_options)
@no_type_check
def pixels_of_a_block():
    """Centres of a block's pixels, lane by lane: x and y."""
    x, y = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for lane in range(LANES):
        x[lane], y[lane] = _f(lane % BLOCK_WIDTH) + HALF, _f(lane // BLOCK_WIDTH) + HALF
    return x, y


@njit(**_options)
@no_type_check
def words_of(length):
    """Number of words that have a bit for each of `length` Gaussians."""
    return (length + WORD - 1) // WORD


@njit(**_options)
@no_type_check
def block_of(x, y, tile_size):
    """Number of the block with this upper left pixel of a tile, in row-major order."""
    across = (tile_size + BLOCK_WIDTH - 1) // BLOCK_WIDTH
    return y // BLOCK_HEIGHT * across + x // BLOCK_WIDTH


@njit(**_options)
@no_type_check
def room_for_bits(tile_starts, tile_size):
    """Room for a bit for each Gaussian of a tile and block of that tile.

    Returns:
        int64 [tiles + 1], index of each tile's first word, block after block; and the words,
        uint64, whose content is undefined.
    """
    blocks = block_of(0, tile_size + BLOCK_HEIGHT - 1, tile_size)
    starts = np.zeros(len(tile_starts), np.int64)
    for tile in range(len(starts) - 1):
        length = tile_starts[tile + 1] - tile_starts[tile]
        starts[tile + 1] = starts[tile] + words_of(length) * blocks
    return starts, np.empty(starts[-1], np.uint64)


@njit(parallel=True, **_options)
@no_type_check
def pack(means2d, conics, opacities, extents):
    """Parameters of all Gaussians, side by side: float32 [n * PARAMETERS].

    A tile then finds all of a Gaussian in one place, not in four.
    """
    packed = np.empty(len(means2d) * PARAMETERS, np.float32)
    for n in prange(len(means2d)):
        at = n * PARAMETERS
        store(packed, at + X, means2d[n, 0])
        store(packed, at + Y, means2d[n, 1])
        store(packed, at + XX, conics[n, 0] * _f(1 / 16))
        store(packed, at + XY, conics[n, 1] * _f(1 / 8))
        store(packed, at + YY, conics[n, 2] * _f(1 / 16))
        store(packed, at + OPACITY, opacities[n])
        store(packed, at + REACH_X, extents[n, 0])
        store(packed, at + REACH_Y, extents[n, 1])
    return packed


@njit(**_options)
@no_type_check
def gather(packed, entries, first, length, parameters):
    """Copy the Gaussians of a tile into contiguous memory, a row for each parameter.

    Rows are filled up to whole words with Gaussians that reach no block.
    """
    padded = len(parameters) // PARAMETERS
    for k in range(length):
        at = entries[first + k] * PARAMETERS
        for row in range(PARAMETERS):
            store(parameters, row * padded + k, item(packed, at + row))
    for row in range(PARAMETERS):
        for k in range(length, padded):
            parameters[row * padded + k] = -ONE if row == REACH_Y else ZERO


@njit(**_options)
@no_type_check
def mark_reached(parameters, left, top, tile_size, words, begin):
    """Set the bits of the Gaussians whose ellipse reaches a block, for all blocks of a tile.

    For each row of blocks, the ellipse is cut to the height of the row's pixel centres, and its
    leftmost and rightmost points are found. In an ellipse xx dx^2 + 2 xy dx dy + yy dy^2 = r of
    half extents (ex, ey), dx at a height dy is -xy/xx dy plus or minus
    ex sqrt(1 - xy^2 / (xx yy)) sqrt(1 - (dy / ey)^2), and it is largest, ex, at dy = -xy/yy ex.
    Bits may be set for a few Gaussians that narrowly miss a block, and for those that are not
    finite.

    Args:
        parameters: Parameters of the tile's Gaussians, from `gather`.
        left, top: Upper left pixel of the tile.
        tile_size: Side of the tile, in pixels.
        words: Receives the bits, from `begin` on.
        begin: Index of the tile's first word.
    """
    padded = len(parameters) // PARAMETERS
    per_block, across = padded // WORD, (tile_size + BLOCK_WIDTH - 1) // BLOCK_WIDTH
    down = (tile_size + BLOCK_HEIGHT - 1) // BLOCK_HEIGHT
    words[begin : begin + across * down * per_block] = NO_BITS
    for k in range(0, padded, 16):
        x = load16(parameters, X * padded + k) - _f(left)
        y = load16(parameters, Y * padded + k) - _f(top)
        xx, xy = load16(parameters, XX * padded + k), load16(parameters, XY * padded + k)
        yy = load16(parameters, YY * padded + k)
        ex, ey = load16(parameters, REACH_X * padded + k), load16(parameters, REACH_Y * padded + k)
        slope, peak = HALF * xy / xx, HALF * xy / yy * ex
        thin = ONE - slope * (HALF * xy / yy)
        half_width = ex * root(select(thin > ZERO, thin, ZERO) + SHARE_SLACK)
        per_reach = ONE / ey
        for row in range(down):
            upper = _f(row * BLOCK_HEIGHT) + HALF - y
            lower = upper + _f(BLOCK_HEIGHT - 1)
            upper, lower = select(upper > -ey, upper, -ey), select(lower < ey, lower, ey)
            at = select(peak < lower, peak, lower)
            at = select(at > upper, at, upper)
            leftmost = x - fused(half_width, _height_factor(at * per_reach), slope * at)
            at = select(-peak < lower, -peak, lower)
            at = select(at > upper, at, upper)
            rightmost = x + fused(half_width, _height_factor(at * per_reach), -(slope * at))
            missed = upper > lower
            for column in range(across):
                first = _f(column * BLOCK_WIDTH) + HALF
                outside = missed | (leftmost > first + (_f(BLOCK_WIDTH - 1) + SLACK))
                outside = outside | (rightmost < first - SLACK)
                bits = bits_of(outside) ^ np.uint64(0xFFFF)
                word = begin + (row * across + column) * per_block + k // WORD
                words[word] |= bits << np.uint64(k % WORD)


@njit(**_options)
@no_type_check
def _height_factor(share):
    """Width of an ellipse at a share of its half height, as a share of its largest."""
    square = ONE - share * share
    return root(select(square > ZERO, square, ZERO) + SHARE_SLACK)


@njit(**_options)
@no_type_check
def list_marked(words, begin, count, chosen):
    """List the Gaussians whose bits are set, front to back; returns their number."""
    found = 0
    for index in range(count):
        word = words[begin + index]
        while word != NO_BITS:
            chosen[found] = index * WORD + lowest_bit(word)
            word &= word - ONE_BIT
            found += 1
    return found


@njit(**_options)
@no_type_check
def mark_hits(words, begin, count, chosen, hits):
    """Set the bits of the first `hits` Gaussians of `chosen`, and no others."""
    for index in range(count):
        words[begin + index] = NO_BITS
    for hit in range(hits):
        k = chosen[hit]
        words[begin + k // WORD] |= ONE_BIT << np.uint64(k % WORD)


@njit(**_options)
@no_type_check
def list_hits(parameters, at_x, at_y, right, bottom, candidates, chosen, listed):
    """List what a block of pixels blends, front to back.

    Args:
        parameters: Parameters of the tile's Gaussians, from `gather`.
        at_x, at_y: Pixel centres.
        right, bottom: End of the tile or image, in pixels.
        candidates: Number of entries of `chosen` to consider.
        chosen: Candidates; the blended ones are moved to its front.
        listed: Receives the weight and alpha of each blended Gaussian.

    Returns:
        Length of the list, and the accumulated opacity, summed up because 1 - T would lose digits
        in nearly transparent pixels.
    """
    padded = len(parameters) // PARAMETERS
    trans, opaque = fill16(ONE), fill16(ZERO)
    within = (at_x < _f(right)) & (at_y < _f(bottom))
    least = select(within, fill16(ALPHA_MIN), NEVER)  # Least alpha that a pixel blends.
    hits, finished = 0, False
    for candidate in range(candidates):
        k = chosen[candidate]
        dx = item(parameters, X * padded + k) - at_x
        dy = item(parameters, Y * padded + k) - at_y
        t = dx * fused(
            item(parameters, XX * padded + k), dx, item(parameters, XY * padded + k) * dy
        )
        # float32 can make the quadratic form of a needle negative, which must not be drawn.
        t = limited(fused(item(parameters, YY * padded + k) * dy, dy, t), EIGHTH_MAX)
        e = fused(fused(fused(fused(fused(E5, t, E4), t, E3), t, E2), t, E1), t, E0)
        e = e * e
        e = e * e
        seen = item(parameters, OPACITY * padded + k) * (e * e)
        hit = seen >= least
        if any_of(hit):
            alpha = select(hit, select(seen < ALPHA_MAX, seen, ALPHA_MAX), ZERO)
            weight = alpha * trans
            after = trans - weight
            stop = after <= TRANSMITTANCE_MIN
            chosen[hits] = k
            if any_of(stop):
                alpha, weight = select(stop, ZERO, alpha), select(stop, ZERO, weight)
                after, least = select(stop, trans, after), select(stop, NEVER, least)
                finished = not any_of(least < ONE)
            trans, opaque = after, opaque + weight
            store(listed, hits * LIST_ROW + WEIGHT, weight)
            store(listed, hits * LIST_ROW + ALPHA, alpha)
            hits += 1
            if finished:
                break
    return hits, opaque
