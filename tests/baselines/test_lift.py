"""SAM3D: a mask of one view holds the Gaussians that it shows, and is seen from any side."""

import numpy as np
import pytest

from splat_uff.baselines.lift import Lifted, lift_masks, render_lifted
from splat_uff.masks.records import MaskSet
from tests.features.scenes import tiny_scene


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


def iou(one, two):
    return (one & two).sum() / (one | two).sum()


def test_lifted_masks_hold_the_gaussians_of_what_they_show(scene):
    bags = [masks for masks, _ in scene.bags]
    lifted = lift_masks(scene.gaussians, scene.capture.train, bags, [0, 2])
    assert lifted.source.tolist() == [0] * len(bags[0]) + [1] * len(bags[2])
    for blob in range(3):
        fits = [iou(mask, scene.blobs == blob) for mask in lifted.occupied]
        assert max(fits) > 0.9


def test_rendered_masks_are_those_of_the_view(scene):
    bags = [masks for masks, _ in scene.bags]
    lifted = lift_masks(scene.gaussians, scene.capture.train, bags, [0])
    for view, bag in zip(scene.capture.train, bags, strict=True):
        shown = render_lifted(lifted, scene.gaussians, view.camera)
        assert len(shown) == len(bags[0])
        for mask in bag.unpack():
            if mask.sum() > 20:
                assert max(iou(mask, other) for other in shown.unpack()) > 0.7


def test_views_that_answer_otherwise_are_passed_over(scene):
    bags = [masks for masks, _ in scene.bags]
    alone = lift_masks(scene.gaussians, scene.capture.train[:1], bags[:1], [0])
    corner = np.zeros((1, bags[0].height, bags[0].width), bool)
    corner[0, :3, :3] = True
    strange = [bags[0], *[MaskSet.of(corner)] * 2, MaskSet.of(corner[:0])]
    lifted = lift_masks(scene.gaussians, scene.capture.train, strange, [0])
    np.testing.assert_array_equal(lifted.occupied, alone.occupied)


def test_other_views_add_what_the_first_does_not_see(scene):
    bags = [masks for masks, _ in scene.bags]
    alone = lift_masks(scene.gaussians, scene.capture.train[:1], bags[:1], [0])
    lifted = lift_masks(scene.gaussians, scene.capture.train, bags, [0])

    def best(found):
        return np.mean(
            [max(iou(m, scene.blobs == blob) for m in found.occupied) for blob in range(3)]
        )

    assert best(lifted) > best(alone)


def test_render_lifted_takes_more_masks_than_it_renders_at_a_time(scene):
    occupied = np.repeat((scene.blobs == 0)[None], 300, axis=0)
    camera = scene.cameras[0]
    shown = render_lifted(Lifted(occupied, np.zeros(300, int)), scene.gaussians, camera).unpack()
    assert len(shown) == 300
    assert (shown == shown[0]).all()
    assert shown[0].any()
