"""Depth and normals that a camera sees of Gaussians."""

import numpy as np
import torch

from splat_uff.gaussians.surface import seen_surface, shortest_axes
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians

SIZE, DISTANCE = 16, 2.0
CAMERA = Camera(np.eye(4), np.array([[16.0, 0, 8], [0, 16.0, 8], [0, 0, 1]]), SIZE, SIZE)


def wall(quat, distance=DISTANCE):
    """Flat Gaussians in a plane across the view, thin along z before they are turned."""
    places = torch.linspace(-0.9, 0.9, 31)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    means = torch.stack([columns, rows, torch.full_like(rows, distance)], dim=-1).reshape(-1, 3)
    count = len(means)
    return Gaussians(
        means=means,
        quats=torch.tensor(quat, dtype=torch.float32).repeat(count, 1),
        log_scales=torch.tensor([0.06, 0.06, 0.001]).log().repeat(count, 1),
        opacity_logits=torch.full((count,), 3.0),
        sh0=torch.zeros(count, 1, 3),
        shN=torch.zeros(count, 0, 3),
    )


def test_seen_surface_is_the_wall_with_normals_to_the_camera():
    surface = seen_surface(wall([1.0, 0, 0, 0]), CAMERA)
    inner = slice(2, -2), slice(2, -2)
    np.testing.assert_allclose(surface.depth[inner], DISTANCE, atol=1e-3)
    normals = surface.normals / np.linalg.norm(surface.normals, axis=2, keepdims=True)
    np.testing.assert_allclose(
        normals[inner], np.broadcast_to([0, 0, -1.0], (12, 12, 3)), atol=1e-3
    )


def test_seen_surface_behind_the_camera_is_unknown():
    surface = seen_surface(wall([1.0, 0, 0, 0], -DISTANCE), CAMERA)
    assert not surface.depth.any()
    assert not surface.normals.any()


def test_shortest_axes_turn_with_the_gaussians():
    half = np.sqrt(0.5)
    axes = shortest_axes(wall([half, half, 0, 0]))  # A quarter turn about x takes z to -y.
    np.testing.assert_allclose(axes, np.broadcast_to([0, -1.0, 0], axes.shape), atol=1e-6)
