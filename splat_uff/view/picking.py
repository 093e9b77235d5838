"""Picking: the segments at a point, or in a box, on the screen."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from splat_uff.geometry.axes import any_across, pose_along
from splat_uff.geometry.cameras import Camera, project
from splat_uff.render import Gaussians, blend_weights

LEAST_WEIGHT = 0.05
"""Total blend weight along a click's ray below which nothing is visible there."""
MOSTLY = 0.5
"""Share of a segment's shown Gaussians above which a box selects it."""


def pixel_camera(
    origin: Float[np.ndarray, "3"], direction: Float[np.ndarray, "3"], focal: float
) -> Camera:
    """One-pixel camera that looks along a ray.

    Args:
        origin: Origin of the ray, in the world.
        direction: Direction of the ray, of any positive length.
        focal: Focal length of the screen's camera in pixels, which makes the pixel as large as one
            on the screen.
    """
    forward = direction / np.linalg.norm(direction)
    pose = pose_along(origin, forward, any_across(forward))
    return Camera(pose, np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1.0]]), 1, 1)


def pick(
    gaussians: Gaussians,
    shown: Bool[np.ndarray, "N"],
    nodes: Int[np.ndarray, "N"],
    pixel: Camera,
) -> tuple[int, int] | None:
    """Pick the segment with the most weight in a pixel, and the heaviest of its Gaussians.

    Args:
        gaussians: Gaussians of the run, shown or not.
        shown: Whether each Gaussian is on the screen.
        nodes: Segment of each Gaussian.
        pixel: Camera of the pixel, from `pixel_camera`.

    Returns:
        Node of the segment and index of the Gaussian; None if there is nothing.
    """
    candidates = np.flatnonzero(shown)
    if len(candidates) == 0:
        return None
    weights = blend_weights(gaussians.subset(torch.from_numpy(candidates)), pixel)
    if weights.data.sum() < LEAST_WEIGHT:
        return None
    met, shares = candidates[weights.indices], weights.data
    known, segment = np.unique(nodes[met], return_inverse=True)
    best = np.bincount(segment, shares).argmax()
    inside = segment == best
    return int(known[best]), int(met[inside][shares[inside].argmax()])


def nodes_in_box(
    means: Float[np.ndarray, "N 3"],
    shown: Bool[np.ndarray, "N"],
    nodes: Int[np.ndarray, "N"],
    camera: Camera,
    low: tuple[float, float],
    high: tuple[float, float],
) -> list[int]:
    """Segments most of whose shown Gaussians have their centre in a box on the screen.

    Args:
        means: Centres of all Gaussians.
        shown: Whether each Gaussian is on the screen.
        nodes: Segment of each Gaussian.
        camera: Camera of the screen.
        low: Column and row of a corner, as shares of width and height.
        high: Column and row of the opposite corner, as shares of width and height.
    """
    pixels, depth = project(camera, means)
    at = pixels / [camera.width, camera.height]
    first, last = np.minimum(low, high), np.maximum(low, high)
    inside = shown & (depth > 0) & (at >= first).all(axis=1) & (at <= last).all(axis=1)
    known, segment = np.unique(nodes, return_inverse=True)
    held, there = np.bincount(segment, inside), np.bincount(segment, shown)
    return known[(there > 0) & (held > MOSTLY * there)].tolist()
