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
    item,
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
    WORD,
    XX,
    XY,
    YY,
    ZERO,
    X,
    Y,
    block_of,
    gather,
    list_hits,
    list_marked,
    mark_hits,
    mark_reached,
    pack,
    pixels_of_a_block,
    words_of,
)

_f = np.float32
HALF = _f(0.5)
# Columns of a row of sums over pixels of v = -dL/dsigma and d = centre - pixel: v dx, v dy,
# v dx dx, v dx dy, v dy dy and v. Up to four channels: their gradients, |dL/dx| and |dL/dy|; with
# more, |dL/dx| and |dL/dy|, then the channels, eight at a time.
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
    tile_starts, entries, word_starts, words, tile_size, image, alphas, threads,
):  # fmt: skip
    """Composite the values of the Gaussians into an image.

    Args:
        means2d, conics, opacities, extents: float32 [n, ...], results of `project_forward`.
        values: float32 [R, C].
        rows: int32 [n], row of `values` for each Gaussian.
        tile_starts, entries: Results of `bin_into_tiles`.
        word_starts, words: Results of `room_for_bits`, in which it notes what each block blends.
        tile_size: Side of a tile, in pixels.
        image: float32 [height, width, C], receives the blended values.
        alphas: float32 [height, width], receives the accumulated opacity.
        threads: Number of threads among which the tiles are divided.
    """
    height, width, channels = image.shape
    packed = pack(means2d, conics, opacities, extents)
    flat_image, flat_alphas = image.reshape(-1), alphas.reshape(-1)
    flat_values = values.reshape(-1)
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
        per_block = words_of(length)
        parameters = np.empty(per_block * WORD * PARAMETERS, np.float32)
        gather(packed, entries, first, length, parameters)
        mark_reached(parameters, left, top, tile_size, words, word_starts[tile])
        shades = np.zeros(length * padded, np.float32)
        for k in range(length):
            row = rows[entries[first + k]]
            for c in range(channels):
                store(shades, k * padded + c, item(flat_values, row * channels + c))
        chosen = np.empty(length, np.int32)
        listed = np.empty(length * LIST_ROW, np.float32)
        out = np.empty((padded + 1) * LANES, np.float32)
        for y in range(top, bottom, BLOCK_HEIGHT):
            for x in range(left, right, BLOCK_WIDTH):
                at_x, at_y = load16(pixel_x, 0) + _f(x), load16(pixel_y, 0) + _f(y)
                begin = word_starts[tile] + block_of(x - left, y - top, tile_size) * per_block
                candidates = list_marked(words, begin, per_block, chosen)
                hits, opaque = list_hits(
                    parameters, at_x, at_y, right, bottom, candidates, chosen, listed
                )
                mark_hits(words, begin, per_block, chosen, hits)
                for group in range(0, padded, 4):
                    v0, v1, v2, v3 = fill16(ZERO), fill16(ZERO), fill16(ZERO), fill16(ZERO)
                    for hit in range(hits):
                        weight = load16(listed, hit * LIST_ROW + WEIGHT)
                        at = chosen[hit] * padded + group
                        v0 = fused(weight, item(shades, at), v0)
                        v1 = fused(weight, item(shades, at + 1), v1)
                        v2 = fused(weight, item(shades, at + 2), v2)
                        v3 = fused(weight, item(shades, at + 3), v3)
                    store(out, group * LANES, v0)
                    store(out, (group + 1) * LANES, v1)
                    store(out, (group + 2) * LANES, v2)
                    store(out, (group + 3) * LANES, v3)
                store(out, padded * LANES, opaque)
                for row in range(y, min(y + BLOCK_HEIGHT, bottom)):
                    for column in range(x, min(x + BLOCK_WIDTH, right)):
                        lane = (row - y) * BLOCK_WIDTH + column - x
                        pixel = row * width + column
                        store(flat_alphas, pixel, item(out, padded * LANES + lane))
                        for c in range(channels):
                            store(flat_image, pixel * channels + c, item(out, c * LANES + lane))


