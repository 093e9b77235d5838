"""Surface that a camera sees of Gaussians: depth and normals of each pixel."""

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

from splat_uff.geometry.cameras import Camera, project
from splat_uff.masks.surface import Surface
from splat_uff.render import Gaussians, blend_weights

OPAQUE = 0.5
"""Accumulated opacity below which nothing is seen."""


def seen_surface(
    gaussians: Gaussians, camera: Camera, weights: csr_matrix | None = None
) -> Surface:
    """Mean depth and normal of each pixel, both blended.

    The normal of a Gaussian is its shortest axis, turned towards the camera.

    Args:
        gaussians: The N Gaussians.
        camera: Camera of the view; the surface has its size.
        weights: Blend weights [H * W, N] of the view, if they are known.
    """
    weights = blend_weights(gaussians, camera) if weights is None else weights
    alpha = np.asarray(weights.sum(axis=1)).ravel()
    means = gaussians.means.detach().cpu().numpy().astype(np.float64)
    _, depths = project(camera, means)
    depth = (weights @ depths) / np.maximum(alpha, 1e-9)
    axes = shortest_axes(gaussians)
    away = (axes * (camera.centre - means)).sum(axis=1) < 0
    axes[away] *= -1
    normals = (weights @ axes) @ camera.cam_from_world[:3, :3].T
    shape = camera.height, camera.width
    depth = np.where(alpha >= OPAQUE, depth, 0.0).reshape(shape)
    return Surface(camera, depth, normals.reshape(*shape, 3))


def shortest_axes(gaussians: Gaussians) -> Float[np.ndarray, "N 3"]:
    """Unit vector along the shortest axis of each Gaussian, in the world; its sign is arbitrary."""
    quats = gaussians.quats.detach().cpu().numpy().astype(np.float64)
    quats = quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    w, x, y, z = quats.T
    columns = (
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=1),
        np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], axis=1),
        np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1),
    )
    shortest = gaussians.log_scales.detach().cpu().numpy().argmin(axis=1)
    return np.stack(columns)[shortest, np.arange(len(quats))]
