"""Depth error: distance between the rendered and the true surface."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.labels import expected_depth
from splat_uff.render import Gaussians


def depth_error(
    gaussians: Gaussians, cameras: Sequence[Camera], depths: Sequence[Float[np.ndarray, "H W"]]
) -> float:
    """Mean of |rendered - true| depth (z) over the true foreground, then over views.

    The rendered depth is the expected depth: blended depth divided by accumulated opacity.

    Args:
        gaussians: Fitted Gaussians.
        cameras: Cameras of the views, at any size.
        depths: True depth of each view, in the units of the Gaussians, 0 for background.
    """
    errors = []
    for camera, true in zip(cameras, depths, strict=True):
        height, width = true.shape
        solid = true > 0
        if solid.any():
            depth, _ = expected_depth(gaussians, camera.resized(width, height))
            errors.append(np.abs(depth - true)[solid].mean())
    return float(np.mean(errors))
