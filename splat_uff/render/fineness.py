"""Images at another size than the one that Gaussians were fitted at.

gsplat blurs every Gaussian by a fixed part of a pixel (`eps2d`), and the fit relies on it. In an
image of half the size the same part of a pixel is twice as wide in the scene: thin things grow fat
and cover what lies behind them. So that Gaussians look as they were fitted,

* the blur keeps its size in the scene: `eps2d` grows with the square of the size of the image;
* where pixels are larger than the fitted ones, a finer image is made and averaged over each pixel.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from splat_uff.geometry.cameras import Camera
from splat_uff.render.cpu import EPS2D
from splat_uff.render.records import Gaussians

NEAR_ENOUGH = 1.25
"""Ratio of focal lengths up to which pixels count as one size: cameras of one capture differ."""
MOST_FINER = 4
"""Largest number of rows of the finer image to one of the camera's, to bound time and memory."""


@dataclass(frozen=True)
class Fineness:
    """How to look through a camera at Gaussians so that they appear as fitted."""

    camera: Camera
    """Of the finer image, the field of view unchanged."""
    factor: int
    """Rows and columns of that image to one of the camera's."""
    eps2d: float
    """Blur in that image, pixels squared."""

    @staticmethod
    def of(gaussians: Gaussians, camera: Camera) -> "Fineness":
        """Compare the pixels of a camera with those that Gaussians were fitted to."""
        ratio = gaussians.fitted_focal / camera.focal
        if ratio == 0 or 1 / NEAR_ENOUGH <= ratio <= NEAR_ENOUGH:
            return Fineness(camera, 1, EPS2D)
        factor = min(max(math.ceil(ratio - 0.1), 1), MOST_FINER)
        finer = camera.resized(factor * camera.width, factor * camera.height)
        return Fineness(finer, factor, EPS2D * (factor / ratio) ** 2)

    def averaging(self) -> csr_matrix:
        """Matrix that takes the pixels of the finer image to those of the camera, row-major."""
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
