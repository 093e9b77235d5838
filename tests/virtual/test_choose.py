"""Which cameras are chosen, and what they see."""

import numpy as np
import pytest

from splat_uff.geometry.cameras import Camera
from splat_uff.virtual.candidates import (
    NEAR,
    Candidate,
    cameras_around,
    cameras_around_core,
    cameras_inside,
    find_core,
    free_positions,
    is_place,
    look_from,
)
from splat_uff.virtual.choose import choose_views
from splat_uff.virtual.config import VirtualConfig
from tests.virtual.splats import ball, joined, room, splat

UP = np.array([0.0, 0, 1])


def candidates(sets, *, seed=0):
    """Candidates at different places that see the given Gaussians."""
    rng = np.random.default_rng(seed)
    found = []
    for seen in sets:
        pose = np.eye(4)
        pose[:3, 3] = rng.normal(size=3)
        found.append(Candidate(Camera(pose, np.eye(3), 4, 4), np.array(sorted(seen), np.int32)))
    return found


def test_the_most_useful_view_comes_first_and_useless_ones_not_at_all():
    found = candidates([{0, 1}, {0, 1, 2, 3}, {4}, {0, 1}])
    config = VirtualConfig(fewest=0, most=8, seen_by=1, held_out=0)
    choice = choose_views(found, 5, config)
    assert choice.train == [1, 2]
    assert (choice.visible, choice.covered) == (5, 5)


def test_every_gaussian_is_seen_as_often_as_wanted_or_possible():
    rng = np.random.default_rng(3)
    sets = [set(np.flatnonzero(rng.random(400) < 0.2)) for _ in range(60)]
    choice = choose_views(candidates(sets), 400, VirtualConfig(fewest=8, most=60, seen_by=4))
    counts = np.zeros(400, int)
    for index in choice.train:
        counts[list(sets[index])] += 1
    possible = np.sum([[g in seen for g in range(400)] for seen in sets], axis=0)
    assert choice.visible == (possible > 0).sum()
    assert choice.covered == (counts >= np.minimum(possible, 4))[possible > 0].sum()
    assert choice.covered >= 0.99 * choice.visible
    assert len(choice.train) < 60


def test_greedy_takes_the_largest_gain_each_time():
    rng = np.random.default_rng(4)
    sets = [set(np.flatnonzero(rng.random(80) < 0.3)) for _ in range(12)]
    config = VirtualConfig(fewest=0, most=8, seen_by=2, held_out=0)
    chosen = choose_views(candidates(sets), 80, config).train
    left = np.minimum(np.sum([[g in seen for g in range(80)] for seen in sets], axis=0), 2)
    for place, index in enumerate(chosen):
        gains = [sum(left[g] > 0 for g in seen) for seen in sets]
        best = max(gain for other, gain in enumerate(gains) if other not in chosen[:place])
        assert gains[index] == best
        left = left - np.array([g in sets[index] for g in range(80)])


def test_fewest_and_most_are_kept_and_held_out_views_are_others():
    sets = [set(range(10))] * 30
    choice = choose_views(candidates(sets), 10, VirtualConfig(fewest=20, most=25, held_out=6))
    assert len(choice.train) == len(set(choice.train))
    assert 20 <= len(choice.train) <= 25
    assert not set(choice.train) & set(choice.held_out)
    few = choose_views(candidates(sets[:9]), 10, VirtualConfig(fewest=20, most=25, held_out=6))
    assert len(few.train) == 9
    assert few.held_out == []


def test_the_order_of_gaussians_changes_nothing():
    rng = np.random.default_rng(6)
    sets = [set(np.flatnonzero(rng.random(200) < 0.2)) for _ in range(40)]
    order = rng.permutation(200)
    moved = [{int(order[g]) for g in seen} for seen in sets]
    config = VirtualConfig(fewest=8, most=20)
    one, two = (choose_views(candidates(each), 200, config) for each in (sets, moved))
    assert (one.train, one.held_out) == (two.train, two.held_out)


