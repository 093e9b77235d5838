"""Lists of the Gaussians that a block of 4x4 pixels blends, front to back, with their weights.

The semantics are gsplat's: alpha = min(0.999, opacity * exp(-sigma)), skipped below 1/255; a pixel
stops before its transmittance would fall to 1e-4; pixel centres are at +0.5.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

from splat_uff.render.lanes import any_of, fill16, fused, load16, select, store

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

# Columns of a Gaussian gathered for a tile: centre, conic / (16, 8, 16), opacity.
X, Y, XX, XY, YY, OPACITY, PARAMETERS = 0, 1, 2, 3, 4, 5, 6
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
    pixel_starts, indices, weights, threads,
):  # fmt: skip
    """Count the blend weights of every pixel and, if there is room, write them.

    Call it once with empty `indices` to count, then with room for the running sum of the counts.

    Args:
        means2d, conics, opacities, extents, tile_starts, entries, tile_size: Inputs of
            `blend_forward`.
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
        boxes = np.empty((length, 4), np.float32)
        parameters = np.empty(length * PARAMETERS, np.float32)
        gather(means2d, conics, opacities, extents, entries, first, length, boxes, parameters)
        chosen = np.empty(length, np.int32)
        listed = np.empty(length * LIST_ROW, np.float32)
        totals = np.empty(LANES, np.float32)
        own_indices = np.empty((LANES, length), np.int32)
        own_weights = np.empty((LANES, length), np.float32)
        for y in range(top, bottom, BLOCK_HEIGHT):
            for x in range(left, right, BLOCK_WIDTH):
                at_x, at_y = load16(pixel_x, 0) + _f(x), load16(pixel_y, 0) + _f(y)
                candidates = list_candidates(boxes, x, y, chosen)
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
def gather(means2d, conics, opacities, extents, entries, first, length, boxes, parameters):
    """Copy the Gaussians of a tile into contiguous memory."""
    for k in range(length):
        n = entries[first + k]
        boxes[k, 0] = means2d[n, 0] - extents[n, 0]
        boxes[k, 1] = means2d[n, 0] + extents[n, 0]
        boxes[k, 2] = means2d[n, 1] - extents[n, 1]
        boxes[k, 3] = means2d[n, 1] + extents[n, 1]
        p = k * PARAMETERS
        parameters[p + X], parameters[p + Y] = means2d[n, 0], means2d[n, 1]
        parameters[p + XX] = conics[n, 0] * _f(1 / 16)
        parameters[p + XY] = conics[n, 1] * _f(1 / 8)
        parameters[p + YY] = conics[n, 2] * _f(1 / 16)
        parameters[p + OPACITY] = opacities[n]


@njit(**_options)
@no_type_check
def list_candidates(boxes, x, y, chosen):
    """List the Gaussians whose box reaches a block, front to back; returns their number."""
    left, top = _f(x) + HALF, _f(y) + HALF
    right, bottom = left + _f(BLOCK_WIDTH - 1), top + _f(BLOCK_HEIGHT - 1)
    count = 0
    for k in range(len(boxes)):
        chosen[count] = k  # Avoids a branch, which would be mispredicted too often.
        count += (
            (boxes[k, 0] <= right)
            & (boxes[k, 1] >= left)
            & (boxes[k, 2] <= bottom)
            & (boxes[k, 3] >= top)
        )
    return count


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
    trans, opaque = fill16(ONE), fill16(ZERO)
    within = (at_x < _f(right)) & (at_y < _f(bottom))
    least = select(within, fill16(ALPHA_MIN), NEVER)  # Least alpha that a pixel blends.
    hits = 0
    for candidate in range(candidates):
        k = chosen[candidate]
        p = k * PARAMETERS
        dx, dy = parameters[p + X] - at_x, parameters[p + Y] - at_y
        t = dx * fused(parameters[p + XX], dx, parameters[p + XY] * dy)
        t = fused(parameters[p + YY] * dy, dy, t)
        positive = t >= ZERO
        t = select(t < EIGHTH_MAX, t, EIGHTH_MAX)
        e = fused(fused(fused(fused(fused(E5, t, E4), t, E3), t, E2), t, E1), t, E0)
        e = e * e
        e = e * e
        seen = parameters[p + OPACITY] * (e * e)
        hit = (seen >= least) & positive
        if any_of(hit):
            alpha = select(hit, select(seen < ALPHA_MAX, seen, ALPHA_MAX), ZERO)
            weight = alpha * trans
            after = trans - weight
            stop = after <= TRANSMITTANCE_MIN
            chosen[hits] = k
            if any_of(stop):
                alpha, weight = select(stop, ZERO, alpha), select(stop, ZERO, weight)
                after, least = select(stop, trans, after), select(stop, NEVER, least)
            trans, opaque = after, opaque + weight
            store(listed, hits * LIST_ROW + WEIGHT, weight)
            store(listed, hits * LIST_ROW + ALPHA, alpha)
            hits += 1
            if not any_of(least < ONE):
                break
    return hits, opaque
