"""Front-to-back alpha blending of 2D Gaussians: forward, backward, and the weights themselves.

Pixels are handled 4x4 at a time, one lane each, so that the inner loops over 16 lanes become
vector instructions. For each such block the list of (Gaussian, weight) is made first and the
channels come after. The backward pass makes the list again, writes one row of gradients per
(Gaussian, tile) and sums the rows of a Gaussian afterwards: no atomics, so the result does not
depend on the number of threads.

Semantics are gsplat's: alpha = min(0.999, opacity * exp(-sigma)), skipped below 1/255; a pixel
stops before its transmittance would fall to 1e-4; pixel centres are at +0.5.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

from splat_uff.render.tiles import TILE

LANES = 16
BLOCK = 4

_f = np.float32
ZERO, HALF, ONE = _f(0), _f(0.5), _f(1)
ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN = _f(1 / 255), _f(0.999), _f(1e-4)
SIGMA_MAX = _f(5.5413)  # ln(255) and a hair: beyond it alpha is below 1/255 for any opacity.

# exp(-sigma) on [0, SIGMA_MAX] is p(sigma / 8)**8, p of degree 5 (Chebyshev fit, error 4e-8).
EIGHTH = _f(0.125)
E0, E1, E2, E3, E4, E5 = (
    _f(c) for c in (0.99999993, -0.99999291, 0.49988725, -0.1659942, 0.03980829, -0.00586878)
)

# One flat scratch array holds the state of a block, sixteen lanes a row. Separate arrays would
# cost a factor of two: the compiler could not know that they do not overlap.
PIXEL_X, PIXEL_Y, LIVE, TRANS, ALPHA, SCRATCH = 0, 16, 32, 48, 64, 80
# One row of the list of a block: weight, transmittance before, alpha.
WEIGHT, BEFORE, FAINT, LIST_ROW = 0, 16, 32, 48
# Columns of a gathered Gaussian: centre, conic, opacity, then the box it is drawn in.
PARAMETERS = 10
GRADIENTS = 8
"""Columns before the channels: means2d (2), conic (3), opacity, |means2d| (2)."""

_options = {
    "cache": True,
    "error_model": "numpy",
    "boundscheck": False,
    "fastmath": {"nnan", "nsz", "arcp", "contract", "afn", "reassoc"},
}


@njit(parallel=True, **_options)
@no_type_check
def blend_forward(means2d, conics, opacities, extents, values, tile_starts, entries, width, height):
    """Composite `values` [N, C] into an image.

    Returns:
        The blended values [height, width, C] and the final transmittance [height, width], float32.
    """
    channels = values.shape[1]
    image = np.zeros((height, width, channels), np.float32)
    transmittance = np.ones((height, width), np.float32)
    tiles_x = (width + TILE - 1) // TILE
    for tile in prange(len(tile_starts) - 1):
        first, length = tile_starts[tile], tile_starts[tile + 1] - tile_starts[tile]
        if length == 0:
            continue
        parameters = _gather(means2d, conics, opacities, extents, entries, first, length)
        state = np.empty(6 * LANES, np.float32)
        chosen = np.empty(length, np.int32)
        listed = np.empty((length, LIST_ROW), np.float32)
        narrow = np.empty((4, LANES), np.float32)
        wide = np.empty((LANES, channels), np.float32)
        top, left = (tile // tiles_x) * TILE, (tile % tiles_x) * TILE
        for y in range(top, min(top + TILE, height), BLOCK):
            for x in range(left, min(left + TILE, width), BLOCK):
                hits = _list_block(parameters, length, x, y, width, height, state, chosen, listed)
                if channels <= 4:
                    narrow[:] = ZERO
                    for hit in range(hits):
                        n = entries[first + chosen[hit]]
                        for c in range(channels):
                            value = values[n, c]
                            for lane in range(LANES):
                                narrow[c, lane] += listed[hit, WEIGHT + lane] * value
                else:
                    wide[:] = ZERO
                    for hit in range(hits):
                        n = entries[first + chosen[hit]]
                        for lane in range(LANES):
                            weight = listed[hit, WEIGHT + lane]
                            if weight > ZERO:
                                for c in range(channels):
                                    wide[lane, c] += weight * values[n, c]
                for lane in range(LANES):
                    row, column = y + (lane >> 2), x + (lane & 3)
                    if row < height and column < width:
                        transmittance[row, column] = state[TRANS + lane]
                        for c in range(channels):
                            image[row, column, c] = (
                                narrow[c, lane] if channels <= 4 else wide[lane, c]
                            )
    return image, transmittance


@njit(parallel=True, **_options)
@no_type_check
def blend_backward(
    means2d, conics, opacities, extents, values,
    tile_starts, entries, slots, slot_starts,
    v_image, v_alpha,
):  # fmt: skip
    """Gradients of `blend_forward` for the gradients of its image and of alpha = 1 - T.

    Returns:
        v_means2d [N, 2], v_conics [N, 3], v_opacities [N], v_values [N, C], and the sums of the
        absolute gradients of means2d over pixels [N, 2] (AbsGS, Ye et al. 2024).
    """
    height, width, channels = v_image.shape
    columns = GRADIENTS + channels
    rows = np.empty((len(entries), columns), np.float32)
    tiles_x = (width + TILE - 1) // TILE
    for tile in prange(len(tile_starts) - 1):
        first, length = tile_starts[tile], tile_starts[tile + 1] - tile_starts[tile]
        if length == 0:
            continue
        parameters = _gather(means2d, conics, opacities, extents, entries, first, length)
        state = np.empty(6 * LANES, np.float32)
        chosen = np.empty(length, np.int32)
        listed = np.empty((length, LIST_ROW), np.float32)
        along = np.empty((length, LANES), np.float32)  # v_image . values, per hit and lane.
        by_channel = np.empty((channels, LANES), np.float32)
        by_lane = np.empty((LANES, channels), np.float32)
        behind = np.empty(LANES, np.float32)
        sums = np.zeros((length, columns), np.float32)
        top, left = (tile // tiles_x) * TILE, (tile % tiles_x) * TILE
        for y in range(top, min(top + TILE, height), BLOCK):
            for x in range(left, min(left + TILE, width), BLOCK):
                hits = _list_block(parameters, length, x, y, width, height, state, chosen, listed)
                if hits == 0:
                    continue
                for lane in range(LANES):
                    row, column = y + (lane >> 2), x + (lane & 3)
                    within = row < height and column < width
                    # d(1 - T)/d alpha_i is T / (1 - alpha_i), hence the sign.
                    behind[lane] = -v_alpha[row, column] * state[TRANS + lane] if within else ZERO
                    for c in range(channels):
                        v = v_image[row, column, c] if within else ZERO
                        by_channel[c, lane] = v
                        by_lane[lane, c] = v
                for hit in range(hits):
                    n, at = entries[first + chosen[hit]], chosen[hit]
                    for lane in range(LANES):
                        state[SCRATCH + lane] = ZERO
                    for c in range(channels):
                        value = values[n, c]
                        for lane in range(LANES):
                            state[SCRATCH + lane] += by_channel[c, lane] * value
                    for lane in range(LANES):
                        along[hit, lane] = state[SCRATCH + lane]
                    if channels <= 4:
                        for c in range(channels):
                            total = ZERO
                            for lane in range(LANES):
                                total += listed[hit, WEIGHT + lane] * by_channel[c, lane]
                            sums[at, GRADIENTS + c] += total
                    else:
                        for lane in range(LANES):
                            weight = listed[hit, WEIGHT + lane]
                            if weight > ZERO:
                                for c in range(channels):
                                    sums[at, GRADIENTS + c] += weight * by_lane[lane, c]
                _add_shape_gradients(parameters, chosen, listed, along, hits, state, behind, sums)
        for k in range(length):
            for c in range(columns):
                rows[slots[first + k], c] = sums[k, c]
    return _sum_rows(rows, slot_starts, channels)


@njit(parallel=True, **_options)
@no_type_check
def list_weights(
    means2d, conics, opacities, extents, tile_starts, entries, width, height,
    pixel_starts, indices, weights,
):  # fmt: skip
    """Count the blend weights of every pixel and, where there is room, write them.

    Call it once with empty `indices` to count, then with room for the running sum of the counts.

    Args:
        means2d, conics, opacities, extents, tile_starts, entries, width, height: As above.
        pixel_starts: int64 [height * width + 1], where each pixel's weights go.
        indices: int32, receives the Gaussian of each weight, front to back; or empty.
        weights: float32, receives the weights; or empty.

    Returns:
        Number of weights of each pixel, int64 [height * width].
    """
    counts = np.zeros(height * width, np.int64)
    writing = len(indices) > 0
    tiles_x = (width + TILE - 1) // TILE
    for tile in prange(len(tile_starts) - 1):
        first, length = tile_starts[tile], tile_starts[tile + 1] - tile_starts[tile]
        if length == 0:
            continue
        parameters = _gather(means2d, conics, opacities, extents, entries, first, length)
        state = np.empty(6 * LANES, np.float32)
        chosen = np.empty(length, np.int32)
        listed = np.empty((length, LIST_ROW), np.float32)
        top, left = (tile // tiles_x) * TILE, (tile % tiles_x) * TILE
        for y in range(top, min(top + TILE, height), BLOCK):
            for x in range(left, min(left + TILE, width), BLOCK):
                hits = _list_block(parameters, length, x, y, width, height, state, chosen, listed)
                for lane in range(LANES):
                    row, column = y + (lane >> 2), x + (lane & 3)
                    if row < height and column < width:
                        pixel, total = row * width + column, 0
                        for hit in range(hits):
                            if listed[hit, WEIGHT + lane] > ZERO:
                                if writing:
                                    at = pixel_starts[pixel] + total
                                    indices[at] = entries[first + chosen[hit]]
                                    weights[at] = listed[hit, WEIGHT + lane]
                                total += 1
                        counts[pixel] = total
    return counts


@njit(inline="always", **_options)
@no_type_check
def _gather(means2d, conics, opacities, extents, entries, first, length):
    """The Gaussians of a tile side by side in memory."""
    parameters = np.empty((length, PARAMETERS), np.float32)
    for k in range(length):
        n = entries[first + k]
        parameters[k, 0], parameters[k, 1] = means2d[n, 0], means2d[n, 1]
        parameters[k, 2], parameters[k, 3] = conics[n, 0], conics[n, 1]
        parameters[k, 4], parameters[k, 5] = conics[n, 2], opacities[n]
        parameters[k, 6] = means2d[n, 0] - extents[n, 0]
        parameters[k, 7] = means2d[n, 0] + extents[n, 0]
        parameters[k, 8] = means2d[n, 1] - extents[n, 1]
        parameters[k, 9] = means2d[n, 1] + extents[n, 1]
    return parameters


@njit(inline="always", **_options)
@no_type_check
def _list_block(parameters, length, x, y, width, height, state, chosen, listed):
    """List what a 4x4 block of pixels blends, front to back; returns the length of the list."""
    for lane in range(LANES):
        state[PIXEL_X + lane] = _f(x + (lane & 3)) + HALF
        state[PIXEL_Y + lane] = _f(y + (lane >> 2)) + HALF
        within = x + (lane & 3) < width and y + (lane >> 2) < height
        state[LIVE + lane] = ONE if within else ZERO
        state[TRANS + lane] = ONE
    left, top = _f(x) + HALF, _f(y) + HALF
    right, bottom = left + _f(BLOCK - 1), top + _f(BLOCK - 1)
    hits = 0
    for k in range(length):
        if (
            parameters[k, 7] < left
            or parameters[k, 6] > right
            or parameters[k, 9] < top
            or parameters[k, 8] > bottom
        ):
            continue
        centre_x, centre_y, opacity = parameters[k, 0], parameters[k, 1], parameters[k, 5]
        xx, xy, yy = parameters[k, 2] * HALF, parameters[k, 3], parameters[k, 4] * HALF
        most = ZERO
        for lane in range(LANES):
            dx, dy = centre_x - state[PIXEL_X + lane], centre_y - state[PIXEL_Y + lane]
            sigma = dx * (xx * dx + xy * dy) + yy * dy * dy
            t = (sigma if sigma < SIGMA_MAX else SIGMA_MAX) * EIGHTH
            e = ((((E5 * t + E4) * t + E3) * t + E2) * t + E1) * t + E0
            e = e * e
            e = e * e
            alpha = opacity * (e * e) * state[LIVE + lane]
            alpha = alpha if alpha >= ALPHA_MIN else ZERO
            state[ALPHA + lane] = alpha
            most += alpha
        if most <= ZERO:
            continue
        alive = ZERO
        for lane in range(LANES):
            faint = state[ALPHA + lane]
            alpha = faint if faint < ALPHA_MAX else ALPHA_MAX
            before = state[TRANS + lane]
            after = before * (ONE - alpha)
            stop = after <= TRANSMITTANCE_MIN
            listed[hits, WEIGHT + lane] = ZERO if stop else alpha * before
            listed[hits, BEFORE + lane] = before
            listed[hits, FAINT + lane] = ZERO if stop else faint
            state[TRANS + lane] = before if stop else after
            state[LIVE + lane] = ZERO if stop else state[LIVE + lane]
            alive += state[LIVE + lane]
        chosen[hits] = k
        hits += 1
        if alive <= ZERO:
            break
    return hits


@njit(inline="always", **_options)
@no_type_check
def _add_shape_gradients(parameters, chosen, listed, along, hits, state, behind, sums):
    """Add a block's gradients of centre, conic and opacity to `sums`, back to front.

    With S what lies behind a Gaussian, the gradient of its alpha is T v.c - S / (1 - alpha).
    """
    for hit in range(hits - 1, -1, -1):
        k = chosen[hit]
        centre_x, centre_y, opacity = parameters[k, 0], parameters[k, 1], parameters[k, 5]
        xx, xy, yy = parameters[k, 2], parameters[k, 3], parameters[k, 4]
        for lane in range(LANES):
            faint = listed[hit, FAINT + lane]
            alpha = faint if faint < ALPHA_MAX else ALPHA_MAX
            v_alpha = listed[hit, BEFORE + lane] * along[hit, lane] - behind[lane] / (ONE - alpha)
            behind[lane] += listed[hit, WEIGHT + lane] * along[hit, lane]
            state[SCRATCH + lane] = -faint * v_alpha if faint < ALPHA_MAX else ZERO
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = ZERO
        for lane in range(LANES):
            v_sigma = state[SCRATCH + lane]
            dx, dy = centre_x - state[PIXEL_X + lane], centre_y - state[PIXEL_Y + lane]
            vx, vy = v_sigma * dx, v_sigma * dy
            gx, gy = xx * vx + xy * vy, xy * vx + yy * vy
            s0 += gx
            s1 += gy
            s2 += vx * dx
            s3 += vx * dy
            s4 += vy * dy
            s5 += v_sigma
            s6 += abs(gx)
            s7 += abs(gy)
        sums[k, 0] += s0
        sums[k, 1] += s1
        sums[k, 2] += HALF * s2
        sums[k, 3] += s3
        sums[k, 4] += HALF * s4
        sums[k, 5] -= s5 / opacity
        sums[k, 6] += s6
        sums[k, 7] += s7


@njit(parallel=True, **_options)
@no_type_check
def _sum_rows(rows, slot_starts, channels):
    """Add up the rows of each Gaussian, in the order of its tiles."""
    count = len(slot_starts) - 1
    v_means2d = np.zeros((count, 2), np.float32)
    v_conics = np.zeros((count, 3), np.float32)
    v_opacities = np.zeros(count, np.float32)
    v_values = np.zeros((count, channels), np.float32)
    absolute = np.zeros((count, 2), np.float32)
    for n in prange(count):
        for slot in range(slot_starts[n], slot_starts[n + 1]):
            for c in range(2):
                v_means2d[n, c] += rows[slot, c]
                absolute[n, c] += rows[slot, 6 + c]
            for c in range(3):
                v_conics[n, c] += rows[slot, 2 + c]
            v_opacities[n] += rows[slot, 5]
            for c in range(channels):
                v_values[n, c] += rows[slot, GRADIENTS + c]
    return v_means2d, v_conics, v_opacities, v_values, absolute
