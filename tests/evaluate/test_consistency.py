"""VC: a labelling of the world is consistent, numbers mean nothing, and hand-worked examples."""

import numpy as np
import pytest

from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.consistency import (
    Warp,
    masks_consistency,
    view_consistency,
    warp_pixels,
)
from splat_uff.evaluate.covering import cut_ious
from splat_uff.evaluate.levels import true_levels
from splat_uff.geometry.cameras import Camera, pixel_centres, ray_directions
from splat_uff.masks.records import MaskSet
from splat_uff.system.errors import InputError
from tests.evaluate.test_covering import random_maps, random_truth


def look_along_z(x=0.0, angle=0.0, size=40):
    """A camera at (x, 0, 0) that looks along +z, then turned about the vertical."""
    pose = np.eye(4)
    pose[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    pose[0, 3] = x
    return Camera(
        pose, np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1.0]]), size, size
    )


def still(shape):
    """The warp of a view into itself, all of it co-visible."""
    pixels = np.arange(shape[0] * shape[1])
    return Warp(pixels, np.ones(len(pixels), bool), np.ones(len(pixels), bool))


def one_segment(labels, there, *, seen=None, clicks=40_000):
    """VC of a single true segment of 40 pixels under one cut."""
    truth = GroundTruth(np.ones((1, 40), int), np.ones((1, 40), int))
    warp = still((1, 40))
    if seen is not None:
        warp = Warp(warp.target, seen, seen)
    maps = [np.reshape(values, (1, 1, 1, 40)) for values in (labels, there)]
    rng = np.random.default_rng(0)
    return view_consistency(*maps, [truth], [warp], rng=rng, num_clicks=clicks).objects


def test_view_consistency_of_a_hand_worked_example():
    labels, there = np.repeat([1, 2], [30, 10]), np.repeat([5, 6], [20, 20])
    # Clicks on the first 20 find 20 of 30, on the next 10 find 10 of 40, on the last 10 of 20.
    expected = 0.5 * 20 / 30 + 0.25 * 10 / 40 + 0.25 * 10 / 20
    assert one_segment(labels, there) == pytest.approx(expected, abs=0.005)


def test_view_consistency_counts_co_visible_pixels_only():
    labels, there = np.repeat([1, 2], [30, 10]), np.repeat([5, 6], [20, 20])
    seen = np.arange(40) < 30
    expected = 20 / 30 * 20 / 30 + 10 / 30 * 10 / 30
    assert one_segment(labels, there, seen=seen) == pytest.approx(expected, abs=0.005)


def test_view_consistency_clicks_again_where_something_is_labelled():
    labels, there = np.repeat([1, 2], [30, 10]), np.repeat([5, 0], [20, 20])
    assert one_segment(labels, there) == pytest.approx(20 / 30)  # Never on what is none there.


def test_view_consistency_of_nothing_labelled_is_undefined():
    with pytest.raises(InputError, match="VC is undefined"):
        one_segment(np.ones(40, int), np.zeros(40, int))


def test_view_consistency_of_a_view_with_itself_is_one_whatever_the_numbers():
    rng = np.random.default_rng(0)
    truths, maps = [random_truth(rng) for _ in range(2)], random_maps(rng) + 1
    renumbered = (7 * rng.permutation(8) + 3)[maps]
    warps = [still((24, 24))] * 2
    scores = view_consistency(maps, renumbered, truths, warps, rng=rng)
    assert scores.record() == {"objects": 1, "collections": 1, "scene": 1, "mean": 1}


def test_view_consistency_equals_brute_force():
    rng = np.random.default_rng(3)
    truth, maps, there = random_truth(rng), random_maps(rng, 1), random_maps(rng, 1)
    target = rng.permutation(24 * 24)
    warp = Warp(target, rng.random(24 * 24) < 0.7, rng.random(24 * 24) < 0.8)
    found = view_consistency(maps, there, [truth], [warp], rng=np.random.default_rng(5))
    rng, table = np.random.default_rng(5), []
    flat, flat_there = maps[0].reshape(4, -1), there[0].reshape(4, -1)
    for level in true_levels(truth):
        row = []
        for pixels in level.scored:
            cuts = cut_ious(flat, level.segments)[:, rng.choice(pixels, 100)].argmax(axis=0)
            values = []
            for cut, draws in zip(*np.unique(cuts, return_counts=True), strict=True):
                candidates = [
                    p
                    for p in pixels
                    if warp.seen[p]
                    and warp.seen_there[target[p]]
                    and flat_there[cut, target[p]] > 0
                ]
                for p in rng.choice(candidates, draws):
                    S = (flat[cut] == flat[cut, p]) & warp.seen
                    back = flat_there[cut, target] == flat_there[cut, target[p]]
                    back &= warp.seen
                    values.append((S & back).sum() / (S | back).sum())
            row.append(np.mean(values))
        table.append(np.mean(row))
    np.testing.assert_allclose(found.per_view[0], table)


