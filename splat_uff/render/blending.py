"""Front-to-back alpha blending of 2D Gaussians, forward and backward.

Pixels are handled in blocks of 4x4, one lane each. For each block, the list of (Gaussian, alpha) is
made first and the channels are blended after. The backward pass makes the list again and traverses
it back to front; it writes one row of sums per (Gaussian, tile) and then adds up the rows of each
Gaussian. There are no atomics, so the result does not depend on the number of threads.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

from splat_uff.render.lanes import (
    fill8,
    fill16,
    fused,
    load4,
    load8,
    load16,
    magnitude,
    select,
    store,
    sums_of_eight,
    sums_of_four,
)
from splat_uff.render.listing import (
    ALPHA,
    ALPHA_MAX,
    BLOCK_HEIGHT,
    BLOCK_WIDTH,
    LANES,
    LIST_ROW,
    PARAMETERS,
    WEIGHT,
    XX,
    XY,
    YY,
    ZERO,
    X,
    Y,
    gather,
    list_candidates,
    list_hits,
    pixels_of_a_block,
)

_f = np.float32
HALF = _f(0.5)
# Columns of a row of sums over pixels of v = dL/dsigma and d = centre - pixel: v dx, v dy, v dx dx,
# v dx dy, v dy dy, v, |dL/dx|, |dL/dy|; the gradients of the channels follow.
SUMS = 8

_options = {
    "cache": True,
    "error_model": "numpy",
    "boundscheck": False,
}


@njit(parallel=True, **_options)
@no_type_check
def blend_forward(
    means2d, conics, opacities, extents, values, rows,
    tile_starts, entries, tile_size, image, alphas, threads,
):  # fmt: skip
    """Composite the values of the Gaussians into an image.

    Args:
        means2d, conics, opacities, extents: float32 [n, ...], results of `project_forward`.
        values: float32 [R, C].
        rows: int32 [n], row of `values` for each Gaussian.
        tile_starts, entries: Results of `bin_into_tiles`.
        tile_size: Side of a tile, in pixels.
        image: float32 [height, width, C], receives the blended values.
        alphas: float32 [height, width], receives the accumulated opacity.
        threads: Number of threads among which the tiles are divided.
    """
    height, width, channels = image.shape
    padded = (channels + 3) // 4 * 4
    tiles_x = (width + tile_size - 1) // tile_size
    tiles = len(tile_starts) - 1
    pixel_x, pixel_y = pixels_of_a_block()
    stretch = (tiles + threads - 1) // threads
    for turn in prange(stretch * threads):
        # Tiles are dealt to the threads like cards: a parallel loop gives each thread one stretch
        # of turns, and no thread should get the busy middle of the image alone.
        tile = (turn % stretch) * threads + turn // stretch
        if tile >= tiles:
            continue
        first, length = tile_starts[tile], tile_starts[tile + 1] - tile_starts[tile]
        top, left = (tile // tiles_x) * tile_size, (tile % tiles_x) * tile_size
        bottom, right = min(top + tile_size, height), min(left + tile_size, width)
        if length == 0:
            image[top:bottom, left:right] = ZERO
            alphas[top:bottom, left:right] = ZERO
            continue
        boxes = np.empty((length, 4), np.float32)
        parameters = np.empty(length * PARAMETERS, np.float32)
        gather(means2d, conics, opacities, extents, entries, first, length, boxes, parameters)
        shades = np.zeros(length * padded, np.float32)
        for k in range(length):
            row = rows[entries[first + k]]
            for c in range(channels):
                shades[k * padded + c] = values[row, c]
        chosen = np.empty(length, np.int32)
        listed = np.empty(length * LIST_ROW, np.float32)
        out = np.empty((padded + 1) * LANES, np.float32)
        for y in range(top, bottom, BLOCK_HEIGHT):
            for x in range(left, right, BLOCK_WIDTH):
                at_x, at_y = load16(pixel_x, 0) + _f(x), load16(pixel_y, 0) + _f(y)
                candidates = list_candidates(boxes, x, y, chosen)
                hits, opaque = list_hits(
                    parameters, at_x, at_y, right, bottom, candidates, chosen, listed
                )
                for group in range(0, padded, 4):
                    v0, v1, v2, v3 = fill16(ZERO), fill16(ZERO), fill16(ZERO), fill16(ZERO)
                    for hit in range(hits):
                        weight = load16(listed, hit * LIST_ROW + WEIGHT)
                        at = chosen[hit] * padded + group
                        v0 = fused(weight, shades[at], v0)
                        v1 = fused(weight, shades[at + 1], v1)
                        v2 = fused(weight, shades[at + 2], v2)
                        v3 = fused(weight, shades[at + 3], v3)
                    store(out, group * LANES, v0)
                    store(out, (group + 1) * LANES, v1)
                    store(out, (group + 2) * LANES, v2)
                    store(out, (group + 3) * LANES, v3)
                store(out, padded * LANES, opaque)
                for row in range(y, min(y + BLOCK_HEIGHT, bottom)):
                    for column in range(x, min(x + BLOCK_WIDTH, right)):
                        lane = (row - y) * BLOCK_WIDTH + column - x
                        alphas[row, column] = out[padded * LANES + lane]
                        for c in range(channels):
                            image[row, column, c] = out[c * LANES + lane]


@njit(parallel=True, **_options)
@no_type_check
def blend_backward(
    means2d, conics, opacities, extents, values, rows,
    tile_starts, entries, slots, slot_starts, tile_size,
    v_image, v_alphas, absolute, v_values, threads,
):  # fmt: skip
    """Gradients of `blend_forward`, given the gradients of its image and of its alphas.

    If B is the light that arrives at a Gaussian from behind, the gradient of its alpha is T (c - B)
    in each channel, and B + alpha (c - B) arrives at the next Gaussian in front; the gradient of
    the accumulated opacity acts like a background of colour -v_alphas.

    Args:
        means2d, conics, opacities, extents, values, rows, tile_starts, entries, tile_size: Inputs
            of `blend_forward`.
        slots, slot_starts: Results of `bin_into_tiles`.
        v_image: float32 [height, width, C].
        v_alphas: float32 [height, width].
        absolute: Whether to sum absolute gradients, too.
        v_values: float32 [R, C], to which the gradients of the values are added.
        threads: Number of threads among which the tiles are divided.

    Returns:
        v_means2d [n, 2], v_conics [n, 3], v_opacities [n], and the sums over pixels of the absolute
        gradients of means2d [n, 2] (AbsGS, Ye et al. 2024), 0 unless `absolute`.
    """
    height, width, channels = v_image.shape
    padded = 4 if channels <= 4 else (channels + 7) // 8 * 8
    columns = SUMS + padded
    tile_rows = np.empty((len(entries), columns), np.float32)
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
        shades = np.zeros(length * padded, np.float32)
        for k in range(length):
            row = rows[entries[first + k]]
            for c in range(channels):
                shades[k * padded + c] = values[row, c]
        chosen = np.empty(length, np.int32)
        listed = np.empty(length * LIST_ROW, np.float32)
        by_channel = np.zeros(padded * LANES, np.float32)
        by_lane = np.zeros(padded * LANES, np.float32)
        arriving = np.empty(LANES, np.float32)
        weights = np.empty(LANES, np.float32)
        sums = np.zeros(length * columns, np.float32)
        for y in range(top, bottom, BLOCK_HEIGHT):
            for x in range(left, right, BLOCK_WIDTH):
                at_x, at_y = load16(pixel_x, 0) + _f(x), load16(pixel_y, 0) + _f(y)
                candidates = list_candidates(boxes, x, y, chosen)
                hits, _ = list_hits(
                    parameters, at_x, at_y, right, bottom, candidates, chosen, listed
                )
                if hits == 0:
                    continue
                for lane in range(LANES):
                    row, column = y + lane // BLOCK_WIDTH, x + lane % BLOCK_WIDTH
                    within = row < bottom and column < right
                    arriving[lane] = -v_alphas[row, column] if within else ZERO
                    for c in range(channels):
                        v = v_image[row, column, c] if within else ZERO
                        by_channel[c * LANES + lane] = v
                        by_lane[lane * padded + c] = v
                behind = load16(arriving, 0)
                for hit in range(hits - 1, -1, -1):
                    k = chosen[hit]
                    weight = load16(listed, hit * LIST_ROW + WEIGHT)
                    alpha = load16(listed, hit * LIST_ROW + ALPHA)
                    d0, d1, d2, d3 = fill16(ZERO), fill16(ZERO), fill16(ZERO), fill16(ZERO)
                    for c in range(0, padded, 4):
                        at = k * padded + c
                        d0 = fused(load16(by_channel, c * LANES), shades[at], d0)
                        d1 = fused(load16(by_channel, (c + 1) * LANES), shades[at + 1], d1)
                        d2 = fused(load16(by_channel, (c + 2) * LANES), shades[at + 2], d2)
                        d3 = fused(load16(by_channel, (c + 3) * LANES), shades[at + 3], d3)
                    contrast = ((d0 + d1) + (d2 + d3)) - behind
                    behind = fused(alpha, contrast, behind)
                    v_sigma = select(alpha < ALPHA_MAX, -(weight * contrast), ZERO)
                    p = k * PARAMETERS
                    dx, dy = parameters[p + X] - at_x, parameters[p + Y] - at_y
                    vx, vy = v_sigma * dx, v_sigma * dy
                    ax, ay = fill16(ZERO), fill16(ZERO)
                    if absolute:
                        xx, xy, yy = parameters[p + XX], parameters[p + XY], parameters[p + YY]
                        ax = magnitude(fused(vx, xx + xx, vy * xy))
                        ay = magnitude(fused(vy, yy + yy, vx * xy))
                    at = k * columns
                    moments = sums_of_eight(vx, vy, vx * dx, vx * dy, vy * dy, v_sigma, ax, ay)
                    store(sums, at, load8(sums, at) + moments)
                    at += SUMS
                    if padded == 4:
                        v = sums_of_four(
                            weight * load16(by_channel, 0),
                            weight * load16(by_channel, LANES),
                            weight * load16(by_channel, 2 * LANES),
                            weight * load16(by_channel, 3 * LANES),
                        )
                        store(sums, at, load4(sums, at) + v)
                    else:
                        store(weights, 0, weight)
                        for group in range(0, padded, 8):
                            even, odd = load8(sums, at + group), fill8(ZERO)
                            for lane in range(0, LANES, 2):
                                one = load8(by_lane, lane * padded + group)
                                two = load8(by_lane, (lane + 1) * padded + group)
                                even = fused(one, weights[lane], even)
                                odd = fused(two, weights[lane + 1], odd)
                            store(sums, at + group, even + odd)
        for k in range(length):
            slot = slots[first + k]
            for c in range(columns):
                tile_rows[slot, c] = sums[k * columns + c]
    return _sum_rows(tile_rows, slot_starts, conics, opacities, rows, v_values)


@njit(parallel=True, **_options)
@no_type_check
def _sum_rows(tile_rows, slot_starts, conics, opacities, rows, v_values):
    """Add up the rows of each Gaussian, in the order of its tiles."""
    count, channels = len(slot_starts) - 1, v_values.shape[1]
    v_means2d = np.zeros((count, 2), np.float32)
    v_conics = np.zeros((count, 3), np.float32)
    v_opacities = np.zeros(count, np.float32)
    absolute = np.zeros((count, 2), np.float32)
    for n in prange(count):
        start, end = slot_starts[n], slot_starts[n + 1]
        if start == end:
            continue
        for slot in range(start + 1, end):
            for c in range(SUMS + channels):
                tile_rows[start, c] += tile_rows[slot, c]
        vx, vy = float(tile_rows[start, 0]), float(tile_rows[start, 1])
        v_means2d[n, 0] = conics[n, 0] * vx + conics[n, 1] * vy
        v_means2d[n, 1] = conics[n, 1] * vx + conics[n, 2] * vy
        v_conics[n, 0] = HALF * tile_rows[start, 2]
        v_conics[n, 1] = tile_rows[start, 3]
        v_conics[n, 2] = HALF * tile_rows[start, 4]
        v_opacities[n] = -tile_rows[start, 5] / opacities[n]
        absolute[n, 0] = _f(8) * tile_rows[start, 6]
        absolute[n, 1] = _f(8) * tile_rows[start, 7]
        for c in range(channels):
            v_values[rows[n], c] += tile_rows[start, SUMS + c]
    return v_means2d, v_conics, v_opacities, absolute
