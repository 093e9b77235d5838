"""Borders of segments come from masks and photos, not from the Gaussians that lie across them."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from splat_uff.gaussians.segment_maps import segment_map
from splat_uff.masks.records import MaskSet

HEIGHT, WIDTH = 8, 20
LABELS = np.array([1, 2])


def weights(border, alpha=0.9):
    """Two Gaussians, side by side, that meet at a column."""
    left = np.tile(np.arange(WIDTH) < border, (HEIGHT, 1)).ravel()
    return csr_matrix(np.stack([left, ~left], axis=1) * np.float32(alpha))


def halves(column):
    return np.tile(np.arange(WIDTH) < column, (HEIGHT, 1))


def coloured(column):
    left = halves(column)[..., None]
    return np.where(left, [0.9, 0.1, 0.1], [0.1, 0.1, 0.9]).astype(np.float32)


GREY = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
NO_MASKS = MaskSet.of(np.zeros((0, HEIGHT, WIDTH), bool))


def border(found):
    assert (found == found[0]).all()
    assert (np.diff(found[0]) >= 0).all()
    return int((found[0] == 1).sum())


@pytest.mark.parametrize("true", [8, 9, 10, 11, 12])
def test_a_border_moves_to_that_of_the_masks(true):
    left = halves(true)
    masks = MaskSet.of(np.stack([left, ~left]))
    assert border(segment_map(weights(10), masks, LABELS, GREY)) == true


def test_a_thin_segment_stays_where_the_photo_shows_it():
    thin = np.tile(np.arange(WIDTH) == 10, (HEIGHT, 1))
    both = csr_matrix(np.stack([~thin.ravel(), thin.ravel()], axis=1) * np.float32(0.9))
    photo = np.where(thin[..., None], [0.9, 0.1, 0.1], [0.1, 0.1, 0.9]).astype(np.float32)
    assert (segment_map(both, NO_MASKS, LABELS, photo) == np.where(thin, 2, 1)).all()
    assert (segment_map(both, NO_MASKS, LABELS, GREY) == 1).all()


def test_masks_count_for_more_than_colours():
    left = halves(9)
    masks = MaskSet.of(np.stack([left, ~left]))
    assert border(segment_map(weights(10), masks, LABELS, coloured(11))) == 9


def test_a_border_does_not_jump_far():
    left = halves(17)
    masks = MaskSet.of(np.stack([left, ~left]))
    assert border(segment_map(weights(10), masks, LABELS, GREY)) <= 13


def test_masks_that_hold_both_say_nothing():
    masks = MaskSet.of(np.ones((2, HEIGHT, WIDTH), bool))
    assert border(segment_map(weights(10), masks, LABELS, GREY)) == 10


def test_what_no_gaussian_shows_is_background():
    found = segment_map(weights(10, alpha=0.2), NO_MASKS, LABELS, GREY)
    assert (found == 0).all()
