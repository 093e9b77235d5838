"""Agreement of masks through Gaussians, against dense arithmetic and by its limits."""

import numpy as np
import pytest

from splat_uff.gaussians import mask_agreement
from splat_uff.gaussians.mask_agreement import compare_masks, nearest_views
from splat_uff.masks.judge import distinct
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.render import blend_weights
from splat_uff.system.memory import Memory
from tests.features.scenes import tiny_scene


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


def bag(masks):
    packed = MaskSet.of(masks)
    return packed, build_tree(packed)


def densely(scene, views):
    """Mean best IoU of the masks of the first view among those of the second, without sparsity."""
    seen, inside = [], []
    for view in views:
        weights = blend_weights(scene.gaussians, scene.cameras[view]).toarray()
        masks = scene.bags[view][0].flat()[distinct(scene.bags[view][1])]
        total = weights.sum(axis=0)
        share = np.array([weights[mask].sum(axis=0) for mask in masks])
        seen.append(np.where(total >= 0.1, total, 0))
        inside.append((share > 0.5 * total) & (seen[-1] > 0))
    common = np.minimum(*seen)
    best, areas = [], []
    for one in inside[0]:
        if (seen[0] * one * (common > 0)).sum() < 0.5 * (seen[0] * one).sum():
            continue
        unions = [(common * (one | other)).sum() for other in inside[1]]
        shared = [(common * (one & other)).sum() for other in inside[1]]
        best.append(max(np.divide(shared, unions)))
        areas.append((common * one).sum())
    return np.average(best, weights=areas)


def test_compare_masks_matches_dense_arithmetic(scene):
    agreement = compare_masks(scene.gaussians, scene.cameras, scene.bags, neighbours=1)
    for view, (near,) in enumerate(agreement.neighbours):
        assert agreement.found[view] == pytest.approx(densely(scene, (view, near)), abs=1e-4)
        assert agreement.kept[view] == pytest.approx(densely(scene, (near, view)), abs=1e-4)
    assert agreement.found.min() > 0.8


def test_compare_masks_of_equal_views_is_one(scene):
    cameras, bags = [scene.cameras[0]] * 3, [scene.bags[0]] * 3
    agreement = compare_masks(scene.gaussians, cameras, bags)
    assert agreement.found == pytest.approx(np.ones(3))
    assert agreement.kept == pytest.approx(np.ones(3))


def test_compare_masks_tells_bad_masks_from_missing_ones(scene):
    masks = scene.bags[0][0].unpack()
    halves = np.zeros((2, 24, 24), bool)
    halves[0, :, :12] = halves[1, :12] = True
    few, bad = bag(masks[:1]), bag(np.concatenate([masks, halves]))
    cameras = [scene.cameras[0]] * 3
    without = compare_masks(scene.gaussians, cameras, [few, scene.bags[0], scene.bags[0]])
    assert without.found[0] == pytest.approx(1)
    assert without.kept[0] < 0.6
    more = compare_masks(scene.gaussians, cameras, [bad, scene.bags[0], scene.bags[0]])
    assert more.kept[0] == pytest.approx(1)
    assert more.found[0] < 0.97


def test_compare_masks_without_masks_is_unknown_or_nothing(scene):
    none = bag(np.zeros((0, 24, 24), bool))
    alone = compare_masks(scene.gaussians, scene.cameras[:1], scene.bags[:1])
    assert np.isnan(alone.found).all()
    assert alone.neighbours.shape == (1, 0)
    agreement = compare_masks(scene.gaussians, [scene.cameras[0]] * 2, [none, scene.bags[0]])
    assert np.isnan(agreement.found[0])
    assert agreement.kept[0] == 0


def test_compare_masks_does_not_depend_on_memory_and_little_on_the_grid(scene, monkeypatch):
    first = compare_masks(scene.gaussians, scene.cameras, scene.bags)
    second = compare_masks(scene.gaussians, scene.cameras, scene.bags, memory=Memory(0))
    assert (first.found == second.found).all()
    assert (first.kept == second.kept).all()
    monkeypatch.setattr(mask_agreement, "GRID", 12)
    coarse = compare_masks(scene.gaussians, scene.cameras, scene.bags)
    assert coarse.found == pytest.approx(first.found, abs=0.1)


def test_nearest_views_see_most_of_the_same():
    seen = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]], np.float32)
    assert nearest_views(seen, 1).ravel().tolist() == [1, 0, 3, 2]
    assert nearest_views(seen, 9).shape == (4, 3)
    assert nearest_views(np.zeros((3, 4), np.float32), 2).tolist() == [[1, 2], [0, 2], [0, 1]]
