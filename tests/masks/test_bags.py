"""Masks of many views: the same whether they are held or wait on disk."""

import numpy as np
import pytest

from splat_uff.masks.bags import Bags, mask_counts
from splat_uff.masks.records import MaskSet, Regions
from splat_uff.masks.tree import build_tree
from splat_uff.system.memory import Memory
from tests.features.scenes import tiny_scene


def drawn(view):
    """Masks that depend on the view, and on one view none."""
    number = int(view.name.removeprefix("r_"))
    rng = np.random.default_rng(number)
    return MaskSet.of(rng.random((5 * (number != 1), 24, 24)) < 0.3)


@pytest.mark.parametrize("most", [0, 1000, float("inf")])
def test_bags_hold_the_masks_and_trees_of_every_view(most):
    views = tiny_scene().capture.train
    memory = Memory(most)
    bags = Bags.of(views, drawn, memory=memory)
    assert len(bags) == len(views)
    assert mask_counts(bags) == [5, 0, 5, 5]
    for view, (masks, tree) in zip(views, bags, strict=True):
        expected = drawn(view)
        assert (masks.packed == expected.packed).all()
        assert (masks.height, masks.width) == (24, 24)
        assert (tree.inside == build_tree(expected).inside).all()
        assert (tree.same == build_tree(expected).same).all()
    assert memory.held <= most


def test_mask_counts_of_plain_lists():
    bags = [(masks, build_tree(masks)) for masks in map(drawn, tiny_scene().capture.train)]
    assert mask_counts(bags) == [5, 0, 5, 5]


@pytest.mark.parametrize(
    ("count", "height", "width"), [(0, 3, 5), (1, 7, 9), (9, 24, 24), (40, 1, 3)]
)
def test_regions_are_the_pixels_in_the_same_masks(count, height, width):
    rng = np.random.default_rng(count)
    masks = rng.random((count, height, width)).round(1) < 0.4
    masks[1:2] = masks[:1]
    regions = Regions.of(MaskSet.of(masks))
    assert (regions.members[:, regions.of_pixel] == masks.reshape(count, height * width)).all()
    kinds = {column.tobytes() for column in masks.reshape(count, height * width).T}
    assert regions.members.shape[1] == len(kinds)
    assert regions.sizes.sum() == height * width
