"""What one clicks on is what one sees there."""

import numpy as np
import pytest
import torch

from splat_uff.geometry.cameras import Camera, pixel_centres, project, ray_directions
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.render import Gaussians
from splat_uff.view.picking import nodes_in_box, pick, pixel_camera


def row_of_balls(rng, count=4, each=60):
    """Balls in a row along x, of one segment each; the last stands behind the first."""
    centres = np.array([[0, 0, 3], [1, 0, 3], [-1, 0.5, 3], [0, 0, 6]], np.float32)[:count]
    means = np.repeat(centres, each, axis=0)
    means = means + rng.normal(0, 0.1, means.shape).astype(np.float32)
    total = len(means)
    return Gaussians(
        torch.from_numpy(means.astype(np.float32)),
        torch.from_numpy(rng.normal(size=(total, 4)).astype(np.float32)),
        torch.full((total, 3), np.log(0.06)),
        torch.full((total,), 3.0),
        torch.zeros((total, 1, 3)),
        torch.zeros((total, 0, 3)),
    ), np.repeat(np.arange(count) + 100, each)


CAMERA = Camera(np.eye(4), np.array([[80.0, 0, 60], [0, 80.0, 40], [0, 0, 1]]), 120, 80)


def test_a_click_finds_the_segment_that_the_picture_shows_there():
    gaussians, nodes = row_of_balls(np.random.default_rng(0))
    shown = np.ones(len(nodes), bool)
    seen = label_maps(blended_votes(gaussians, CAMERA), nodes[None])[0].ravel()
    pixels = pixel_centres(CAMERA)
    rays = ray_directions(CAMERA, pixels)
    met = 0
    for at in np.flatnonzero(seen)[::37]:
        found = pick(gaussians, shown, nodes, pixel_camera(CAMERA.centre, rays[at], 80.0))
        assert found is not None
        met += found[0] == seen[at]
        assert nodes[found[1]] == found[0]
    assert met >= 0.95 * len(np.flatnonzero(seen)[::37])  # Pixels on an edge may go either way.


def test_a_click_goes_through_what_is_hidden():
    gaussians, nodes = row_of_balls(np.random.default_rng(0))
    ahead = pixel_camera(np.zeros(3), np.array([0, 0, 2.0]), 80.0)
    found = pick(gaussians, np.ones(len(nodes), bool), nodes, ahead)
    assert found is not None
    assert found[0] == 100
    found = pick(gaussians, nodes != 100, nodes, ahead)
    assert found is not None
    assert found[0] == 103


def test_a_click_on_nothing():
    gaussians, nodes = row_of_balls(np.random.default_rng(0))
    aside = pixel_camera(np.zeros(3), np.array([0, -1.0, 0.2]), 80.0)
    assert pick(gaussians, np.ones(len(nodes), bool), nodes, aside) is None
    ahead = pixel_camera(np.zeros(3), np.array([0, 0, 1.0]), 80.0)
    assert pick(gaussians, np.zeros(len(nodes), bool), nodes, ahead) is None


@pytest.mark.parametrize("direction", [(0, 0, 1), (0, 0, -3), (1, 0, 0), (0, -2, 0), (1, 2, 3)])
def test_the_camera_of_a_pixel_looks_along_its_ray(direction):
    camera = pixel_camera(np.array([1.0, 2, 3]), np.array(direction, float), 50.0)
    rotation = camera.world_from_cam[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    point = camera.centre + 2 * np.array(direction) / np.linalg.norm(direction)
    pixels, depth = project(camera, point[None])
    np.testing.assert_allclose(pixels, [[0.5, 0.5]], atol=1e-9)
    assert depth[0] == pytest.approx(2)


def test_a_box_holds_segments_that_lie_in_it_for_the_most_part():
    gaussians, nodes = row_of_balls(np.random.default_rng(0))
    means, shown = gaussians.means.numpy().astype(float), np.ones(len(nodes), bool)

    def inside(low, high, shown=shown):
        return nodes_in_box(means, shown, nodes, CAMERA, low, high)

    assert inside((0, 0), (1, 1)) == [100, 101, 102, 103]
    assert inside((1, 1), (0, 0)) == [100, 101, 102, 103]
    assert inside((0.6, 0), (1, 1)) == [101]
    assert inside((0.4, 0.4), (0.6, 0.6)) == [100, 103]
    assert inside((0.4, 0.4), (0.6, 0.6), nodes != 100) == [103]
    assert inside((0, 0), (0.05, 0.05)) == []
    behind = Camera(np.diag([-1.0, 1, -1, 1]), CAMERA.K, 120, 80)
    assert nodes_in_box(means, shown, nodes, behind, (0, 0), (1, 1)) == []
