"""How well labels explain masks, against the definition written out."""

import numpy as np
import pytest

from splat_uff.evaluate.explain import explain_masks
from splat_uff.masks.records import MaskSet
from splat_uff.system.errors import InputError


def best_iou(mask, maps):
    """By going through all segments of all cuts."""
    segments = [labels == label for labels in maps for label in np.unique(labels) if label > 0]
    return max(((mask & one).sum() / (mask | one).sum() for one in segments), default=0.0)


def test_explain_masks_follows_its_definition():
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 4, (5, 12, 9)).astype(np.int16), np.zeros((2, 6, 7), np.int16)]
    masks = [rng.random((6, 12, 9)) < 0.5, rng.random((3, 6, 7)) < 0.5]
    masks[0][2] = False  # Empty masks are left out.
    found = explain_masks(iter(maps), map(MaskSet.of, masks))
    expected = [best_iou(mask, maps[0]) for mask in masks[0] if mask.any()] + [0.0] * 3
    np.testing.assert_allclose(found, expected)


def test_a_perfect_cut_explains_all():
    labels = np.repeat(np.arange(4), 6).reshape(1, 4, 6)
    bag = MaskSet.of(np.stack([labels[0] == 1, labels[0] == 3]))
    assert explain_masks([labels], [bag]).tolist() == [1, 1]


def test_explain_masks_refuses_what_does_not_belong_together():
    labels, bag = np.zeros((1, 4, 6), int), MaskSet.of(np.ones((1, 4, 6), bool))
    with pytest.raises(InputError, match="view 1 has label maps only"):
        explain_masks([labels, labels], [bag])
    with pytest.raises(InputError, match="4 x 5"):
        explain_masks([labels[..., :5]], [bag])
