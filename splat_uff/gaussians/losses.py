"""Photometric loss of a rendering."""

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from splat_uff.gaussians.ssim import mean_ssim, pull_back_ssim, ssim_and_slopes
from splat_uff.system.records import array_record

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


def photometric_loss(
    image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], *, ssim_weight: float
) -> Float[Tensor, ""]:
    """(1 - w) L1 + w (1 - SSIM), the loss of 3DGS (Kerbl et al. 2023, equation 7)."""
    absolute = (image - photo).abs().mean()
    if ssim_weight == 0:
        return absolute
    return (1 - ssim_weight) * absolute + ssim_weight * (1 - mean_ssim(image, photo))


@array_record
class Compared:
    """A rendering and a photo over the same background, and their `photometric_loss`."""

    loss: float
    image: Float[np.ndarray, "3 H W"]
    """The rendering over the background."""
    photo: Float[np.ndarray, "3 H W"]
    v_image: Float[np.ndarray, "H W 3"]
    """Gradient of the rendering's blended colours."""
    v_alphas: Float[np.ndarray, "H W"]
    """Gradient of its accumulated opacities."""

    @staticmethod
    def of(
        image: Float[np.ndarray, "H W 3"],
        alphas: Float[np.ndarray, "H W"],
        photo: Float[np.ndarray, "H W 4"],
        background: Float[np.ndarray, "3"],
        *,
        ssim_weight: float,
    ) -> "Compared":
        """Compare a rendering with a photo on the CPU, without autograd.

        Args:
            image: Blended colours, float32, not divided by `alphas`.
            alphas: Accumulated opacities, float32.
            photo: RGBA, float32; colours are multiplied by opacity.
            background: Colour behind both, float32.
            ssim_weight: Weight w of structural dissimilarity.
        """
        ours, theirs, differences = _over(image, alphas, photo, background)
        absolute, size = float(differences.sum()) / ours.size, np.float32(1 / ours.size)
        loss, v_ssim = (1 - ssim_weight) * absolute, np.zeros((3, 0, 0), np.float32)
        if ssim_weight > 0:
            similarity, slopes = ssim_and_slopes(ours, theirs)
            loss += ssim_weight * (1 - similarity)
            v_ssim = pull_back_ssim(ours, theirs, slopes, -ssim_weight)
        weight = np.float32(1 - ssim_weight) * size
        return Compared(loss, ours, theirs, *_gradients(ours, theirs, v_ssim, weight, background))

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB, at most 100."""
        error = float(np.mean((self.image - self.photo) ** 2))
        return -10 * float(np.log10(max(error, 1e-10)))


@njit(parallel=True, **_options)
@no_type_check
def _over(image, alphas, photo, background):
    """Both images over the background [3, H, W], and the sum of absolute differences per row."""
    height, width = alphas.shape
    ours, theirs = (
        np.empty((3, height, width), np.float32),
        np.empty((3, height, width), np.float32),
    )
    differences = np.empty(height)
    one = np.float32(1)
    for y in prange(height):
        total = 0.0
        for c in range(3):
            colour = background[c]
            for x in range(width):
                a = image[y, x, c] + (one - alphas[y, x]) * colour
                b = photo[y, x, c] + (one - photo[y, x, 3]) * colour
                ours[c, y, x], theirs[c, y, x] = a, b
                total += abs(a - b)
        differences[y] = total
    return ours, theirs, differences


@njit(parallel=True, **_options)
@no_type_check
def _gradients(ours, theirs, v_ssim, weight, background):
    """Gradients of blended colours and opacities; those of SSIM may be empty."""
    _, height, width = ours.shape
    v_image = np.empty((height, width, 3), np.float32)
    v_alphas = np.empty((height, width), np.float32)
    structural = v_ssim.size > 0
    for y in prange(height):
        for x in range(width):
            total = np.float32(0)
            for c in range(3):
                difference = ours[c, y, x] - theirs[c, y, x]
                v = weight * np.float32(np.sign(difference))
                if structural:
                    v += v_ssim[c, y, x]
                v_image[y, x, c] = v
                total -= v * background[c]
            v_alphas[y, x] = total
    return v_image, v_alphas