@njit(parallel=True, **_options)
@no_type_check
def blend_backward(
    means2d, conics, opacities, extents, values, rows,
    tile_starts, entries, slots, slot_starts, word_starts, words, tile_size,
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
        word_starts, words: As `blend_forward` left them.
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
    packed = pack(means2d, conics, opacities, extents)
    flat_v_image, flat_v_alphas = v_image.reshape(-1), v_alphas.reshape(-1)
    flat_values = values.reshape(-1)
    padded = 4 if channels <= 4 else (channels + 7) // 8 * 8
    columns = SUMS + padded
    tile_rows = np.empty(len(entries) * columns, np.float32)
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
        padded_length = per_block * WORD
        parameters = np.empty(padded_length * PARAMETERS, np.float32)
        gather(packed, entries, first, length, parameters)
        shades = np.zeros(length * padded, np.float32)
        for k in range(length):
            row = rows[entries[first + k]]
            for c in range(channels):
                store(shades, k * padded + c, item(flat_values, row * channels + c))
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
                begin = word_starts[tile] + block_of(x - left, y - top, tile_size) * per_block
                candidates = list_marked(words, begin, per_block, chosen)
                hits, _ = list_hits(
                    parameters, at_x, at_y, right, bottom, candidates, chosen, listed
                )
                if hits == 0:
                    continue
                for lane in range(LANES):
                    row, column = y + lane // BLOCK_WIDTH, x + lane % BLOCK_WIDTH
                    within = row < bottom and column < right
                    pixel = row * width + column if within else 0
                    store(arriving, lane, -item(flat_v_alphas, pixel) if within else ZERO)
                    for c in range(channels):
                        v = item(flat_v_image, pixel * channels + c) if within else ZERO
                        store(by_channel, c * LANES + lane, v)
                        store(by_lane, lane * padded + c, v)
                behind = load16(arriving, 0)
                for hit in range(hits - 1, -1, -1):
                    k = chosen[hit]
                    weight = load16(listed, hit * LIST_ROW + WEIGHT)
                    alpha = load16(listed, hit * LIST_ROW + ALPHA)
                    at = k * padded
                    d0 = load16(by_channel, 0) * item(shades, at)
                    d1 = load16(by_channel, LANES) * item(shades, at + 1)
                    d2 = load16(by_channel, 2 * LANES) * item(shades, at + 2)
                    d3 = load16(by_channel, 3 * LANES) * item(shades, at + 3)
                    for c in range(4, padded, 4):
                        at = k * padded + c
                        d0 = fused(load16(by_channel, c * LANES), item(shades, at), d0)
                        d1 = fused(load16(by_channel, (c + 1) * LANES), item(shades, at + 1), d1)
                        d2 = fused(load16(by_channel, (c + 2) * LANES), item(shades, at + 2), d2)
                        d3 = fused(load16(by_channel, (c + 3) * LANES), item(shades, at + 3), d3)
                    contrast = ((d0 + d1) + (d2 + d3)) - behind
                    behind = fused(alpha, contrast, behind)
                    v_sigma = select(alpha < ALPHA_MAX, weight * contrast, ZERO)
                    dx = item(parameters, X * padded_length + k) - at_x
                    dy = item(parameters, Y * padded_length + k) - at_y
                    vx, vy = v_sigma * dx, v_sigma * dy
                    ax, ay = fill16(ZERO), fill16(ZERO)
                    if absolute:
                        xx = item(parameters, XX * padded_length + k)
                        xy = item(parameters, XY * padded_length + k)
                        yy = item(parameters, YY * padded_length + k)
                        ax = magnitude(fused(vx, xx + xx, vy * xy))
                        ay = magnitude(fused(vy, yy + yy, vx * xy))
                    at = k * columns
                    if padded == 4:
                        moments = sums_of_eight(
                            vx, vy, vx * dx, vx * dy, vy * dy, v_sigma,
                            weight * load16(by_channel, 0), weight * load16(by_channel, LANES),
                        )  # fmt: skip
                        store(sums, at, load8(sums, at) + moments)
                        v2 = weight * load16(by_channel, 2 * LANES)
                        if absolute:
                            v3 = weight * load16(by_channel, 3 * LANES)
                            rest = sums_of_four(v2, v3, ax, ay)
                        elif channels == 4:
                            v3 = weight * load16(by_channel, 3 * LANES)
                            rest = sums_of_four(v2, v3, fill16(ZERO), fill16(ZERO))
                        else:
                            rest = sums_of_four(v2, fill16(ZERO), fill16(ZERO), fill16(ZERO))
                        store(sums, at + 8, load4(sums, at + 8) + rest)
                    else:
                        moments = sums_of_eight(vx, vy, vx * dx, vx * dy, vy * dy, v_sigma, ax, ay)
                        store(sums, at, load8(sums, at) + moments)
                        at += SUMS
                        store(weights, 0, weight)
                        for group in range(0, padded, 8):
                            even, odd = load8(sums, at + group), fill8(ZERO)
                            for lane in range(0, LANES, 2):
                                one = load8(by_lane, lane * padded + group)
                                two = load8(by_lane, (lane + 1) * padded + group)
                                even = fused(one, item(weights, lane), even)
                                odd = fused(two, item(weights, lane + 1), odd)
                            store(sums, at + group, even + odd)
        for k in range(length):
            at = slots[first + k] * columns
            for c in range(0, columns, 4):
                store(tile_rows, at + c, load4(sums, k * columns + c))
    return _sum_rows(tile_rows, columns, slot_starts, conics, opacities, rows, v_values)


@njit(parallel=True, **_options)
@no_type_check
def _sum_rows(tile_rows, columns, slot_starts, conics, opacities, rows, v_values):
    """Add up the rows of each Gaussian, in the order of its tiles."""
    count, channels = len(slot_starts) - 1, v_values.shape[1]
    # Not `np.zeros`: see `project_forward`.
    v_means2d, v_conics = np.empty((count, 2), np.float32), np.empty((count, 3), np.float32)
    v_opacities, absolute = np.empty(count, np.float32), np.empty((count, 2), np.float32)
    channels_at, absolute_at = (6, 10) if channels <= 4 else (8, 6)
    for n in prange(count):
        at, end = slot_starts[n] * columns, slot_starts[n + 1] * columns
        if at == end:
            v_means2d[n, 0], v_means2d[n, 1], v_opacities[n] = ZERO, ZERO, ZERO
            v_conics[n, 0], v_conics[n, 1], v_conics[n, 2] = ZERO, ZERO, ZERO
            absolute[n, 0], absolute[n, 1] = ZERO, ZERO
            continue
        for c in range(0, columns, 4):
            total = load4(tile_rows, at + c)
            for other in range(at + columns, end, columns):
                total = total + load4(tile_rows, other + c)
            store(tile_rows, at + c, total)
        vx, vy = float(item(tile_rows, at)), float(item(tile_rows, at + 1))
        v_means2d[n, 0] = -conics[n, 0] * vx - conics[n, 1] * vy
        v_means2d[n, 1] = -conics[n, 1] * vx - conics[n, 2] * vy
        v_conics[n, 0] = -HALF * item(tile_rows, at + 2)
        v_conics[n, 1] = -item(tile_rows, at + 3)
        v_conics[n, 2] = -HALF * item(tile_rows, at + 4)
        v_opacities[n] = item(tile_rows, at + 5) / opacities[n]
        absolute[n, 0] = _f(8) * item(tile_rows, at + absolute_at)
        absolute[n, 1] = _f(8) * item(tile_rows, at + absolute_at + 1)
        for c in range(channels):
            v_values[rows[n], c] += item(tile_rows, at + channels_at + c)
    return v_means2d, v_conics, v_opacities, absolute
