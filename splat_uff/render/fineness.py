"""Images of another size than the one to which Gaussians were fitted.

gsplat blurs every Gaussian by a fixed fraction of a pixel (`eps2d`), and the fit relies on it. In
an image of half the size, the same fraction of a pixel is twice as wide in the scene: thin objects
thicken and cover what lies behind them. To make Gaussians look as they were fitted,

* the blur keeps its size in the scene: `eps2d` grows with the square of the size of the image;
* if pixels are larger than the fitted ones, a finer image is rendered and averaged over each pixel.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from splat_uff.geometry.cameras import Camera
from splat_uff.render.cpu import EPS2D
from splat_uff.render.records import Gaussians

NEAR_ENOUGH = 1.25
"""Ratio of focal lengths up to which pixels count as equal in size: cameras of a capture differ."""
MOST_FINER = 4
"""Most rows of the finer image per row of the camera's, to bound time and memory."""


@dataclass(frozen=True)
class Fineness:
    """Resolution and blur with which a camera shows Gaussians as they were fitted."""

    camera: Camera
    """Camera of the finer image, with the same field of view."""
    factor: int
    """Rows and columns of the finer image per row and column of the original."""
    eps2d: float
    """Blur in the finer image, in pixels squared."""

    @staticmethod
    def of(gaussians: Gaussians, camera: Camera) -> "Fineness":
        """Compare the pixels of a camera with those to which the Gaussians were fitted."""
        ratio = gaussians.fitted_focal / camera.focal
        if ratio == 0 or 1 / NEAR_ENOUGH <= ratio <= NEAR_ENOUGH:
            return Fineness(camera, 1, EPS2D)
        factor = min(max(math.ceil(ratio - 0.1), 1), MOST_FINER)
        finer = camera.resized(factor * camera.width, factor * camera.height)
        return Fineness(finer, factor, EPS2D * (factor / ratio) ** 2)

    def averaging(self) -> csr_matrix:
        """Matrix that averages the finer image's pixels into the camera's, row-major."""
        rows, columns = np.mgrid[: self.camera.height, : self.camera.width] // self.factor
        pixels = (rows * (self.camera.width // self.factor) + columns).ravel()
        weights = np.full(pixels.size, self.factor**-2, np.float32)
        shape = (pixels.size // self.factor**2, pixels.size)
        return csr_matrix((weights, (pixels, np.arange(pixels.size))), shape=shape)

    def average(self, image: np.ndarray) -> np.ndarray:
        """Average an image [k H, k W, ...] over the pixels [H, W, ...] of the camera."""
        height, width = (side // self.factor for side in image.shape[:2])
        blocks = image.reshape(height, self.factor, width, self.factor, *image.shape[2:])
        return blocks.mean(axis=(1, 3))