def test_free_positions_are_free_and_begin_in_the_middle():
    gaussians = room()
    points = gaussians.means.numpy().astype(float)
    found = free_positions(points, count=20)
    distances = np.linalg.norm(found[:, None] - points[None], axis=2).min(axis=1)
    assert len(found) == 20
    assert (distances >= 2 * NEAR).all()
    norms = np.linalg.norm(found, axis=1)
    assert norms[0] == norms.min()


def test_a_room_is_a_place_and_a_ball_is_not():
    for gaussians, expected in ((room(), True), (joined(ball(radius=0.9)), False)):
        points = gaussians.means.numpy().astype(float)
        if not expected:  # Seen from beside the ball; within it, there is matter all around.
            points = np.concatenate([points, points * [3, 1, 1]])
        stands = free_positions(points, count=12)
        stands = stands if expected else stands[np.linalg.norm(stands, axis=1) > 1.1]
        place, share = is_place(gaussians, stands)
        assert place is expected
        assert (share > 0.95) is expected
    assert is_place(room(), np.zeros((0, 3))) == (False, 0.0)


def test_cameras_are_upright_and_look_where_they_should():
    for camera in cameras_around(UP, below=True):
        right, forward = camera.world_from_cam[:3, 0], camera.world_from_cam[:3, 2]
        assert abs(right @ UP) < 1e-9
        assert forward @ -camera.centre == pytest.approx(np.linalg.norm(camera.centre))
    assert all(camera.centre @ UP > 0 for camera in cameras_around(UP, below=False))
    inside = cameras_inside(UP, np.zeros((2, 3)))
    assert len(inside) == 12
    assert all(abs(camera.world_from_cam[:3, 0] @ UP) < 1e-9 for camera in inside)


def test_cameras_within_matter_or_before_nothing_are_left_out():
    lump = ball((0, 0, 0.5), radius=0.04, count=200)
    gaussians = joined(ball(radius=1.0, count=4000), lump)
    into = cameras_inside(UP, np.array([[0, 0, 0], [0, 0, 0.5], [5.0, 0, 0]]))
    kept = {tuple(each.camera.centre) for each in look_from(gaussians, into, "inside", size=100)}
    assert kept == {(0.0, 0.0, 0.0)}
    around = list(cameras_around(UP, below=False))
    assert len(list(look_from(gaussians, around, "around", size=100))) == len(around)


def test_what_lies_behind_is_not_seen():
    wall = splat(np.stack([*np.mgrid[-1:1:40j, -1:1:40j].reshape(2, -1), np.zeros(1600)], 1))
    behind = splat(np.array([[0.0, 0, -0.5]]))
    gaussians = joined(*((each.means.numpy(), each.scales.numpy()) for each in (wall, behind)))
    above = [each for each in cameras_around(UP, below=False) if each.centre @ UP > 1.4]
    for candidate in look_from(gaussians, above, "around", size=100):
        assert 1600 not in candidate.seen
        assert len(candidate.seen) > 100


def test_the_core_is_the_thing_that_was_photographed():
    """A small dense ball in a large coarse shell: a thing on which a phone made a circle."""
    thing, shell = ball((0.3, 0.1, 0), radius=0.08, count=1500), ball(radius=1.0, count=600)
    points = np.concatenate([thing[0], shell[0]])
    middle, radius = find_core(points)
    assert np.allclose(middle, (0.3, 0.1, 0), atol=0.02)
    assert 0.05 < radius < 0.2
    gaussians = joined(thing, (shell[0], np.full((600, 3), 0.2)))
    cameras = cameras_around_core(UP, middle, radius)
    kept = list(look_from(gaussians, cameras, "inside", size=400, core=(middle, radius)))
    assert len(kept) > 0.8 * len(cameras)
    seen = set().union(*(each.seen.tolist() for each in kept))
    assert len(seen & set(range(1500))) > 1400


def test_cameras_behind_a_wall_are_left_out():
    """Rings around the core of a room may reach beyond its walls."""
    gaussians = room(side=1.0)
    core = np.zeros(3), 0.3
    cameras = cameras_around_core(UP, *core)
    outside = [each for each in cameras if np.abs(each.centre).max() > 0.55]
    assert outside
    assert not list(look_from(gaussians, outside, "inside", size=100, core=core))
