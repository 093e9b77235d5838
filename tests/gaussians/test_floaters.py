"""Floaters are what stands alone in front of the scene, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.gaussians.floaters import find_floaters, find_standing, small_pieces
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians

K = np.array([[32.0, 0, 16], [0, 32.0, 16], [0, 0, 1]])
WALL = 2.0
"""Distance of the wall from the cameras."""


def camera_at(x, y, size=32):
    pose = np.eye(4)
    pose[:2, 3] = x, y
    return Camera(pose, K, size, size)


CAMERAS = [camera_at(x, y) for x in (-0.3, 0.0, 0.3) for y in (-0.2, 0.2)]


def of(means, scale, opacity=0.9):
    """Round Gaussians of one size."""
    means = torch.as_tensor(np.asarray(means), dtype=torch.float32).reshape(-1, 3)
    count = len(means)
    return Gaussians(
        means,
        torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.full((count, 3), float(np.log(scale))),
        torch.full((count,), opacity).logit(),
        torch.zeros(count, 1, 3),
        torch.zeros(count, 0, 3),
    )


def together(*sets):
    joined = {
        name: torch.cat([each.tensors()[name] for each in sets]) for name in sets[0].tensors()
    }
    return replace(sets[0], **joined)


def wall(distance=WALL, half=1.6, count=41, scale=0.05):
    places = np.linspace(-half, half, count)
    x, y = np.meshgrid(places, places)
    return of(np.stack([x.ravel(), y.ravel(), np.full(x.size, distance)], axis=1), scale)


SCENE = wall()
SPECK = of([0.1, 0.05, 1.0], 0.02)


def found_in(*sets, cameras=CAMERAS):
    """Numbers of floaters in each set."""
    floaters = find_floaters(together(*sets), cameras)
    ends = np.cumsum([len(each) for each in sets])
    return [int(each.sum()) for each in np.split(floaters, ends[:-1])]


def test_a_speck_in_front_of_a_wall_is_found_and_the_wall_is_not():
    assert found_in(SCENE, SPECK) == [0, 1]


def test_a_small_cluster_is_found_though_it_hides_what_is_behind_it():
    rng = np.random.default_rng(0)
    cluster = of([0.1, 0.05, 1.0] + 0.01 * rng.normal(size=(8, 3)), 0.02, 0.99)
    assert found_in(SCENE, cluster) == [0, 8]


@pytest.mark.parametrize("opacity", [0.15, 0.5, 0.99])
def test_found_at_any_opacity_but_the_faint(opacity):
    assert found_in(SCENE, of([0.1, 0.05, 1.0], 0.02, opacity)) == [0, 1]
    assert found_in(SCENE, of([0.1, 0.05, 1.0], 0.02, 0.05)) == [0, 0]


def test_a_thin_stand_that_reaches_the_wall_is_none():
    stand = of([[0.1, 0.05, z] for z in np.arange(0.9, WALL, 0.03)], 0.01)
    assert found_in(SCENE, stand) == [0, 0]
    loose = of([[0.1, 0.05, z] for z in np.arange(0.9, 1.3, 0.03)], 0.01)
    assert found_in(SCENE, loose) == [0, len(loose)]


def test_a_far_shell_of_scattered_gaussians_is_none():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(60, 3))
    directions[:, 2] = np.abs(directions[:, 2]) + 1
    shell = of(30 * directions / np.linalg.norm(directions, axis=1, keepdims=True), 0.3)
    small = wall(half=0.4)
    assert (small_pieces(together(small, shell))[len(small) :] >= 0).mean() > 0.5
    assert found_in(small, shell) == [0, 0]


def test_a_speck_beside_all_or_behind_the_wall_is_none():
    assert found_in(SCENE, of([0.1, 0.05, 3.0], 0.02)) == [0, 0]
    assert found_in(wall(half=0.4), of([0.9, 0.05, 1.9], 0.02)) == [0, 0]


def test_a_speck_just_off_the_wall_is_none():
    assert found_in(SCENE, of([0.1, 0.05, WALL - 0.08], 0.01)) == [0, 0]


@settings(max_examples=8)
@given(scale=st.sampled_from([1e-3, 0.1, 7.0, 1e4]))
def test_the_unit_of_length_does_not_matter(scale):
    loose = together(SCENE, SPECK, of([-0.3, 0.1, 1.4], 0.03))
    larger = replace(
        loose.moved(loose.means * scale), log_scales=loose.log_scales + float(np.log(scale))
    )
    poses = [each.world_from_cam.copy() for each in CAMERAS]
    for pose in poses:
        pose[:3, 3] *= scale
    cameras = [Camera(pose, K, 32, 32) for pose in poses]
    pieces = small_pieces(loose)
    np.testing.assert_array_equal(small_pieces(larger), pieces)
    if scale in (0.1, 7.0):  # Kernels have a near plane.
        np.testing.assert_array_equal(find_floaters(larger, cameras), find_floaters(loose, CAMERAS))


def test_the_same_with_any_number_of_threads_and_in_any_order():
    rng = np.random.default_rng(0)
    loose = of(rng.uniform((-0.5, -0.5, 0.8), (0.5, 0.5, 1.6), (12, 3)), 0.02)
    everything = together(SCENE, loose)
    found = find_floaters(everything, CAMERAS)
    assert found[len(SCENE) :].sum() >= 10
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        np.testing.assert_array_equal(find_floaters(everything, CAMERAS), found)
    finally:
        torch.set_num_threads(before)
    order = rng.permutation(len(everything))
    shuffled = everything.subset(torch.from_numpy(order))
    np.testing.assert_array_equal(find_floaters(shuffled, CAMERAS), found[order])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_of_hardly_any_gaussians_none_is_a_floater(count):
    assert not find_floaters(SPECK.subset(torch.arange(count) % 1), CAMERAS).any()


def test_without_cameras_or_with_ones_that_see_nothing_there_are_none():
    behind = Camera(np.diag([-1.0, 1, -1, 1]), K, 32, 32)
    assert found_in(SCENE, SPECK, cameras=[]) == [0, 0]
    assert found_in(SCENE, SPECK, cameras=[behind]) == [0, 0]
    assert found_in(SCENE, SPECK, cameras=[behind, *CAMERAS]) == [0, 1]


def test_gaussians_in_one_place_touch_each_other():
    heap = of(np.tile([0.1, 0.05, 1.0], (5, 1)), 0.02)
    assert (small_pieces(together(SCENE, heap))[len(SCENE) :] == 0).all()


def test_standing_adds_up_to_the_blend_weights_of_the_chosen():
    everything = together(SCENE, SPECK)
    chosen = np.arange(len(everything)) == len(SCENE)
    standing = find_standing(everything, CAMERAS[:1], chosen)
    assert standing.front[-1] > 0.5
    assert standing.views.tolist()[-1] == 1
    for each in (standing.front, standing.other, standing.alone):
        assert not each[:-1].any()
    assert standing.other[-1] == standing.alone[-1] == 0
    alone = find_standing(SPECK, CAMERAS[:1], np.ones(1, bool))
    np.testing.assert_allclose(alone.alone, standing.front[-1:], rtol=1e-5)


def test_large_photos_are_made_smaller_and_many_are_thinned_out():
    camera = Camera(np.eye(4), np.diag([12.5, 12.5, 1]) @ K, 400, 400)
    standing = find_standing(SPECK, [camera], np.ones(1, bool))
    half = find_standing(SPECK, [camera.resized(200, 200)], np.ones(1, bool))
    np.testing.assert_allclose(standing.alone, half.alone, rtol=0.02)  # Blurred less.
    many = find_standing(SPECK, CAMERAS[:1] * 250, np.ones(1, bool))
    one = find_standing(SPECK, CAMERAS[:1], np.ones(1, bool))
    np.testing.assert_allclose(many.alone, 100 * one.alone, rtol=1e-6)
