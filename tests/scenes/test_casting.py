"""Rays and the triangles that they meet."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.scenes.casting import Triangles
from splat_uff.scenes.shapes import sphere

CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def by_hand(corners, origin, direction):
    """Distance along a ray at which it meets a triangle, in float64; infinite if it does not."""
    a, b, c = corners.astype(float)
    matrix = np.stack([b - a, c - a, -direction], axis=1)
    if abs(np.linalg.det(matrix)) < 1e-9:
        return np.inf
    u, v, t = np.linalg.solve(matrix, origin - a)
    return t if min(u, v, 1 - u - v, t) >= 0 else np.inf


@settings(deadline=None)
@given(seed=st.integers(0, 10**6))
def test_meet_finds_the_first_triangle_and_where(seed):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(24, 3)).astype(np.float32)
    rows = rng.integers(0, 24, (12, 3))
    origins, directions = rng.normal(size=(2, 20, 3)).astype(np.float32)
    met = Triangles(vertices, rows).meet(origins, directions)
    for ray in range(20):
        ray_of = origins[ray].astype(float), directions[ray].astype(float)
        distances = [by_hand(vertices[row], *ray_of) for row in rows]
        if np.isinf(min(distances)):
            assert met.triangle[ray] == -1
            assert np.isinf(met.distance[ray])
            continue
        assert met.distance[ray] == pytest.approx(min(distances), rel=1e-3, abs=1e-4)
        u, v = met.barycentric[ray]
        corners = vertices[rows[met.triangle[ray]]]
        place = (1 - u - v) * corners[0] + u * corners[1] + v * corners[2]
        assert place == pytest.approx(ray_of[0] + met.distance[ray] * ray_of[1], abs=1e-3)


def test_blocked_ends_at_its_reach_in_lengths_of_the_direction():
    pyramid = Triangles(CORNERS, SIDES)
    origins = np.array([[0.2, 0.2, -1.0]] * 3)
    directions = np.array([[0, 0, 2.0], [0, 0, -1.0], [1.0, 0, 0]])
    assert pyramid.blocked(origins, directions).tolist() == [True, False, False]
    assert pyramid.blocked(origins, directions, 0.49).tolist() == [False, False, False]
    assert pyramid.blocked(origins, directions, 0.51).tolist() == [True, False, False]


def test_no_ray_slips_through_where_triangles_touch():
    ball = sphere(1, segments=48)
    caster = Triangles(ball.vertices, ball.triangles)
    middles = ball.vertices[ball.triangles][:, [0, 1, 2, 0]]
    edges = np.concatenate([middles[:, k : k + 2].mean(axis=1) for k in range(3)])
    for targets in (ball.vertices, edges):
        assert caster.blocked(np.zeros_like(targets), targets).all()


def test_threads_may_share_triangles():
    ball = sphere(1, segments=200)
    rng = np.random.default_rng(0)
    origins, directions = rng.normal(size=(2, 50_000, 3)).astype(np.float32)
    caster, found = Triangles(ball.vertices, ball.triangles), [None] * 4

    def work(index):
        found[index] = caster.meet(origins, directions)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in found[1:]:
        np.testing.assert_array_equal(each.triangle, found[0].triangle)
        np.testing.assert_array_equal(each.distance, found[0].distance)


def test_no_rays_meet_nothing():
    none = np.zeros((0, 3), np.float32)
    pyramid = Triangles(CORNERS, SIDES)
    assert len(pyramid.meet(none, none).triangle) == 0
    assert len(pyramid.blocked(none, none)) == 0