@pytest.mark.parametrize("angle", [0.0, 0.2, 0.5])
def test_view_consistency_of_a_labelling_of_the_world_is_one_up_to_warping(angle):
    camera, rotated = (
        look_along_z(size=80),
        look_along_z(x=-2 * np.sin(angle), angle=angle, size=80),
    )

    def see(view):
        """Depth of the wall z = 2, and the painted squares on it."""
        rays = ray_directions(view, pixel_centres(view))
        along = (2 - view.centre[2]) / rays[:, 2]
        points = view.centre + along[:, None] * rays
        axis = view.world_from_cam[:3, 2]
        squares = np.floor(points[:, :2] * 3).astype(int)
        labels = 1 + (squares[:, 0] % 5) + 5 * (squares[:, 1] % 5)
        shape = view.height, view.width
        return ((points - view.centre) @ axis).reshape(shape), labels.reshape(shape)

    (depth, labels), (_, there) = see(camera), see(rotated)
    everywhere = np.ones((80, 80), bool)
    warp = warp_pixels(camera, depth, rotated, seen=everywhere, seen_there=everywhere)
    assert warp.seen.mean() > 0.3
    truth = GroundTruth(labels, labels)
    scores = view_consistency(
        labels[None, None], there[None, None], [truth], [warp], rng=np.random.default_rng(0)
    )
    assert scores.objects > (1 - 1e-9 if angle == 0 else 0.85)


def test_warp_follows_the_surface_by_one_pixel():
    camera, moved = look_along_z(), look_along_z(x=2 / 40)
    depth = np.full((40, 40), 2.0)
    depth[:, 30:] = 0
    everywhere = np.ones((40, 40), bool)
    warp = warp_pixels(camera, depth, moved, seen=everywhere, seen_there=everywhere)
    target = warp.target.reshape(40, 40)
    assert (target[:, 1:30] == np.arange(1600).reshape(40, 40)[:, :29]).all()
    assert (target[:, 0] == -1).all()  # Left of the other image,
    assert (target[:, 30:] == -1).all()  # and background.
    assert (warp.seen == (warp.target >= 0)).all()


def test_warp_as_published_lands_half_a_pixel_up_and_left_and_stays_in_the_image():
    camera, moved = look_along_z(), look_along_z(x=2 / 40)
    depth, everywhere = np.full((40, 40), 2.0), np.ones((40, 40), bool)
    seen = {"seen": everywhere, "seen_there": everywhere}
    turned = look_along_z(x=0.031, angle=0.02)
    exact, published = (
        warp_pixels(camera, depth, turned, **seen, as_published=way).target.reshape(40, 40)
        for way in (False, True)
    )
    inner = (slice(2, -2), slice(2, -2))
    offset = exact[inner] // 40 - published[inner] // 40
    assert set(np.unique(offset)) == {0, 1}
    assert offset.mean() == pytest.approx(0.5, abs=0.2)
    edge = warp_pixels(camera, depth, moved, **seen, as_published=True).target.reshape(40, 40)
    assert (edge[:, 0] % 40 == 0).all()


def test_masks_consistency_of_masks_that_part_the_image_is_that_of_their_label_map():
    rng = np.random.default_rng(1)
    truth, maps, there = random_truth(rng), random_maps(rng, 1, 1), random_maps(rng, 1, 1)
    pixels = 24 * 24
    warp = Warp(rng.permutation(pixels), rng.random(pixels) < 0.7, rng.random(pixels) < 0.8)
    bags = [
        MaskSet.of(np.stack([labels[0, 0] == segment for segment in range(6)]))
        for labels in (maps, there)
    ]
    clicks = {"num_clicks": 20_000}
    of_masks = masks_consistency(
        bags[:1], bags[1:], [truth], [warp], rng=np.random.default_rng(2), **clicks
    )
    # A click on a label map may land on any segment of the cut; on masks, in that of click 1.
    values = []
    for level in true_levels(truth)[:1]:
        for scored in level.scored:
            found = []
            for first in scored:
                mask, its = (
                    (labels[0, 0] == maps[0, 0].ravel()[first]).ravel() for labels in (maps, there)
                )
                allowed = warp.seen & warp.seen_there[warp.target] & its[warp.target]
                candidates = [p for p in scored if allowed[p]]
                if not candidates:
                    continue
                back = its[warp.target]
                ious = []
                for p in candidates:
                    here = (mask == mask[p]) & warp.seen
                    ious.append((here & back & warp.seen).sum() / (here | (back & warp.seen)).sum())
                found.append(np.mean(ious))
            if found:
                values.append(np.mean(found))
    assert of_masks.objects == pytest.approx(np.mean(values), abs=0.01)


def test_masks_consistency_skips_clicks_without_a_mask_and_wants_as_many_masks_in_both():
    truth = GroundTruth(np.ones((1, 40), int), np.ones((1, 40), int))
    half = MaskSet.of(np.arange(40)[None, None] < 20)
    rng = np.random.default_rng(0)
    scores = masks_consistency([half], [half], [truth], [still((1, 40))], rng=rng)
    assert scores.objects == 1
    empty = MaskSet.of(np.zeros((0, 1, 40), bool))
    with pytest.raises(InputError, match="1 masks and its rotated view 0"):
        masks_consistency([half], [empty], [truth], [still((1, 40))], rng=rng)
    with pytest.raises(InputError, match="VC is undefined"):
        masks_consistency([empty], [empty], [truth], [still((1, 40))], rng=rng)
