"""Depth error: how far from the true surface the Gaussians render theirs."""

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

    What is rendered is expected depth: blended depth divided by accumulated opacity.

    Args:
        gaussians: As fitted.
        cameras: Of the views, at any size.
        depths: True depth, in the units of the Gaussians, 0 for background.
    """
    errors = []
    for camera, true in zip(cameras, depths, strict=True):
        height, width = true.shape
        solid = true > 0
        if solid.any():
            depth, _ = expected_depth(gaussians, camera.resized(width, height))
            errors.append(np.abs(depth - true)[solid].mean())
    return float(np.mean(errors))
