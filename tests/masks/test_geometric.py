"""Masks by colour and geometry: exact small scenes, seen by one camera."""

import numpy as np
import pytest

from splat_uff.geometry.cameras import Camera, pixel_centres
from splat_uff.masks.classical import segment_colours
from splat_uff.masks.geometric import REGIONS, segment_surfaces
from splat_uff.masks.merging import Patches, merge_patches
from splat_uff.masks.surface import Relief, Surface

SIZE = 48
CAMERA = Camera(
    np.eye(4), np.array([[60.0, 0, SIZE / 2], [0, 60.0, SIZE / 2], [0, 0, 1]]), SIZE, SIZE
)
GREY = np.full((SIZE, SIZE, 4), [0.5, 0.5, 0.5, 1.0], np.float32)
RAYS = ((pixel_centres(CAMERA) - SIZE / 2) / 60).reshape(SIZE, SIZE, 2)
LEFT = np.arange(SIZE)[None] < SIZE // 2
LEFT_HALF = np.broadcast_to(LEFT, (SIZE, SIZE))


def surface(depth):
    """A surface of known depth alone."""
    return Surface(CAMERA, np.asarray(depth, np.float64), np.zeros((SIZE, SIZE, 3)))


def plane(normal, distance):
    """Depth of the plane of points with normal . point = distance."""
    return distance / (RAYS[..., 0] * normal[0] + RAYS[..., 1] * normal[1] + normal[2])


def best(masks, truth):
    """Best IoU of any mask with a true region."""
    flat = masks.unpack()
    return max(((m & truth).sum() / (m | truth).sum() for m in flat), default=0.0)


def valley(sign):
    """Two slanted planes that meet in the image's middle: a valley for 1, a ridge for -1."""
    return np.where(LEFT, plane((-0.7 * sign, 0, 1), 2), plane((0.7 * sign, 0, 1), 2))


def test_relief_finds_no_step_on_a_slanted_plane_and_no_turn():
    relief = Relief(surface(plane((0.8, 0.3, 1), 2)))
    for axis in (0, 1):
        steps = relief.steps(axis)
        assert max(steps.step.max(), steps.concave.max(), steps.convex.max()) < 1e-6


def test_relief_tells_valleys_from_ridges():
    inner = slice(4, -4)
    for sign in (1, -1):
        steps = Relief(surface(valley(sign))).steps(1)
        turned, other = (steps.concave, steps.convex)[::sign]
        assert turned[inner, SIZE // 2 - 1].min() > 0.3
        assert other[inner, SIZE // 2 - 1].max() == 0
        assert steps.step.max() < 1e-6


def test_masks_separate_boxes_of_one_colour_at_a_concave_edge():
    masks = segment_surfaces(GREY, surface(valley(1)))
    assert best(masks, LEFT_HALF) > 0.9
    assert best(masks, ~LEFT_HALF) > 0.9


def test_masks_separate_what_stands_before_a_wall_of_its_colour():
    inside = np.zeros((SIZE, SIZE), bool)
    inside[14:34, 14:34] = True
    masks = segment_surfaces(GREY, surface(np.where(inside, 1.5, 2.0)))
    assert best(masks, inside) > 0.85


def test_masks_do_not_cut_a_slanted_plane_at_the_coarse_levels():
    noise = np.random.default_rng(0).normal(0, 0.01, (SIZE, SIZE, 1))
    image = GREY + np.concatenate([noise, noise, noise, 0 * noise], axis=2).astype(np.float32)
    right = plane((0.8, 0.0, 1), 2)
    depth = np.where(LEFT, right / 2, right)  # The left half lies far in front.
    masks = segment_surfaces(image, surface(depth))
    assert best(masks, LEFT_HALF) > 0.9
    assert best(masks, ~LEFT_HALF) > 0.9


def test_masks_are_nested_and_hold_no_transparent_pixel():
    rng = np.random.default_rng(0)
    image = np.concatenate([rng.random((SIZE, SIZE, 3)), np.ones((SIZE, SIZE, 1))], axis=2)
    image[:5] = 0
    masks = segment_surfaces(image.astype(np.float32), surface(valley(1))).unpack()
    assert len(masks) > max(REGIONS) / 2
    assert not masks[:, :5].any()
    for one in masks:
        joint = (masks & one).sum(axis=(1, 2))
        assert ((joint == 0) | (joint == one.sum()) | (joint == masks.sum(axis=(1, 2)))).all()


def test_masks_repeat_themselves():
    one, two = (segment_surfaces(GREY, surface(valley(1))) for _ in range(2))
    np.testing.assert_array_equal(one.packed, two.packed)


@pytest.mark.parametrize("depth", [0.0, np.nan, np.inf, -1.0])
def test_masks_are_by_colour_where_nothing_is_seen(depth):
    image = GREY.copy()
    image[:, SIZE // 2 :, 0] = 1
    masks = segment_surfaces(image, surface(np.full((SIZE, SIZE), depth)))
    np.testing.assert_array_equal(masks.packed, segment_colours(image).packed)


def test_masks_of_partly_unknown_depth_do_without():
    image, depth = GREY.copy(), valley(1)
    image[SIZE // 2 :, :, 0] = 1
    depth[::3] = np.nan
    depth[:, 40:] = 0
    given = Surface(CAMERA, depth, np.full((SIZE, SIZE, 3), np.nan))
    assert best(segment_surfaces(image, given), LEFT_HALF.T) > 0.9


@pytest.mark.parametrize("solid", [0, 1, 2])
def test_masks_of_hardly_any_pixel_are_none(solid):
    image = np.zeros((SIZE, SIZE, 4), np.float32)
    image[10, 10 : 10 + solid] = 1
    assert len(segment_surfaces(image, surface(np.full((SIZE, SIZE), 2.0)))) == 0


def test_merge_patches_takes_the_weakest_border_first_and_leaves_pieces_apart():
    strengths, lengths = np.zeros((2, 4, 4))
    for one, two, strength in ((0, 1, 0.5), (1, 2, 0.1)):  # Region 3 touches none.
        strengths[[one, two], [two, one]] = strength
        lengths[[one, two], [two, one]] = 1
    patches = Patches(np.ones(4), np.zeros((4, 1)), strengths, lengths)
    merges = merge_patches(patches, contrast=1.0)
    assert [sorted(pair) for pair in merges.tolist()] == [[1, 2], [0, 4]]
    np.testing.assert_array_equal(lengths.sum(), 4)  # What was passed is unchanged.
