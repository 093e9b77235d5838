"""Co-visibility: the pixels of one view whose surface is visible in another."""

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.geometry.cameras import Camera, pixel_centres, project, unproject

TOLERANCE = 0.02
"""Tolerance for the difference to the other view's depth, in world units: half a per cent of the
distance to the cameras, about one and a half pixels of 200."""


def covisible_pixels(
    camera: Camera,
    depth: Float[np.ndarray, "H W"],
    other: Camera,
    other_depth: Float[np.ndarray, "H W"],
) -> Bool[np.ndarray, "H W"]:
    """Pixels whose surface point is visible to the other camera.

    The point is projected into the other view, whose depth at the pixel it falls in, or at one of
    the eight around it, must agree, because slanted surfaces change depth within a pixel.

    Args:
        camera: Camera of the view.
        depth: Depth (z) of the view, in world units, 0 for background.
        other: Camera of the view that may show the same points.
        other_depth: Depth of that view.
    """
    flat = depth.reshape(-1).astype(float)
    solid = np.flatnonzero(flat > 0)
    points = unproject(camera, pixel_centres(camera)[solid], flat[solid])
    pixels, expected = project(other, points)
    x, y = np.floor(pixels).astype(int).T
    inside = (x >= 0) & (x < other.width) & (y >= 0) & (y < other.height) & (expected > 0)
    padded = np.pad(other_depth, 1)
    seen = np.zeros(len(solid), bool)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    for row in range(3):
        for column in range(3):
            found = padded[y + row, x + column]
            seen |= (found > 0) & (np.abs(found - expected) < TOLERANCE)
    result = np.zeros(len(flat), bool)
    result[solid] = seen & inside
    return result.reshape(depth.shape)
