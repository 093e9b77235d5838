"""Which Gaussians reach a block of pixels: none that shows is missed, few that do not are kept."""

import numpy as np
import pytest

from splat_uff.render.listing import (
    ALPHA_MIN,
    BLOCK_HEIGHT,
    BLOCK_WIDTH,
    PARAMETERS,
    WORD,
    block_of,
    gather,
    list_marked,
    mark_reached,
    pack,
    room_for_bits,
    words_of,
)

LEFT, TOP = 32, 48
"""Upper left pixel of the tile."""


def scene(seed, count, tile_size, log_lengths):
    """Ellipses in and around a tile, from round ones to needles: means2d, conics and so on."""
    rng = np.random.default_rng(seed)
    means2d = rng.uniform(-1, 2, (count, 2)) * tile_size + (LEFT, TOP)
    lengths, angle = np.exp(rng.uniform(*log_lengths, (count, 2))), rng.uniform(0, np.pi, count)
    turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], 1)
    turn = turn.reshape(-1, 2, 2)
    covariance = turn @ (lengths[:, :, None] ** 2 * turn.transpose(0, 2, 1)) + 0.3 * np.eye(2)
    opacities = rng.uniform(0.005, 1, count)
    inverse = np.linalg.inv(covariance)
    conics = np.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], axis=1)
    reach = 2 * np.log(opacities / ALPHA_MIN)
    extents = np.sqrt(reach[:, None] * np.diagonal(covariance, axis1=1, axis2=2))
    return [array.astype(np.float32) for array in (means2d, conics, opacities, extents)]


def marked(shapes, tile_size):
    """Whether each Gaussian's bit is set in each block, [blocks, n]."""
    count = len(shapes[0])
    starts, words = room_for_bits(np.array([0, count]), tile_size)
    parameters = np.empty(words_of(count) * WORD * PARAMETERS, np.float32)
    gather(pack(*shapes), np.arange(count, dtype=np.int32), 0, count, parameters)
    mark_reached(parameters, LEFT, TOP, tile_size, words, starts[0])
    found = np.zeros((len(words) // words_of(count), count), bool)
    chosen = np.empty(count, np.int32)
    for block, row in enumerate(found):
        begin = block * words_of(count)
        row[chosen[: list_marked(words, begin, words_of(count), chosen)]] = True
    return found


def shown(shapes, tile_size):
    """Whether each Gaussian's alpha is 1/255 or more at a pixel of each block, in float64."""
    means2d, conics, opacities, _ = (array.astype(np.float64) for array in shapes)
    found = []
    for y in range(TOP, TOP + tile_size, BLOCK_HEIGHT):
        for x in range(LEFT, LEFT + tile_size, BLOCK_WIDTH):
            assert block_of(x - LEFT, y - TOP, tile_size) == len(found)
            rows, columns = np.mgrid[y : y + BLOCK_HEIGHT, x : x + BLOCK_WIDTH] + 0.5
            dx = columns.ravel() - means2d[:, :1]
            dy = rows.ravel() - means2d[:, 1:]
            xx, xy, yy = (conics[:, k, None] for k in range(3))
            sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
            found.append((opacities[:, None] * np.exp(-sigma) >= ALPHA_MIN).any(axis=1))
    return np.array(found)


@pytest.mark.parametrize("tile_size", [16, 8, 32])
@pytest.mark.parametrize("log_lengths", [(-2, 1), (0, 3), (-6, 6)])
@pytest.mark.parametrize("count", [1, 63, 64, 1000])
def test_no_gaussian_that_shows_is_missed_and_few_others_are_kept(count, log_lengths, tile_size):
    shapes = scene(count, count, tile_size, log_lengths)
    reached, seen = marked(shapes, tile_size), shown(shapes, tile_size)
    assert not (seen & ~reached).any()
    if count == 1000 and log_lengths != (-6, 6):  # Needles pass between the centres of pixels.
        assert seen.any()
        assert reached.sum() < 1.35 * seen.sum()


def test_gaussians_that_are_not_finite_are_left_to_the_blending():
    shapes = scene(0, 5, 16, (-1, 1))
    shapes[0][[2, 4]] = (LEFT + 8, TOP + 8)
    finite = marked(shapes, 16)[:, [2, 4]]
    shapes[1][2] = np.nan
    shapes[3][4] = np.inf
    assert finite.any(axis=0).all()
    assert not (finite & ~marked(shapes, 16)[:, [2, 4]]).any()
